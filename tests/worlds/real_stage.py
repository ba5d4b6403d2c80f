"""What the contract's verbs have in common in worlds of real pods: real clients, and waiting in real time."""

from __future__ import annotations

import contextlib
import email
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from deployer.actions import Action
from deployer.clusters import ClusterUnreachable
from deployer.fleet import Count, Fleet, Kind
from tests.worlds.stage import Play, Refused, Stage

T = TypeVar("T")
OPEN_S = 3.0
LOOK_EVERY_S = 0.03
CLOSE = 8  # RFC 6455: opcode of a close frame
UPGRADE = (
    b"GET /xmpp-websocket HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: xmpp\r\n\r\n"
)


class RealConnection:
    """A websocket that is open and says nothing: connected, not logged in."""

    def __init__(self, front: tuple[str, int]) -> None:
        """Raises Refused."""
        self._buffer = bytearray()
        self._is_open = True
        try:
            self._sock = socket.create_connection(front, OPEN_S)
        except OSError as error:
            raise Refused(str(error)) from None
        try:
            self._sock.sendall(UPGRADE)
            while b"\r\n\r\n" not in self._buffer:
                got = self._sock.recv(4096)
                if not got:
                    raise Refused("closed before an answer")
                self._buffer += got
        except OSError as error:
            self._sock.close()
            raise Refused(str(error)) from None
        except Refused:
            self._sock.close()
            raise
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        self._sock.setblocking(False)
        answer = email.message_from_bytes(head.partition(b"\r\n")[2])
        self.pod, self.release = str(answer["Chat-Pod"]), str(answer["Chat-Release"])

    @property
    def is_open(self) -> bool:
        """Neither reset nor ended, nor has the server sent a close frame."""
        while self._is_open:
            try:
                got = self._sock.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                got = b""
            self._buffer += got
            self._is_open = bool(got) and not self._closing()
        return self._is_open

    def close(self) -> None:
        self._sock.close()

    def _closing(self) -> bool:
        """Take whole frames from the buffer; whether one of them is a close frame."""
        while len(self._buffer) >= 2:
            length, start = self._buffer[1], 2
            if length == 126:
                length, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if self._buffer[0] & 0x0F == CLOSE:
                return True
            if len(self._buffer) < start + length:
                break
            del self._buffer[: start + length]
        return False


class RealStage(Stage):
    """A subclass makes the cluster and says where its front is."""

    def __init__(self, play: Play, cluster: Any) -> None:
        super().__init__(play)
        self.cluster = cluster  # Cluster, with watch
        self._connections: list[RealConnection] = []
        self._over = threading.Event()
        self._recorder = threading.Thread(target=self._record, daemon=True)
        self._recorder.start()

    def front(self) -> tuple[str, int]:
        raise NotImplementedError

    def close(self) -> None:
        self._over.set()
        for connection in self._connections:
            connection.close()
        self._recorder.join(10.0)

    def observe(self) -> Fleet:
        found: Fleet = self.cluster.observe()
        return found

    def act(self, action: Action) -> None:
        self.cluster.act(action)

    def request(self, release: str, kind: Kind) -> int:
        number: int = self.cluster.request(release, kind)
        return number

    def ask(self, pod: str) -> Count | None:
        count: Count | None = self.cluster.ask([pod])[pod]
        return count

    def connect(self) -> RealConnection:
        self._connections.append(RealConnection(self.front()))
        return self._connections[-1]

    def wait(self, what: str, holds: Callable[[Fleet], T], within_s: float = 90.0) -> T:
        until_s = time.monotonic() + within_s
        while not (found := holds(self.observe())):
            assert time.monotonic() < until_s, f"not so after {within_s:g} s: {what}; {self.observe()}"
            time.sleep(LOOK_EVERY_S)
        return found

    def pass_time(self, for_s: float) -> None:
        time.sleep(for_s)

    @property
    def now_s(self) -> float:
        return time.time()

    def _record(self) -> None:
        version = -1
        while not self._over.is_set():
            with contextlib.suppress(ClusterUnreachable):
                version = self.cluster.watch(version, 0.5)
                self.frames.append(self.cluster.observe())
