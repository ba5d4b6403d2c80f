"""The calendar of sessions' ends: buckets of slots, of which only the present one is put in order."""

from __future__ import annotations

import math

from sim.fast.compiled import compiled
from sim.fast.store import W, calendar, due, following, marks, present, soon, unsorted


@compiled
def next_end_s(w: W) -> float:
    """When the next session in the calendar ends, or its next bucket is to be opened."""
    if w.sorted_at < w.sorted_to:
        return float(present(w)[w.sorted_at].t_s)
    if w.bucket < len(calendar(w)) - 1:
        return float(w.calendar_s + (w.bucket + 1) * w.bucket_s)
    return math.inf


@compiled
def open_bucket(w: W) -> None:
    """The calendar's next bucket, its users in the order of time: scattered by time, then put right."""
    w.bucket += 1
    slot = calendar(w)[w.bucket]
    n = 0
    while slot >= 0:
        unsorted(w)[n].t_s = due(w)[slot]
        unsorted(w)[n].slot = slot
        marks(w)[n] = 0
        soon(w, slot)
        n += 1
        slot = following(w)[slot]
    w.sorted_at = 0
    w.sorted_to = n
    start_s = w.calendar_s + w.bucket * w.bucket_s
    per_s = n / w.bucket_s
    for i in range(n):
        marks(w)[max(min(int((unsorted(w)[i].t_s - start_s) * per_s), n - 1), 0)] += 1
    before = 0
    for i in range(n):
        before += marks(w)[i]
        marks(w)[i] = before - marks(w)[i]
    for i in range(n):
        part = max(min(int((unsorted(w)[i].t_s - start_s) * per_s), n - 1), 0)
        at = marks(w)[part]
        marks(w)[part] += 1
        present(w)[at].t_s = unsorted(w)[i].t_s
        present(w)[at].slot = unsorted(w)[i].slot
    for i in range(1, n):
        t_s, slot = present(w)[i].t_s, present(w)[i].slot
        at = i
        while at > 0 and present(w)[at - 1].t_s > t_s:
            present(w)[at].t_s = present(w)[at - 1].t_s
            present(w)[at].slot = present(w)[at - 1].slot
            at -= 1
        present(w)[at].t_s = t_s
        present(w)[at].slot = slot
