"""From the bins of the series to rows: the bins in which there is something."""

from __future__ import annotations

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.layout import ARRIVALS, CLOSED, COUNTERS, FORCED_CLOSES, OPENED, Array


@compiled
def _left_of(times_s: Array, found: Array, n: int, end: int) -> int:
    """Of the rows from the nth on, those in which there is something, moved up; where they end."""
    for row in range(n, end):
        anything = np.int32(0)
        for column in range(len(found)):
            found[column, n] = found[column, row]
            anything |= found[column, row]
        times_s[n] = times_s[row]
        n += int(anything != 0)
    return n


@compiled
def something(
    bins: Array,
    first: int,
    done: int,
    complete: int,
    open_: Array,
    n: int,
    times_s: Array,
    releases: Array,
    found: Array,
) -> int:
    """Fill columns from row n on, release by release, and bring the number of open connections up to date.

    Returns where the rows end. The window moves on by `done` bins, of which `complete` count; `bins` has a row a
    release. `found` has a column for open connections and one for each counter, in their order.
    """
    left = bins.shape[1] - done * COUNTERS
    for release in range(len(bins)):
        now = open_[release]
        anything = np.int32(0)
        for i in range(bins.shape[1]):
            anything |= bins[release, i]
        if anything == 0 and now == 0:
            continue
        fewest = now
        for at in range(complete):
            now += bins[release, at * COUNTERS + OPENED] - bins[release, at * COUNTERS + CLOSED]
            found[0, n + at] = now
            fewest = min(fewest, now)
        open_[release] = now
        for counter in range(ARRIVALS, FORCED_CLOSES + 1):
            for at in range(complete):
                found[1 + counter, n + at] = bins[release, at * COUNTERS + counter]
        for at in range(complete):
            times_s[n + at] = first + at
            releases[n + at] = release
        n = n + complete if fewest > 0 else _left_of(times_s, found, n, n + complete)
        if anything != 0:
            bins[release, :left] = bins[release, done * COUNTERS :].copy()
            bins[release, left:] = 0
    return n
