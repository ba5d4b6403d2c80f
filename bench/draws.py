"""The fast crowd's random numbers, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from sim.fast.draws import normal, uniform


def _draw_all(attempts: int, again: int) -> float:
    key = np.uint64(7)
    total = 0.0
    for n in range(attempts - again):
        total += -math.log(uniform(key, n, 0)) + 1800.0 * math.exp(1.5 * normal(key, n, 1))
    for n in range(attempts):
        total += uniform(key, n, 2)
    for n in range(again):
        total += uniform(key, n, 3)
    return total


draw_all: Callable[[int, int], float] = numba.njit(error_model="numpy")(_draw_all)
