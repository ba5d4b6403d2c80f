"""Who takes off in quiet times: newcomers, those who take somebody's place, and those who come again."""

from __future__ import annotations

import math

from sim.fast.compiled import compiled
from sim.fast.draws import session_s, uniform
from sim.fast.flights import can_fly, catch_up, flight, fly, land
from sim.fast.layout import CUT_SHORT, NONE, ONLY_ONLINE
from sim.fast.lives import add_life, leave_slot, write_down
from sim.fast.queues import packed
from sim.fast.store import W, backends, busy, chances, flights, lives, pods, stays, users
from sim.fast.users import session_ends
from sim.fast.wheel import later

AT_ONCE = 64
"""Newcomers whose numbers are drawn in one go: one after the other waits for the multiplications before."""


@compiled
def _draw_ahead(w: W) -> None:
    """The numbers of the next newcomers."""
    w.drawn_from = w.arrived
    w.drawn_to = w.arrived + AT_ONCE
    for i in range(AT_ONCE):
        chances(w)[i] = uniform(w.route_key, w.arrived + i, 1)
    for i in range(AT_ONCE):
        stays(w)[i] = session_s(w, w.arrived + i, 0, False)


@compiled
def newcomer(w: W, t_s: float, most: int, longest_s: float) -> bool:
    """As `_fresh`, for who takes nobody's place."""
    if w.arrived < w.drawn_from or w.arrived >= w.drawn_to:
        _draw_ahead(w)
    i = w.arrived - w.drawn_from
    return _fresh(w, w.arrived, 0, t_s, chances(w)[i], stays(w)[i], most, longest_s)


@compiled
def successor(w: W, place: int, occupant: int, t_s: float, most: int, longest_s: float) -> bool:
    """As `_fresh`, for who takes the place of somebody."""
    chance = uniform(w.route_key, place, (occupant << 32) + 1)
    stay_s = session_s(w, place, occupant, False)
    return _fresh(w, place, occupant, t_s, chance, stay_s, most, longest_s)


@compiled
def _fresh(
    w: W, place: int, occupant: int, t_s: float, chance: float, stay_s: float, most: int, longest_s: float
) -> bool:
    """A new user comes, and the login is in flight at once. False: nothing has been done, it takes the long way."""
    n = len(backends(w))
    if n == 0:
        return False
    knock_s = t_s + w.one_way_s
    pod = backends(w)[int(chance * n)]
    end_s = t_s + stay_s
    if end_s < knock_s + longest_s or not can_fly(w, pod, knock_s, most, longest_s):
        return False
    at = add_life(w, end_s)
    f = flights(w)[fly(w, pod, at, knock_s)]
    f.wait_s = 0.0
    f.retries = 0
    f.failed = 0
    one = lives(w)[at]
    one.request_s = t_s
    one.open_s = f.accepted_s + w.one_way_s
    one.ready_s = math.inf
    one.place = place
    one.occupant = occupant
    one.attempt = 1
    one.slot = ONLY_ONLINE
    one.opened_before = 0
    one.losing = 0
    w.attempts += 1
    return True


@compiled
def knocks_at(w: W, slot: int, knock_s: float, most: int, longest_s: float) -> bool:
    """A user's SYN comes, and the login is in flight: that takes no slot. False: nothing has been done."""
    u = users(w)[slot]
    n = len(backends(w))
    if n == 0:
        return False
    pod = backends(w)[int(uniform(w.route_key, u.place, (u.occupant << 32) + u.attempt) * n)]
    if not can_fly(w, pod, knock_s, most, longest_s):
        return False
    f = flights(w)[fly(w, pod, u.at, knock_s)]
    f.wait_s = u.wait_s
    f.retries = u.retries
    f.failed = u.failed
    u.open_s = f.accepted_s + w.one_way_s
    if u.end_s < knock_s + longest_s:
        # it may end before it is ready, and then the pod has less to do
        later(w, u.end_s, packed(CUT_SHORT, 0, u.at))
        w.loose += 1
    write_down(w, slot, u.at)
    leave_slot(w, slot)
    return True


@compiled
def cut_short(w: W, at: int, t_s: float) -> int:
    """A session ends, maybe before its login is ready: then this says in which slot the next user knocks."""
    w.loose -= 1
    for i in range(w.active):
        pod = busy(w)[i]
        catch_up(w, pod, t_s)
        for number in range(pods(w)[pod].left, pods(w)[pod].came):
            if flights(w)[flight(pod, number)].life == at:
                slot = land(w, pod, flight(pod, number), t_s)
                return int(slot if session_ends(w, slot, t_s) else NONE)
    return int(NONE)
