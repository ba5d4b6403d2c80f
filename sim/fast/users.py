"""What a user does, compiled: the state machine of `loadgen.behaviour.place`, a record instead of an object."""

from __future__ import annotations

import math

from sim.fast.compiled import compiled
from sim.fast.draws import session_s, uniform
from sim.fast.layout import (
    ACCEPTED,
    ALL_ROWS,
    ARRIVAL,
    ARRIVALS,
    BACKEND,
    BACKLOG,
    BY_NETWORK,
    BY_NOBODY,
    BY_POD_GONE,
    BY_RUN_END,
    BY_SERVER,
    BY_USER,
    CLOSED,
    DECORRELATED,
    EOF,
    EQUAL,
    F_HANDSHAKE,
    F_LOGIN,
    F_REFUSED,
    FORCED_CLOSES,
    IMMEDIATE,
    LOGINS,
    LOST_ROWS,
    NO_CUT,
    NO_FAILURE,
    NO_JITTER,
    NOWHERE,
    ONLINE,
    OPENED,
    OVER,
    POD_GONE,
    RECONNECT,
    RECONNECTS,
    REFUSED,
    RETRY,
    SCHEDULE,
    SERVER,
    TRYING,
    USER_CLOSES,
    WAITING,
)  # fmt: skip
from sim.fast.lives import enlist, leave_slot, over, rest, wake
from sim.fast.queues import packed
from sim.fast.store import W, bins, hosts, lives, pods, rows, users, vacant, waits
from sim.fast.wheel import later

HALF_A_MICROSECOND = 5e-7
GIVES_UP = -1.0
MOST_DOUBLINGS = 1000


@compiled
def add(w: W, t_s: float, release: int, counter: int, up: bool, change: int) -> None:
    """So many more in the series' bin of this moment, or with `up` of the first bin that begins after it."""
    at = bin_of(t_s, w.zero_s, up) - w.bin
    if 0 <= at < w.window:
        bins(w)[release + 1, at, counter] += change


@compiled
def bin_of(t_s: float, zero_s: float, up: bool) -> int:
    """The bin of this moment, or with `up` the first one that begins after it."""
    since_s = t_s - zero_s + HALF_A_MICROSECOND
    return int(math.ceil(since_s - 2 * HALF_A_MICROSECOND) if up else math.floor(since_s))


@compiled
def count(w: W, t_s: float, release: int, counter: int, up: bool) -> None:
    """One more, as `add`."""
    add(w, t_s, release, counter, up, 1)


@compiled
def arrive(w: W, slot: int, t_s: float) -> None:
    """A new user in this slot, who wants to be online from now on."""
    u = users(w)[slot]
    u.occupant += 1
    u.attempt = 0
    u.failed = 0
    u.retries = 0
    u.wait_s = 0.0
    u.opened_before = 0
    u.losing = 0
    early = t_s < w.zero_s
    length_s = session_s(w, u.place, u.occupant, early)
    u.at = -1
    if early:
        u.end_s = length_s
    else:
        u.end_s = t_s + length_s
        enlist(w, slot)
    connect(w, slot, t_s)


@compiled
def connect(w: W, slot: int, t_s: float) -> None:
    """One more attempt; its SYN arrives a moment later."""
    u = users(w)[slot]
    u.phase = TRYING
    u.stage = NOWHERE
    u.cut = NO_CUT
    u.told = 0
    u.attempt += 1
    u.serial += 1
    u.request_s = t_s
    u.connected_s = math.inf
    u.open_s = math.inf
    u.ready_s = math.inf
    u.pod = -1
    w.attempts += 1


@compiled
def come(w: W, t_s: float) -> int:
    """The next arrival; its slot."""
    w.arrival += 1
    slot = w.arrived
    if w.population == 0:
        w.free -= 1
        slot = vacant(w)[w.free]
        users(w)[slot].occupant = -1
    users(w)[slot].place = w.arrived
    w.arrived += 1
    arrive(w, slot, t_s)
    return int(slot)


@compiled
def tell_opened(w: W, slot: int) -> None:
    """The websocket opens (at `open_s`): only now its release is known."""
    u = users(w)[slot]
    u.told = 1
    if w.series:
        release = pods(w)[u.pod].release
        count(w, u.request_s, release, RECONNECTS if u.opened_before else ARRIVALS, False)
        count(w, u.open_s, release, OPENED, True)


@compiled
def finish(w: W, slot: int, t_s: float, closed_by: int, failure: int, gave_up: bool) -> None:
    """The present attempt is over: its row, and what the series counts of it. NaN: the run ended first."""
    u = users(w)[slot]
    seen_s = w.now_s if math.isnan(t_s) else t_s
    opened = u.open_s <= seen_s
    ready = u.ready_s <= seen_s
    release = pods(w)[u.pod].release if opened else -1
    forced = opened and (closed_by in (BY_SERVER, BY_POD_GONE, BY_NETWORK))
    reason = RECONNECT if u.opened_before else ARRIVAL
    if opened and not u.told:
        tell_opened(w, slot)
    if w.series and not opened:
        count(w, u.request_s, -1, RECONNECTS if u.opened_before else ARRIVALS, False)
    if w.series and opened and not math.isnan(t_s):
        count(w, t_s, release, CLOSED, True)
        if forced:
            count(w, t_s, release, FORCED_CLOSES, False)
        elif closed_by == BY_USER:
            count(w, t_s, release, USER_CLOSES, False)
    if w.kept == ALL_ROWS or (w.kept == LOST_ROWS and (forced or u.losing)):
        r = rows(w)[w.row]
        w.row += 1
        r.place = u.place
        r.occupant = u.occupant
        r.attempt = u.attempt
        r.t_request_s = u.request_s
        r.t_open_s = u.open_s if opened else math.nan
        r.t_ready_s = u.ready_s if ready else math.nan
        r.t_close_s = t_s
        r.t_end_s = u.end_s if u.end_s < math.inf else math.nan
        r.pod = u.pod if opened else -1
        r.reason = reason
        r.closed_by = closed_by
        r.failure = failure
        r.cut = (
            u.cut if (closed_by != BY_USER and closed_by != BY_RUN_END) or failure != NO_FAILURE else NO_CUT
        )
        r.gave_up = gave_up
    if ready:
        w.online -= 1
        u.losing = 0
    if forced:
        u.losing = 1
    if opened:
        u.opened_before = 1
    u.failed += 0 if ready else 1


@compiled
def ready(w: W, slot: int, t_s: float) -> None:
    """Logged in."""
    u = users(w)[slot]
    u.phase = ONLINE
    u.ready_s = t_s
    u.failed = 0
    u.retries = 0
    u.wait_s = 0.0
    w.online += 1
    if w.series:
        count(w, t_s, pods(w)[u.pod].release, LOGINS, False)
    rest(w, slot)


@compiled
def delay_s(w: W, slot: int) -> float:
    """The wait before the next retry, GIVES_UP for none; `failed` counts the attempt that is over already."""
    u = users(w)[slot]
    if w.give_up >= 0 and (u.failed >= w.give_up or u.retries >= w.give_up):
        return GIVES_UP
    if w.reconnect == IMMEDIATE:
        return 0.1 if u.retries else 0.0
    if w.reconnect == SCHEDULE:
        return float(waits(w)[min(u.retries, len(waits(w)) - 1)])
    highest_s = min(w.cap_s, w.base_s * 2.0 ** min(u.retries, MOST_DOUBLINGS))
    if w.reconnect == NO_JITTER:
        return float(highest_s)
    share = uniform(w.backoff_key, u.place, (u.occupant << 32) + u.attempt)
    if w.reconnect == DECORRELATED:
        low_s = w.base_s
        return float(min(w.cap_s, low_s + share * (3 * max(u.wait_s, low_s) - low_s)))
    return spread_s(w, highest_s, share)


@compiled
def spread_s(w: W, highest_s: float, share: float) -> float:
    """A wait of at most this much, with equal or full jitter."""
    if w.reconnect == EQUAL:
        return float(highest_s / 2 + share * highest_s / 2)
    return float(share * highest_s)


@compiled
def leave_server(w: W, slot: int) -> None:
    """The server has this connection no more."""
    u = users(w)[slot]
    if u.stage == BACKLOG:
        pods(w)[u.pod].backlog -= 1
    elif u.stage == ACCEPTED:
        p = pods(w)[u.pod]
        p.open -= 1
        if p.open == 0 and p.watched:
            w.emptied = u.pod
    u.stage = NOWHERE


@compiled
def offline(w: W, slot: int, t_s: float, closed_by: int, failure: int) -> bool:
    """An attempt or connection is over, not by the user's wish. True: a new user is in the slot and knocks."""
    u = users(w)[slot]
    # `finish` counts a failure; whether it was the last one is to stand in its row
    logged_in = u.ready_s <= t_s
    u.failed += 0 if logged_in else 1
    wait_s = delay_s(w, slot)
    u.failed -= 0 if logged_in else 1
    finish(w, slot, t_s, closed_by, failure, wait_s == GIVES_UP)
    u.serial += 1
    if wait_s == GIVES_UP:
        return gone(w, slot, t_s)
    u.phase = WAITING
    u.wait_s = wait_s
    later(w, t_s + wait_s, packed(RETRY, slot, u.serial))
    return False


@compiled
def gone(w: W, slot: int, t_s: float) -> bool:
    """The user is no more. True: the next one is there and knocks."""
    over(w, slot)
    if w.population:
        users(w)[slot].serial += 1
        arrive(w, slot, t_s)
        return True
    leave_slot(w, slot)
    return False


@compiled
def lost(w: W, slot: int, t_s: float) -> bool:
    """The client learns how its attempt or connection ended. True: a new user knocks."""
    u = users(w)[slot]
    by, failure = BY_NOBODY, F_HANDSHAKE
    if u.cut == REFUSED:
        failure = F_REFUSED
    elif u.open_s <= t_s:
        by = BY_NETWORK
        if u.cut == SERVER or u.cut == EOF or u.cut == BACKEND:
            by = BY_SERVER
        elif u.cut == POD_GONE:
            by = BY_POD_GONE
        failure = NO_FAILURE if u.phase == ONLINE else F_LOGIN
    return offline(w, slot, t_s, by, failure)


@compiled
def hangs_up(w: W, slot: int, t_s: float, failure: int) -> bool:
    """The client has waited long enough. True: a new user knocks."""
    u = users(w)[slot]
    leave_server(w, slot)
    u.cut = NO_CUT
    return offline(w, slot, t_s, BY_USER if u.open_s <= t_s else BY_NOBODY, failure)


@compiled
def session_ends(w: W, slot: int, t_s: float) -> bool:
    """The user wishes to be online no more. True: the next one knocks."""
    u = users(w)[slot]
    if u.phase == TRYING or u.phase == ONLINE:
        leave_server(w, slot)
        finish(w, slot, t_s, BY_USER, NO_FAILURE, False)
    return gone(w, slot, t_s)


@compiled
def life_ends(w: W, at: int, t_s: float) -> None:
    """The session of a user who is just online ends; the next one is for `next_user`."""
    one = lives(w)[at]
    pod = hosts(w)[at]
    if w.kept == ALL_ROWS or (w.kept == LOST_ROWS and one.losing):
        slot = wake(w, at, pod)
        leave_server(w, slot)
        finish(w, slot, t_s, BY_USER, NO_FAILURE, False)
        over(w, slot)
        leave_slot(w, slot)
        return
    hosts(w)[at] = -1
    one.slot = OVER
    p = pods(w)[pod]
    p.open -= 1
    if p.open == 0 and p.watched:
        w.emptied = pod
    if w.series:
        count(w, t_s, p.release, CLOSED, True)
        count(w, t_s, p.release, USER_CLOSES, False)
    w.online -= 1


@compiled
def next_user(w: W, at: int, t_s: float) -> int:
    """The next one in the place of a life that has just ended; the slot."""
    w.free -= 1
    slot = vacant(w)[w.free]
    users(w)[slot].place = lives(w)[at].place
    users(w)[slot].occupant = lives(w)[at].occupant
    arrive(w, slot, t_s)
    return int(slot)
