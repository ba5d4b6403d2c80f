"""The event loop, compiled: from one of the world's events to the next, every user exactly as the oracle's.

A login is a chain of stages. What follows from an event is not queued if nothing else comes before it, and a
login that is over before anything else happens is done in one go; one in a storm is a series of events. Either
way every queue is served in the order of arrival, and nothing is approximated. Where it is quiet, `calm` takes
the short way to the same.
"""

from __future__ import annotations

import math

from sim.fast.calendar import next_end_s, open_bucket
from sim.fast.calm import ROOM, calm, is_quiet
from sim.fast.compiled import compiled
from sim.fast.layout import (
    ACCEPTED,
    AGAIN,
    ALL_ONLINE,
    BINS_FULL,
    CUT_SHORT,
    DEADLINE,
    DONE,
    EMPTIED,
    F_CONNECT,
    F_HANDSHAKE,
    F_LOGIN,
    GROW,
    KNOCK,
    LOGIN,
    NO_ANSWER,
    NONE,
    OVER,
    READY,
    RETRY,
    ROWS_FULL,
    SILENCE,
    TRYING,
    WAITING,
)  # fmt: skip
from sim.fast.pacing import ask
from sim.fast.queues import ahead, first_s, has_room, kind_of, length, pop, slot_of, take, top_s
from sim.fast.returns import back_s, one_comes_back
from sim.fast.stages import is_live, keep, knock, stage, turn_of_backend
from sim.fast.store import (
    W,
    arrivals,
    at,
    knocks,
    lives,
    logins,
    losses,
    pods,
    pool,
    present,
    readies,
    rows,
    soon,
    soon_on_top,
    stages,
    timers,
    turns,
    users,
)
from sim.fast.users import come, connect, hangs_up, leave_server, life_ends, lost, next_user, session_ends
from sim.fast.wheel import timer_s, turn

CHECK_EVERY = 64
"""So many events add fewer than half of ROOM entries to any queue: only then is the room looked at."""
(
    HOT, STAGES, KNOCKS, LOGINS, READIES, TURNS, LOSSES, TIMERS, RETURNS, CALENDAR, COMING, PACES,
) = range(12)  # fmt: skip
"""Where the next event comes from."""


@compiled
def _room(w: W) -> bool:
    return bool(
        has_room(knocks(w), ROOM)
        and has_room(logins(w), ROOM)
        and has_room(turns(w), ROOM)
        and has_room(readies(w), ROOM)
        and has_room(losses(w), ROOM)
        and stages(w)[0].what + ROOM < len(stages(w))
        and timers(w)[0].what + w.in_wheel + ROOM < len(timers(w))
        and w.free_blocks > ROOM
        and w.free_lives > ROOM
        and (w.population or w.free > ROOM)
        and (w.paced == 0 or w.pool + len(users(w)) < len(pool(w)))
    )


@compiled
def _timer(w: W, what: int, t_s: float, clear_s: float) -> tuple[float, int]:
    """A user's own time has come; what follows."""
    kind, slot = kind_of(what), slot_of(what)
    u = users(w)[slot]
    comes = False
    if kind in (CUT_SHORT, AGAIN):
        w.loose -= 1
    if kind == CUT_SHORT or not is_live(w, what):
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
        return knock(w, slot, t_s, False, clear_s)
    elif u.connected_s > t_s:
        comes = hangs_up(w, slot, t_s, F_CONNECT)
    return (t_s + w.one_way_s, KNOCK) if comes else (math.inf, NONE)


@compiled
def _life_ends(w: W, at: int, t_s: float) -> int:
    """Unless its user has gone before. The slot of a new user who comes, or NONE."""
    slot = lives(w)[at].slot
    if slot == OVER:
        return int(NONE)
    if slot >= 0:
        return int(slot if session_ends(w, slot, t_s) else NONE)
    life_ends(w, at, t_s)
    return int(next_user(w, at, t_s) if w.population else NONE)


@compiled
def advance(address: int, until_s: float) -> int:
    """Go on until this moment, or until the world has to know or to help; says which."""
    w = at(address)
    may_be_calm = True
    if w.flying or not w.in_order:
        state = calm(w, until_s)
        if state != NONE:
            return state
        may_be_calm = False
    hot_s, hot_kind, hot_slot = math.inf, NONE, NONE
    unchecked = CHECK_EVERY
    while True:
        t_s, source = math.inf, NONE
        if top_s(stages(w)) < t_s:
            t_s, source = top_s(stages(w)), STAGES
        if first_s(logins(w)) < t_s:
            t_s, source = first_s(logins(w)), LOGINS
        if first_s(knocks(w)) < t_s:
            t_s, source = first_s(knocks(w)), KNOCKS
        if first_s(readies(w)) < t_s:
            t_s, source = first_s(readies(w)), READIES
        if length(turns(w)) and w.limiter_s < t_s:
            t_s, source = w.limiter_s, TURNS
        if first_s(losses(w)) < t_s:
            t_s, source = first_s(losses(w)), LOSSES
        if timer_s(w) < t_s:
            t_s, source = timer_s(w), TIMERS
        if back_s(w) < t_s:
            t_s, source = back_s(w), RETURNS
        if next_end_s(w) < t_s:
            t_s, source = next_end_s(w), CALENDAR
        if w.arrival < len(arrivals(w)) and arrivals(w)[w.arrival] < t_s:
            t_s, source = arrivals(w)[w.arrival], COMING
        if w.pace_s < t_s:
            t_s, source = w.pace_s, PACES
        if may_be_calm and source >= LOSSES and t_s <= until_s and hot_kind == NONE and is_quiet(w):
            state = calm(w, until_s)
            if state != NONE:
                return state
            may_be_calm = False
            continue
        may_be_calm = True
        clear_s = min(t_s, until_s)
        # a login's second half goes before a SYN of the same moment, here as in `flights`
        if hot_s < t_s or (hot_s == t_s and hot_kind == LOGIN and source == KNOCKS):
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
                keep(w, hot_s, hot_kind, hot_slot)
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
            hot_s, hot_kind = stage(w, kind, slot, t_s, clear_s)
        elif source <= READIES:
            if source == STAGES:
                what = pop(stages(w))
                soon_on_top(w, stages(w))
                kind = kind_of(what)
            elif source == KNOCKS:
                what, kind = take(knocks(w)), KNOCK
            elif source == LOGINS:
                what, kind = take(logins(w)), LOGIN
            else:
                what, kind = take(readies(w)), READY
            slot = slot_of(what)
            if is_live(w, what):
                hot_s, hot_kind = stage(w, kind, slot, t_s, t_s)
        elif source == TURNS:
            what = take(turns(w))
            slot = slot_of(what)
            if is_live(w, what) and users(w)[slot].stage == ACCEPTED:
                hot_s, hot_kind = turn_of_backend(w, t_s)
        elif source == LOSSES:
            what = take(losses(w))
            slot = slot_of(what)
            soon(w, slot_of(ahead(losses(w), 8)))
            comes = is_live(w, what) and lost(w, slot, t_s)
        elif source == TIMERS:
            if top_s(timers(w)) > t_s:
                turn(w)
            else:
                what = pop(timers(w))
                soon_on_top(w, timers(w))
                slot = slot_of(what)
                hot_s, hot_kind = _timer(w, what, t_s, t_s)
        elif source == CALENDAR:
            if w.sorted_at < w.sorted_to:
                at_life = present(w)[w.sorted_at].life
                w.sorted_at += 1
                slot = _life_ends(w, at_life, t_s)
                comes = slot >= 0
            else:
                open_bucket(w)
        elif source == RETURNS:
            slot = one_comes_back(w, t_s)
            comes = True
        elif source == COMING:
            slot = come(w, t_s)
            comes = True
        else:
            ask(w, t_s)
        if comes:
            hot_s, hot_kind = t_s + w.one_way_s, KNOCK
        hot_slot = slot
