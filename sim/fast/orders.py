"""What the world orders: each of these ends or changes many connections at once."""

from __future__ import annotations

import math

import numpy as np

from sim.fast import flights as flying
from sim.fast.calm import ROOM
from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.flights import catch_up, flight, land
from sim.fast.layout import (
    ACCEPTED,
    BACKLOG,
    BY_RUN_END,
    LOST_ROWS,
    NO_ANSWER,
    NO_FAILURE,
    NO_ROWS,
    NONE,
    ONLINE,
    TIES,
    TRYING,
    VACANT,
)  # fmt: skip
from sim.fast.layout import LOGINS as OF_LOGINS
from sim.fast.lives import AHEAD, enlist, hosted, leave_slot, over, rest, wake, wake_all
from sim.fast.pacing import connected_to, next_pace
from sim.fast.queues import packed
from sim.fast.returns import may_return, send_back
from sim.fast.stages import fail_soon
from sim.fast.store import at, flights, hosts, lives, marks, pods, rows, soon, tried, users
from sim.fast.users import HALF_A_MICROSECOND, count, finish
from sim.fast.wheel import later


@compiled
def settle(address: int) -> None:
    """Quiet times are over."""
    flying.settle(at(address))


@compiled
def pace(address: int, pod: int) -> None:
    """The pod asks those who are connected to it now; how fast stands in its record. There are slots for them."""
    w = at(address)
    flying.settle(w)
    wake_all(w, pod, 0, hosted(w, pod, 0))
    pods(w)[pod].pace_at = w.pool
    w.pool += connected_to(w, pod)
    pods(w)[pod].pace_to = w.pool
    next_pace(w)


@compiled
def zero(address: int) -> None:
    """Now is time zero: the sessions of those who are there run from here."""
    w = at(address)
    w.zero_s = w.now_s
    w.calendar_s = w.now_s
    for slot in range(len(users(w))):
        u = users(w)[slot]
        if u.phase != VACANT:
            u.end_s = w.now_s + u.end_s
            enlist(w, slot)
        if u.phase == ONLINE:
            if u.ready_s > w.now_s - HALF_A_MICROSECOND and w.series:
                # whose login makes it time zero
                count(w, u.ready_s, pods(w)[u.pod].release, OF_LOGINS, False)
            rest(w, slot)


@compiled
def cut(address: int, pod: int, stage: int, how: int) -> None:
    """The pod's connections in this stage end now, on its side. There are slots for them."""
    w = at(address)
    catch_up(w, pod, w.now_s)
    p = pods(w)[pod]
    n = 0
    for number in range(p.left, p.came):
        if flights(w)[flight(pod, number)].life >= 0 and (stage == BACKLOG) == (number >= p.accepted):
            marks(w)[n] = land(w, pod, flight(pod, number), w.now_s)
            n += 1
    if stage == ACCEPTED:
        first, n = n, hosted(w, pod, n)
        if may_return(w):
            n = send_back(w, pod, first, n)
        wake_all(w, pod, first, n)
    if n < (p.open if stage == ACCEPTED else p.backlog):  # some had slots
        n = 0
        for slot in range(len(users(w))):
            marks(w)[n] = slot
            n += int(tried(w)[slot] == pod)
    if w.reconnect in TIES or (w.give_up >= 0 and w.population > 0):
        # who comes again at the same moment as others does it in an order that memory has no part in; so do those
        # who take the places of some who give up together
        places = np.empty(n)  # whole numbers; sorting is compiled for one type only
        for i in range(n):
            places[i] = users(w)[marks(w)[i]].place
        marks(w)[:n] = marks(w)[:n][np.argsort(places, kind="mergesort")]
    for i in range(n):
        soon(w, marks(w)[min(i + AHEAD, n - 1)])
        slot = marks(w)[i]
        if users(w)[slot].pod == pod and users(w)[slot].stage == stage:
            fail_soon(w, slot, w.now_s, how)
    w.emptied = NONE


@compiled
def freeze(address: int, pod: int, until_s: float, key: np.uint64, keepalive_s: float) -> None:
    """The pod stands still; each of its clients will ask for a sign of life and wait for it. There is room."""
    w = at(address)
    flying.settle(w)
    wake_all(w, pod, 0, hosted(w, pod, 0))
    p = pods(w)[pod]
    p.free_s = max(p.free_s, until_s)
    p.frozen_until_s = until_s
    for slot in range(len(users(w))):
        u = users(w)[slot]
        if u.pod == pod and u.stage == ACCEPTED:
            asks_s = w.now_s + uniform(key, u.place, (u.occupant << 32) + u.attempt) * keepalive_s
            later(w, asks_s + w.connect_timeout_s, packed(NO_ANSWER, slot, u.serial))


@compiled
def finish_all(address: int, first: int) -> int:
    """The run is over: rows of what is open or under way.

    Returns where to go on after the rows' room did not do: slots first, then lives; as many as both at the end.
    """
    w = at(address)
    flying.settle(w)
    slots = len(users(w))
    for slot in range(first, slots):
        if w.row + ROOM >= len(rows(w)):
            return slot
        if users(w)[slot].phase in (TRYING, ONLINE):
            finish(w, slot, math.nan, BY_RUN_END, NO_FAILURE, False)
            over(w, slot)
    if w.kept == NO_ROWS:
        return slots + len(lives(w))
    for i in range(max(first - slots, 0), w.high):
        if w.row + ROOM >= len(rows(w)):
            return slots + i
        if hosts(w)[i] >= 0 and (w.kept != LOST_ROWS or lives(w)[i].losing):
            slot = wake(w, i, hosts(w)[i])
            finish(w, slot, math.nan, BY_RUN_END, NO_FAILURE, False)
            over(w, slot)
            leave_slot(w, slot)
    return slots + len(lives(w))
