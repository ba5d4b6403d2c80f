"""A pod that asks its clients to leave, one after the other."""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.layout import ACCEPTED, SERVER
from sim.fast.queues import packed, slot_of
from sim.fast.stages import fail_soon, is_live
from sim.fast.store import W, pods, pool, tried, users


@compiled
def connected_to(w: W, pod: int) -> int:
    """Put the pod's connections, oldest first, behind what is in the pool; how many they are."""
    n = 0
    for slot in range(len(users(w))):
        if tried(w)[slot] == pod and users(w)[slot].pod == pod and users(w)[slot].stage == ACCEPTED:
            pool(w)[w.pool + n] = slot
            n += 1
    times = np.empty(n)
    for i in range(n):
        times[i] = users(w)[pool(w)[w.pool + i]].open_s
    order = np.argsort(times, kind="mergesort")
    slots = pool(w)[w.pool : w.pool + n][order]
    for i in range(n):
        pool(w)[w.pool + i] = packed(0, slots[i], users(w)[slots[i]].serial)
    return n


@compiled
def next_pace(w: W) -> None:
    """Find out which pod asks next."""
    w.pace_s = math.inf
    w.paced = 0
    for pod in range(len(pods(w))):
        if pods(w)[pod].pace_s < math.inf:
            w.paced += 1
            w.pace_s = min(w.pace_s, pods(w)[pod].pace_s)
    if w.paced == 0:
        w.pool = 0


@compiled
def ask(w: W, t_s: float) -> None:
    """The pod whose turn it is asks its oldest client to leave."""
    pod = 0
    while pods(w)[pod].pace_s != t_s:
        pod += 1
    p = pods(w)[pod]
    for _ in range(2):
        while p.pace_at < p.pace_to:
            what = pool(w)[p.pace_at]
            p.pace_at += 1
            u = users(w)[slot_of(what)]
            if is_live(w, what) and u.stage == ACCEPTED and u.open_s <= p.pace_until_s:
                fail_soon(w, slot_of(what), t_s, SERVER)
                p.pace_s = t_s + p.pace_every_s
                next_pace(w)
                return
        if p.pace_until_s < math.inf or p.open == 0:
            break
        p.pace_at = w.pool
        w.pool += connected_to(w, pod)
        p.pace_to = w.pool
    p.pace_s = t_s + p.pace_every_s if p.pace_until_s == math.inf and p.listening else math.inf
    next_pace(w)
