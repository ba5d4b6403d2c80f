"""One connection of a real user: its socket on gevent's event loop, and the client that speaks over it."""

from __future__ import annotations

import contextlib
import errno
import math
import socket as sockets
from collections.abc import Callable
from typing import Any

from gevent import monkey
from websockets.uri import WebSocketURI

from loadgen.behaviour.place import Connect
from loadgen.config import LoadError
from loadgen.wire import XmppClient

READ, WRITE = 1, 2
_RECEIVE_BYTES = 65_536

# Locust replaces the socket module's classes by cooperative ones, which callbacks of the loop must not use.
_Socket: Any = monkey.get_original("socket", "socket")


class Line:
    """A socket, its watcher, and the client that speaks over it; nothing here blocks or decides."""

    __slots__ = (
        "asked_s", "client", "connect", "expires_s", "heard_s", "place", "rest", "socket", "watcher",
        "watching",
    )  # fmt: skip

    def __init__(self, connect: Connect, client: XmppClient, now_s: float) -> None:
        self.connect = connect
        self.place: int | None = connect.place  # None: its user has left, and only the goodbye is under way
        self.client = client
        self.socket: Any = None
        self.watcher: Any = None
        self.watching = 0
        self.rest = b""  # bytes that the socket did not take yet
        self.heard_s = now_s
        self.asked_s = math.inf  # when a keepalive went out that nothing has answered
        self.expires_s = math.inf  # when a goodbye has taken too long

    def dial(self, family: int, address: Any) -> int:
        """Begin to connect; 0, or the number of the error that came at once."""
        try:
            self.socket = _Socket(family, sockets.SOCK_STREAM)
            self.socket.setblocking(False)
            self.socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            code: int = self.socket.connect_ex(address)
        except OSError as error:
            return error.errno or errno.EIO
        return 0 if code == errno.EINPROGRESS else code

    def dialled(self) -> int:
        """Once it can be written to: 0 if it is connected, else the error's number."""
        code: int = self.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR)
        return code

    def watch(self, loop: Any, events: int, stirred: Callable[[], None]) -> None:
        """Let the loop call `stirred` when it can be read, or written to."""
        if self.watcher is None:
            self.watcher = loop.io(self.socket.fileno(), events)
        else:
            self.watcher.stop()
            self.watcher.events = events
        self.watching = events
        self.watcher.start(stirred)

    def receive(self) -> bytes | None:
        """What has come, empty at the end of the stream; None for nothing yet. Raises OSError."""
        try:
            data: bytes = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        return data

    def send(self) -> int:
        """Send what the client has to say and what was left; what to watch for next, 0 if nothing was said."""
        data = self.rest + self.client.outgoing()
        if not data or self.socket is None:
            return 0
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)  # what became of the connection is for the next read to find
        self.rest = data[sent:]
        return READ | WRITE if self.rest else READ

    def fall_silent(self) -> None:
        """Hear nothing any more; the socket stays open."""
        if self.watcher is not None:
            self.watcher.stop()

    def hang_up(self) -> None:
        """Close the socket; idempotent."""
        if self.watcher is not None:
            self.watcher.stop()
            self.watcher.close()
            self.watcher = None
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.close()
            self.socket = None


def look_up(uri: WebSocketURI) -> tuple[int, Any]:
    """The server's address family and address. Raises LoadError if its name cannot be resolved."""
    try:
        family, _, _, _, address = sockets.getaddrinfo(uri.host, uri.port, type=sockets.SOCK_STREAM)[0]
    except OSError as error:
        raise LoadError(f"the chat server's name {uri.host} cannot be resolved: {error.strerror}") from error
    return family, address
