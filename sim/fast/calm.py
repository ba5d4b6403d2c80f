"""The short way through quiet times, which are most of a run: a login is one step, not five events.

It may be as long as no other login is on the same CPU or waits for the backend, and nothing else of the loop's
queues is under way: then all of its times are known when its SYN comes. What it does is then as good as done,
and what else happens in its few milliseconds (other sessions end, others log in elsewhere) can't change it.
So `calm` does it at once and remembers it as *passing*. If the world gives an order before it is over, or
anything comes that the short way does not know, `settle` takes back what has not happened yet and leaves the
loop the events that it would have had by now: what comes out is the same to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from sim.fast.calendar import next_end_s, open_bucket
from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.layout import (
    ACCEPTED,
    ALL_ROWS,
    ARRIVALS,
    BACKLOG,
    CLOSED,
    LOGINS,
    NOWHERE,
    ONLINE,
    OPENED,
    TRYING,
    USER_CLOSES,
    VACANT,
)  # fmt: skip
from sim.fast.queues import (
    first,
    first_s,
    has_room,
    kind_of,
    last_s,
    length,
    packed,
    pop,
    push,
    put,
    serial_of,
    slot_of,
    take,
    top_s,
)
from sim.fast.stages import is_live
from sim.fast.store import (
    W,
    arrivals,
    backends,
    knocks,
    logins,
    passing,
    pods,
    present,
    readies,
    rows,
    stages,
    timers,
    tried,
    users,
    vacant,
)
from sim.fast.users import ACCEPT, END, LOGIN, READY, SERVED, add, come, count, gone, session_ends
from sim.fast.wheel import timer_s, turn

MOST_PASSING = 128
ROOM = 512
"""In every queue, for what `settle` and the events before the loop's next look at the room may put there."""
MOST_EVENTS = 1 << 20
A_MOMENT_S = 1e-3


@compiled
def _budget(w: W) -> int:
    """How many events there is room for."""
    free = min(
        MOST_EVENTS,
        len(rows(w)) - w.row - ROOM,
        len(timers(w)) - timers(w)[0].what - w.in_wheel - ROOM,
        w.free_blocks - ROOM,
    )
    if w.population == 0:
        free = min(free, w.free - ROOM)
    if not (has_room(knocks(w), ROOM) and has_room(logins(w), ROOM) and has_room(readies(w), ROOM)):
        free = 0
    if stages(w)[0].what + ROOM >= len(stages(w)):
        free = 0
    return int(free)


@compiled
def _login(w: W, slot: int, t_s: float) -> None:
    """A SYN comes to an idle pod: all of the login. As `stages` does it, stage by stage."""
    u = users(w)[slot]
    p = pods(w)[u.pod]
    accepted_s = t_s + w.handshake_cpu_s
    served_s = accepted_s + 2 * w.one_way_s + w.login_cpu_s
    p.free_s = served_s
    p.open += 1
    if length(passing(w)) == 0:
        w.passed_s = w.limiter_s
    w.limiter_s = served_s + w.interval_s
    tried(w)[slot] = u.pod
    u.stage = ACCEPTED
    u.connected_s = t_s + w.one_way_s
    u.open_s = accepted_s + w.one_way_s
    u.told = 1
    u.phase = ONLINE
    u.ready_s = served_s + w.login_rest_s
    u.failed = 0
    u.retries = 0
    u.wait_s = 0.0
    w.online += 1
    if w.series:
        count(w, u.request_s, p.release, ARRIVALS, False)
        count(w, u.open_s, p.release, OPENED, True)
        count(w, u.ready_s, p.release, LOGINS, False)
    put(passing(w), t_s, packed(0, slot, u.serial))


@compiled
def _until_passed(w: W) -> None:
    """Forget the logins that are over."""
    whole_s = w.handshake_cpu_s + 2 * w.one_way_s + w.login_cpu_s + w.login_rest_s + A_MOMENT_S
    while length(passing(w)) and first_s(passing(w)) + whole_s <= w.now_s:
        w.passed_s = first_s(passing(w)) + w.handshake_cpu_s + 2 * w.one_way_s + w.login_cpu_s + w.interval_s
        take(passing(w))


@compiled
def settle(w: W) -> None:
    """Take back what has not happened by now of the logins that are passing, and queue it."""
    if length(passing(w)) == 0:
        return
    while length(passing(w)):
        t_s = first_s(passing(w))
        what = take(passing(w))
        slot = slot_of(what)
        u = users(w)[slot]
        p = pods(w)[u.pod]
        accepted_s = t_s + w.handshake_cpu_s
        login_s = accepted_s + 2 * w.one_way_s
        served_s = login_s + w.login_cpu_s
        if served_s <= w.now_s:
            w.passed_s = served_s + w.interval_s
        if u.ready_s <= w.now_s:
            continue
        if w.series:
            add(w, u.ready_s, p.release, LOGINS, False, -1)
        w.online -= 1
        u.phase = TRYING
        ready_s = u.ready_s
        u.ready_s = math.inf
        if served_s <= w.now_s:
            put(readies(w), ready_s, packed(READY, slot, u.serial))
            continue
        if login_s <= w.now_s:
            w.sequence += 1
            push(stages(w), served_s, w.sequence, packed(SERVED, slot, u.serial))
            continue
        p.free_s = accepted_s
        u.told = 0
        if w.series:
            add(w, u.request_s, p.release, ARRIVALS, False, -1)
            add(w, u.open_s, p.release, OPENED, True, -1)
        if accepted_s <= w.now_s:
            put(logins(w), login_s, packed(LOGIN, slot, u.serial))
            continue
        u.open_s = math.inf
        u.stage = BACKLOG
        p.open -= 1
        p.backlog += 1
        w.sequence += 1
        push(stages(w), accepted_s, w.sequence, packed(ACCEPT, slot, u.serial))
    w.limiter_s = w.passed_s


@compiled
def _knocks(w: W, t_s: float) -> bool:
    """The first of the SYNs arrives; False: it has to go the long way."""
    what = first(knocks(w))
    slot = slot_of(what)
    if not is_live(w, what):
        take(knocks(w))
        return True
    u = users(w)[slot]
    n = len(backends(w))
    if n == 0 or t_s < w.backend_back_s or length(passing(w)) >= MOST_PASSING:
        return False
    pod = backends(w)[int(uniform(w.route_key, u.place, (u.occupant << 32) + u.attempt) * n)]
    p = pods(w)[pod]
    served_s = t_s + w.handshake_cpu_s + 2 * w.one_way_s + w.login_cpu_s
    if not p.listening or p.free_s > t_s or p.watched or p.backlog or w.limiter_s > served_s:
        return False
    if w.most_waiting <= 0:
        return False
    take(knocks(w))
    u.pod = pod
    _login(w, slot, t_s)
    return True


@compiled
def _session_ends(w: W, slot: int, t_s: float) -> bool:
    """As `session_ends`, in a hurry where nothing is to be kept of it."""
    u = users(w)[slot]
    if u.phase != ONLINE or w.kept == ALL_ROWS or u.losing:
        return session_ends(w, slot, t_s)
    u.stage = NOWHERE
    p = pods(w)[u.pod]
    p.open -= 1
    if p.open == 0 and p.watched:
        w.emptied = u.pod
    if w.series:
        count(w, t_s, p.release, CLOSED, True)
        count(w, t_s, p.release, USER_CLOSES, False)
    w.online -= 1
    return gone(w, slot, t_s)


@compiled
def calm(w: W, until_s: float) -> bool:
    """Go on as long as it is quiet. True: up to this moment. False: something else is to be done."""
    one_way_s = w.one_way_s
    whole_s = w.handshake_cpu_s + 2 * one_way_s + w.login_cpu_s + w.login_rest_s + A_MOMENT_S
    if not w.shortens or whole_s >= min(w.connect_timeout_s, w.handshake_timeout_s):
        return False
    counted_s = w.zero_s + w.bin + w.window - 3 if w.series else math.inf
    for _ in range(_budget(w)):
        end_s = next_end_s(w)
        come_s = arrivals(w)[w.arrival] if w.arrival < len(arrivals(w)) else math.inf
        knock_s = first_s(knocks(w))
        set_s = timer_s(w)
        t_s = min(min(end_s, come_s), min(knock_s, set_s))
        if t_s > until_s:
            w.now_s = until_s
            _until_passed(w)
            if length(passing(w)) and last_s(passing(w)) + w.handshake_cpu_s > until_s:
                settle(w)  # its pod has not accepted it yet
            return True
        if t_s > counted_s:
            break
        slot = -1
        if t_s == knock_s:
            if not _knocks(w, t_s):
                break
            w.now_s = t_s
            continue
        if t_s == set_s:
            if top_s(timers(w)) > t_s:
                turn(w)
                continue
            what = timers(w)[1].what
            slot = slot_of(what)
            if kind_of(what) != END:
                if is_live(w, what):
                    break
                pop(timers(w))
                continue
            pop(timers(w))
            w.now_s = t_s
            if np.uint32(users(w)[slot].life) != np.uint32(serial_of(what)) or not _session_ends(
                w, slot, t_s
            ):
                slot = -1
        elif t_s == end_s:
            w.now_s = t_s
            if w.sorted_at >= w.sorted_to:
                open_bucket(w)
                continue
            slot = present(w)[w.sorted_at].slot
            w.sorted_at += 1
            u = users(w)[slot]
            u.in_calendar = 0
            if u.phase == VACANT:
                vacant(w)[w.free] = slot
                w.free += 1
                slot = -1
            elif u.end_s != t_s or not _session_ends(w, slot, t_s):
                slot = -1
        else:
            w.now_s = t_s
            slot = come(w, t_s)
        if slot >= 0:
            put(knocks(w), t_s + one_way_s, packed(0, slot, users(w)[slot].serial))
            if users(w)[slot].end_s < t_s + one_way_s + whole_s and t_s >= w.zero_s:
                break
        if w.emptied >= 0:
            break
        _until_passed(w)
    settle(w)
    return False
