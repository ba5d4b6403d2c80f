"""The old releases of one strategy: how long they last, how many pods they keep, whom their end cuts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import binom

from scenarios.plan.burndown import Burndown
from scenarios.plan.service import Service

PEAK_CHANCE = 0.99
"""A peak is what is not exceeded at this share of the deploys."""

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
        ages = np.asarray(
            np.arange(1.0, math.ceil(self.cut_s / service.spacing_s) + 2) * service.spacing_s, np.float64
        )
        ages = ages[ages - service.startup_s < self.cut_s] - min(service.startup_s, service.spacing_s)
        r, before = service.replicas, service.replicas + more
        if not len(ages):
            return before
        whole = r * _quantile_of_sum(self.there(ages))
        if not self.shrink:
            return before + whole
        mean, there = self.pods(ages), np.maximum(self.there(ages), 1e-12)
        while_there = np.minimum(mean / there, r)
        # by the release's coin, and by each pod's own while the release is there
        variance = mean * while_there - mean**2 + there * while_there * (1 - while_there / r)
        sd = math.sqrt(max(float(variance.sum()), 0.0))
        return before + min(math.ceil(float(mean.sum()) + 2.33 * sd - 1e-9), whole)


def _quantile_of_sum(chances: Floats) -> int:
    """The number that a sum of coins with these chances does not exceed in 99 % of the cases."""
    sure = int((chances > 1 - 1e-9).sum())
    law = np.ones(1)
    for chance in chances[(chances > 1e-9) & (chances <= 1 - 1e-9)]:
        law = np.convolve(law, (1 - chance, chance))
    return sure + int(np.searchsorted(np.cumsum(law), PEAK_CHANCE - 1e-12))
