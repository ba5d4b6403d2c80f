"""The event loop, compiled: from one of the world's events to the next, every user exactly as the oracle's.

A login is a chain of stages. What follows from an event is not queued if nothing else comes before it, and a
login that is over before anything else happens is done in one go; one in a storm is a series of events. Either
way every queue is served in the order of arrival, and nothing is approximated.
"""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.layout import (
    ACCEPTED,
    BACKEND,
    BACKLOG,
    BY_RUN_END,
    EOF,
    F_CONNECT,
    F_HANDSHAKE,
    F_LOGIN,
    NO_FAILURE,
    ONLINE,
    REFUSED,
    RESET,
    SERVER,
    SILENCE,
    TRYING,
    VACANT,
    WAITING,
)  # fmt: skip
from sim.fast.layout import (
    LOGINS as OF_LOGINS,
)
from sim.fast.queues import (
    first_s,
    has_room,
    kind_of,
    length,
    packed,
    pop,
    push,
    put,
    serial_of,
    slot_of,
    take,
    top_s,
)  # fmt: skip
from sim.fast.store import (
    W,
    arrivals,
    at,
    backends,
    calendar,
    due,
    following,
    knocks,
    logins,
    losses,
    pods,
    pool,
    present,
    readies,
    rows,
    stages,
    timers,
    tried,
    turns,
    users,
    vacant,
)
from sim.fast.users import (
    ACCEPT,
    AGAIN,
    DEADLINE,
    END,
    HALF_A_MICROSECOND,
    KNOCK,
    LOGIN,
    NO_ANSWER,
    READY,
    RETRY,
    SERVED,
    TCP_DEADLINE,
    arrive,
    connect,
    count,
    enlist,
    finish,
    hangs_up,
    leave_server,
    lost,
    ready,
    session_ends,
    tell_opened,
)  # fmt: skip

DONE, ALL_ONLINE, EMPTIED, GROW, ROWS_FULL, BINS_FULL = range(6)
"""Why the loop came back."""
ROOM = 256
CHECK_EVERY = 64
"""So many events add fewer than ROOM entries to any queue: only then is the room looked at."""
(
    HOT, STAGES, KNOCKS, LOGINS, READIES, TURNS, LOSSES, TIMERS, CALENDAR, COMING, PACES,
) = range(11)  # fmt: skip
"""Where the next event comes from."""
NONE = -1


@compiled
def _room(w: W) -> bool:
    return bool(
        has_room(knocks(w), ROOM)
        and has_room(logins(w), ROOM)
        and has_room(turns(w), ROOM)
        and has_room(readies(w), ROOM)
        and has_room(losses(w), ROOM)
        and stages(w)[0].what + ROOM < len(stages(w))
        and timers(w)[0].what + ROOM < len(timers(w))
        and (w.population or w.free > ROOM)
        and (w.paced == 0 or w.pool + len(users(w)) < len(pool(w)))
    )


@compiled
def _keep(w: W, t_s: float, kind: int, slot: int) -> None:
    """Queue what follows from an event, since something else comes first."""
    what = packed(kind, slot, users(w)[slot].serial)
    if kind == KNOCK:
        put(knocks(w), t_s, what)
    elif kind == LOGIN:
        put(logins(w), t_s, what)
    elif kind == READY:
        put(readies(w), t_s, what)
    else:
        w.sequence += 1
        push(stages(w), t_s, w.sequence, what)


@compiled
def _is_live(w: W, what: int) -> bool:
    return bool(np.uint32(users(w)[slot_of(what)].serial) == np.uint32(serial_of(what)))


@compiled
def _give_until(w: W, slot: int, stage_s: float) -> None:
    """The next stage of this login comes at `stage_s` at the latest: if that is too late, its client hangs up.

    So almost no login needs an event for its deadline.
    """
    u = users(w)[slot]
    deadline_s = u.connected_s + w.connect_timeout_s
    if stage_s >= deadline_s:
        w.sequence += 1
        push(timers(w), deadline_s, w.sequence, packed(DEADLINE, slot, u.serial))


@compiled
def _calendar_s(w: W) -> float:
    """When the next session in the calendar ends, or its next bucket is to be opened."""
    if w.sorted_at < w.sorted_to:
        return float(due(w)[present(w)[w.sorted_at]])
    if w.bucket < len(calendar(w)) - 1:
        return float(w.calendar_s + (w.bucket + 1) * w.bucket_s)
    return math.inf


@compiled
def _open_bucket(w: W) -> None:
    """The calendar's next bucket, its users in the order of time."""
    w.bucket += 1
    slot = calendar(w)[w.bucket]
    n = 0
    while slot >= 0:
        present(w)[n] = slot
        n += 1
        slot = following(w)[slot]
    times = np.empty(n)
    for i in range(n):
        times[i] = due(w)[present(w)[i]]
        # the reads do not wait for each other, as they would when the sessions end one after the other
        w.touched += users(w)[present(w)[i]].serial + users(w)[present(w)[i]].phase
    present(w)[:n] = present(w)[:n][np.argsort(times)]
    w.sorted_at = 0
    w.sorted_to = n


@compiled
def _fail_soon(w: W, slot: int, t_s: float, cut: int) -> None:
    """The server's side ends now; the client learns of it a moment later."""
    u = users(w)[slot]
    leave_server(w, slot)
    u.cut = cut
    put(losses(w), t_s + w.one_way_s, packed(0, slot, u.serial))


@compiled
def _knock(w: W, slot: int, t_s: float, first_time: bool, clear_s: float) -> tuple[float, int]:
    """A SYN reaches the proxy. No other event comes before `clear_s`."""
    u = users(w)[slot]
    if first_time:
        n = len(backends(w))
        if n == 0:
            _fail_soon(w, slot, t_s, REFUSED)
            return math.inf, NONE
        u.pod = backends(w)[int(uniform(w.route_key, u.place, (u.occupant << 32) + u.attempt) * n)]
        tried(w)[slot] = u.pod
    p = pods(w)[u.pod]
    if not p.listening:
        _fail_soon(w, slot, t_s, RESET)
        return math.inf, NONE
    if p.backlog >= w.most_waiting:
        if first_time:
            w.sequence += 1
            hang_up_s = u.request_s + w.connect_timeout_s
            push(timers(w), hang_up_s, w.sequence, packed(TCP_DEADLINE, slot, u.serial))
        # SYNs come 1, 2, 4 … after each other: the next gap is one more than all of them
        again_s = (t_s - w.one_way_s - u.request_s) + w.first_syn_again_s
        w.sequence += 1
        push(timers(w), t_s + again_s, w.sequence, packed(AGAIN, slot, u.serial))
        return math.inf, NONE
    p.backlog += 1
    u.stage = BACKLOG
    u.connected_s = t_s + w.one_way_s
    p.free_s = max(p.free_s, t_s) + w.handshake_cpu_s
    served_s = p.free_s + 2 * w.one_way_s + w.login_cpu_s
    ready_s = served_s + w.login_rest_s
    in_time = t_s >= w.backend_back_s and ready_s - t_s < min(w.connect_timeout_s, w.handshake_timeout_s)
    if ready_s < clear_s and in_time and length(turns(w)) == 0 and w.limiter_s <= served_s:
        _accept(w, slot, p.free_s)
        tell_opened(w, slot)
        p.free_s = served_s
        w.limiter_s = served_s + w.interval_s
        w.now_s = ready_s
        ready(w, slot, ready_s)
        return math.inf, NONE
    _give_until(w, slot, p.free_s + 2 * w.one_way_s)
    return p.free_s, ACCEPT


@compiled
def _accept(w: W, slot: int, t_s: float) -> tuple[float, int]:
    """The server's turn has come to this handshake."""
    u = users(w)[slot]
    p = pods(w)[u.pod]
    p.backlog -= 1
    p.open += 1
    u.stage = ACCEPTED
    if t_s - (u.connected_s - w.one_way_s) > w.handshake_timeout_s:
        _fail_soon(w, slot, t_s, EOF)
        return math.inf, NONE
    u.open_s = t_s + w.one_way_s
    return t_s + 2 * w.one_way_s, LOGIN


@compiled
def _turn(w: W, t_s: float) -> tuple[float, int]:
    """The backend's turn has come to a login."""
    w.limiter_s = t_s + w.interval_s
    return t_s + w.login_rest_s, READY


@compiled
def _stage(w: W, kind: int, slot: int, t_s: float, clear_s: float) -> tuple[float, int]:
    """One stage of a login; when the next one comes, and which."""
    if kind == KNOCK:
        return _knock(w, slot, t_s, True, clear_s)
    if kind == ACCEPT:
        return _accept(w, slot, t_s)
    u = users(w)[slot]
    if kind == LOGIN:
        tell_opened(w, slot)
    if u.stage != ACCEPTED:
        return math.inf, NONE
    if kind == LOGIN:
        p = pods(w)[u.pod]
        p.free_s = max(p.free_s, t_s) + w.login_cpu_s
        _give_until(w, slot, p.free_s + w.login_rest_s)
        return p.free_s, SERVED
    if kind == SERVED:
        if t_s < w.backend_back_s:
            _fail_soon(w, slot, t_s, BACKEND)
            return math.inf, NONE
        if length(turns(w)) == 0 and w.limiter_s <= t_s:
            return _turn(w, t_s)
        put(turns(w), t_s, packed(0, slot, u.serial))
        waits_s = max(w.limiter_s - t_s, 0.0) + length(turns(w)) * w.interval_s
        _give_until(w, slot, t_s + waits_s + w.login_rest_s)
        return math.inf, NONE
    ready(w, slot, t_s)
    return math.inf, NONE


@compiled
def _connected_to(w: W, pod: int) -> int:
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
def _next_pace(w: W) -> None:
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
def _ask(w: W, t_s: float) -> None:
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
            if _is_live(w, what) and u.stage == ACCEPTED and u.open_s <= p.pace_until_s:
                _fail_soon(w, slot_of(what), t_s, SERVER)
                p.pace_s = t_s + p.pace_every_s
                _next_pace(w)
                return
        if p.pace_until_s < math.inf or p.open == 0:
            break
        p.pace_at = w.pool
        w.pool += _connected_to(w, pod)
        p.pace_to = w.pool
    p.pace_s = t_s + p.pace_every_s if p.pace_until_s == math.inf and p.listening else math.inf
    _next_pace(w)


@compiled
def _timer(w: W, what: int, t_s: float, clear_s: float) -> tuple[float, int]:
    """A user's own time has come; what follows."""
    kind, slot = kind_of(what), slot_of(what)
    u = users(w)[slot]
    comes = False
    if kind == END:
        if np.uint32(u.life) == np.uint32(serial_of(what)):
            comes = session_ends(w, slot, t_s)
    elif not _is_live(w, what):
        pass
    elif kind == RETRY:
        if u.phase == WAITING:
            u.retries += 1
            connect(w, slot, t_s)
            comes = True
    elif kind == NO_ANSWER:
        if t_s < pods(w)[u.pod].frozen_until_s:
            leave_server(w, slot)
            u.cut = SILENCE
            comes = lost(w, slot, t_s)
    elif kind == DEADLINE:
        if u.phase == TRYING:
            comes = hangs_up(w, slot, t_s, F_LOGIN if u.open_s <= t_s else F_HANDSHAKE)
    elif kind == AGAIN:
        return _knock(w, slot, t_s, False, clear_s)
    elif u.connected_s > t_s:
        comes = hangs_up(w, slot, t_s, F_CONNECT)
    return (t_s + w.one_way_s, KNOCK) if comes else (math.inf, NONE)


@compiled
def _session_in_calendar_ends(w: W, slot: int, t_s: float) -> bool:
    """Unless its user has gone before. True: a new user comes."""
    u = users(w)[slot]
    u.in_calendar = 0
    if u.phase == VACANT:
        vacant(w)[w.free] = slot
        w.free += 1
        return False
    return u.end_s == t_s and session_ends(w, slot, t_s)


@compiled
def _come(w: W, t_s: float) -> int:
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
def advance(address: int, until_s: float) -> int:
    """Go on until this moment, or until the world has to know or to help; says which."""
    w = at(address)
    hot_s, hot_kind, hot_slot = math.inf, NONE, NONE
    unchecked = CHECK_EVERY
    while True:
        t_s, source = math.inf, NONE
        if top_s(stages(w)) < t_s:
            t_s, source = top_s(stages(w)), STAGES
        if first_s(knocks(w)) < t_s:
            t_s, source = first_s(knocks(w)), KNOCKS
        if first_s(logins(w)) < t_s:
            t_s, source = first_s(logins(w)), LOGINS
        if first_s(readies(w)) < t_s:
            t_s, source = first_s(readies(w)), READIES
        if length(turns(w)) and w.limiter_s < t_s:
            t_s, source = w.limiter_s, TURNS
        if first_s(losses(w)) < t_s:
            t_s, source = first_s(losses(w)), LOSSES
        if top_s(timers(w)) < t_s:
            t_s, source = top_s(timers(w)), TIMERS
        if _calendar_s(w) < t_s:
            t_s, source = _calendar_s(w), CALENDAR
        if w.arrival < len(arrivals(w)) and arrivals(w)[w.arrival] < t_s:
            t_s, source = arrivals(w)[w.arrival], COMING
        if w.pace_s < t_s:
            t_s, source = w.pace_s, PACES
        clear_s = min(t_s, until_s)
        if hot_s < t_s:
            t_s, source = hot_s, HOT
        state = DONE
        if w.emptied >= 0:
            state = EMPTIED
        elif w.tell_online and w.online == w.population:
            state = ALL_ONLINE
        elif t_s > until_s:
            w.now_s = until_s
        elif (unchecked >= CHECK_EVERY or w.paced) and not _room(w):
            state = GROW
        elif unchecked >= CHECK_EVERY and w.row + ROOM >= len(rows(w)):
            state = ROWS_FULL
        elif w.series and t_s - w.zero_s - w.bin > w.window - 2:
            state = BINS_FULL
        else:
            state = NONE
        if state != NONE or source != HOT:
            if hot_kind != NONE:
                _keep(w, hot_s, hot_kind, hot_slot)
            if state != NONE:
                return state
            kind, slot = NONE, NONE
        else:
            kind, slot = hot_kind, hot_slot
        hot_s, hot_kind, hot_slot = math.inf, NONE, NONE
        unchecked = 1 if unchecked >= CHECK_EVERY else unchecked + 1
        w.now_s = t_s
        comes = False
        if source == HOT:
            hot_s, hot_kind = _stage(w, kind, slot, t_s, clear_s)
        elif source <= READIES:
            if source == STAGES:
                what = pop(stages(w))
                kind = kind_of(what)
            elif source == KNOCKS:
                what, kind = take(knocks(w)), KNOCK
            elif source == LOGINS:
                what, kind = take(logins(w)), LOGIN
            else:
                what, kind = take(readies(w)), READY
            slot = slot_of(what)
            if _is_live(w, what):
                hot_s, hot_kind = _stage(w, kind, slot, t_s, t_s)
        elif source == TURNS:
            what = take(turns(w))
            slot = slot_of(what)
            if _is_live(w, what) and users(w)[slot].stage == ACCEPTED:
                hot_s, hot_kind = _turn(w, t_s)
        elif source == LOSSES:
            what = take(losses(w))
            slot = slot_of(what)
            comes = _is_live(w, what) and lost(w, slot, t_s)
        elif source == TIMERS:
            what = pop(timers(w))
            slot = slot_of(what)
            hot_s, hot_kind = _timer(w, what, t_s, t_s)
        elif source == CALENDAR:
            if w.sorted_at < w.sorted_to:
                slot = present(w)[w.sorted_at]
                w.sorted_at += 1
                comes = _session_in_calendar_ends(w, slot, t_s)
            else:
                _open_bucket(w)
        elif source == COMING:
            slot = _come(w, t_s)
            comes = True
        else:
            _ask(w, t_s)
        if comes:
            hot_s, hot_kind = t_s + w.one_way_s, KNOCK
        hot_slot = slot


@compiled
def pace(address: int, pod: int) -> None:
    """The pod asks those who are connected to it now; how fast stands in its record."""
    w = at(address)
    pods(w)[pod].pace_at = w.pool
    w.pool += _connected_to(w, pod)
    pods(w)[pod].pace_to = w.pool
    _next_pace(w)


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
        if u.phase == ONLINE and u.ready_s > w.now_s - HALF_A_MICROSECOND and w.series:
            count(w, u.ready_s, pods(w)[u.pod].release, OF_LOGINS, False)  # whose login makes it time zero


@compiled
def cut(address: int, pod: int, stage: int, how: int) -> None:
    """The pod's connections in this stage end now, on its side."""
    w = at(address)
    for slot in range(len(users(w))):
        if tried(w)[slot] == pod and users(w)[slot].pod == pod and users(w)[slot].stage == stage:
            _fail_soon(w, slot, w.now_s, how)
    w.emptied = NONE


@compiled
def freeze(address: int, pod: int, until_s: float, key: np.uint64, keepalive_s: float) -> None:
    """The pod stands still; each of its clients will ask for a sign of life and wait for it. There is room."""
    w = at(address)
    p = pods(w)[pod]
    p.free_s = max(p.free_s, until_s)
    p.frozen_until_s = until_s
    for slot in range(len(users(w))):
        u = users(w)[slot]
        if u.pod == pod and u.stage == ACCEPTED:
            asks_s = w.now_s + uniform(key, u.place, (u.occupant << 32) + u.attempt) * keepalive_s
            w.sequence += 1
            push(timers(w), asks_s + w.connect_timeout_s, w.sequence, packed(NO_ANSWER, slot, u.serial))


@compiled
def finish_all(address: int, first_slot: int) -> int:
    """The run is over: rows of what is open or under way; the next slot where the rows' room did not do."""
    w = at(address)
    for slot in range(first_slot, len(users(w))):
        if w.row + ROOM >= len(rows(w)):
            return slot
        if users(w)[slot].phase in (TRYING, ONLINE):
            finish(w, slot, math.nan, BY_RUN_END, NO_FAILURE, False)
    return len(users(w))
