"""When a user who lost its connection tries again: reconnect policies as parameters.

`delay_s(retry, previous_s, rng)` is the wait before a retry. `retry` counts the retries made since the last
login (0 for the first after a loss or a failed arrival), `previous_s` is the wait before the last one (0
where there was none); None means that the user gives up. Jitter as in Marc Brooker, "Exponential Backoff And
Jitter" (AWS, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Literal

from loadgen.behaviour.errors import require

Jitter = Literal["none", "equal", "full", "decorrelated"]


def _check_wait(what: str, wait_s: float) -> None:
    require(
        0 < wait_s < math.inf, f"{what}={wait_s} must be > 0 and finite; to retry at once take `immediate`"
    )


def _check_give_up(give_up: int | None) -> None:
    require(
        give_up is None or give_up >= 1,
        f"reconnect's give_up={give_up} must be >= 1 attempts; leave it out for never",
    )


@dataclass(frozen=True)
class Immediate:
    """A first retry at once and further ones 100 ms apart."""

    give_up: int | None = None  # attempts in a row without a login; None: never
    kind: Literal["immediate"] = "immediate"

    def __post_init__(self) -> None:
        _check_give_up(self.give_up)

    def delay_s(self, retry: int, previous_s: float, rng: Random) -> float | None:
        """0, then 0.1; draws nothing."""
        if self.give_up is not None and retry >= self.give_up:
            return None
        return 0.1 if retry else 0.0


@dataclass(frozen=True)
class Fixed:
    """The same wait before every retry."""

    wait_s: float
    give_up: int | None = None  # attempts in a row without a login; None: never
    kind: Literal["fixed"] = "fixed"

    def __post_init__(self) -> None:
        _check_wait("fixed reconnect's wait", self.wait_s)
        _check_give_up(self.give_up)

    def delay_s(self, retry: int, previous_s: float, rng: Random) -> float | None:
        """The wait; draws nothing."""
        return None if self.give_up is not None and retry >= self.give_up else self.wait_s


@dataclass(frozen=True)
class Schedule:
    """Given waits in their order; the last one repeats."""

    waits_s: tuple[float, ...]
    give_up: int | None = None  # attempts in a row without a login; None: never
    kind: Literal["schedule"] = "schedule"

    def __post_init__(self) -> None:
        require(len(self.waits_s) > 0, "a reconnect schedule has no waits; give at least one, in seconds")
        for wait_s in self.waits_s[:-1]:
            require(0 <= wait_s < math.inf, f"a reconnect schedule's wait={wait_s} must be >= 0 and finite")
        _check_wait("a reconnect schedule's last wait", self.waits_s[-1])
        _check_give_up(self.give_up)

    def delay_s(self, retry: int, previous_s: float, rng: Random) -> float | None:
        """The retry's wait; draws nothing."""
        if self.give_up is not None and retry >= self.give_up:
            return None
        return self.waits_s[min(retry, len(self.waits_s) - 1)]


@dataclass(frozen=True)
class Backoff:
    """Exponential: up to min(cap, base·2^retry), spread by the jitter.

    none: that; equal: half of it plus a uniform share of the other half; full: a uniform share of it;
    decorrelated: min(cap, uniform(base, 3·previous)), previous starting at the base.
    """

    base_s: float = 1.0
    cap_s: float = 60.0
    jitter: Jitter = "full"
    give_up: int | None = None  # attempts in a row without a login; None: never
    kind: Literal["exponential"] = "exponential"

    def __post_init__(self) -> None:
        _check_wait("exponential reconnect's base", self.base_s)
        require(
            self.base_s <= self.cap_s < math.inf,
            f"exponential reconnect's cap={self.cap_s} must be finite and at least its base={self.base_s}",
        )
        require(
            self.jitter in ("none", "equal", "full", "decorrelated"),
            f"exponential reconnect's jitter={self.jitter} must be none, equal, full or decorrelated",
        )
        _check_give_up(self.give_up)

    def delay_s(self, retry: int, previous_s: float, rng: Random) -> float | None:
        """One draw unless the jitter is none."""
        if self.give_up is not None and retry >= self.give_up:
            return None
        if self.jitter == "decorrelated":
            return min(self.cap_s, rng.uniform(self.base_s, 3 * max(previous_s, self.base_s)))
        # The exponent is bounded so that a user who tries for days overflows no float.
        highest_s = min(self.cap_s, self.base_s * 2.0 ** min(retry, 1000))
        if self.jitter == "none":
            return highest_s
        if self.jitter == "equal":
            return highest_s / 2 + rng.random() * highest_s / 2
        return rng.random() * highest_s


Reconnect = Immediate | Fixed | Schedule | Backoff

PRESETS: Mapping[str, Reconnect] = MappingProxyType(
    {
        "xmpp.js": Fixed(1.0),  # 1 s for ever, no jitter
        "converse": Schedule((0.0, 3.0)),  # at once, then every 3 s
        "slixmpp": Schedule(
            (0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0, 255.0, 300.0)
        ),  # w → 2w + 1, up to 300 s
    }
)
"""What real clients do, read from their sources."""
