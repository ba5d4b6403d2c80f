"""Lives: what is kept of everybody who has come and not yet gone, in blocks by when their sessions end.

Who is just online needs no more than this, one cache line. Who is trying, waiting or to be told something has a
record among `users` besides, with a slot; so there are as many of those as a storm needs, not as there are users.
"""

from __future__ import annotations

import math

from sim.fast.compiled import compiled
from sim.fast.layout import (
    ACCEPTED,
    NO_CUT,
    NOWHERE,
    ONLINE,
    ONLY_ONLINE,
    OVER,
    VACANT,
)  # fmt: skip
from sim.fast.store import W, calendar, hosts, life_soon, lives, marks, present, soon, tried, users, vacant

BITS = 4
BLOCK = 1 << BITS
"""Records of a block. The first is its head, which says only which block follows."""
IN_A_BLOCK = BLOCK - 1
AHEAD = 16
"""So many users before its turn a record is asked for."""


@compiled
def bucket_of(w: W, t_s: float) -> int:
    """Which bucket a life belongs in that ends at this time."""
    return int(max(min((t_s - w.calendar_s) * w.buckets_per_s, len(calendar(w)) - 1.0), float(w.bucket)))


@compiled
def new_life(w: W, bucket: int) -> int:
    """A place in this bucket; the caller has made sure that there is a block, and fills all of it."""
    at = calendar(w)[bucket]
    if at & IN_A_BLOCK == IN_A_BLOCK:  # the block is full, or there is none
        before = at >> BITS
        if w.free_life >= 0:
            at = w.free_life * BLOCK
            w.free_life = lives(w)[at].following
        else:
            at = w.high
            w.high += BLOCK
            for i in range(at, w.high):
                hosts(w)[i] = -1
        w.free_lives -= 1
        lives(w)[at].following = before
    calendar(w)[bucket] = at + 1
    return int(at + 1)


@compiled
def place_soon(w: W, end_s: float) -> None:
    """A life will be added that ends then."""
    at = calendar(w)[bucket_of(w, end_s)] + 1
    if at & IN_A_BLOCK:
        life_soon(w, at)


@compiled
def free_bucket(w: W, bucket: int) -> None:
    """Give back its blocks: all lives in it are over."""
    block = calendar(w)[bucket] >> BITS
    calendar(w)[bucket] = -1
    while block >= 0:
        following = lives(w)[block * BLOCK].following
        lives(w)[block * BLOCK].following = w.free_life
        w.free_life = block
        w.free_lives += 1
        block = following


@compiled
def insert(w: W, first: int, to: int, t_s: float, life: int) -> None:
    """Put a life into its place among `present[first:to]`, which are in order; what comes after it moves up."""
    while to > first and present(w)[to - 1].t_s > t_s:
        present(w)[to].t_s = present(w)[to - 1].t_s
        present(w)[to].life = present(w)[to - 1].life
        to -= 1
    present(w)[to].t_s = t_s
    present(w)[to].life = life


@compiled
def add_life(w: W, end_s: float) -> int:
    """A place for one that ends then; the caller fills the rest of it."""
    bucket = bucket_of(w, end_s)
    at = new_life(w, bucket)
    lives(w)[at].end_s = end_s
    if bucket == w.bucket and w.in_order:
        insert(w, w.sorted_at, w.sorted_to, end_s, at)
        w.sorted_to += 1
    return at


@compiled
def enlist(w: W, slot: int) -> None:
    """Have the end of this user's session come at its time."""
    u = users(w)[slot]
    u.at = add_life(w, u.end_s)
    lives(w)[u.at].slot = slot


@compiled
def over(w: W, slot: int) -> None:
    """This user's life is over before the session would have been."""
    u = users(w)[slot]
    if u.at >= 0:
        lives(w)[u.at].slot = OVER
        u.at = -1


@compiled
def leave_slot(w: W, slot: int) -> None:
    """Its user is no more, or just online."""
    u = users(w)[slot]
    u.phase = VACANT
    u.stage = NOWHERE
    u.serial += 1
    u.at = -1
    tried(w)[slot] = -1
    vacant(w)[w.free] = slot
    w.free += 1


@compiled
def write_down(w: W, slot: int, at: int) -> None:
    """What a life says of its user's attempt."""
    u = users(w)[slot]
    one = lives(w)[at]
    one.request_s = u.request_s
    one.open_s = u.open_s
    one.ready_s = u.ready_s
    one.place = u.place
    one.occupant = u.occupant
    one.attempt = u.attempt
    one.opened_before = u.opened_before
    one.losing = u.losing
    one.slot = ONLY_ONLINE


@compiled
def rest(w: W, slot: int) -> None:
    """This user is online now: that needs no slot. Those before time zero keep theirs."""
    u = users(w)[slot]
    if u.at < 0 or w.paced:
        return
    write_down(w, slot, u.at)
    hosts(w)[u.at] = u.pod
    leave_slot(w, slot)


@compiled
def wake(w: W, at: int, pod: int) -> int:
    """A slot for a life, with what it says; as of one who is online at this pod."""
    w.free -= 1
    slot = vacant(w)[w.free]
    u = users(w)[slot]
    one = lives(w)[at]
    u.end_s = one.end_s
    u.request_s = one.request_s
    u.connected_s = one.request_s + w.one_way_s + w.one_way_s
    u.open_s = one.open_s
    u.ready_s = one.ready_s
    u.wait_s = 0.0
    u.place = one.place
    u.serial += 1
    u.occupant = one.occupant
    u.attempt = one.attempt
    u.retries = 0
    u.failed = 0
    u.pod = pod
    u.at = at
    u.phase = ONLINE
    u.stage = ACCEPTED
    u.cut = NO_CUT
    u.told = 1
    u.opened_before = one.opened_before
    u.losing = one.losing
    one.slot = slot
    hosts(w)[at] = -1
    tried(w)[slot] = pod
    return int(slot)


@compiled
def hosted(w: W, pod: int, n: int) -> int:
    """All who are just online at this pod, put into `marks` from the nth on; how many are there then."""
    of, end = hosts(w), n
    for block in range(0, w.high, BLOCK):
        here = 0
        for i in range(BLOCK):
            here += int(of[block + i] == pod)
        if here > 0:
            for at in range(block + 1, block + BLOCK):
                marks(w)[end] = at
                end += int(of[at] == pod)
    return end


@compiled
def wake_all(w: W, pod: int, first: int, end: int) -> None:
    """Slots for the lives `marks[first:end]`, who are online at this pod, in their place. There are enough."""
    for i in range(first, end):
        life_soon(w, marks(w)[min(i + AHEAD, end - 1)])
        soon(w, vacant(w)[max(w.free - AHEAD, 0)])
        marks(w)[i] = wake(w, marks(w)[i], pod)


@compiled
def bucket_ends_s(w: W) -> float:
    """When the next bucket begins; never, if there is none that is opened."""
    if w.bucket < len(calendar(w)) - 2:
        return float(w.calendar_s + (w.bucket + 1) * w.bucket_s)
    return math.inf
