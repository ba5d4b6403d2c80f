"""What the world orders: each of these ends or changes many connections at once."""

from __future__ import annotations

import math

import numpy as np

from sim.fast.calm import ROOM, settle
from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.layout import ACCEPTED, BY_RUN_END, NO_FAILURE, ONLINE, TRYING, VACANT
from sim.fast.layout import LOGINS as OF_LOGINS
from sim.fast.pacing import connected_to, next_pace
from sim.fast.queues import packed
from sim.fast.stages import NONE, fail_soon
from sim.fast.store import at, pods, rows, soon, tried, unsorted, users
from sim.fast.users import HALF_A_MICROSECOND, NO_ANSWER, count, enlist, finish
from sim.fast.wheel import later

AHEAD = 8
"""So many users before its turn a record is asked for."""


@compiled
def pace(address: int, pod: int) -> None:
    """The pod asks those who are connected to it now; how fast stands in its record."""
    w = at(address)
    settle(w)
    pods(w)[pod].pace_at = w.pool
    w.pool += connected_to(w, pod)
    pods(w)[pod].pace_to = w.pool
    next_pace(w)


@compiled
def zero(address: int) -> None:
    """Now is time zero: the sessions of those who are there run from here."""
    w = at(address)
    settle(w)
    w.zero_s = w.now_s
    w.calendar_s = w.now_s
    for slot in range(len(users(w))):
        u = users(w)[slot]
        if u.phase != VACANT:
            u.end_s = w.now_s + u.end_s
            enlist(w, slot)
        if u.phase == ONLINE and u.ready_s > w.now_s - HALF_A_MICROSECOND and w.series:
            count(w, u.ready_s, pods(w)[u.pod].release, OF_LOGINS, False)  # whose login makes it time zero


@compiled
def cut(address: int, pod: int, stage: int, how: int) -> None:
    """The pod's connections in this stage end now, on its side."""
    w = at(address)
    settle(w)
    n = 0
    for slot in range(len(users(w))):
        unsorted(w)[n].slot = slot
        n += int(tried(w)[slot] == pod)
    for i in range(n):
        soon(w, unsorted(w)[min(i + AHEAD, n - 1)].slot)
        slot = unsorted(w)[i].slot
        if users(w)[slot].pod == pod and users(w)[slot].stage == stage:
            fail_soon(w, slot, w.now_s, how)
    w.emptied = NONE


@compiled
def freeze(address: int, pod: int, until_s: float, key: np.uint64, keepalive_s: float) -> None:
    """The pod stands still; each of its clients will ask for a sign of life and wait for it. There is room."""
    w = at(address)
    settle(w)
    p = pods(w)[pod]
    p.free_s = max(p.free_s, until_s)
    p.frozen_until_s = until_s
    for slot in range(len(users(w))):
        u = users(w)[slot]
        if u.pod == pod and u.stage == ACCEPTED:
            asks_s = w.now_s + uniform(key, u.place, (u.occupant << 32) + u.attempt) * keepalive_s
            later(w, asks_s + w.connect_timeout_s, packed(NO_ANSWER, slot, u.serial))


@compiled
def finish_all(address: int, first_slot: int) -> int:
    """The run is over: rows of what is open or under way; the next slot where the rows' room did not do."""
    w = at(address)
    settle(w)
    for slot in range(first_slot, len(users(w))):
        if w.row + ROOM >= len(rows(w)):
            return slot
        if users(w)[slot].phase in (TRYING, ONLINE):
            finish(w, slot, math.nan, BY_RUN_END, NO_FAILURE, False)
    return len(users(w))
