"""The memory that the event loop works in: arrays that begin with a cache line, known by their addresses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.fast.layout import KINDS, STORE, Array

CACHE_LINE = 64


class Store:
    """The record, and by name the arrays that it points to."""

    def __init__(self) -> None:
        self.all = np.zeros(1, STORE)
        self.address = self.all.ctypes.data  # what the event loop is given
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, array: Array) -> None:
        """As `fresh`, with what is in this one."""
        self.fresh(name, *array.shape)[:] = array

    def fresh(self, name: str, *shape: int) -> Array:
        """An array of zeros in the place of another; memory that nobody has used costs nothing yet."""
        fit = _aligned(shape, KINDS[name])
        self._arrays[name] = fit
        self.all[f"{name}_at"], self.all[f"{name}_n"] = fit.ctypes.data, len(fit)
        if name == "bins":
            self.all["window"] = fit.shape[1]
        return fit

    def grow(self, name: str, size: int, used: int | None = None) -> Array:
        """Room for so many in all, what is new is zero; of the old one only the first `used` count."""
        old = self._arrays[name][:used]
        fit = self.fresh(name, size, *old.shape[1:])
        fit[: len(old)] = old
        return fit


def _aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    """Room that begins with a cache line."""
    size = math.prod(shape) * kind.itemsize
    raw = np.zeros(size + CACHE_LINE, np.uint8)
    first = -raw.ctypes.data % CACHE_LINE
    return raw[first : first + size].view(kind).reshape(shape)
