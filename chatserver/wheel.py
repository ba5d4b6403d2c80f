"""Deadlines of many connections behind one timer."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Holds at most one deadline an item and hands items out in ticks, up to one tick late and never early.

    Setting, moving and dropping a deadline cost constant time, whatever the number of items.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._buckets: dict[int, dict[T, None]] = {}
        self._tick_of: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._tick_of)

    def set(self, item: T, due_s: float) -> None:
        """Hand out `item` at `due_s`; an earlier wish for it is forgotten."""
        self.drop(item)
        tick = math.ceil(due_s / self._tick_s)
        self._tick_of[item] = tick
        self._buckets.setdefault(tick, {})[item] = None

    def drop(self, item: T) -> None:
        """Forget the item's deadline, if it has one."""
        tick = self._tick_of.pop(item, None)
        if tick is not None:
            bucket = self._buckets[tick]
            del bucket[item]
            if not bucket:
                del self._buckets[tick]

    def due(self, now_s: float) -> list[T]:
        """The items whose deadline has passed; they have none afterwards."""
        now_tick = math.floor(now_s / self._tick_s)
        items: list[T] = []
        for tick in sorted(t for t in self._buckets if t <= now_tick):
            items += self._buckets.pop(tick)
        for item in items:
            del self._tick_of[item]
        return items
