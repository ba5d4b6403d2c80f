"""One place in the population: who occupies it, when they connect, talk, lose their connection and leave.

Pure: no clock, no I/O. A driver (real sockets or a simulation) tells the place what happened and when, and
carries out the commands that come back, in their order. Beside events it calls `due` no later than at
`due_s`. One connection at most is under way or open per place; after `failed`, `lost` and a `Leave` command
it is gone, and nothing more of it may be reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from random import Random

from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How, Reason
from loadgen.behaviour.mailroom import Line, Mailroom
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams

__all__ = ["TRYING", "Attempt", "Connect", "Leave", "OutOfOrderError", "Phase", "Place", "Send", "Step"]


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection for this user."""

    place: int
    user: str
    attempt: int
    reason: Reason
    at_s: float  # when the user wanted it: never later than the call that returned it


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on the open connection; whoever receives it calls `Mailroom.received(message, …)`."""

    place: int
    message: str  # its id
    to_place: int
    to_user: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The client closes the connection or drops the attempt; its row is in the same list.

    One that goes silently says nothing to the server, whose side of the connection stays as it is.
    """

    place: int
    silently: bool = False


Step = Connect | Send | Leave | Attempt
"""What an event leads to: commands, and rows of the connection log that are finished."""


class Phase(Enum):
    """Where a place stands."""

    VACANT = "vacant"  # nobody there: not begun, or left for good
    CONNECTING = "connecting"  # TCP
    SHAKING = "shaking"  # TCP connected, websocket handshake under way
    OPENED = "opened"  # websocket open, login under way
    ONLINE = "online"
    WAITING = "waiting"  # offline, until the next retry
    ENDED = "ended"  # the run is over


TRYING = frozenset({Phase.CONNECTING, Phase.SHAKING, Phase.OPENED})

_TIMEOUT_IN = {
    Phase.CONNECTING: Failure.CONNECT_TIMEOUT,
    Phase.SHAKING: Failure.HANDSHAKE,
    Phase.OPENED: Failure.LOGIN,
}
_LOSS_IN = {Phase.CONNECTING: Failure.REFUSED, Phase.SHAKING: Failure.HANDSHAKE, Phase.OPENED: Failure.LOGIN}


class OutOfOrderError(RuntimeError):
    """A driver reported something that cannot happen in the place's phase: a mistake in the driver."""


class Place:
    """The state machine of one place.

    Occupants are users `u<index>-<occupant>`, counted from 0. Each has a session: a wish to be online with a
    fixed end, which no loss moves. Session lengths come from the stream "session/<index>" in the order of
    occupants, so that every world gives the same occupant of the same place the same session; waits come from
    "backoff/<index>", message gaps and addressees from "messages/<index>", who leaves silently from
    "vanish/<index>".

    Sessions that start before time zero last for a residual life from time zero on; later ones for a fresh
    draw.
    """

    __slots__ = (
        "_attempt", "_backoff", "_behaviour", "_deadline_s", "_end_s", "_failed", "_last_s", "_length_s",
        "_line", "_mail", "_message_s", "_messages", "_open_s", "_opened_before", "_pod", "_previous_s",
        "_ready_s", "_reason", "_release", "_replaced", "_request_s", "_retries", "_retry_s", "_sessions",
        "_streams", "_vanish", "_zero_s", "attempts", "begin_s", "forced", "index", "occupant", "phase", "reconnects",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        behaviour: Behaviour,
        streams: Streams,
        mail: Mailroom,
        *,
        begin_s: float = math.inf,
        zero_s: float | None = None,
        replaced: bool = True,
    ) -> None:
        """A vacant place; its first occupant comes at `begin_s` (by `due`), or when `begin` is called.

        `zero_s`: time zero where it is known already. `replaced`: who leaves or gives up is followed at once
        by another user; else the place stays vacant.
        """
        self.index = index
        self.phase = Phase.VACANT
        self.begin_s = begin_s
        self.occupant = -1
        self.attempts = self.reconnects = self.forced = 0  # of all occupants so far
        self._behaviour, self._streams, self._mail = behaviour, streams, mail
        self._zero_s, self._replaced = zero_s, replaced
        self._sessions = streams.fresh(f"session/{index}")
        self._backoff: Random | None = None
        self._messages: Random | None = None
        self._vanish: Random | None = None
        self._release: str | None = None
        self._pod: str | None = None
        self._last_s = -math.inf
        self._deadline_s = self._retry_s = self._message_s = self._end_s = math.inf
        self._open_s: float | None = None
        self._ready_s: float | None = None
        self._line: Line | None = None

    @property
    def user(self) -> str:
        """The present occupant's name."""
        return f"u{self.index}-{self.occupant}"

    @property
    def end_s(self) -> float:
        """When the present occupant's session ends; infinite while time zero is not known."""
        return self._end_s

    @property
    def release(self) -> str | None:
        """The release that serves the present connection."""
        return self._release if self.phase in (Phase.OPENED, Phase.ONLINE) else None

    @property
    def due_s(self) -> float:
        """When `due` is to be called, infinite if time alone changes nothing."""
        if self.phase is Phase.VACANT:
            return self.begin_s
        if self.phase is Phase.ENDED:
            return math.inf
        if self.phase is Phase.ONLINE:
            return min(self._end_s, self._message_s)
        return min(self._end_s, self._retry_s if self.phase is Phase.WAITING else self._deadline_s)

    def begin(self, t_s: float) -> list[Step]:
        """The place's time has come: its first occupant connects. Raises OutOfOrderError if there was one."""
        if self.phase is not Phase.VACANT or self.occupant >= 0:
            raise self._out_of_order("begin")
        return self._after(t_s, self._arrive(t_s))

    def zero(self, t_s: float) -> None:
        """Time zero is (or was, or will be) at `t_s`: from there the residual lives run. Once at most."""
        if self._zero_s is not None:
            raise self._out_of_order("a second time zero")
        self._zero_s = t_s
        if self.phase not in (Phase.VACANT, Phase.ENDED):
            self._end_s = t_s + self._length_s

    def connected(self, t_s: float) -> list[Step]:
        """TCP connected; from here the second timeout runs, until the login is done."""
        self._must_be("connected", Phase.CONNECTING)
        self.phase = Phase.SHAKING
        self._deadline_s = t_s + self._behaviour.connect_timeout_s
        return self._after(t_s, [])

    def opened(self, t_s: float, release: str | None, pod: str | None) -> list[Step]:
        """The websocket handshake is finished, and its answer named who serves."""
        self._must_be("opened", Phase.SHAKING)
        self.phase = Phase.OPENED
        self._open_s, self._release, self._pod = t_s, release, pod
        self._opened_before = True
        return self._after(t_s, [])

    def ready(self, t_s: float) -> list[Step]:
        """Logged in: bound, and presence sent."""
        self._must_be("ready", Phase.OPENED)
        self.phase = Phase.ONLINE
        self._ready_s = t_s
        self._failed = self._retries = 0
        self._previous_s = 0.0
        self._line = self._mail.login(self.index, self.user, self._attempt)
        self._message_s = t_s + self._gap_s()
        return self._after(t_s, [])

    def failed(
        self, t_s: float, failure: Failure, how: How | None = None, close_code: int | None = None
    ) -> list[Step]:
        """The attempt failed at the client's side of things: refused, no websocket, not let in."""
        self._must_be("failed", *TRYING)
        closed_by = ClosedBy.USER if self.phase is Phase.OPENED else ClosedBy.NEVER_OPENED
        steps = self._finish(t_s, closed_by, failure, how, close_code)
        return self._after(t_s, self._offline(t_s, steps))

    def lost(
        self, t_s: float, closed_by: ClosedBy, how: How | None = None, close_code: int | None = None
    ) -> list[Step]:
        """The connection, open or under way, was closed by someone else than the user."""
        self._must_be("lost", Phase.ONLINE, *TRYING)
        if self.phase in (Phase.CONNECTING, Phase.SHAKING):
            closed_by = ClosedBy.NEVER_OPENED
        steps = self._finish(t_s, closed_by, _LOSS_IN.get(self.phase), how, close_code)
        return self._after(t_s, self._offline(t_s, steps))

    def due(self, now_s: float) -> list[Step]:
        """What time alone has brought by `now_s`: beginnings, ends of sessions, retries, timeouts, messages.

        Each takes effect at the moment for which it was intended, however late the call is.
        """
        self._last_s = max(self._last_s, now_s)
        steps: list[Step] = []
        while (at_s := self.due_s) <= now_s:
            if self.phase is Phase.VACANT:
                self.begin_s = math.inf
                steps += self._arrive(at_s)
            elif self._end_s <= at_s:
                if self.phase is not Phase.WAITING:
                    steps.append(Leave(self.index, silently=self._vanishes()))
                    steps += self._finish(self._not_before_its_start(at_s), ClosedBy.USER, None, None, None)
                steps += self._gone(at_s)
            elif self.phase is Phase.WAITING:
                self._retries += 1
                steps += self._connect(at_s)
            elif self.phase is Phase.ONLINE:
                steps += self._talk(at_s)
            else:
                closed_by = ClosedBy.USER if self.phase is Phase.OPENED else ClosedBy.NEVER_OPENED
                failure = _TIMEOUT_IN[self.phase]
                steps.append(Leave(self.index))
                steps += self._finish(at_s, closed_by, failure, How.TIMEOUT, None)
                steps = self._offline(at_s, steps)
        return steps

    def leave(self, t_s: float) -> list[Step]:
        """Whoever is there goes now, and nobody follows: the population shrinks."""
        steps: list[Step] = []
        if self.phase is Phase.ONLINE or self.phase in TRYING:
            steps.append(Leave(self.index))
            steps += self._finish(self._not_before_its_start(t_s), ClosedBy.USER, None, None, None)
        self.phase = Phase.ENDED
        return steps

    def end(self, t_s: float) -> list[Step]:
        """The run is over. What is open or under way gets a row without an end; no `Leave` is asked for."""
        steps: list[Step] = []
        if self.phase is Phase.ONLINE or self.phase in TRYING:
            steps += self._finish(None, ClosedBy.RUN_END, None, None, None, now_s=t_s)
        self.phase = Phase.ENDED
        return steps

    def _arrive(self, t_s: float) -> list[Step]:
        self.occupant += 1
        self._attempt = self._failed = self._retries = 0
        self._previous_s = 0.0
        self._opened_before = False
        session = self._behaviour.session
        if self._zero_s is None or t_s < self._zero_s:
            self._length_s = session.residual(self._sessions)
            self._end_s = math.inf if self._zero_s is None else self._zero_s + self._length_s
        else:
            self._length_s = session.draw(self._sessions)
            self._end_s = t_s + self._length_s
        return self._connect(t_s)

    def _connect(self, at_s: float) -> list[Step]:
        self.phase = Phase.CONNECTING
        self._attempt += 1
        self._reason = Reason.RECONNECT if self._opened_before else Reason.ARRIVAL
        self._request_s = at_s
        self._open_s = self._ready_s = None
        self._release = self._pod = None
        # Nobody times out before the connection could be tried: a late driver's delay is not the network's.
        self._deadline_s = max(at_s, self._last_s) + self._behaviour.connect_timeout_s
        self.attempts += 1
        self.reconnects += self._reason is Reason.RECONNECT
        return [Connect(self.index, self.user, self._attempt, self._reason, at_s)]

    def _offline(self, t_s: float, steps: list[Step]) -> list[Step]:
        """After a loss or a failed attempt: wait for the next retry, or be gone."""
        policy = self._behaviour.reconnect
        if policy.give_up is not None and self._failed >= policy.give_up:
            return steps + self._gone(t_s)
        if self._backoff is None:
            self._backoff = self._streams.fresh(f"backoff/{self.index}")
        delay_s = policy.delay_s(self._retries, self._previous_s, self._backoff)
        if delay_s is None:
            return steps + self._gone(t_s)
        self.phase = Phase.WAITING
        self._previous_s = delay_s
        self._retry_s = t_s + delay_s
        return steps

    def _gone(self, t_s: float) -> list[Step]:
        self.phase = Phase.VACANT
        return self._arrive(t_s) if self._replaced else []

    def _vanishes(self) -> bool:
        """Whether the user who is online now goes without a word: a phone without a signal, a closed lid."""
        ratio = self._behaviour.vanish_ratio
        if not ratio or self.phase is not Phase.ONLINE:
            return False
        if self._vanish is None:
            self._vanish = self._streams.fresh(f"vanish/{self.index}")
        return self._vanish.random() < ratio

    def _talk(self, at_s: float) -> list[Step]:
        assert self._line is not None
        assert self._messages is not None
        self._message_s = at_s + self._gap_s()
        to = self._mail.someone_else(self._line, self._messages)
        if to is None:
            return []
        return [Send(self.index, self._mail.send(self._line, to, at_s), to.place, to.user, at_s)]

    def _gap_s(self) -> float:
        if not self._behaviour.messages_per_min:
            return math.inf
        if self._messages is None:
            self._messages = self._streams.fresh(f"messages/{self.index}")
        return self._messages.expovariate(self._behaviour.messages_per_min / 60)

    def _finish(
        self,
        t_s: float | None,
        closed_by: ClosedBy,
        failure: Failure | None,
        how: How | None,
        close_code: int | None,
        now_s: float | None = None,
    ) -> list[Step]:
        self._failed += self._ready_s is None
        give_up = self._behaviour.reconnect.give_up
        row = Attempt(
            self.user, self._attempt, self._reason, self._request_s, self._open_s, self._ready_s, t_s,
            self._release, self._pod, closed_by, failure, close_code, 0, 0, how,
            t_end_s=self._end_s if self._end_s < math.inf else None,
            gave_up=failure is not None and give_up is not None and self._failed >= give_up,
        )  # fmt: skip
        self.forced += row.forced
        if self._line is None:
            return [row]
        line, self._line = self._line, None
        ended_s = now_s if t_s is None else t_s
        assert ended_s is not None
        return list(self._mail.logout(line, row, ended_s, cut=row.forced))

    def _not_before_its_start(self, t_s: float) -> float:
        """A session that ended before its driver got round to it cannot end before it was seen to begin."""
        return max(t_s, self._request_s, self._open_s or t_s, self._ready_s or t_s)

    def _after(self, t_s: float, steps: list[Step]) -> list[Step]:
        return steps + self.due(t_s)

    def _must_be(self, event: str, *phases: Phase) -> None:
        if self.phase not in phases:
            raise self._out_of_order(event)

    def _out_of_order(self, event: str) -> OutOfOrderError:
        return OutOfOrderError(
            f"place {self.index}: {event} while {self.phase.value}, occupant {self.occupant}"
        )
