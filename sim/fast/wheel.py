"""The users' own timers: a wheel of buckets, of which only the present one is kept in order.

Retries, repeated SYNs and deadlines of a storm are hundreds of thousands at once. One heap of all of them
would be most of a storm's work; here each waits unsorted for its bucket (Varghese and Lauck, "Hashed and
hierarchical timing wheels", 1987), and the heap `timers` holds those of the present one.
"""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.layout import EVENT, Array
from sim.fast.queues import push, slot_of, top_s
from sim.fast.store import W, blocks, events_soon, soon, timers, wheel

BUCKETS = 8192  # a power of two
PER_S = 128.0
"""Buckets of a second; a power of two, so that their bounds are exact."""
FAR_S = 1e12
"""What is later than this is so late that it does not matter when."""


IN_A_BLOCK = 10
_BLOCK = IN_A_BLOCK + 1
"""Records of a block: in the first one, `order` is the next block, -1 for none, and `what` how many are in it."""


def more_blocks(old: Array, more: int, free: int) -> tuple[Array, int]:
    """So many more blocks, and the first of the list of free ones."""
    first, grown = len(old) // _BLOCK, np.zeros(len(old) + more * _BLOCK, EVENT)
    grown[: len(old)] = old
    heads = grown[len(old) :: _BLOCK]
    heads["order"] = np.arange(first + 1, first + more + 1)
    heads["order"][-1] = free
    return grown, first


@compiled
def later(w: W, t_s: float, what: int) -> None:
    """Have this event come at its time; the caller has made sure that there is room."""
    w.sequence += 1
    bucket = int(min(t_s, FAR_S) * PER_S)
    if bucket <= w.wheel_bucket:
        push(timers(w), t_s, w.sequence, what)
        return
    w.wheel_s = min(w.wheel_s, bucket / PER_S)
    _put(w, bucket & (BUCKETS - 1), t_s, w.sequence, what)


@compiled
def _put(w: W, head: int, t_s: float, order: int, what: int) -> None:
    """Into a bucket."""
    block = wheel(w)[head]
    if block < 0 or blocks(w)[block * _BLOCK].what == IN_A_BLOCK:
        fresh = w.free_block
        w.free_block = blocks(w)[fresh * _BLOCK].order
        w.free_blocks -= 1
        blocks(w)[fresh * _BLOCK].order = block
        blocks(w)[fresh * _BLOCK].what = 0
        wheel(w)[head] = fresh
        block = fresh
    top = blocks(w)[block * _BLOCK]
    top.what += 1
    event = blocks(w)[block * _BLOCK + top.what]
    event.t_s = t_s
    event.order = order
    event.what = what
    w.in_wheel += 1


@compiled
def timer_s(w: W) -> float:
    """When the next timer is due, or the next bucket is to be opened."""
    return float(min(top_s(timers(w)), w.wheel_s))


@compiled
def turn(w: W) -> None:
    """Open the next bucket that has something in it."""
    bucket = int(w.wheel_s * PER_S)
    w.wheel_bucket = bucket
    head = bucket & (BUCKETS - 1)
    block = wheel(w)[head]
    wheel(w)[head] = -1
    while block >= 0:
        top = blocks(w)[block * _BLOCK]
        n, following = top.what, top.order
        if following >= 0:
            events_soon(w, following * _BLOCK, _BLOCK)
        w.in_wheel -= n
        for i in range(1, n + 1):
            event = blocks(w)[block * _BLOCK + i]
            if int(min(event.t_s, FAR_S) * PER_S) <= bucket:
                push(timers(w), event.t_s, event.order, event.what)
                soon(w, slot_of(event.what))
            else:  # of a later turn of the wheel
                _put(w, head, event.t_s, event.order, event.what)
        top.order = w.free_block
        w.free_block = block
        w.free_blocks += 1
        block = following
    w.wheel_s = math.inf
    if w.in_wheel:
        bucket += 1
        while wheel(w)[bucket & (BUCKETS - 1)] < 0:
            bucket += 1
        w.wheel_s = bucket / PER_S
