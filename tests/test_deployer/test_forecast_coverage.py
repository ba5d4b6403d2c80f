"""Intervals hold what they promise: over many synthetic drains, 90 % of them hold the truth."""

import numpy as np
import pytest

from deployer.forecast import Lives, outlook, outlook_from_counts

NOW_S, WATCHED_S = 3300.0, 300.0
PLACES = 120
REPLICATIONS = 120
FAMILIES = {
    "exponential": lambda rng, n: rng.exponential(100, n),
    "weibull": lambda rng, n: 100 * rng.weibull(0.6, n),
    "lognormal": lambda rng, n: 30 * np.exp(1.5 * rng.standard_normal(n)),
    "mixture": lambda rng, n: np.where(rng.random(n) < 0.9, rng.exponential(20, n), rng.exponential(600, n)),
    "uniform": lambda rng, n: rng.uniform(80, 120, n),
}


def steady_state(draw, rng):
    """Births and ends of the connections of so many places, each taken anew as soon as it is left."""
    born, gone, now_s = [], [], np.zeros(PLACES)
    while now_s.min() < NOW_S:
        lives = draw(rng, PLACES)
        born.append(now_s)
        gone.append(now_s + lives)
        now_s = gone[-1]
    return np.concatenate(born), np.concatenate(gone)


@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_from_ages_cover_the_truth_in_nine_of_ten_drains(family):
    """Watched for a while only, so that most open ones were there before: late entries and censored lives."""
    rng = np.random.default_rng(20)
    bounds = {m: [] for m in (0, 12)}
    for _ in range(REPLICATIONS):
        born, gone = steady_state(FAMILIES[family], rng)
        seen = Lives.watched(born, gone, NOW_S - WATCHED_S, NOW_S)
        past = Lives(seen.until_s[seen.ended], seen.ended[seen.ended], seen.watched_from_s[seen.ended])
        is_open = (born < NOW_S) & (gone > NOW_S)
        ages = NOW_S - born[is_open]
        found = outlook(ages, past, watched_from_s=np.maximum(ages - WATCHED_S, 0.0))
        left_s = np.sort(gone[is_open] - NOW_S)
        for m, held in bounds.items():
            interval = found.until(m)
            held.append(interval.low_s <= left_s[-1 - m] <= interval.high_s)
    for m, held in bounds.items():
        assert 0.85 <= np.mean(held) <= 0.98, f"m={m}"


@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_from_counts_alone_cover_the_truth_in_most_drains(family):
    """With no ages to go by they are wide: never much below what they promise, often above it."""
    rng = np.random.default_rng(21)
    held = []
    for _ in range(REPLICATIONS):
        born, gone = steady_state(FAMILIES[family], rng)
        left_s = np.sort((gone - NOW_S)[(born < NOW_S) & (gone > NOW_S)])
        now_s = left_s[int(PLACES * rng.uniform(0.3, 0.9))] * 1.0001
        times = np.linspace(0, now_s, 60)
        samples = list(zip(times, PLACES - np.searchsorted(left_s, times, side="right"), strict=True))
        interval = outlook_from_counts(samples).until(2)
        held.append(interval.low_s <= left_s[-3] - now_s <= interval.high_s)
    assert np.mean(held) >= 0.85
