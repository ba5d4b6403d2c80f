"""The gateway: accepts clients, watches their deadlines, and carries out what its life cycle decides."""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import cached_property

from chatserver.backend import Backend
from chatserver.connection import CLOSING_TIMEOUT_S, Connection
from chatserver.lifecycle import Lifecycle, decide
from chatserver.metrics import Counts, Snapshot
from chatserver.options import Address, Options
from chatserver.pages import Pages
from chatserver.wheel import Wheel

TICK_S = 0.25
CRASH_EXIT_CODE = 70  # EX_SOFTWARE: an error of its own
FINISH_TIMEOUT_S = 1.0
"""How long clients may take to answer the last closing handshake before the process exits without them."""


class Gateway:
    """One gateway on one event loop. `finished` is set once it has closed every connection and may exit."""

    def __init__(
        self, options: Options, loop: asyncio.AbstractEventLoop, backend: Address | None = None
    ) -> None:
        self.options = options
        self.loop = loop
        self.now_s = loop.time
        self.counts = Counts()
        self.connections: dict[Connection, None] = {}  # in the order of their acceptance
        self.backend = Backend(loop, *(backend or options.backend))
        self.finished = asyncio.Event()
        self.life = Lifecycle()
        self._wheel: Wheel[Connection] = Wheel(TICK_S)
        self._tick: asyncio.TimerHandle | None = None
        self._look_again: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._finishing = False
        self._crash: asyncio.TimerHandle | None = None

    @cached_property
    def pages(self) -> Pages:
        """What plain HTTP requests on the websocket port get."""
        return Pages(self.options.pod, self.options.release, self.options.domain)

    # Life

    async def start(self) -> Address:
        """Listen and begin to watch the backend; returns the address. Raises OSError."""
        host, port = self.options.listen
        self._server = await self.loop.create_server(
            lambda: Connection(self), host, port, backlog=self.options.backlog
        )
        self._watch = self.loop.create_task(self.backend.watch())
        return Address(*self._server.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        """Release what `start` took; connections that are left are cut."""
        self._stop_listening()
        for timer in (self._tick, self._look_again, self._crash):
            if timer is not None:
                timer.cancel()
        for connection in list(self.connections):
            connection.abort("quit")
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    @property
    def is_ready(self) -> bool:
        """What the readiness probe hears."""
        return self.not_ready_because == ""

    @property
    def not_ready_because(self) -> str:
        """Why new connections should go elsewhere; empty where they should not."""
        if self.life.sigterm_s is not None:
            return "terminating"
        if self.life.quit:
            return "quitting"
        return "" if self.backend.reachable else "the XMPP server cannot be reached"

    def found_ready(self) -> None:
        """A readiness probe has passed; for a release that is to crash, the time runs from the first one."""
        if self.options.crash_after_s is not None and self._crash is None:
            self._crash = self.loop.call_later(self.options.crash_after_s, os._exit, CRASH_EXIT_CODE)

    def sigterm(self) -> None:
        """SIGTERM."""
        self._live(self.life.sigterm(self.options.policy, self.now_s()))

    def deselect(self) -> None:
        """The hook: the Service no longer selects this pod."""
        self._live(self.life.deselected(self.options.policy, self.now_s()))

    def select(self) -> None:
        """The hook is taken back."""
        self._live(self.life.selected())

    def drain(self, per_s: float) -> None:
        """Ask the clients that are connected now to leave."""
        self._live(self.life.drain(per_s, self.now_s()))

    def quit(self) -> None:
        """Close every connection and finish, now."""
        self._live(Lifecycle(self.life.sigterm_s, self.life.deselected_s, None, quit=True))

    def _live(self, life: Lifecycle) -> None:
        self.life = life
        self._steer()

    def _steer(self) -> None:
        """Do what holds now, and look again when time alone may change it."""
        now_s = self.now_s()
        decision = decide(self.options.policy, self.life, len(self.connections), now_s)
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        if not decision.listening:
            self._stop_listening()
        if decision.finish:
            if not self._finishing:
                self._finishing = True
                self._finish(decision.cause)
            return
        if self.life.pace is not None:
            self._ask(decision.ask)
            decision = decide(self.options.policy, self.life, len(self.connections), now_s)
        if decision.look_again_s is not None:
            self._look_again = self.loop.call_at(decision.look_again_s, self._steer)

    def _ask(self, count: int) -> None:
        pace = self.life.pace
        assert pace is not None
        before_s = pace.until_accepted_s
        concerned = [
            connection
            for connection in self.connections
            if not connection.is_closing and (before_s is None or connection.accepted_s <= before_s)
        ]
        self.life = self.life.asked(count, max(0, len(concerned) - count))
        for connection in concerned[:count]:
            connection.end("drain", "system-shutdown", 1012)

    def _finish(self, cause: str) -> None:
        for connection in list(self.connections):
            connection.end(cause, "system-shutdown", 1012)
        if self.connections:
            self.loop.call_later(FINISH_TIMEOUT_S, self.finished.set)
        else:
            self.finished.set()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    # Connections

    def on_accepted(self, connection: Connection) -> None:
        """TCP accept."""
        if self._finishing:
            connection.abort("quit")
            return
        self.connections[connection] = None
        self._set_deadline(connection, connection.accepted_s + self.options.handshake_timeout_s)

    def on_page_request(self, connection: Connection) -> None:
        """It is no user's connection: it asked for a page and is closed."""
        self.connections.pop(connection, None)
        self._set_deadline(connection, self.now_s() + CLOSING_TIMEOUT_S)

    def on_stream_open(self, connection: Connection) -> None:
        """The handshake is over in time; from now on pings."""
        self._set_deadline(connection, self.now_s() + self.options.ping_interval_s)

    def on_closing(self, connection: Connection) -> None:
        """Its end has begun: it has a moment to answer."""
        self._set_deadline(connection, self.now_s() + CLOSING_TIMEOUT_S)

    def on_closed(self, connection: Connection) -> None:
        """It is gone."""
        self._wheel.drop(connection)
        if connection in self.connections:
            del self.connections[connection]
            if connection.opened_s is not None:
                self.counts.sessions.add(self.now_s() - connection.opened_s)
            self.counts.closes[connection.cause or "lost"] += 1
        if self._finishing:
            if not self.connections:
                self.finished.set()
        elif self.life != Lifecycle():
            self._steer()

    def _set_deadline(self, connection: Connection, due_s: float) -> None:
        self._wheel.set(connection, due_s)
        if self._tick is None:
            self._tick = self.loop.call_later(TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        now_s = self.now_s()
        interval_s = self.options.ping_interval_s
        for connection in self._wheel.due(now_s):
            if connection.is_closing:
                connection.abort("lost")
            elif not connection.stream_is_open:
                self._set_deadline(connection, now_s + CLOSING_TIMEOUT_S)
                connection.end("handshake_timeout", "connection-timeout", 1008)
            elif now_s - connection.heard_s < interval_s:
                self._set_deadline(connection, connection.heard_s + interval_s)
            else:
                connection.ping()
                self._set_deadline(connection, now_s + interval_s)
        if len(self._wheel) and self._tick is None:
            self._tick = self.loop.call_later(TICK_S, self._on_tick)

    def snapshot(self) -> Snapshot:
        """What a scrape looks up."""
        now_s = self.now_s()
        silent_s = self.options.silent_intervals * self.options.ping_interval_s
        return Snapshot(
            open_connections=len(self.connections),
            silent_connections=sum(now_s - c.heard_s > silent_s for c in self.connections),
            ages_s=[now_s - c.accepted_s for c in self.connections],
            ready=self.is_ready,
        )
