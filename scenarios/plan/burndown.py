"""How an old release empties: how many connections it has left when, and when at most m are left.

Users come at a steady rate and deploys are evenly spaced, s apart. A connection is on the release that was
selected when it was opened. For a session met at a random moment, age and residual life have the joint law
P(age > a, residual > t) = S_r(a + t), S_r the residual survival (Cox, Renewal Theory, 1962, chapter 5). So
of N connections, each is on a given release and still open t after its deselection with chance
p(t) = S_r(t) − S_r(t + s), and their number is binomial. Where drains end at D, a cut session comes back on
the release that is selected then; with j = 1 + ⌊D/s⌋ releases from one cut to the next, it adds up to

    p(t) = Σ_k S_r(t + kjs) − S_r(t + kjs + s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr
from scipy.stats import binom

from deployer.forecast import Lives, outlook
from loadgen.behaviour.sessions import Empirical, Session
from scenarios.plan.service import Service

Floats = NDArray[np.float64]
_POINTS = 1200
_TERMS = 48
_MOMENTS = 300
_REACH = 1e-9  # survival below which nothing is told apart
_NOBODY = 1e-18  # of all connections: nobody, even of a million releases
_FORECAST_OPEN = 20_000  # more connections than this are forecast by this many, and by the same share of them


@lru_cache(maxsize=32)
def _table(session: Session) -> tuple[Floats, Floats]:
    """Times and ln S_r."""
    mean_s = session.mean_s
    if math.isinf(mean_s):
        return np.array([0.0, 1.0]), np.zeros(2)
    last_s = mean_s
    while session.residual_survival(last_s) > _REACH and last_s < mean_s * 1e6:
        last_s *= 2.0
    even = np.linspace(0.0, mean_s * 8, _POINTS // 2)
    times = np.unique(np.concatenate([even, np.geomspace(mean_s * 1e-4, last_s, _POINTS // 2)]))
    survival = np.array([session.residual_survival(float(t)) for t in times])
    return times, np.log(np.maximum(survival, 1e-300))


@dataclass(frozen=True)
class ResidualSurvival:
    """S_r as a table: straight in ln S_r between points, so exact for exponential sessions."""

    session: Session

    def __call__(self, t_s: ArrayLike) -> Floats:
        """P(residual life > t)."""
        times, logs = _table(self.session)
        at = np.maximum(np.asarray(t_s, dtype=np.float64), 0.0)
        inside = np.exp(np.interp(at, times, logs))
        slope = (logs[-1] - logs[-2]) / (times[-1] - times[-2])
        beyond = np.exp(np.maximum(logs[-1] + slope * (at - times[-1]), -690.0))
        return np.asarray(np.where(at <= times[-1], inside, beyond))


@dataclass(frozen=True)
class Burndown:
    """One old release of a service, from its deselection to its end after `cut_s` at the latest."""

    connections: int  # of the whole service
    replicas: int  # pods of the release
    survival: ResidualSurvival
    spacing_s: float  # between deploys
    cut_s: float

    @classmethod
    def of(cls, service: Service, cut_s: float) -> Burndown:
        """The old releases of this service if drains end after `cut_s`."""
        return cls(
            service.connections, service.replicas, ResidualSurvival(service.session), service.spacing_s, cut_s
        )

    def open_ratio(self, t_s: ArrayLike) -> Floats:
        """p(t): the share of all N connections that is on the release and open t after its deselection."""
        at = np.asarray(t_s, dtype=np.float64)
        # p ≤ S_r: among thousands of short deploys most old releases have long been empty
        there = self.survival(at) > _NOBODY
        found = np.zeros(at.shape)
        found[there] = self._open_ratio(at[there])
        return found

    def _open_ratio(self, at: Floats) -> Floats:
        cycle_s = (1 + math.floor(self.cut_s / self.spacing_s)) * self.spacing_s
        starts = at[..., None] + np.arange(_TERMS) * cycle_s
        terms = self.survival(starts) - self.survival(starts + self.spacing_s)
        # the far terms fall slowly, so that each is its cycle's share of what is left of S_r
        rest = self.survival(at + _TERMS * cycle_s) * self.spacing_s / cycle_s
        return np.asarray(np.clip(terms.sum(axis=-1) + rest, 0.0, 1.0), dtype=np.float64)

    def expected_open(self, t_s: ArrayLike) -> Floats:
        """Mean number of connections open t after the deselection, if nobody cuts them."""
        return self.connections * self.open_ratio(t_s)

    def chance_more(self, m: int, t_s: ArrayLike) -> Floats:
        """Probability that more than m are open t after the deselection."""
        if m >= self.connections:
            return np.zeros_like(np.asarray(t_s, dtype=np.float64))
        at_most: Any = bdtr(float(m), self.connections, self.open_ratio(t_s))
        return np.asarray(1.0 - at_most)

    def open_quantile(self, q: float, t_s: ArrayLike) -> Floats:
        """The number of connections that is not exceeded t after the deselection with probability q."""
        return np.asarray(binom.ppf(q, self.connections, self.open_ratio(t_s)), dtype=np.float64)

    def times_s(self) -> Floats:
        """Moments from the deselection to the cut, dense where the release empties."""
        scale = min(self.survival.session.mean_s, self.cut_s)
        log = np.geomspace(scale * 1e-3, self.cut_s, _MOMENTS) if scale > 0 else np.array([0.0])
        return np.unique(np.concatenate([[0.0], log, np.linspace(0.0, self.cut_s, _MOMENTS)]))

    def mean_s(self, m: int = 0) -> float:
        """Mean time until at most m are left or the cut comes: ∫ P(more than m at t) dt.

        For n exponential sessions of mean μ that nobody cuts it is μ·(H_n − H_m).
        """
        times = self.times_s()
        return float(np.trapezoid(self.chance_more(m, times), times))

    def quantile_s(self, q: float, m: int = 0) -> float:
        """By when at most m are left with probability q; inf where the cut comes before."""
        times = self.times_s()
        left = self.chance_more(m, times)
        below = np.flatnonzero(left <= 1 - q)
        if not len(below):
            return math.inf
        at = int(below[0])
        if at == 0:
            return 0.0
        return float(np.interp(1 - q, [left[at], left[at - 1]], [times[at], times[at - 1]]))

    def busy_pods(self, t_s: ArrayLike) -> Floats:
        """Mean number of the release's pods with a connection left: r·(1 − (1 − p/r)^N)."""
        r = self.replicas
        if r == 1:
            return self.chance_more(0, t_s)
        return np.asarray(-r * np.expm1(self.connections * np.log1p(-self.open_ratio(t_s) / r)))


@dataclass(frozen=True, slots=True)
class Left:
    """When at most `m` connections are left on an old release, in seconds after its deselection."""

    m: int
    median_s: float
    low_s: float  # of the 90 % interval; inf: later than can be told
    high_s: float
    method: str


def drain_of(service: Service) -> float:
    """What old releases get under a fixed time: as given, else a round time after which most are empty.

    That is the mean time until the last user has left, rounded up to a usual duration, and the deadline at
    most.
    """
    if service.drain_s is not None:
        return service.drain_s
    mean_s = Burndown.of(service, service.deadline_s).mean_s()
    return min((s for s in _ROUND_S if s >= mean_s * (1 - 1e-9)), default=service.deadline_s)


_ROUND_S = sorted(
    unit * count
    for unit, counts in (
        (1.0, (1, 2, 5, 10, 15, 20, 30, 45)),
        (60.0, (1, 2, 3, 5, 10, 15, 20, 30, 45)),
        (3600.0, (1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96)),
        (86_400.0, (5, 7, 10, 14, 21, 30)),
    )
    for count in counts
)


def when_left(service: Service, m: int) -> Left:
    """When at most m are left, with a 90 % interval, if nobody cuts.

    From measured lengths the interval holds what such a sample leaves open, with a tail beyond the longest
    (`deployer.forecast`); from a law of session lengths only the chance of who stays how long.
    """
    burn = Burndown.of(service, _horizon_s(service))
    session = service.session
    if isinstance(session, Empirical):
        found = _measured(service, burn, session, m)
        if found is not None:
            return found
    if math.isinf(session.mean_s):
        return Left(m, math.inf, math.inf, math.inf, "nobody ever leaves")
    low, median, high = (burn.quantile_s(q, m) for q in (0.05, 0.5, 0.95))
    return Left(m, median, low, high, f"{session.kind} sessions")


def _horizon_s(service: Service) -> float:
    survival, mean_s = ResidualSurvival(service.session), service.session.mean_s
    if math.isinf(mean_s):
        return service.deadline_s
    horizon_s = mean_s
    while float(survival(horizon_s)) * service.connections > 1e-3 and horizon_s < mean_s * 1e6:
        horizon_s *= 1.5
    return horizon_s


def _measured(service: Service, burn: Burndown, session: Empirical, m: int) -> Left | None:
    start = float(burn.expected_open(0.0))
    count = round(start)
    if count <= m:
        return Left(m, 0.0, 0.0, 0.0, f"no more than {m} are on it when it is deselected")
    shown = min(count, _FORECAST_OPEN)
    # the ages of those on it: the law of S_r cut off at the spacing
    grid = np.linspace(0.0, min(service.spacing_s, float(max(session.lengths_s))), 4000)
    younger = 1 - burn.survival(grid)
    ages = np.interp((np.arange(shown) + 0.5) / shown * younger[-1], younger, grid)
    lives = Lives.of(np.asarray(session.lengths_s))
    found = outlook(ages, lives, watched_from_s=ages).until(round(m * shown / count), 0.9)
    method = f"{len(session.lengths_s):,} measured sessions (Kaplan–Meier, a Pareto tail beyond the longest)"
    return Left(m, found.median_s, found.low_s, found.high_s, method)


def left_after(service: Service, t_s: float) -> float:
    """Mean number of connections still on an old release t after its deselection, if nobody cuts them."""
    return float(Burndown.of(service, _horizon_s(service)).expected_open(t_s))
