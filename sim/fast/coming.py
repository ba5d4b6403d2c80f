"""When users arrive, in arrays: the laws of `loadgen.behaviour.arrivals`, drawn thousands at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from loadgen.behaviour.arrivals import Arrivals, Diurnal, Trace
from sim.fast.draws import key_of
from sim.fast.layout import Array

CHUNK = 16_384


def coming(arrivals: Arrivals, seed: int) -> Iterator[Array]:
    """Ascending times in seconds since time zero, chunk by chunk; a trace ends, the others go on for ever."""
    if isinstance(arrivals, Trace):
        yield np.array(arrivals.times_s, float)
        return
    rng = np.random.Generator(np.random.Philox(int(key_of(seed, "arrivals"))))
    swing = arrivals.swing_ratio if isinstance(arrivals, Diurnal) else 0.0
    highest_per_s = arrivals.per_s * (1 + swing)
    last_s = 0.0
    while True:
        times_s = rng.standard_exponential(CHUNK)
        np.cumsum(times_s, out=times_s)
        times_s /= highest_per_s
        times_s += last_s
        last_s = float(times_s[-1])
        if isinstance(arrivals, Diurnal):
            # thinning (Lewis and Shedler, 1979)
            turn = 2 * math.pi * (times_s - arrivals.peak_s) / arrivals.period_s
            kept = rng.random(CHUNK) * highest_per_s < arrivals.per_s * (1 + swing * np.cos(turn))
            times_s = times_s[kept]
        yield times_s
