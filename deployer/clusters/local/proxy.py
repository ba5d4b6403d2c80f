"""What kube-proxy does to clients: pick an endpoint once for each connection, and never move one.

FIN passes as FIN and RST as RST, in both directions, and bytes wait in the kernel's buffers only (one chunk
aside): a side that does not read stops the other one. A reset is seen where it is read: that of a side which
waits for a stopped reader is passed on when that one reads on.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import struct
from collections.abc import Callable

from deployer.clusters.local.network import Front

CHUNK_BYTES = 64 << 10
ACCEPTS_AT_ONCE = 128  # then the connections that are there have their turn
OUT_OF_FILES_S = 0.1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class _Half:
    """One direction of a connection."""

    __slots__ = ("done", "pending", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pending: memoryview | None = None  # read, not yet written
        self.done = False  # the source's FIN was passed on


class _Link:
    """One client's connection to one pod."""

    __slots__ = ("_address", "_client", "_loop", "_pod", "_proxy", "_up", "closed", "from_client", "from_pod")

    def __init__(self, proxy: Proxy, client: socket.socket, address: str, port: int) -> None:
        self._proxy = proxy
        self._loop = proxy.loop
        self._address = address
        self._client = client
        self._pod = socket.socket()
        self._pod.setblocking(False)
        self._pod.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.from_client = _Half(client, self._pod)
        self.from_pod = _Half(self._pod, client)
        self.closed = False
        self._up = False
        failed = self._pod.connect_ex((address, port))
        if failed == errno.EINPROGRESS:
            self._loop.add_writer(self._pod, self._connected)
        elif failed:
            self.reset()
        else:
            self._start()

    def _connected(self) -> None:
        self._loop.remove_writer(self._pod)
        if self._pod.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.reset()
        else:
            self._start()

    def _start(self) -> None:
        self._up = True
        self._loop.add_reader(self._client, self._read, self.from_client)
        self._loop.add_reader(self._pod, self._read, self.from_pod)

    def _read(self, half: _Half) -> bool:
        """Move one chunk; whether there may be more to move at once."""
        try:
            data = half.source.recv(CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.reset()
            return False
        if not data:
            self._end(half)
            return False
        self._write(half, memoryview(data))
        return half.pending is None and not self.closed

    def _write(self, half: _Half, data: memoryview) -> None:
        try:
            sent = half.sink.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.reset()
            return
        if sent == len(data):
            if half.pending is not None:
                half.pending = None
                self._loop.remove_writer(half.sink)
                self._loop.add_reader(half.source, self._read, half)
            return
        if half.pending is None:
            self._loop.remove_reader(half.source)
            self._loop.add_writer(half.sink, self._write_on, half)
        half.pending = data[sent:]

    def _write_on(self, half: _Half) -> None:
        if half.pending is not None:
            self._write(half, half.pending)

    def _end(self, half: _Half) -> None:
        """Pass a FIN on; a dying pod's is a reset."""
        if half is self.from_pod and self._proxy.is_dying(self._address):
            self.reset()
            return
        self._loop.remove_reader(half.source)
        half.done = True
        try:
            half.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()
            return
        if self.from_client.done and self.from_pod.done:
            self._close()

    def pod_died(self) -> None:
        """Pass on what the pod said last, then reset; one that it had ended itself is the client's to end."""
        half = self.from_pod
        if self._up and half.pending is None:
            while not (half.done or self.closed) and self._read(half):
                pass
        if not half.done:
            self.reset()

    def reset(self) -> None:
        """End both sides with RST."""
        if not self.closed:
            for side in (self._client, self._pod):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._close()

    def _close(self) -> None:
        self.closed = True
        for side in (self._client, self._pod):
            self._loop.remove_reader(side)
            self._loop.remove_writer(side)
            side.close()
        self._proxy.forget(self._address, self)


class Proxy:
    """The listener on the front port and all connections through it."""

    def __init__(
        self, front: Front, pods_port: int, rng: random.Random, is_dying: Callable[[str], bool]
    ) -> None:
        """`is_dying` tells whether the process at a pod's address has ended or is ending."""
        self.loop = asyncio.get_running_loop()
        self.is_dying = is_dying
        self._front = front
        self._port = pods_port
        self._rng = rng
        self.backends: tuple[str, ...] = ()
        self._links: dict[str, set[_Link]] = {}

    def route(self, backends: tuple[str, ...]) -> None:
        """From now on new connections go to these addresses; with none, clients are refused."""
        if not backends and self.backends:
            self._accept()  # who connected before the change is served by the table of that time
            self.loop.remove_reader(self._front.socket)
            self._front.shut()
        opens = bool(backends) and not self.backends
        self.backends = backends
        if opens:
            self._front.listen()
            self.loop.add_reader(self._front.socket, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                client, _peer = self._front.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # Clients wait in the backlog, as on a machine that has run out of anything.
                self.loop.remove_reader(self._front.socket)
                self.loop.call_later(OUT_OF_FILES_S, self._accept_again)
                return
            client.setblocking(False)
            address = self._rng.choice(self.backends)
            try:
                link = _Link(self, client, address, self._port)
            except OSError:
                client.close()
                continue
            if not link.closed:
                self._links.setdefault(address, set()).add(link)

    def _accept_again(self) -> None:
        if self.backends:
            self.loop.add_reader(self._front.socket, self._accept)

    def pod_died(self, address: str) -> None:
        """The process at this address has ended: nobody stays connected to it."""
        for link in tuple(self._links.get(address, ())):
            link.pod_died()

    def forget(self, address: str, link: _Link) -> None:
        """A connection is over."""
        links = self._links.get(address)
        if links is not None:
            links.discard(link)
            if not links:
                del self._links[address]

    @property
    def connections(self) -> dict[str, int]:
        """How many connections go through it, by pod address."""
        return {address: len(links) for address, links in self._links.items()}

    def close(self) -> None:
        """Refuse new connections and reset all others."""
        self.route(())
        for links in tuple(self._links.values()):
            for link in tuple(links):
                link.reset()
        self._front.close()
