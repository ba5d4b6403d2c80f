"""When a gateway is ready, when it stops listening, whom it asks to leave and when it exits: decisions only.

`Lifecycle` is what has been asked of the process; `decide` says what that means now. Times are seconds on
the process's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

EXIT_MARGIN_S = 1.5
"""How long before the grace ends a gateway begins to close what is left: closing takes up to a second."""


class OnSigterm(StrEnum):
    """What SIGTERM means."""

    CLOSE = "close"  # serve for `linger`, then close all and exit
    HOLD = "hold"  # wait for the last connection, as long as the grace allows
    PACE = "pace"  # ask clients to leave, so many a second


class OnDeselected(StrEnum):
    """What the hook means that says: the Service no longer selects this pod."""

    LEAVE_WHEN_EMPTY = "leave_when_empty"
    PACE = "pace"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide."""

    on_sigterm: OnSigterm = OnSigterm.CLOSE
    on_deselected: OnDeselected = OnDeselected.LEAVE_WHEN_EMPTY
    linger_s: float = 2.0
    grace_s: float = 30.0
    per_s: float = 10.0  # pace of the asking where no request names one

    @property
    def longest_s(self) -> float:
        """How long after SIGTERM the process may still serve."""
        return max(0.0, self.grace_s - EXIT_MARGIN_S)


@dataclass(frozen=True, slots=True)
class Pace:
    """Clients are asked to leave at a rate: the first at once, then one every 1/per_s seconds."""

    per_s: float
    since_s: float
    asked: int = 0
    until_accepted_s: float | None = None  # only connections accepted before; None: all

    def due(self, now_s: float) -> int:
        """How many more to ask by now."""
        return max(0, int((now_s - self.since_s) * self.per_s + 1e-9) + 1 - self.asked)

    @property
    def next_s(self) -> float:
        """When the next one is due."""
        return self.since_s + self.asked / self.per_s


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What has been asked of the process so far."""

    sigterm_s: float | None = None
    deselected_s: float | None = None
    pace: Pace | None = None
    quit: bool = False

    def sigterm(self, policy: Policy, now_s: float) -> Lifecycle:
        """SIGTERM came; a second one changes nothing."""
        if self.sigterm_s is not None:
            return self
        pace = Pace(policy.per_s, now_s) if policy.on_sigterm is OnSigterm.PACE else self.pace
        return replace(self, sigterm_s=now_s, pace=pace)

    def deselected(self, policy: Policy, now_s: float) -> Lifecycle:
        """The hook was called; a second call changes nothing."""
        if self.deselected_s is not None:
            return self
        pace = Pace(policy.per_s, now_s) if policy.on_deselected is OnDeselected.PACE else self.pace
        return replace(self, deselected_s=now_s, pace=pace)

    def selected(self) -> Lifecycle:
        """The hook is taken back: a rollback selected this pod again."""
        return replace(self, deselected_s=None, pace=None if self.sigterm_s is None else self.pace)

    def drain(self, per_s: float, now_s: float) -> Lifecycle:
        """Ask those who are connected now to leave at this rate; 0 stops the asking."""
        if per_s <= 0:
            return replace(self, pace=None)
        everyone = self.pace is not None and self.pace.until_accepted_s is None
        return replace(self, pace=Pace(per_s, now_s, until_accepted_s=None if everyone else now_s))

    def asked(self, count: int, left: int) -> Lifecycle:
        """So many asks fell due and were spent; of those whom the pace concerns so many are left.

        Where there were fewer clients than asks, nothing is saved up.
        """
        if self.pace is None:
            return self
        if left == 0 and self.pace.until_accepted_s is not None:
            return replace(self, pace=None)
        return replace(self, pace=replace(self.pace, asked=self.pace.asked + count))


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds now. `look_again_s` is when time alone may change it."""

    ready: bool
    listening: bool
    ask: int  # connections to ask to leave now
    finish: bool  # close every connection and exit
    cause: str  # of the closes that `finish` makes
    look_again_s: float | None


def decide(policy: Policy, life: Lifecycle, open_connections: int, now_s: float) -> Decision:
    """What the process is to do now."""
    times: list[float] = []
    listening, finish, cause = True, life.quit, "quit"
    ask = 0
    if life.sigterm_s is not None:
        over_s = life.sigterm_s + policy.longest_s
        linger_over_s = min(life.sigterm_s + policy.linger_s, over_s)
        if policy.on_sigterm is OnSigterm.CLOSE:
            over_s = linger_over_s
        times += [linger_over_s, over_s]
        listening = now_s < linger_over_s
        empty = not listening and open_connections == 0
        if not finish and (now_s >= over_s or empty):
            finish, cause = True, "sigterm"
    if life.deselected_s is not None and policy.on_deselected is not OnDeselected.NOTHING:
        linger_over_s = life.deselected_s + policy.linger_s
        times.append(linger_over_s)
        if not finish and now_s >= linger_over_s and open_connections == 0:
            finish, cause = True, "deselected"
    if life.pace is not None and not finish:
        ask = life.pace.due(now_s)
        times.append(replace(life.pace, asked=life.pace.asked + ask).next_s)
    later = [t for t in times if t > now_s]
    return Decision(
        ready=life.sigterm_s is None and not life.quit,
        listening=listening and not finish,
        ask=ask,
        finish=finish,
        cause=cause,
        look_again_s=min(later) if later else None,
    )
