"""Who comes when: a fixed population, or users who arrive and leave for good.

Arrival times are in seconds since time zero, ascending; an iterator may be endless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from loadgen.behaviour.errors import require

DAY_S = 86_400.0


@dataclass(frozen=True)
class Fixed:
    """Always the same number of users: who leaves is replaced at once."""

    count: int
    kind: Literal["fixed"] = "fixed"

    def __post_init__(self) -> None:
        require(self.count >= 0, f"users' count={self.count} must be >= 0")

    def compressed(self, factor: float) -> Fixed:
        """Itself: a number of users has no time in it."""
        return self


@dataclass(frozen=True)
class Poisson:
    """Independent arrivals at a constant rate."""

    per_s: float
    kind: Literal["poisson"] = "poisson"

    def __post_init__(self) -> None:
        _check_rate("poisson arrivals' per_s", self.per_s)

    def times(self, rng: Random) -> Iterator[float]:
        """Exponential gaps, for ever."""
        t_s = 0.0
        while True:
            t_s += rng.expovariate(self.per_s)
            yield t_s

    def compressed(self, factor: float) -> Poisson:
        """`factor` times as many a second."""
        return replace(self, per_s=self.per_s * factor)


@dataclass(frozen=True)
class Diurnal:
    """Independent arrivals at a rate that swings as a cosine: per_s·(1 + swing·cos 2π(t − peak)/period)."""

    per_s: float  # mean over a period
    swing_ratio: float = 0.8  # of the mean; 1: nobody arrives at the lowest point
    period_s: float = DAY_S
    peak_s: float = DAY_S / 2  # since time zero
    kind: Literal["diurnal"] = "diurnal"

    def __post_init__(self) -> None:
        _check_rate("diurnal arrivals' per_s", self.per_s)
        require(0 <= self.swing_ratio <= 1, f"diurnal arrivals' swing={self.swing_ratio} must be in [0, 1]")
        require(
            0 < self.period_s < math.inf, f"diurnal arrivals' period={self.period_s} must be > 0 and finite"
        )
        require(-math.inf < self.peak_s < math.inf, f"diurnal arrivals' peak={self.peak_s} must be finite")

    def rate_per_s(self, t_s: float) -> float:
        """The rate at one moment."""
        turn = 2 * math.pi * (t_s - self.peak_s) / self.period_s
        return self.per_s * (1 + self.swing_ratio * math.cos(turn))

    def times(self, rng: Random) -> Iterator[float]:
        """Thinning of a Poisson process of the highest rate (Lewis and Shedler, 1979), for ever."""
        highest_per_s = self.per_s * (1 + self.swing_ratio)
        t_s = 0.0
        while True:
            t_s += rng.expovariate(highest_per_s)
            if rng.random() * highest_per_s < self.rate_per_s(t_s):
                yield t_s

    def compressed(self, factor: float) -> Diurnal:
        """`factor` times as many a second, in days that are as much shorter."""
        return replace(
            self, per_s=self.per_s * factor, period_s=self.period_s / factor, peak_s=self.peak_s / factor
        )


@dataclass(frozen=True)
class Trace:
    """Arrivals as measured."""

    times_s: tuple[float, ...]  # since time zero
    kind: Literal["trace"] = "trace"

    def __post_init__(self) -> None:
        previous_s = 0.0
        for t_s in self.times_s:
            require(
                previous_s <= t_s < math.inf,
                f"the arrival at {t_s} must be finite and not before {previous_s}; sort the trace from 0 up",
            )
            previous_s = t_s

    def times(self, rng: Random) -> Iterator[float]:
        """The trace; draws nothing."""
        return iter(self.times_s)

    def compressed(self, factor: float) -> Trace:
        """The trace, played `factor` times as fast."""
        return replace(self, times_s=tuple(t_s / factor for t_s in self.times_s))


Arrivals = Poisson | Diurnal | Trace
Population = Fixed | Poisson | Diurnal | Trace


def _check_rate(what: str, per_s: float) -> None:
    require(0 < per_s < math.inf, f"{what}={per_s} must be > 0 and finite")
