"""The old releases of one strategy: how long they last, how many pods they keep, whom their end cuts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri
from scipy.stats import binom

from scenarios.plan.burndown import Burndown
from scenarios.plan.service import Service

PEAK_CHANCE = 0.99
"""A peak is what is not exceeded at this share of the deploys."""
_EXACT = 2048
"""Old releases that are each reckoned with; of more, some stand for all."""
_MUCH, _REACH = 100.0, 512
"""A variance, and how many numbers a sum of coins that varies less can be."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drains:
    """The old releases of one strategy, all that drain at a time."""

    service: Service
    strategy: str
    wanted_s: float  # fixed time, or deadline where a policy waits for users
    m: int | None  # gone when at most so many are left; None: not before the time is over
    shrink: bool
    floor: int

    @property
    def cut_s(self) -> float:
        """When it ends at the latest; a vendor's limit ends it before."""
        limit = self.service.limit
        if limit is None or self.strategy not in limit.hits:
            return self.wanted_s
        return min(self.wanted_s, limit.cut_s)

    @cached_property
    def burn(self) -> Burndown:
        """How one of them empties."""
        return Burndown.of(self.service, self.cut_s)

    def at(self, deploys_per_day: float) -> Drains:
        """The same at another deploy rate."""
        return replace(self, service=replace(self.service, deploys_per_day=deploys_per_day))

    def there(self, t_s: Floats) -> Floats:
        """Chance that an old release is still there t after its deselection, t before the cut."""
        return np.ones_like(t_s) if self.m is None else self.burn.chance_more(self.m, t_s)

    def pods(self, t_s: Floats) -> Floats:
        """Mean pods of an old release that are there t after its deselection, t before the cut."""
        if not self.shrink:
            return np.asarray(self.service.replicas * self.there(t_s))
        pods = self.burn.busy_pods(t_s)
        if self.m is None:  # its last pod stays to the end
            return np.asarray(pods + self.floor * (1 - self.burn.chance_more(0, t_s)))
        return np.maximum(pods - self._pods_of_few(t_s), 0.0)

    def _pods_of_few(self, times: Floats) -> Floats:
        """Mean pods with a connection over the cases in which at most m are left, when it has gone already."""
        r, n = self.service.replicas, self.service.connections
        counts = np.arange(min(self.m or 0, 400) + 1)
        chances = binom.pmf(counts[None, :], n, self.burn.open_ratio(times)[:, None])
        few = chances @ (r * (1 - (1 - 1 / r) ** counts)) if r > 1 else chances[:, 1:].sum(axis=1)
        beyond = bdtr(float(self.m or 0), n, self.burn.open_ratio(times)) - chances.sum(axis=1)
        return np.asarray(few + r * np.maximum(beyond, 0.0))

    @cached_property
    def held_s(self) -> float:
        """After the last count, policies that count wait to be sure."""
        return 0.0 if self.m is None or self.floor == 0 else self.service.hold_s

    @cached_property
    def mean_s(self) -> float:
        """Mean time from the switch until one is gone."""
        times = self.burn.times_s()
        return min(float(np.trapezoid(self.there(times), times)) + self.held_s, self.cut_s)

    @cached_property
    def draining_mean(self) -> float:
        """Pods of old releases, by Little's law: deploys a second times pod-seconds of each drain."""
        times = self.burn.times_s()
        last = 1 if self.shrink else self.service.replicas
        return (float(np.trapezoid(self.pods(times), times)) + last * self.held_s) / self.service.spacing_s

    @property
    def live_mean(self) -> float:
        """1 + λD."""
        return 1 + self.mean_s / self.service.spacing_s

    @cached_property
    def forced(self) -> float:
        """Connections cut by the end of a drain, per connection of the service."""
        cut = float(self.burn.open_ratio(self.cut_s))
        if self.m is None:
            return cut
        n = self.service.connections
        waited = bool(self.burn.expected_open(0.0) > self.m)
        return max(cut, min(self.m, n) / n if waited else float(self.burn.open_ratio(0.0)))

    @property
    def cut_at_once(self) -> float:
        """Connections cut at the end of one drain, not exceeded at 99 % of the deploys."""
        n = self.service.connections
        by_time = float(binom.ppf(PEAK_CHANCE, n, self.burn.open_ratio(self.cut_s)))
        return by_time if self.m is None else max(by_time, min(self.m, self.forced * n))

    def peak(self, more: int) -> int:
        """Pods while a deploy adds `more`, not exceeded at 99 % of the deploys.

        At a deploy, the release deselected i deploys before drains since i·spacing, less the time that this
        deploy takes; whether it is there still is a coin of its own.
        """
        service = self.service
        deploys_before, releases = _thinned(math.ceil(self.cut_s / service.spacing_s) + 1)
        ages = deploys_before * service.spacing_s
        at_once = ages - service.startup_s < self.cut_s
        ages, releases = ages[at_once] - min(service.startup_s, service.spacing_s), releases[at_once]
        r, before = service.replicas, service.replicas + more
        if not len(ages):
            return before
        whole = r * _quantile_of_sum(self.there(ages), releases)
        if not self.shrink:
            return before + whole
        mean, there = self.pods(ages), np.maximum(self.there(ages), 1e-12)
        while_there = np.minimum(mean / there, r)
        # by the release's coin, and by each pod's own while the release is there
        variance = mean * while_there - mean**2 + there * while_there * (1 - while_there / r)
        sd = math.sqrt(max(float(releases @ variance), 0.0))
        return before + min(math.ceil(float(releases @ mean) + 2.33 * sd - 1e-9), whole)


def _thinned(count: int) -> tuple[Floats, Floats]:
    """The numbers from 1 to `count`: some that stand for all, and for how many each of them stands.

    Of more than `_EXACT`, the first half of those are themselves; beyond, groups that each grow by the same small
    factor are stood for by their mean, since a chance hardly changes over a hundredth of an age.
    """
    if count <= _EXACT:
        return np.arange(1.0, count + 1), np.ones(count)
    near = _EXACT // 2
    ends = np.unique(np.concatenate([np.arange(near + 1), np.rint(np.geomspace(near, count, near + 1))]))
    return (ends[:-1] + 1 + ends[1:]) / 2, np.diff(ends)


def _quantile_of_sum(chances: Floats, coins: Floats) -> int:
    """The number that a sum of coins does not exceed in 99 % of the cases; so many coins have each chance."""
    sure = int(coins[chances > 1 - 1e-9].sum())
    open_ = (chances > 1e-9) & (chances <= 1 - 1e-9)
    chances, coins = chances[open_], coins[open_]
    if coins.sum() > _EXACT:
        return sure + _quantile_of_many(chances, coins)
    law = np.ones(1)
    for chance in np.repeat(chances, coins.astype(np.int64)):
        law = np.convolve(law, (1 - chance, chance))
    return sure + int(np.searchsorted(np.cumsum(law), PEAK_CHANCE - 1e-12))


def _quantile_of_many(chances: Floats, coins: Floats) -> int:
    """As `_quantile_of_sum`, in a time that does not grow with the number of coins.

    Where they vary much, the Cornish–Fisher expansion to its second term (Cornish and Fisher, 1938), which is
    off by far less than a coin; else the law itself by the discrete Fourier transform of its characteristic
    function, on as many numbers around the mean as it can reach.
    """
    mean, spread = float(coins @ chances), chances * (1 - chances)
    variance = float(coins @ spread)
    if variance > _MUCH:
        z, third = float(ndtri(PEAK_CHANCE)), float(coins @ (spread * (1 - 2 * chances)))
        return math.ceil(mean + math.sqrt(variance) * z + (z * z - 1) * third / variance / 6 - 0.5)
    lowest = max(math.floor(mean - _REACH / 2), 0)
    turns = np.exp(-2j * math.pi * np.arange(_REACH // 2 + 1) / _REACH)
    powers = np.log1p(np.outer(turns - 1, chances)) @ coins
    law = np.roll(np.fft.irfft(np.exp(powers), _REACH), -(lowest % _REACH))
    return lowest + int(np.searchsorted(np.cumsum(law), PEAK_CHANCE - 1e-12))
