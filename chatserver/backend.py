"""The gateway's way to the XMPP server: one TCP stream a user, one opinion on whether it can be reached."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Protocol, cast

CONNECT_TIMEOUT_S = 5.0
CHECK_WELL_S = 5.0
CHECK_ILL_S = 0.5
HIGH_WATER_BYTES = 64 * 1024


class User(Protocol):
    """Whom a link belongs to."""

    def on_backend_data(self, data: bytes) -> None:
        """The backend has sent something."""
        ...

    def on_backend_lost(self) -> None:
        """The link broke, or was never made; it is not told of what `drop` does."""
        ...

    def on_backend_full(self, is_full: bool) -> None:
        """The backend reads too slowly (True), or has caught up."""
        ...


class Link(asyncio.Protocol):
    """One user's stream to the backend. What is written before it is connected waits."""

    __slots__ = ("_backend", "_full", "_task", "_transport", "_user", "_waiting")

    def __init__(self, backend: Backend, user: User) -> None:
        self._backend = backend
        self._user: User | None = user
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._task: asyncio.Task[None] | None = backend.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._backend.connect(lambda: self)
        except OSError:
            self._backend.suspect()
            self._lose()
        finally:
            self._task = None

    def write(self, data: bytes) -> None:
        """Send, now or once connected."""
        if self._transport is None:
            self._waiting.append(data)
            if self._user is not None and sum(map(len, self._waiting)) > HIGH_WATER_BYTES:
                self._user.on_backend_full(True)
        else:
            self._transport.write(data)

    def pause(self, paused: bool) -> None:
        """Stop to read from the backend, or go on."""
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def drop(self) -> None:
        """Close after what was written; the user hears nothing more."""
        self._user = None
        if self._transport is not None:
            self._transport.close()
        elif self._task is not None:
            self._task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: write what waited."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        if self._user is None:
            transport.close()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        transport.write(b"".join(self._waiting))
        self._waiting.clear()
        if not transport.get_write_buffer_size():
            self._user.on_backend_full(False)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        if self._user is not None:
            self._user.on_backend_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The backend hung up or broke."""
        self._transport = None
        if self._user is not None:
            self._backend.suspect()
        self._lose()

    def _lose(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            user.on_backend_lost()

    def pause_writing(self) -> None:
        """The backend reads too slowly."""
        if self._user is not None:
            self._user.on_backend_full(True)

    def resume_writing(self) -> None:
        """The backend has caught up."""
        if self._user is not None:
            self._user.on_backend_full(False)


class Backend:
    """An XMPP server at one address.

    Looks every few seconds whether it accepts connections, and at once where a user's connection broke. A
    name is looked up by these checks, not again for every login while they succeed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.loop = loop
        self.reachable = False
        self._host = host
        self._port = port
        self._address: tuple[str, int] | None = None  # that the last check reached
        self._lookup: asyncio.Future[list[tuple[str, int]]] | None = None
        self._suspected = asyncio.Event()

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect. Raises OSError (TimeoutError is one)."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._connected(factory, [self._address] if self._address else await self._found())

    def suspect(self) -> None:
        """A connection failed: look now whether the backend is there."""
        self._suspected.set()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            found = self.reachable = await self._look()
            self._suspected.clear()
            try:
                async with asyncio.timeout(CHECK_WELL_S if found else CHECK_ILL_S):
                    # while it is ill, every failing login would ask for one more look
                    await (self._suspected.wait() if found else asyncio.Event().wait())
            except TimeoutError:
                pass

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport = await self._connected(asyncio.Protocol, await self._found())
        except OSError:
            self._address = None
            return False
        self._address = transport.get_extra_info("peername")[:2]
        transport.close()
        return True

    async def _connected(
        self, factory: Callable[[], asyncio.Protocol], addresses: list[tuple[str, int]]
    ) -> asyncio.BaseTransport:
        """The first of these addresses that accepts. Raises the last one's OSError."""
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return (await self.loop.create_connection(factory, *address))[0]
        return (await self.loop.create_connection(factory, *addresses[-1]))[0]

    async def _found(self) -> list[tuple[str, int]]:
        """The name's addresses. Raises OSError.

        The loop's own lookup is not used: its end waits for lookups under way, and a pod that is to exit would
        wait for a silent name server. There is one at a time, in a thread that nobody waits for.
        """
        if self._lookup is None:
            self._lookup = self.loop.create_future()
            thread = threading.Thread(target=self._look_up, args=(self._lookup,), daemon=True)
            thread.start()
        return await asyncio.shield(self._lookup)

    def _look_up(self, lookup: asyncio.Future[list[tuple[str, int]]]) -> None:
        found: list[tuple[str, int]] = []
        error = None
        try:
            infos = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            found = [(str(info[4][0]), int(info[4][1])) for info in infos]
        except OSError as failed:
            error = failed
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self.loop.call_soon_threadsafe(self._looked_up, lookup, found, error)

    def _looked_up(
        self,
        lookup: asyncio.Future[list[tuple[str, int]]],
        found: list[tuple[str, int]],
        error: OSError | None,
    ) -> None:
        self._lookup = None
        if error is None:
            lookup.set_result(found)
        else:
            lookup.set_exception(error)
            lookup.exception()  # who asked may be gone
