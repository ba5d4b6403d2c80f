"""The calendar of sessions' ends: buckets of lives, of which only the present one is put in order."""

from __future__ import annotations

from sim.fast.compiled import compiled
from sim.fast.layout import OVER
from sim.fast.lives import BITS, BLOCK, IN_A_BLOCK, bucket_ends_s, free_bucket, insert
from sim.fast.store import W, calendar, fetch_block, lives, marks, present, soon, unsorted


@compiled
def next_end_s(w: W) -> float:
    """When the next session in the calendar ends, or its next bucket is to be opened; the present one is in order."""
    if w.sorted_at < w.sorted_to:
        return float(present(w)[w.sorted_at].t_s)
    return bucket_ends_s(w)


@compiled
def open_bucket(w: W) -> None:
    """The calendar's next bucket."""
    if w.bucket >= 0:
        free_bucket(w, w.bucket)
    w.bucket += 1
    w.in_order = 0
    put_in_order(w)


@compiled
def put_in_order(w: W) -> None:
    """The present bucket's lives in the order of time: scattered by time, then put right."""
    if w.in_order:
        return
    w.in_order = 1
    w.sorted_at = 0
    w.sorted_to = 0
    if w.bucket < 0:
        return
    n = 0
    last = calendar(w)[w.bucket]
    block = last >> BITS
    while block >= 0:
        fetch_block(w, lives(w)[block * BLOCK].following)
        for at in range(block * BLOCK + 1, last + 1):
            slot = lives(w)[at].slot
            if slot != OVER:
                unsorted(w)[n].t_s = lives(w)[at].end_s
                unsorted(w)[n].life = at
                marks(w)[n] = 0
                n += 1
                if slot >= 0:
                    soon(w, slot)
        block = lives(w)[block * BLOCK].following
        last = block * BLOCK + IN_A_BLOCK
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
        to = marks(w)[part]
        marks(w)[part] += 1
        present(w)[to].t_s = unsorted(w)[i].t_s
        present(w)[to].life = unsorted(w)[i].life
    for i in range(1, n):
        insert(w, 0, i, present(w)[i].t_s, present(w)[i].life)
