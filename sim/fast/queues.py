"""The event queues: rings for what comes in the order of its causes, heaps for everything else.

Each is one array of `layout.EVENT`. Its first record is no event: in a ring, `order` and `what` are the numbers,
counted up for ever, of the first event and of the one after the last; in a heap, `what` is the size. So a
compiled function takes one argument a queue.
"""

from __future__ import annotations

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.layout import EVENT, Array

_SLOT, _SERIAL = 32, 0xFFFFFFFF


def empty(size: int) -> Array:
    """A ring or a heap with this much room; for a ring a power of two."""
    return np.zeros(size + 1, EVENT)


def larger(heap: Array, more: int) -> Array:
    """The heap with more room."""
    grown = empty(len(heap) - 1 + more)
    grown[: len(heap)] = heap
    return grown


def fits(ring: Array, wanted: int) -> bool:
    """As `has_room`, outside of compiled code."""
    return bool(ring[0]["what"] - ring[0]["order"] + wanted < len(ring))


def twice(ring: Array) -> Array:
    """The ring with twice the room."""
    n = int(ring[0]["what"] - ring[0]["order"])
    at = (int(ring[0]["order"]) + np.arange(n)) & (len(ring) - 2)
    grown = empty(2 * (len(ring) - 1))
    grown[1 : n + 1] = ring[1:][at]
    grown[0]["what"] = n
    return grown


@compiled
def packed(kind: int, slot: int, serial: int) -> int:
    """An event in one number; serials may wrap around."""
    return (kind << 56) | (slot << _SLOT) | (serial & _SERIAL)


@compiled
def kind_of(what: int) -> int:
    """What kind of event it is."""
    return what >> 56


@compiled
def slot_of(what: int) -> int:
    """Whose event it is."""
    return (what >> _SLOT) & 0xFFFFFF


@compiled
def serial_of(what: int) -> int:
    """Of which attempt it is."""
    return what & _SERIAL


@compiled
def length(ring: Array) -> int:
    """How many events there are in a ring."""
    return int(ring[0].what - ring[0].order)


@compiled
def has_room(ring: Array, wanted: int) -> bool:
    """Whether so many more fit in a ring."""
    return bool(ring[0].what - ring[0].order + wanted < len(ring))


@compiled
def space(ring: Array) -> int:
    """How many more fit in a ring."""
    return int(len(ring) - 1 - (ring[0].what - ring[0].order))


@compiled
def put(ring: Array, t_s: float, what: int) -> None:
    """At a ring's end; the caller has made sure that there is room."""
    at = 1 + (ring[0].what & (len(ring) - 2))
    ring[at].t_s = t_s
    ring[at].what = what
    ring[0].what += 1


@compiled
def first_s(ring: Array) -> float:
    """When a ring's first event is due, infinite if there is none."""
    if ring[0].order == ring[0].what:
        return float("inf")
    return float(ring[1 + (ring[0].order & (len(ring) - 2))].t_s)


@compiled
def ahead(ring: Array, n: int) -> int:
    """A ring's event n places behind the first, or what else is in that place."""
    return int(ring[1 + ((ring[0].order + n) & (len(ring) - 2))].what)


@compiled
def first(ring: Array) -> int:
    """A ring's first event; there must be one."""
    return int(ring[1 + (ring[0].order & (len(ring) - 2))].what)


@compiled
def take(ring: Array) -> int:
    """A ring's first event, taken out; there must be one."""
    ring[0].order += 1
    return int(ring[1 + ((ring[0].order - 1) & (len(ring) - 2))].what)


@compiled
def top_s(heap: Array) -> float:
    """When a heap's earliest event is due, infinite if there is none."""
    return float(heap[1].t_s) if heap[0].what else float("inf")


@compiled
def push(heap: Array, t_s: float, order: int, what: int) -> None:
    """Into a heap; the caller has made sure that there is room. Of one time, the lowest order comes first."""
    heap[0].what += 1
    at = heap[0].what
    while at > 1:
        above = at >> 1
        if heap[above].t_s < t_s or (heap[above].t_s == t_s and heap[above].order < order):
            break
        heap[at].t_s = heap[above].t_s
        heap[at].order = heap[above].order
        heap[at].what = heap[above].what
        at = above
    heap[at].t_s = t_s
    heap[at].order = order
    heap[at].what = what


@compiled
def pop(heap: Array) -> int:
    """A heap's earliest event, taken out; there must be one."""
    found = int(heap[1].what)
    size = heap[0].what
    heap[0].what = size - 1
    t_s, order, what = heap[size].t_s, heap[size].order, heap[size].what
    at = 1
    while True:
        below = 2 * at
        if below >= size:
            break
        other = below + 1
        if other < size and (
            heap[other].t_s < heap[below].t_s
            or (heap[other].t_s == heap[below].t_s and heap[other].order < heap[below].order)
        ):
            below = other
        if t_s < heap[below].t_s or (t_s == heap[below].t_s and order < heap[below].order):
            break
        heap[at].t_s = heap[below].t_s
        heap[at].order = heap[below].order
        heap[at].what = heap[below].what
        at = below
    heap[at].t_s = t_s
    heap[at].order = order
    heap[at].what = what
    return found
