"""Who takes off in quiet times: newcomers, those who take somebody's place, and those who come again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.draws import fresh_sessions_s, session_s, uniform, uniforms
from sim.fast.flights import can_fly, catch_up, flight, fly, land, see_ahead
from sim.fast.layout import ARRIVALS, CUT_SHORT, LOGINS, NONE, ONLY_ONLINE, OPENED, REFUSED, RESET
from sim.fast.lives import add_life, leave_slot, place_soon, write_down
from sim.fast.queues import packed
from sim.fast.stages import fail_soon
from sim.fast.store import (
    W,
    arrivals,
    backends,
    bins,
    busy,
    chances,
    flights,
    hosts,
    lives,
    pods,
    stays,
    tried,
    users,
)
from sim.fast.users import bin_of, session_ends
from sim.fast.wheel import later

AT_ONCE = 64
"""Newcomers whose numbers are drawn in one go: one after the other waits for the multiplications before."""
NOBODY_BEFORE: Any = np.int64(0)
"""The first occupant's number; not a plain constant, see `layout`."""


@compiled
def _draw_ahead(w: W) -> None:
    """The numbers of the next newcomers."""
    w.drawn_from = w.arrived
    w.drawn_to = w.arrived + AT_ONCE
    fresh_sessions_s(w, stays(w), chances(w), w.arrived)
    uniforms(chances(w), w.route_key, w.arrived, 1)
    for i in range(min(AT_ONCE, len(arrivals(w)) - w.arrival)):
        place_soon(w, arrivals(w)[w.arrival + i] + stays(w)[i])


@compiled
def _first_attempt(
    w: W, at: int, place: int, occupant: int, t_s: float, open_s: float, ready_s: float
) -> None:
    """What a life says of a new user; `add_life` has said when it ends."""
    one = lives(w)[at]
    one.request_s = t_s
    one.open_s = open_s
    one.ready_s = ready_s
    one.place = place
    one.occupant = occupant
    one.attempt = 1
    one.slot = ONLY_ONLINE
    one.opened_before = 0
    one.losing = 0


@compiled
def newcomer(w: W, t_s: float, most: int, longest_s: float) -> bool:
    """As `_fresh`, for who takes nobody's place."""
    if w.arrived < w.drawn_from or w.arrived >= w.drawn_to:
        _draw_ahead(w)
    i = w.arrived - w.drawn_from
    return _fresh(w, w.arrived, NOBODY_BEFORE, t_s, chances(w)[i], stays(w)[i], most, longest_s)


@compiled
def _alone(w: W, pod: int, ready_s: float, until_s: float) -> bool:
    """Whether the next newcomer is logged in, at this pod, before anything may come in the way.

    So it is, too, if only the one after it comes before, and to another pod, which lets it in.
    """
    ahead = w.arrival + 1
    if ahead >= len(arrivals(w)) or ready_s >= until_s:
        return False
    if ready_s < arrivals(w)[ahead]:
        return True
    i = w.arrived + 1 - w.drawn_from
    if ahead + 1 >= len(arrivals(w)) or ready_s >= arrivals(w)[ahead + 1] or i >= AT_ONCE:
        return False
    other = backends(w)[int(chances(w)[i] * len(backends(w)))]
    return bool(other != pod and pods(w)[other].listening)


@compiled
def newcomers(w: W, until_s: float, longest_s: float, room: int) -> None:
    """Newcomers, one after the other, as long as each is logged in before anything else happens.

    That is what most of them are in quiet times: a login's times follow from nothing but its own beginning, and it
    is never in flight. Nothing else that is known now happens before `until_s`; there is room for so many.
    """
    one_way_s, n = w.one_way_s, len(backends(w))
    if n == 0 or w.interval_s > 0.0:
        return
    last = w.arrived + room
    # looked up once: the compiler cannot know that what is written below changes none of it
    times_s, of, all_pods, all_hosts, all_bins = arrivals(w), backends(w), pods(w), hosts(w), bins(w)
    zero_s, first, series, handshake_s = w.zero_s, w.bin, w.series, w.handshake_cpu_s
    rest_s, cpu_s = w.login_rest_s, w.login_cpu_s
    while w.arrival < len(times_s) and w.arrived < last:
        t_s = times_s[w.arrival]
        knock_s = t_s + one_way_s
        if w.arrived < w.drawn_from or w.arrived >= w.drawn_to:
            _draw_ahead(w)
        i = w.arrived - w.drawn_from
        pod = of[int(chances(w)[i] * n)]
        end_s = t_s + stays(w)[i]
        p = all_pods[pod]
        accepted_s = knock_s + handshake_s
        served_s = accepted_s + 2 * one_way_s + cpu_s
        ready_s = served_s + rest_s
        if p.came != p.left and ready_s < until_s:
            see_ahead(w, pod, knock_s)
        if (
            not _alone(w, pod, ready_s, until_s)
            or p.came != p.left
            or p.free_s > knock_s
            or end_s < knock_s + longest_s
            or not p.listening
            or knock_s < w.backend_back_s
        ):
            return
        p.free_s = served_s
        p.open += 1
        w.now_s = t_s
        w.arrival += 1
        w.arrived += 1
        w.attempts += 1
        w.online += 1
        at = add_life(w, end_s)
        all_hosts[at] = pod
        _first_attempt(w, at, w.arrived - 1, NOBODY_BEFORE, t_s, accepted_s + one_way_s, ready_s)
        if series:
            # none of these is beyond the window: `until_s` is not
            release = p.release + 1
            all_bins[release, bin_of(t_s, zero_s, False) - first, ARRIVALS] += 1
            all_bins[release, bin_of(accepted_s + one_way_s, zero_s, True) - first, OPENED] += 1
            all_bins[release, bin_of(ready_s, zero_s, False) - first, LOGINS] += 1


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
    _first_attempt(w, at, place, occupant, t_s, f.accepted_s + w.one_way_s, math.inf)
    w.attempts += 1
    return True


@compiled
def knocks_at(w: W, slot: int, knock_s: float, most: int, longest_s: float) -> bool:
    """A user's SYN comes: the login is in flight, which takes no slot, or refused. False: nothing has been done."""
    u = users(w)[slot]
    n = len(backends(w))
    if n == 0:
        fail_soon(w, slot, knock_s, REFUSED)
        return True
    pod = backends(w)[int(uniform(w.route_key, u.place, (u.occupant << 32) + u.attempt) * n)]
    if not pods(w)[pod].listening:
        u.pod = pod
        tried(w)[slot] = pod
        fail_soon(w, slot, knock_s, RESET)
        return True
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
