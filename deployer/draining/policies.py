"""When an old release may go: the policies and the settings around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deployer.fleet import PREFIX, Release

KEEP = PREFIX + "keep"
"""On a Deployment: it is pinned, whatever drains; the text may say why ("false": not pinned)."""
MIN_HOLD_S = 2.0
"""New connections reach deselected pods up to a second after the switch; a shorter hold could miss them."""
DEFAULT_DEADLINE_S = 48 * 3600.0


class DrainError(ValueError):
    """A drain setting cannot be used; says in one line which, and what would do."""


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise DrainError(message)


@dataclass(frozen=True, slots=True)
class Manual:
    """It stays until someone deletes it."""

    kind: Literal["manual"] = "manual"


@dataclass(frozen=True, slots=True)
class After:
    """It goes a fixed time after it was deselected, whoever is still connected."""

    duration_s: float
    kind: Literal["after"] = "after"

    def __post_init__(self) -> None:
        ok = math.isfinite(self.duration_s) and self.duration_s >= 0
        _need(ok, f"policy after: {self.duration_s} must be a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Empty:
    """It goes when no connection is left."""

    kind: Literal["empty"] = "empty"


@dataclass(frozen=True, slots=True)
class Few:
    """It goes when at most `count` connections are left, or at most `share` of those when deselected."""

    count: int | None = None
    share: float | None = None
    kind: Literal["few"] = "few"

    def __post_init__(self) -> None:
        _need(
            (self.count is None) != (self.share is None),
            f"policy few: give either a count or a share, not count={self.count} and share={self.share}",
        )
        _need(
            self.count is None or self.count >= 0, f"policy few: {self.count} must be 0 or more connections"
        )
        _need(
            self.share is None or 0 <= self.share < 1,
            f"policy few: a share of {self.share} must be from 0 % to below 100 %",
        )


@dataclass(frozen=True, slots=True)
class WorthIt:
    """It goes when waiting costs more in pods than it spares in reconnects.

    Both prices are in one currency of the user's choice.
    """

    pod_hour_price: float
    reconnect_price: float
    kind: Literal["worth_it"] = "worth_it"

    def __post_init__(self) -> None:
        for name in ("pod_hour_price", "reconnect_price"):
            price = getattr(self, name)
            ok = math.isfinite(price) and price > 0
            _need(ok, f"policy worth_it: {name}={price} must be a price above 0")


Policy = Manual | After | Empty | Few | WorthIt


@dataclass(frozen=True, slots=True)
class Pin:
    """A release that stays, whatever its policy says."""

    release: Release
    keep_s: float | None = None  # after its deselection; None: for ever

    def __post_init__(self) -> None:
        ok = self.keep_s is None or (math.isfinite(self.keep_s) and self.keep_s > 0)
        _need(ok, f"pin of {self.release}: keep_s={self.keep_s} must be above 0; leave it out for no end")


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """How old releases drain. All times in seconds. Raises DrainError where values cannot be used."""

    policy: Policy = Empty()
    deadline_s: float | None = None
    """After so long since its deselection it is overdue; None: one stuck connection keeps it for ever."""
    hold_s: float = 60.0
    """The policy's condition must have held so long without a break; `after` needs none."""
    check_every_s: float = 60.0
    """How often connections are counted while something drains."""
    keep_warm_s: float = 0.0
    """It stays at least so long after its deselection, for a quick rollback."""
    discount_silent: bool = False
    """Open connections without traffic for several ping intervals do not count: their clients are gone."""
    pin_annotation: str = KEEP
    pinned: tuple[Pin, ...] = ()
    """Releases that the deployer itself pins as soon as it sees them."""

    def __post_init__(self) -> None:
        for name in ("deadline_s", "hold_s", "check_every_s", "keep_warm_s"):
            value = getattr(self, name)
            if value is None:
                continue
            ok = math.isfinite(value) and value >= 0
            _need(ok, f"drain: {name}={value} must be a finite number, 0 or more")
        _need(
            self.hold_s >= MIN_HOLD_S,
            f"drain: hold_s={self.hold_s} must be at least {MIN_HOLD_S:g}: connections still reach old pods "
            "up to a second after a switch",
        )
        _need(self.check_every_s > 0, f"drain: check_every_s={self.check_every_s} must be above 0")
        if self.deadline_s is None:
            return
        _need(
            self.keep_warm_s <= self.deadline_s,
            f"drain: keep_warm_s={self.keep_warm_s} must not exceed deadline_s={self.deadline_s}",
        )
        if isinstance(self.policy, After):
            _need(
                self.policy.duration_s <= self.deadline_s,
                f"drain: policy after {self.policy.duration_s} s must not exceed "
                f"deadline_s={self.deadline_s}; leave the deadline out",
            )


def needs_counts(settings: DrainSettings) -> bool:
    """Whether verdicts under these settings need the pods to be asked for their connections."""
    return not isinstance(settings.policy, Manual | After)
