"""Real users: sockets on gevent's own event loop, driven by a crowd's behaviour.

No greenlet per user: a user is one watcher and a small state machine, so that thousands fit in one process
and idle ones cost nothing. Everything here runs in callbacks of the loop and never blocks.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from websockets.uri import WebSocketURI

from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How
from loadgen.behaviour.crowd import Crowd
from loadgen.behaviour.place import Connect, Leave, Send, Step
from loadgen.connection_log import ConnectionLog
from loadgen.line import READ, WRITE, Line, look_up
from loadgen.wire import Closed, Event, Opened, Ready, Received, Refused, XmppClient

Report = Callable[[str, str, float, str | None], None]
"""Told of each request: type, name, seconds it took from the moment it was wanted, what went wrong."""

_SWEEP_EVERY_S = 1.0
_LAG_S = 0.5  # of a sweep: from here on the measured times are partly our own
_GOODBYE_S = 2.0  # how long either side's goodbye may take
_OUR_OWN_TROUBLE = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


class Users:
    """The real users of one crowd.

    `start` begins the ramp, `zero` sets time zero, `end` writes the rows of what is still open. `failed`
    holds an error that stopped it all, which is ours.
    """

    def __init__(
        self,
        crowd: Crowd,
        uri: WebSocketURI,
        log: ConnectionLog,
        *,
        domain: str,
        password: str,
        report: Report,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises LoadError if the server's name cannot be resolved; it is looked up once."""
        self.crowd = crowd
        self.failed: BaseException | None = None
        self.warnings: deque[str] = deque()
        self._uri, self._log, self._domain, self._password = uri, log, domain, password
        self._report, self._clock = report, clock
        self._family, self._address = look_up(uri)
        self._loop = gevent.get_hub().loop
        self._lines: dict[int, Line] = {}
        self._leaving: set[Line] = set()
        self._silent: list[Line] = []  # left without a word; nothing is read from them or sent to them
        self._steps: deque[Step] = deque()
        self._refused: deque[Line] = deque()
        self._ended = False
        self._timer: Any = None
        self._armed_s = math.inf
        self._warned: set[str] = set()
        self._sweeper = self._loop.timer(_SWEEP_EVERY_S, _SWEEP_EVERY_S)
        self._swept_s = math.inf

    @property
    def ended(self) -> bool:
        """`end` was called, or an error of ours came to the same."""
        return self._ended

    def start(self) -> None:
        """The first users come from now on."""
        self._sweeper.start(self._guarded(self._sweep))
        self._guarded(lambda: self.crowd.start(self._clock()))()

    def zero(self, zero_s: float) -> None:
        """Time zero in Unix seconds, past or to come."""
        self._guarded(lambda: self.crowd.zero(zero_s))()

    def add(self) -> int:
        """One more place, occupied at once."""
        place = self.crowd.add(self._clock())
        self._guarded(lambda: None)()
        return place

    def remove(self, place: int) -> None:
        """One place less: its user leaves."""
        self._guarded(lambda: self._steps.extend(self.crowd.remove(place, self._clock())))()

    def end(self) -> None:
        """Write a row for all that is open or under way, close every socket, flush the log. Idempotent."""
        if self._ended:
            return
        self._ended = True
        for row in self.crowd.end(self._clock()):
            self._log.write(row)
        self._log.flush()
        for watcher in (self._timer, self._sweeper):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        for line in [*self._lines.values(), *self._leaving, *self._silent]:
            self._hang_up(line)

    # The loop's callbacks: each does its bit, then all that follows from it, then sets the alarm anew.

    def _guarded(self, work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            if self._ended:
                return
            try:
                work()
                self._follow_up()
            except Exception as error:
                self.failed = error
                self.end()

        return run

    def _follow_up(self) -> None:
        while self._steps or self._refused:
            if not self._steps:
                # Only now: the steps that were waiting may have ended the attempt already.
                line = self._refused.popleft()
                if line.place is not None:
                    self._detach(line)
                    self._steps.extend(self.crowd.failed(line.connect.place, self._clock(), Failure.REFUSED))
                continue
            step = self._steps.popleft()
            if isinstance(step, Attempt):
                self._log.write(step)
                if step.failure is not None:
                    self._told_of_failure(step)
            elif isinstance(step, Connect):
                self._connect(step)
            elif isinstance(step, Send):
                self._say(step)
            else:
                self._leave(step)
        due_s = self.crowd.due_s
        if due_s != self._armed_s:
            self._arm(due_s)

    def _arm(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        self._armed_s = due_s
        if due_s < math.inf:
            self._timer = self._loop.timer(max(due_s - self._clock(), 0.0))
            self._timer.start(self._guarded(self._due), update=True)

    def _due(self) -> None:
        self._armed_s = math.nan  # whatever is due next, the alarm must be set anew
        self._steps.extend(self.crowd.due(self._clock()))

    def _sweep(self) -> None:
        now_s = self._clock()
        if now_s - self._swept_s > _SWEEP_EVERY_S + _LAG_S:
            self._warn_once(
                f"the load generator lags by more than {_LAG_S} s: its own CPU limits what is measured; "
                "take fewer users, or spread them over more processes"
            )
        self._swept_s = now_s
        for line in [line for line in self._leaving if line.expires_s <= now_s]:
            self._hang_up(line)
        behaviour = self.crowd.behaviour
        for line in list(self._lines.values()):
            if line.expires_s <= now_s:
                self._lost(line, ClosedBy.SERVER, How.CLOSE_FRAME)
            elif not line.client.ready:
                continue
            elif line.asked_s + behaviour.connect_timeout_s <= now_s:
                self._lost(line, ClosedBy.NETWORK, How.TIMEOUT)
            elif line.asked_s == math.inf and line.heard_s + behaviour.keepalive_s <= now_s:
                line.asked_s = now_s
                line.client.ping()
                self._write(line)
        self._log.flush()

    # Connections.

    def _connect(self, step: Connect) -> None:
        client = XmppClient(self._uri, step.user, self._domain, self._password)
        line = self._lines[step.place] = Line(step, client, self._clock())
        code = line.dial(self._family, self._address)
        if code == 0:
            self._watch(line, WRITE)
        else:
            self._warn(code)
            self._refused.append(line)

    def _watch(self, line: Line, events: int) -> None:
        if line.watching != events:
            line.watch(self._loop, events, self._guarded(lambda: self._stirred(line)))

    def _stirred(self, line: Line) -> None:
        if line.watching == WRITE:
            self._tcp_connected(line)
            return
        if line.rest:
            self._write(line)
        self._read(line)

    def _tcp_connected(self, line: Line) -> None:
        code = line.dialled()
        if code:
            self._warn(code)
            self._detach(line)
            self._steps.extend(self.crowd.failed(line.connect.place, self._clock(), Failure.REFUSED))
            return
        self._watch(line, READ)
        self._steps.extend(self.crowd.connected(line.connect.place, self._clock()))
        self._write(line)

    def _read(self, line: Line) -> None:
        if line.socket is None:
            return
        try:
            data = line.receive()
        except OSError:
            self._broken(line, How.RESET)
            return
        if data is None:
            return
        if not data:
            self._broken(line, How.EOF)
            return
        line.heard_s = self._clock()
        line.asked_s = math.inf
        for event in line.client.receive(data):
            if line.place is not None:
                self._happened(line, line.place, event)
        if line.socket is not None:
            if line.client.goodbye_received and line.expires_s == math.inf:
                line.expires_s = line.heard_s + _GOODBYE_S
            self._write(line)

    def _happened(self, line: Line, place: int, event: Event) -> None:
        now_s = line.heard_s
        wanted_s = line.connect.at_s
        if isinstance(event, Opened):
            self._report("WS", "connect", now_s - wanted_s, None)
            self._now(line, self.crowd.opened(place, now_s, event.release, event.pod))
        elif isinstance(event, Ready):
            self._report("XMPP", "login", now_s - wanted_s, None)
            self._now(line, self.crowd.ready(place, now_s))
        elif isinstance(event, Received):
            under_way_s = self.crowd.received(event.message, now_s)
            if under_way_s is not None:
                self._report("XMPP", "message", under_way_s, None)
        elif isinstance(event, Refused):
            self._warn_once(event.detail)
            self._flush_and_hang_up(line)
            self._steps.extend(self.crowd.failed(place, now_s, event.failure))
        else:
            self._ended_by_server(line, place, event)

    def _now(self, line: Line, steps: Iterable[Step]) -> None:
        """Carry out a `Leave` that came at once before the same bytes' next events are looked at."""
        for step in steps:
            if isinstance(step, Leave) and step.place == line.place:
                self._leave(step)
            else:
                self._steps.append(step)

    def _ended_by_server(self, line: Line, place: int, event: Closed) -> None:
        self._flush_and_hang_up(line)
        self._steps.extend(self.crowd.lost(place, line.heard_s, ClosedBy.SERVER, How.CLOSE_FRAME, event.code))

    def _broken(self, line: Line, how: How) -> None:
        if line.place is None:
            self._hang_up(line)
        elif line.client.goodbye_received:
            self._lost(line, ClosedBy.SERVER, How.CLOSE_FRAME)
        else:
            self._lost(line, ClosedBy.NETWORK, how)

    def _lost(self, line: Line, closed_by: ClosedBy, how: How) -> None:
        place = line.connect.place
        self._detach(line)
        self._steps.extend(self.crowd.lost(place, self._clock(), closed_by, how))

    def _say(self, step: Send) -> None:
        line = self._lines[step.place]
        if line.client.ready:  # else the server said goodbye already, and the message is lost
            line.client.say(step.to_user, step.message, step.message)
            self._write(line)

    def _leave(self, step: Leave) -> None:
        line = self._lines.pop(step.place)
        line.place = None
        if step.silently:
            line.fall_silent()
            self._silent.append(line)
        elif line.client.leave():
            line.expires_s = self._clock() + _GOODBYE_S
            self._leaving.add(line)
            self._write(line)
        else:
            self._hang_up(line)

    def _write(self, line: Line) -> None:
        events = line.send()
        if events:
            self._watch(line, events)

    def _flush_and_hang_up(self, line: Line) -> None:
        self._write(line)
        self._detach(line)

    def _detach(self, line: Line) -> None:
        del self._lines[line.connect.place]
        line.place = None
        self._hang_up(line)

    def _hang_up(self, line: Line) -> None:
        self._leaving.discard(line)
        line.hang_up()

    # What is told to people.

    def _told_of_failure(self, row: Attempt) -> None:
        name = "login" if row.t_open_s is not None else "connect"
        kind = "XMPP" if row.t_open_s is not None else "WS"
        ended_s = row.t_request_s if row.t_close_s is None else row.t_close_s
        self._report(kind, name, ended_s - row.t_request_s, str(row.failure))

    def _warn(self, code: int) -> None:
        if code in _OUR_OWN_TROUBLE:
            self._warn_once(
                f"the load generator itself cannot connect: {os.strerror(code)}; "
                "spread the users over more processes or source addresses"
            )

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.warnings.append(text)
