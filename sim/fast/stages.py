"""A login, stage by stage, in the order in which things happen to it."""

from __future__ import annotations

import math

import numpy as np

from sim.fast.compiled import compiled
from sim.fast.draws import uniform
from sim.fast.layout import (
    ACCEPT,
    ACCEPTED,
    AGAIN,
    BACKEND,
    BACKLOG,
    DEADLINE,
    EOF,
    KNOCK,
    LOGIN,
    NONE,
    READY,
    REFUSED,
    RESET,
    SERVED,
    TCP_DEADLINE,
)  # fmt: skip
from sim.fast.queues import length, packed, push, put, serial_of, slot_of
from sim.fast.store import W, backends, knocks, logins, losses, pods, readies, stages, tried, turns, users
from sim.fast.users import leave_server, ready, tell_opened
from sim.fast.wheel import later
from sim.latencies import syn_again_s

_syn_again_s = compiled(syn_again_s)


@compiled
def keep(w: W, t_s: float, kind: int, slot: int) -> None:
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
def is_live(w: W, what: int) -> bool:
    """Whether an event is of its user's present attempt."""
    return bool(np.uint32(users(w)[slot_of(what)].serial) == np.uint32(serial_of(what)))


@compiled
def give_until(w: W, slot: int, stage_s: float) -> None:
    """The next stage of this login comes at `stage_s` at the latest: if that is too late, its client hangs up.

    So almost no login needs an event for its deadline.
    """
    u = users(w)[slot]
    deadline_s = u.connected_s + w.connect_timeout_s
    if stage_s >= deadline_s:
        later(w, deadline_s, packed(DEADLINE, slot, u.serial))


@compiled
def fail_soon(w: W, slot: int, t_s: float, cut: int) -> None:
    """The server's side ends now; the client learns of it a moment later."""
    u = users(w)[slot]
    leave_server(w, slot)
    u.cut = cut
    put(losses(w), t_s + w.one_way_s, packed(0, slot, u.serial))


@compiled
def knock(w: W, slot: int, t_s: float, first_time: bool, clear_s: float) -> tuple[float, int]:
    """A SYN reaches the proxy. No other event comes before `clear_s`."""
    u = users(w)[slot]
    if first_time:
        n = len(backends(w))
        if n == 0:
            fail_soon(w, slot, t_s, REFUSED)
            return math.inf, NONE
        u.pod = backends(w)[int(uniform(w.route_key, u.place, (u.occupant << 32) + u.attempt) * n)]
        tried(w)[slot] = u.pod
    p = pods(w)[u.pod]
    if not p.listening:
        fail_soon(w, slot, t_s, RESET)
        return math.inf, NONE
    if p.backlog >= w.most_waiting:
        waited_s = t_s - w.one_way_s - u.request_s
        again_s = t_s + _syn_again_s(waited_s, w.first_syn_again_s)
        hang_up_s = u.request_s + w.connect_timeout_s
        if again_s < hang_up_s:
            later(w, again_s, packed(AGAIN, slot, u.serial))
            w.loose += 1
        if again_s + 2 * w.one_way_s >= hang_up_s:
            later(w, hang_up_s, packed(TCP_DEADLINE, slot, u.serial))
        return math.inf, NONE
    p.backlog += 1
    u.stage = BACKLOG
    u.connected_s = t_s + w.one_way_s
    p.free_s = max(p.free_s, t_s) + w.handshake_cpu_s
    served_s = p.free_s + 2 * w.one_way_s + w.login_cpu_s
    ready_s = served_s + w.login_rest_s
    in_time = t_s >= w.backend_back_s and ready_s - t_s < min(w.connect_timeout_s, w.handshake_timeout_s)
    if ready_s < clear_s and in_time and length(turns(w)) == 0 and w.limiter_s <= served_s:
        accept(w, slot, p.free_s)
        tell_opened(w, slot)
        p.free_s = served_s
        w.limiter_s = served_s + w.interval_s
        w.now_s = ready_s
        ready(w, slot, ready_s)
        return math.inf, NONE
    give_until(w, slot, p.free_s + 2 * w.one_way_s)
    return p.free_s, ACCEPT


@compiled
def accept(w: W, slot: int, t_s: float) -> tuple[float, int]:
    """The server's turn has come to this handshake."""
    u = users(w)[slot]
    if u.stage != BACKLOG:  # its listener was closed, and its client does not know yet
        return math.inf, NONE
    p = pods(w)[u.pod]
    p.backlog -= 1
    p.open += 1
    u.stage = ACCEPTED
    if t_s - (u.connected_s - w.one_way_s) > w.handshake_timeout_s:
        fail_soon(w, slot, t_s, EOF)
        return math.inf, NONE
    u.open_s = t_s + w.one_way_s
    return t_s + 2 * w.one_way_s, LOGIN


@compiled
def turn_of_backend(w: W, t_s: float) -> tuple[float, int]:
    """The backend's turn has come to a login."""
    w.limiter_s = t_s + w.interval_s
    return t_s + w.login_rest_s, READY


@compiled
def stage(w: W, kind: int, slot: int, t_s: float, clear_s: float) -> tuple[float, int]:
    """One stage of a login; when the next one comes, and which."""
    if kind == KNOCK:
        return knock(w, slot, t_s, True, clear_s)
    if kind == ACCEPT:
        return accept(w, slot, t_s)
    u = users(w)[slot]
    if kind == LOGIN:
        tell_opened(w, slot)
    if u.stage != ACCEPTED:
        return math.inf, NONE
    if kind == LOGIN:
        p = pods(w)[u.pod]
        p.free_s = max(p.free_s, t_s) + w.login_cpu_s
        give_until(w, slot, p.free_s + w.login_rest_s)
        return p.free_s, SERVED
    if kind == SERVED:
        if t_s < w.backend_back_s:
            fail_soon(w, slot, t_s, BACKEND)
            return math.inf, NONE
        if length(turns(w)) == 0 and w.limiter_s <= t_s:
            return turn_of_backend(w, t_s)
        put(turns(w), t_s, packed(0, slot, u.serial))
        waits_s = max(w.limiter_s - t_s, 0.0) + length(turns(w)) * w.interval_s
        give_until(w, slot, t_s + waits_s + w.login_rest_s)
        return math.inf, NONE
    ready(w, slot, t_s)
    return math.inf, NONE
