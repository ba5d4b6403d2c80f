"""From the bins of the series to rows: the bins in which there is something."""

from __future__ import annotations

from sim.fast.compiled import compiled
from sim.fast.layout import ARRIVALS, CLOSED, COUNTERS, FORCED_CLOSES, OPENED, Array

COLUMNS = 8
"""Of a row: bin, release, open, and the counters in their order."""


@compiled
def something(bins: Array, first: int, complete: int, open_: Array, found: Array) -> int:
    """Fill columns, release by release, and bring the number of open connections up to date; how many rows."""
    n = 0
    for release in range(len(bins)):
        now = open_[release]
        anything = now
        for at in range(complete):
            for counter in range(COUNTERS):
                anything |= bins[release, at, counter]
        if anything == 0:
            continue
        for at in range(complete):
            now += bins[release, at, OPENED] - bins[release, at, CLOSED]
            happened = 0
            for counter in range(ARRIVALS, FORCED_CLOSES + 1):
                found[3 + counter, n] = bins[release, at, counter]
                happened |= bins[release, at, counter]
            found[0, n] = first + at
            found[1, n] = release
            found[2, n] = now
            if now > 0 or happened != 0:
                n += 1
        open_[release] = now
    return n
