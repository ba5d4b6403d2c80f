"""How many connections will be open when, as a mixture over what the data leave possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from deployer.forecast.lives import Floats, ForecastError

_FEW_ENDS = 8  # from fewer, an upper bound would tell of the prior and not of the data
_COARSE = 37
_FINE = 13


@dataclass(frozen=True, slots=True)
class Forecast:
    """When at most `m` connections will remain, in seconds from now; inf: later than the data can tell.

    The truth lies between `low_s` and `high_s` with probability `level`, and as likely before as after
    `median_s`. `method` says from what this was made, and where it leaves the data.
    """

    median_s: float
    low_s: float
    high_s: float
    level: float
    method: str


Sums = Callable[[Floats], tuple[Floats, Floats]]
"""For times (T,): the sums over connections of their chances to be open still, and of the squares; (G, T)."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """`open` connections that leave independently of each other, under G weighted possibilities."""

    open: int
    sums: Sums
    weights: Floats  # (G,), sum 1
    first_s: float  # below this nothing is told apart
    reach_s: float  # beyond it nothing is claimed
    method: str
    ends: int  # seen of what is extrapolated from

    def expected_open(self, times_s: Floats) -> Floats:
        """Mean number of connections still open after so many seconds."""
        mean, _ = self.sums(times_s)
        return np.asarray(self.weights @ mean)

    def chance_at_most(self, m: int, times_s: Floats) -> Floats:
        """Probability that at most `m` are open after so many seconds.

        The number of those open is Poisson-binomial. It is taken as the binomial with the same mean and
        variance (W. Ehm, Binomial approximation to the Poisson binomial distribution, 1991): exact where all
        chances are equal or where each is 0 or 1, Poisson where all are small; within 0.03 for 30 connections
        or more, within 0.1 for fewer.
        """
        mean, squares = self.sums(times_s)
        chance = squares / np.maximum(mean, 1e-300)
        trials = np.where(squares > 0, mean * mean / np.maximum(squares, 1e-300), 0.0)
        beyond = trials > m
        shape = np.where(beyond, trials - m, 1.0)
        cdf = np.where(beyond, betainc(shape, m + 1.0, 1.0 - np.minimum(chance, 1.0)), 1.0)
        return np.maximum.accumulate(self.weights @ cdf)

    def until(self, m: int, level: float = 0.9) -> Forecast:
        """When at most `m` remain. Raises ForecastError for an `m` below 0 or a level not between 0 and 1."""
        if m < 0:
            raise ForecastError(f"m={m} must be 0 or more connections")
        if not 0 < level < 1:
            raise ForecastError(f"level={level} must be between 0 and 1, such as 0.9")
        if self.open <= m:
            return Forecast(0.0, 0.0, 0.0, level, f"no more than {m} are open now")
        times = np.geomspace(self.first_s, self.reach_s, _COARSE)
        chances = self.chance_at_most(m, times)
        low, median, high = (
            self._quantile(m, q, times, chances) for q in ((1 - level) / 2, 0.5, (1 + level) / 2)
        )
        if self.ends < _FEW_ENDS:
            high = math.inf
        low = min(low, self.reach_s)  # later than all that is claimed is still no sooner than that
        return Forecast(median if self.ends else math.inf, low, high, level, self.method)

    def _quantile(self, m: int, q: float, times: Floats, chances: Floats) -> float:
        after = int(np.searchsorted(chances, q))
        if after == len(times):
            return math.inf
        if after == 0:
            return float(times[0])
        fine = np.linspace(times[after - 1], times[after], _FINE)
        return float(np.interp(q, self.chance_at_most(m, fine), fine))
