"""Those who lose their connections together and come again, each after a random wait.

What a pod's end means to each of its users is known at once: when the client learns of it, how long it waits, and
that nothing happens to it until then. So they are put in the order in which they come again, and neither needs a
slot nor a timer. Only where each one's loss is to be told in a row of its own do they go the long way.
"""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.flights import can_fly, fly
from sim.fast.layout import CLOSED, CUT_SHORT, EQUAL, FORCED_CLOSES, FULL, NO_ROWS, ONLY_ONLINE, RETURNING
from sim.fast.lives import AHEAD, wake
from sim.fast.queues import packed
from sim.fast.store import (
    W,
    backends,
    calendar,
    flights,
    hosts,
    life_soon,
    lives,
    marks,
    pods,
    returning,
    unplaced,
    users,
)  # fmt: skip
from sim.fast.users import add, connect, spread_s
from sim.fast.wheel import later

A_MOMENT_S = 1e-3


@compiled
def back_s(w: W) -> float:
    """When the next one comes again; never, if there is none."""
    return float(returning(w)[w.back_at].t_s) if w.back_at < w.back_to else math.inf


@compiled
def may_return(w: W) -> bool:
    """Whether those who are cut now can go this way: their waits are random, and the run goes on when they know."""
    ends_s = w.calendar_s + w.bucket_s * (len(calendar(w)) - 2)
    return bool(
        w.shortens
        and w.kept == NO_ROWS
        and w.zero_s < math.inf
        and (w.reconnect == FULL or w.reconnect == EQUAL)
        and w.now_s + w.one_way_s + A_MOMENT_S < ends_s
    )


@compiled
def send_back(w: W, pod: int, first: int, end: int) -> int:
    """Cut the lives `marks[first:end]`, all just online at this pod; there is room for them.

    Whose session ends before its next attempt stays in `marks`, for the long way; returns where those end.
    """
    lost_s = w.now_s + w.one_way_s
    highest_s = min(w.cap_s, w.base_s)
    n, stay = 0, first
    for i in range(first, end):
        life_soon(w, marks(w)[min(i + AHEAD, end - 1)])
        at = marks(w)[i]
        one = lives(w)[at]
        named = (one.occupant << 32) + one.attempt
        t_s = lost_s + spread_s(w, highest_s, uniform(w.backoff_key, one.place, named))
        if one.end_s <= t_s:
            marks(w)[stay] = at
            stay += 1
            continue
        hosts(w)[at] = -1
        one.slot = RETURNING
        one.opened_before = 1
        one.losing = 1
        unplaced(w)[n].t_s = t_s
        unplaced(w)[n].chance = uniform(w.route_key, one.place, named + 1)
        unplaced(w)[n].life = at
        n += 1
    p = pods(w)[pod]
    p.open -= n
    w.online -= n  # a moment early; nobody looks at it before
    if w.series:
        add(w, lost_s, p.release, CLOSED, True, n)
        add(w, lost_s, p.release, FORCED_CLOSES, False, n)
    _put_in_order(w, n, lost_s, highest_s)
    return stay


@compiled
def _copy(to: W, one: W) -> None:
    to.t_s = one.t_s
    to.chance = one.chance
    to.life = one.life


@compiled
def _put_in_order(w: W, n: int, first_s: float, within_s: float) -> None:
    """The first n of `unplaced` go among those who return: scattered by time, put right, and merged."""
    of, new = returning(w), unplaced(w)
    left = w.back_to - w.back_at
    for i in range(left):
        _copy(of[i], of[w.back_at + i])
    w.back_at = 0
    w.back_to = left + n
    per_s = n / within_s
    ends = np.zeros(n + 1, np.int32)
    for i in range(n):
        ends[min(int((new[i].t_s - first_s) * per_s), n - 1) + 1] += 1
    for i in range(n):
        ends[i + 1] += ends[i]
    for i in range(n):
        part = min(int((new[i].t_s - first_s) * per_s), n - 1)
        _copy(of[left + ends[part]], new[i])
        ends[part] += 1
    for i in range(left + 1, left + n):
        t_s, chance, life = of[i].t_s, of[i].chance, of[i].life
        to = i
        while to > left and of[to - 1].t_s > t_s:
            _copy(of[to], of[to - 1])
            to -= 1
        of[to].t_s = t_s
        of[to].chance = chance
        of[to].life = life
    if left == 0:
        return
    for i in range(n):
        _copy(new[i], of[left + i])
    a, b, to = left - 1, n - 1, left + n - 1
    while b >= 0:
        if a >= 0 and of[a].t_s > new[b].t_s:
            _copy(of[to], of[a])
            a -= 1
        else:
            _copy(of[to], new[b])
            b -= 1
        to -= 1


@compiled
def one_comes_back(w: W, t_s: float) -> int:
    """The next one comes again, the long way; the slot."""
    at = returning(w)[w.back_at].life
    w.back_at += 1
    slot = wake(w, at, -1)
    users(w)[slot].retries = 1
    connect(w, slot, t_s)
    return slot


@compiled
def come_back(w: W, until_s: float, most: int, longest_s: float, room: int) -> None:
    """Those who come again before this moment, each with a login in flight; stops at who takes the long way."""
    n, one_way_s, last = len(backends(w)), w.one_way_s, w.back_at + room
    if n == 0:
        return
    while w.back_at < min(w.back_to, last):
        r = returning(w)[w.back_at]
        t_s, at = r.t_s, r.life
        knock_s = t_s + one_way_s
        pod = backends(w)[int(r.chance * n)]
        one = lives(w)[at]
        if t_s >= until_s or not can_fly(w, pod, knock_s, most, longest_s):
            return
        life_soon(w, returning(w)[w.back_at + AHEAD].life)
        w.back_at += 1
        w.now_s = t_s
        w.attempts += 1
        f = flights(w)[fly(w, pod, at, knock_s)]
        f.wait_s = 0.0
        f.retries = 1
        f.failed = 0
        one.request_s = t_s
        one.open_s = f.accepted_s + one_way_s
        one.ready_s = math.inf
        one.attempt += 1
        one.slot = ONLY_ONLINE
        if one.end_s < knock_s + longest_s:
            later(w, one.end_s, packed(CUT_SHORT, 0, at))
            w.loose += 1
            return
