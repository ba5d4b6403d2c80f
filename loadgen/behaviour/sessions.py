"""How long users wish to be online: session-length distributions and their equilibrium residual lives.

The residual life is what is left of a session that is met at a random moment of a steady state. Its density
is S(t)/E[X], its mean E[X²]/2E[X] (the inspection paradox). It is drawn exactly, as a uniform share of a
length-biased session (Cox, Renewal Theory, 1962, chapter 5): no numerical inversion.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Literal, Protocol

from loadgen.behaviour.errors import require


class SessionLength(Protocol):
    """What every session-length distribution can do; all are frozen dataclasses with times in seconds."""

    @property
    def mean_s(self) -> float:
        """E[X]; infinite for `Forever`."""
        ...

    @property
    def mean_residual_s(self) -> float:
        """E[X²]/2E[X]."""
        ...

    def draw(self, rng: Random) -> float:
        """The length of a fresh session."""
        ...

    def residual(self, rng: Random) -> float:
        """What is left of a session met at a random moment of the steady state."""
        ...

    def survival(self, t_s: float) -> float:
        """P(X > t)."""
        ...

    def residual_survival(self, t_s: float) -> float:
        """P(residual life > t): of n users online now, n times this many of them stay for t more seconds."""
        ...


@dataclass(frozen=True)
class Exponential:
    """Memoryless sessions: the residual life has the same law."""

    mean_s: float
    kind: Literal["exponential"] = "exponential"

    def __post_init__(self) -> None:
        _positive("exponential sessions' mean", self.mean_s)

    @property
    def mean_residual_s(self) -> float:
        """The mean itself."""
        return self.mean_s

    def draw(self, rng: Random) -> float:
        """A fresh session."""
        return rng.expovariate(1 / self.mean_s)

    def residual(self, rng: Random) -> float:
        """Memoryless: as a fresh one."""
        return rng.expovariate(1 / self.mean_s)

    def survival(self, t_s: float) -> float:
        """exp(−t/mean)."""
        return math.exp(-max(t_s, 0.0) / self.mean_s)

    def residual_survival(self, t_s: float) -> float:
        """exp(−t/mean)."""
        return self.survival(t_s)

    def scaled(self, factor: float) -> Exponential:
        """Every session `factor` times as long."""
        return replace(self, mean_s=self.mean_s * factor)


@dataclass(frozen=True)
class Weibull:
    """Sessions of a typical length (shape > 1) or heavy-tailed ones (shape < 1); given by their mean."""

    mean_s: float
    shape: float
    kind: Literal["weibull"] = "weibull"

    def __post_init__(self) -> None:
        _positive("weibull sessions' mean", self.mean_s)
        require(
            0.1 <= self.shape <= 100,
            f"weibull sessions' shape={self.shape} must be in [0.1, 100]; 1 is exponential",
        )

    @cached_property
    def scale_s(self) -> float:
        """λ = mean / Γ(1 + 1/k)."""
        return self.mean_s / math.gamma(1 + 1 / self.shape)

    @property
    def mean_residual_s(self) -> float:
        """λ² Γ(1 + 2/k) / 2 mean."""
        return self.scale_s**2 * math.gamma(1 + 2 / self.shape) / (2 * self.mean_s)

    def draw(self, rng: Random) -> float:
        """A fresh session."""
        return rng.weibullvariate(self.scale_s, self.shape)

    def residual(self, rng: Random) -> float:
        """Length-biased, (X/λ)^k is Gamma(1 + 1/k)."""
        biased: float = self.scale_s * rng.gammavariate(1 + 1 / self.shape, 1.0) ** (1 / self.shape)
        return rng.random() * biased

    def survival(self, t_s: float) -> float:
        """exp(−(t/λ)^k)."""
        return math.exp(-((max(t_s, 0.0) / self.scale_s) ** self.shape))

    def residual_survival(self, t_s: float) -> float:
        """Q(1/k, (t/λ)^k), the regularised upper incomplete gamma function."""
        from scipy.special import gammaincc  # heavy, and real users never need it

        return float(gammaincc(1 / self.shape, (max(t_s, 0.0) / self.scale_s) ** self.shape))

    def scaled(self, factor: float) -> Weibull:
        """Every session `factor` times as long."""
        return replace(self, mean_s=self.mean_s * factor)


@dataclass(frozen=True)
class Lognormal:
    """Many short sessions and a few very long ones; given by median and σ of the logarithm."""

    median_s: float
    sigma: float
    kind: Literal["lognormal"] = "lognormal"

    def __post_init__(self) -> None:
        _positive("lognormal sessions' median", self.median_s)
        require(
            0 < self.sigma <= 5,
            f"lognormal sessions' sigma={self.sigma} must be in (0, 5]; take 1 for a wide one",
        )

    @classmethod
    def of_mean(cls, mean_s: float, sigma: float) -> Lognormal:
        """The one with this mean: median = mean·exp(−σ²/2)."""
        return cls(mean_s * math.exp(-(sigma**2) / 2), sigma)

    @property
    def mean_s(self) -> float:
        """median·exp(σ²/2)."""
        return self.median_s * math.exp(self.sigma**2 / 2)

    @property
    def mean_residual_s(self) -> float:
        """mean·exp(σ²)/2."""
        return self.mean_s * math.exp(self.sigma**2) / 2

    def draw(self, rng: Random) -> float:
        """A fresh session."""
        return self.median_s * math.exp(rng.gauss(0.0, self.sigma))

    def residual(self, rng: Random) -> float:
        """Length-biased, it is lognormal with median·exp(σ²)."""
        biased = self.median_s * math.exp(self.sigma**2 + rng.gauss(0.0, self.sigma))
        return rng.random() * biased

    def survival(self, t_s: float) -> float:
        """Φ(ln(median/t)/σ)."""
        return 1.0 if t_s <= 0 else _phi(math.log(self.median_s / t_s) / self.sigma)

    def residual_survival(self, t_s: float) -> float:
        """E[max(X − t, 0)]/E[X] = Φ(d + σ) − t/mean·Φ(d), with d = ln(median/t)/σ."""
        if t_s <= 0:
            return 1.0
        d = math.log(self.median_s / t_s) / self.sigma
        return max(_phi(d + self.sigma) - t_s / self.mean_s * _phi(d), 0.0)

    def scaled(self, factor: float) -> Lognormal:
        """Every session `factor` times as long."""
        return replace(self, median_s=self.median_s * factor)


@dataclass(frozen=True)
class Empirical:
    """Sessions as measured: drawn from these lengths with equal chances."""

    lengths_s: tuple[float, ...]
    kind: Literal["empirical"] = "empirical"

    def __post_init__(self) -> None:
        require(len(self.lengths_s) > 0, "empirical sessions have no lengths; give at least one, in seconds")
        for length_s in self.lengths_s:
            _positive("an empirical session's length", length_s)

    @cached_property
    def mean_s(self) -> float:
        """Mean of the lengths."""
        return math.fsum(self.lengths_s) / len(self.lengths_s)

    @cached_property
    def mean_residual_s(self) -> float:
        """Σx²/2Σx."""
        return math.fsum(x * x for x in self.lengths_s) / (2 * math.fsum(self.lengths_s))

    @cached_property
    def _sorted(self) -> Sequence[float]:
        return sorted(self.lengths_s)

    @cached_property
    def _sums(self) -> Sequence[float]:
        return list(itertools.accumulate(self._sorted))

    def draw(self, rng: Random) -> float:
        """One of the lengths."""
        return self.lengths_s[int(rng.random() * len(self.lengths_s))]

    def residual(self, rng: Random) -> float:
        """A uniform share of a length drawn with chances proportional to itself."""
        found = bisect.bisect_right(self._sums, rng.random() * self._sums[-1])
        return rng.random() * self._sorted[min(found, len(self._sorted) - 1)]

    def survival(self, t_s: float) -> float:
        """Share of the lengths beyond t."""
        return 1 - bisect.bisect_right(self._sorted, t_s) / len(self._sorted)

    def residual_survival(self, t_s: float) -> float:
        """Σ max(x − t, 0)/Σx."""
        if t_s <= 0:
            return 1.0
        first = bisect.bisect_right(self._sorted, t_s)
        beyond = self._sums[-1] - (self._sums[first - 1] if first else 0.0)
        return max(beyond - t_s * (len(self._sorted) - first), 0.0) / self._sums[-1]

    def scaled(self, factor: float) -> Empirical:
        """Every session `factor` times as long."""
        return replace(self, lengths_s=tuple(x * factor for x in self.lengths_s))


@dataclass(frozen=True)
class Mixture:
    """Several kinds of users: each session is of one kind, with chances proportional to the weights."""

    parts: tuple[tuple[float, Exponential | Weibull | Lognormal | Empirical], ...]  # (weight, sessions)
    kind: Literal["mixture"] = "mixture"

    def __post_init__(self) -> None:
        require(
            len(self.parts) > 0,
            "a mixture of sessions has no parts; give at least one weight and distribution",
        )
        for weight, _ in self.parts:
            _positive("a mixture's weight", weight)

    @cached_property
    def _total(self) -> float:
        return math.fsum(weight for weight, _ in self.parts)

    @cached_property
    def mean_s(self) -> float:
        """Weighted mean of the parts' means."""
        return math.fsum(weight * part.mean_s for weight, part in self.parts) / self._total

    @cached_property
    def mean_residual_s(self) -> float:
        """Mean of the parts' residual means, weighted by the users online: weight times mean."""
        online = math.fsum(weight * part.mean_s * part.mean_residual_s for weight, part in self.parts)
        return online / (self.mean_s * self._total)

    def draw(self, rng: Random) -> float:
        """A fresh session of one part."""
        at = rng.random() * self._total
        return self._part([weight for weight, _ in self.parts], at).draw(rng)

    def residual(self, rng: Random) -> float:
        """Who is met online is of a part with chances proportional to weight times mean."""
        at = rng.random() * self._total * self.mean_s
        return self._part([weight * part.mean_s for weight, part in self.parts], at).residual(rng)

    def _part(self, weights: Sequence[float], at: float) -> Exponential | Weibull | Lognormal | Empirical:
        found = bisect.bisect_right(list(itertools.accumulate(weights)), at)
        return self.parts[min(found, len(self.parts) - 1)][1]

    def survival(self, t_s: float) -> float:
        """Weighted mean of the parts' survival."""
        return math.fsum(weight * part.survival(t_s) for weight, part in self.parts) / self._total

    def residual_survival(self, t_s: float) -> float:
        """Mean of the parts' residual survival, weighted by the users online."""
        online = math.fsum(weight * part.mean_s * part.residual_survival(t_s) for weight, part in self.parts)
        return online / (self.mean_s * self._total)

    def scaled(self, factor: float) -> Mixture:
        """Every session `factor` times as long."""
        return replace(self, parts=tuple((weight, part.scaled(factor)) for weight, part in self.parts))


@dataclass(frozen=True)
class Forever:
    """Nobody ever leaves."""

    kind: Literal["forever"] = "forever"

    @property
    def mean_s(self) -> float:
        """Infinite."""
        return math.inf

    @property
    def mean_residual_s(self) -> float:
        """Infinite."""
        return math.inf

    def draw(self, rng: Random) -> float:
        """Infinite; draws nothing."""
        return math.inf

    def residual(self, rng: Random) -> float:
        """Infinite; draws nothing."""
        return math.inf

    def survival(self, t_s: float) -> float:
        """Always 1."""
        return 1.0

    def residual_survival(self, t_s: float) -> float:
        """Always 1."""
        return 1.0

    def scaled(self, factor: float) -> Forever:
        """Itself."""
        return self


Session = Exponential | Weibull | Lognormal | Empirical | Mixture | Forever


def _positive(what: str, value: float) -> None:
    require(
        0 < value < math.inf, f"{what}={value} must be > 0 and finite; sessions that never end are `forever`"
    )


def _phi(x: float) -> float:
    """The standard normal distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2
