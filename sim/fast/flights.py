"""Logins in quiet times: a pod's part of them is done in the order of their SYNs, pod by pod.

A pod's CPU takes what comes to it one after the other, and no pod waits for another. So all of a login follows
from what its pod did before and from the SYNs that come to the pod until the login's own turn has come; nothing
has to be put in order between pods. A login is *in flight* from its SYN until it is ready; `catch_up` takes a
pod's flights as far as a moment, and `settle` turns all of them into the events that the loop knows.
"""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.layout import (
    ACCEPT,
    ARRIVALS,
    BACKLOG,
    IN_FLIGHT,
    LOGIN,
    LOGINS,
    OPENED,
    READY,
    RECONNECTS,
    SERVED,
    TRYING,
)  # fmt: skip
from sim.fast.lives import wake
from sim.fast.queues import kind_of, packed, push, put
from sim.fast.store import W, busy, flights, hosts, lives, logins, pods, readies, stages, users
from sim.fast.users import add, count


@compiled
def flight(pod: int, number: int) -> int:
    """Where a pod's flight of this number is."""
    return pod * IN_FLIGHT + (number & (IN_FLIGHT - 1))


@compiled
def catch_up(w: W, pod: int, t_s: float) -> None:
    """Let the pod do what it does up to this moment, what comes at this very moment too."""
    p = pods(w)[pod]
    while p.accepted < p.came:
        f = flights(w)[flight(pod, p.accepted)]
        if f.accepted_s > t_s:
            break
        if f.life >= 0:
            p.backlog -= 1
            p.open += 1
            hosts(w)[f.life] = pod
        p.accepted += 1
    while p.logged < p.came:
        f = flights(w)[flight(pod, p.logged)]
        login_s = f.accepted_s + 2 * w.one_way_s
        if login_s > t_s:
            break
        if f.life >= 0:
            one = lives(w)[f.life]
            p.free_s = max(p.free_s, login_s) + w.login_cpu_s
            f.served_s = p.free_s
            one.ready_s = p.free_s + w.login_rest_s
            w.online += 1
            if w.series:
                count(w, one.request_s, p.release, RECONNECTS if one.opened_before else ARRIVALS, False)
                count(w, one.open_s, p.release, OPENED, True)
                count(w, one.ready_s, p.release, LOGINS, False)
        p.logged += 1
    while p.left < p.logged:
        f = flights(w)[flight(pod, p.left)]
        if f.life >= 0:
            if lives(w)[f.life].ready_s > t_s:
                break
            if w.interval_s > 0.0:
                w.limiter_s = max(w.limiter_s, f.served_s + w.interval_s)
        p.left += 1
        w.flying -= 1
    if p.left == p.came:  # the next ones are in the same few lines of memory again
        p.came = 0
        p.accepted = 0
        p.logged = 0
        p.left = 0


@compiled
def catch_up_all(w: W, t_s: float) -> None:
    """All pods, to this moment."""
    i = 0
    while i < w.active:
        pod = busy(w)[i]
        p = pods(w)[pod]
        catch_up(w, pod, t_s)
        if p.left == p.came:
            p.busy = 0
            w.active -= 1
            busy(w)[i] = busy(w)[w.active]
        else:
            i += 1


@compiled
def see_ahead(w: W, pod: int, knock_s: float) -> None:
    """As `catch_up`, to a moment that may be later than now; the next SYN comes then or later."""
    catch_up(w, pod, knock_s)
    w.known_s = max(w.known_s, knock_s)


@compiled
def can_fly(w: W, pod: int, knock_s: float, most: int, longest_s: float) -> bool:
    """Whether a SYN to this pod leads to a login in flight: nothing can come in its way."""
    see_ahead(w, pod, knock_s)
    p = pods(w)[pod]
    if not p.listening or p.came - p.left >= most or p.backlog >= w.most_waiting:
        return False
    if knock_s < w.backend_back_s:
        return False
    if p.free_s - knock_s > longest_s / 2:
        return False
    if w.interval_s == 0.0:
        return True
    # turns of the backend are in the order of the SYNs only where each pod is idle
    served_s = knock_s + w.handshake_cpu_s + 2 * w.one_way_s + w.login_cpu_s
    idle = p.logged == p.came and p.free_s <= knock_s
    return bool(idle and max(w.limiter_s, w.passed_s) <= served_s)


@compiled
def fly(w: W, pod: int, at: int, knock_s: float) -> int:
    """A SYN comes: the flight that it begins. What the life says of the attempt is for the caller to write."""
    p = pods(w)[pod]
    p.free_s = max(p.free_s, knock_s) + w.handshake_cpu_s
    p.backlog += 1
    if not p.busy:
        p.busy = 1
        busy(w)[w.active] = pod
        w.active += 1
    number = flight(pod, p.came)
    flights(w)[number].accepted_s = p.free_s
    flights(w)[number].life = at
    p.came += 1
    w.flying += 1
    if w.interval_s > 0.0:
        w.passed_s = p.free_s + 2 * w.one_way_s + w.login_cpu_s + w.interval_s
    return int(number)


@compiled
def land(w: W, pod: int, number: int, t_s: float) -> int:
    """A slot for the user of a flight, who has got as far as this moment; the pod has caught up with it."""
    f = flights(w)[number]
    one = lives(w)[f.life]
    slot = wake(w, f.life, pod)
    u = users(w)[slot]
    u.wait_s = f.wait_s
    u.retries = f.retries
    u.failed = f.failed
    u.phase = TRYING
    u.ready_s = math.inf
    if f.accepted_s + 2 * w.one_way_s <= t_s:
        w.online -= 1
        if w.interval_s > 0.0 and f.served_s <= t_s:
            w.limiter_s = max(w.limiter_s, f.served_s + w.interval_s)
        if w.series:
            add(w, one.ready_s, pods(w)[pod].release, LOGINS, False, -1)
    else:
        u.told = 0
        if f.accepted_s > t_s:
            u.stage = BACKLOG
            u.open_s = math.inf
    f.life = -1
    return slot


@compiled
def settle(w: W) -> None:
    """Make events of all that is in flight.

    Pods are as far as the last SYN that has been looked at. That may be later than now, but no other comes before
    it, and nothing else changes what they do.
    """
    at_s = max(w.now_s, w.known_s)
    catch_up_all(w, at_s)
    times_s = np.empty(w.flying)
    whats = np.empty(w.flying, np.int64)
    n = 0
    for i in range(w.active):
        pod = busy(w)[i]
        p = pods(w)[pod]
        p.busy = 0
        while p.left < p.came:
            number = flight(pod, p.left)
            p.left += 1
            f = flights(w)[number]
            if f.life < 0:
                continue
            ready_s = lives(w)[f.life].ready_s
            if f.accepted_s > at_s:
                times_s[n], kind = f.accepted_s, ACCEPT
            elif f.accepted_s + 2 * w.one_way_s > at_s:
                times_s[n], kind = f.accepted_s + 2 * w.one_way_s, LOGIN
            elif f.served_s > at_s:
                times_s[n], kind = f.served_s, SERVED
            else:
                times_s[n], kind = ready_s, READY
            slot = land(w, pod, number, at_s)
            whats[n] = packed(kind, slot, users(w)[slot].serial)
            n += 1
        p.accepted = p.came
        p.logged = p.came
    w.active = 0
    w.flying = 0
    w.passed_s = -math.inf
    for i in np.argsort(times_s[:n], kind="mergesort"):
        if kind_of(whats[i]) == LOGIN:
            put(logins(w), times_s[i], whats[i])
        elif kind_of(whats[i]) == READY:
            put(readies(w), times_s[i], whats[i])
        else:
            w.sequence += 1
            push(stages(w), times_s[i], w.sequence, whats[i])
