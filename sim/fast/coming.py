"""When users arrive, in arrays: the laws of `loadgen.behaviour.arrivals`, drawn thousands at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from loadgen.behaviour.arrivals import Arrivals, Diurnal, Trace
from sim.fast.compiled import compiled
from sim.fast.draws import key_of, uniforms
from sim.fast.layout import Array

CHUNK = 16_384
_GAPS, _THINNING = 0, 1


def coming(arrivals: Arrivals, seed: int) -> Iterator[Array]:
    """Ascending times in seconds since time zero, chunk by chunk; a trace ends, the others go on for ever.

    An array holds its times until the next one is asked for.
    """
    if isinstance(arrivals, Trace):
        yield np.array(arrivals.times_s, float)
        return
    key = key_of(seed, "arrivals")
    swing = arrivals.swing_ratio if isinstance(arrivals, Diurnal) else 0.0
    highest_per_s = arrivals.per_s * (1 + swing)
    times_s, chances = np.empty(CHUNK), np.empty(CHUNK)
    first, last_s = 0, 0.0
    while True:
        _poisson(times_s, key, first, highest_per_s, last_s)
        last_s = float(times_s[-1])
        if isinstance(arrivals, Diurnal):
            # thinning (Lewis and Shedler, 1979)
            uniforms(chances, key, first, _THINNING)
            turn = 2 * math.pi * (times_s - arrivals.peak_s) / arrivals.period_s
            yield times_s[chances * highest_per_s < arrivals.per_s * (1 + swing * np.cos(turn))]
        else:
            yield times_s
        first += CHUNK


@compiled
def _poisson(found: Array, key: np.uint64, first: int, per_s: float, last_s: float) -> None:
    """The times after this one, of the events from the `first`th on."""
    uniforms(found, key, first, _GAPS)
    for i in range(len(found)):
        found[i] = -math.log(found[i]) / per_s
    for i in range(len(found)):
        last_s += found[i]
        found[i] = last_s
