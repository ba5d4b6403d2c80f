"""Forecasts from connections' ages and the lives seen so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deployer.forecast.lives import Floats, Histogram, Lives, floats
from deployer.forecast.outlook import Forecast, Outlook
from deployer.forecast.survival import DRAWS, TAILS, Survival, possible_survivals

_LEAST_S = 1e-3  # a life below a clock's tick is one tick
_FIRST = 1e-5
_REACH = 100.0  # times the longest life seen
_GROUPS = 48


def outlook(open_ages_s: ArrayLike, ended: Lives | ArrayLike, *, watched_from_s: ArrayLike = 0.0) -> Outlook:
    """What the open connections will do, given their ages and all lives seen so far.

    `ended` are lives (censored ones among them, see `Lives`), or plain durations of connections seen from
    birth to end. The open ones are counted in as censored at their ages; `watched_from_s` says from which
    ages on they were watched: their ages themselves, where `ended` are lives of others. A connection of age a
    is open after t more seconds with probability S(a + t) / S(a), each independently: the residual life of
    renewal theory (D. R. Cox, Renewal Theory, 1962), given the age. Beyond the oldest ages seen this is
    extrapolation: where users are of two kinds, and the longer ones have hardly begun to leave, it can be
    wrong by more than its interval says.

    Raises ForecastError for data that are no durations.
    """
    ages = np.maximum(floats("open_ages_s", open_ages_s), _LEAST_S)
    past = ended if isinstance(ended, Lives) else Lives.of(ended)
    past = Lives(np.maximum(past.until_s, _LEAST_S), past.ended, past.watched_from_s)
    lives = past + Lives.of(ages, False, watched_from_s)
    ends = int(lives.ended.sum())
    longest = float(lives.until_s.max(initial=_LEAST_S))
    if not ends:
        return _nothing_ended(ages, lives, longest)
    # Where a tail begins cannot be known; a longer one and a shorter one are as likely.
    survivals = [possible_survivals(lives, *tail) for tail in TAILS]
    centres, sizes = _groups(ages)

    def sums(times_s: Floats) -> tuple[Floats, Floats]:
        chances = np.concatenate([_still_open(survival, centres, times_s) for survival in survivals])
        weighted = chances * sizes[None, :, None]
        return weighted.sum(axis=1), (weighted * chances).sum(axis=1)

    return Outlook(
        open=len(ages),
        sums=sums,
        weights=np.full(DRAWS * len(TAILS), 1.0 / (DRAWS * len(TAILS))),
        first_s=longest * _FIRST,
        reach_s=longest * _REACH,
        method=_method(survivals[0], ends, len(lives.until_s)),
        ends=survivals[0].tail_ends,
    )


def forecast(
    open_ages_s: ArrayLike,
    ended: Lives | ArrayLike,
    m: int,
    level: float = 0.9,
    *,
    watched_from_s: ArrayLike = 0.0,
) -> Forecast:
    """When at most `m` of the open connections will remain; see `outlook`. Raises ForecastError."""
    return outlook(open_ages_s, ended, watched_from_s=watched_from_s).until(m, level)


def from_histograms(open_: Histogram, ended: Histogram, m: int, level: float = 0.9) -> Forecast:
    """The same from histograms of ages (chat_connection_age_seconds) and durations (chat_session_seconds).

    They must be of pods that counted from their start on, and of ends that were the users' own. Values are
    spread evenly within their buckets; an end beyond the last finite edge is known to be no sooner than that
    edge. Raises ForecastError.
    """
    ages, older = open_.values_s()
    durations, longer = ended.values_s()
    lives = Lives.of(durations) + Lives.of(np.full(longer, ended.edges_s[-2]), False)
    return forecast(np.concatenate([ages, np.full(older, open_.edges_s[-2])]), lives, m, level)


def _still_open(survival: Survival, ages: Floats, times_s: Floats) -> Floats:
    """Each possibility's chances of connections of these ages to be open after these times, (G, A, T)."""
    start = survival.cumulative_hazard(ages)[:, :, None]
    later = survival.cumulative_hazard(ages[:, None] + times_s[None, :])
    # An age beyond a possible life's end proves that possibility wrong; it then says nothing.
    start = np.where(np.isfinite(start), start, 0.0)
    return np.asarray(np.exp(np.minimum(start - later, 0.0)))


def _groups(ages: Floats) -> tuple[Floats, Floats]:
    """Mean ages of groups and their sizes; the oldest and the newest, which may leave last, stand alone."""
    if len(ages) == 0:
        return np.zeros(1), np.zeros(1)
    n, third = len(ages), _GROUPS // 3
    ends = np.geomspace(1, n + 1, third).astype(int) - 1
    edges = np.unique(np.concatenate([ends, n - ends, np.linspace(0, n, third).astype(int)]))
    sizes = np.diff(edges).astype(np.float64)
    return np.add.reduceat(np.sort(ages), edges[:-1]) / sizes, sizes


def _method(survival: Survival, ends: int, seen: int) -> str:
    low, high = np.quantile(survival.shapes, (0.05, 0.95))
    age_s = survival.knots_s[-1]
    return (
        f"Kaplan–Meier on {seen} connections, {ends} of them ended, up to an age of {age_s:.3g} s; beyond it "
        f"a generalised Pareto tail of shape {low:.2f} to {high:.2f} from {survival.tail_ends} ends"
    )


def _nothing_ended(ages: Floats, lives: Lives, longest: float) -> Outlook:
    """No end seen: a rate below which the data can't tell anything, so that only a lower bound comes out."""
    watched = max(float((lives.until_s - lives.watched_from_s).sum()), 1e-9)
    rates = -np.log1p(-(np.arange(64) + 0.5) / 64) / watched
    n = len(ages)

    def sums(times_s: Floats) -> tuple[Floats, Floats]:
        chances = np.exp(-np.outer(rates, times_s))
        return n * chances, n * chances**2

    return Outlook(
        n,
        sums,
        np.full(64, 1 / 64),
        longest * _FIRST,
        longest * _REACH,
        "none ended yet: only a lower bound",
        ends=0,
    )
