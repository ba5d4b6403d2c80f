"""The short way through quiet times: as long as no login can fail, no queue has to be kept for any of them.

Most of a long run, and most of a storm that its pods can take, is like this: users come, come again and leave,
and a login takes what its pod's CPU makes it wait, never so long that its client would hang up. Where nobody
takes the place of who leaves and no pod waits for its last connection's end, even the order of the sessions'
ends is of no matter: `_pass` goes through them bucket by bucket. If anything comes that the short way does not
know, the loop gets the events that it would have had by now: what comes out is the same to the last bit.
"""

from __future__ import annotations

import math

from sim.fast.calendar import next_end_s, open_bucket, put_in_order
from sim.fast.compiled import compiled
from sim.fast.flights import catch_up_all, settle
from sim.fast.layout import (
    AGAIN,
    BINS_FULL,
    CLOSED,
    CUT_SHORT,
    DONE,
    EMPTIED,
    GROW,
    IN_FLIGHT,
    KNOCK,
    NO_ROWS,
    NONE,
    OVER,
    RETRY,
    ROWS_FULL,
    USER_CLOSES,
    WAITING,
)  # fmt: skip
from sim.fast.lives import (
    BITS,
    BLOCK,
    IN_A_BLOCK,
    bucket_ends_s,
    free_bucket,
)
from sim.fast.queues import (
    ahead,
    first,
    first_s,
    kind_of,
    length,
    packed,
    pop,
    put,
    serial_of,
    slot_of,
    space,
    take,
    top_s,
)
from sim.fast.returns import back_s, come_back, one_comes_back
from sim.fast.stages import is_live
from sim.fast.store import (
    W,
    arrivals,
    bins,
    calendar,
    fetch_block,
    hosts,
    knocks,
    lives,
    logins,
    losses,
    marks,
    pods,
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
from sim.fast.takeoff import cut_short, knocks_at, newcomer, newcomers, successor
from sim.fast.users import bin_of, come, connect, life_ends, lost, next_user, session_ends
from sim.fast.wheel import timer_s, turn

ROOM = 512
"""In every queue, for what `settle` and the events before the next look at the room may put there."""
MOST_EVENTS = 1 << 20
A_MOMENT_S = 1e-3


@compiled
def is_quiet(w: W) -> bool:
    """Whether no login or order to leave is under way, and nobody waits for the whole population."""
    return bool(
        stages(w)[0].what == 0
        and length(logins(w)) == 0
        and length(readies(w)) == 0
        and length(turns(w)) == 0
        and w.paced == 0
        and w.tell_online == 0
        and w.emptied < 0
        and w.zero_s < math.inf
    )


@compiled
def _budget(w: W) -> int:
    """How many events there is room for; each may bring one of everything, and one more in flight."""
    room = (
        min(
            len(timers(w)) - timers(w)[0].what - w.in_wheel,
            w.free_blocks,
            w.free_lives,
        )
        - ROOM
    )
    settled = min(
        min(space(knocks(w)), space(logins(w))),
        min(space(readies(w)), len(stages(w)) - stages(w)[0].what),
    )
    if w.population == 0:
        settled = min(settled, w.free)
    return int(min(room, (settled - ROOM - w.flying) // 2))


@compiled
def _ends(w: W, at: int) -> None:
    """A session ends whose user nobody follows."""
    one = lives(w)[at]
    if one.slot >= 0:
        session_ends(w, one.slot, one.end_s)
    else:
        life_ends(w, at, one.end_s)


@compiled
def _pass_bucket(w: W, until_s: float) -> int:
    """`_pass` of the present bucket, which is in no order: how many are left, or -1 for no room."""
    left, ended = 0, 0
    # looked up once: the compiler cannot know that what is written below changes none of it
    all_lives, all_hosts, all_pods, all_bins, over = lives(w), hosts(w), pods(w), bins(w), marks(w)
    zero_s, first, window, series, plain = w.zero_s, w.bin, w.window, w.series, w.kept == NO_ROWS
    last = calendar(w)[w.bucket]
    block = last >> BITS
    n = 0
    while block >= 0:
        following = all_lives[block * BLOCK].following
        fetch_block(w, following)
        for at in range(block * BLOCK + 1, last + 1):
            # without a branch: it cannot be foreseen whose session is over
            there = int(all_lives[at].slot != OVER)
            ends = int(all_lives[at].end_s <= until_s)
            over[n] = at
            n += there & ends
            left += there & (1 - ends)
        block = following
        last = block * BLOCK + IN_A_BLOCK
    for at in over[:n]:
        one = all_lives[at]
        end_s = one.end_s
        if one.slot >= 0 or not plain:
            if w.row + ROOM >= len(rows(w)):
                left = -1
                break
            _ends(w, at)
            continue
        p = all_pods[all_hosts[at]]
        all_hosts[at] = -1
        one.slot = OVER
        p.open -= 1
        ended += 1
        if series:
            closed = bin_of(end_s, zero_s, True) - first
            if closed < window:
                all_bins[p.release + 1, closed, CLOSED] += 1
                all_bins[p.release + 1, bin_of(end_s, zero_s, False) - first, USER_CLOSES] += 1
    w.online -= ended
    return left


@compiled
def _pass(w: W, until_s: float) -> bool:
    """All sessions end that end by then, in whatever order. False: there is no room for more rows."""
    while True:
        left = 0
        if w.in_order:
            while w.sorted_at < w.sorted_to and present(w)[w.sorted_at].t_s <= until_s:
                if w.row + ROOM >= len(rows(w)):
                    return False
                at = present(w)[w.sorted_at].life
                w.sorted_at += 1
                if lives(w)[at].slot != OVER:
                    _ends(w, at)
            left = w.sorted_to - w.sorted_at
        else:
            left = _pass_bucket(w, until_s)
            if left < 0:
                return False
        if left or bucket_ends_s(w) > until_s:
            return True
        free_bucket(w, w.bucket)
        w.bucket += 1
        w.in_order = 0


@compiled
def _leave(w: W, in_order: bool) -> int:
    """The loop takes over from here."""
    if not in_order:
        catch_up_all(w, w.now_s)
        if not _pass(w, w.now_s):
            return ROWS_FULL
    settle(w)
    put_in_order(w)
    return int(NONE)


@compiled
def _emptied(w: W, slot: int, t_s: float) -> int:
    """The world has to know that a pod's last connection has left; a new user may have come with that."""
    catch_up_all(w, t_s)
    if slot >= 0:
        put(knocks(w), t_s + w.one_way_s, packed(KNOCK, slot, users(w)[slot].serial))
    return EMPTIED


@compiled
def calm(w: W, until_s: float) -> int:
    """Go on as long as it is quiet; as the loop, says why it comes back. NONE: something else is to be done."""
    one_way_s = w.one_way_s
    job_s = w.handshake_cpu_s + w.login_cpu_s
    least_s = 3 * one_way_s + w.login_rest_s + A_MOMENT_S
    patience_s = min(w.connect_timeout_s, w.handshake_timeout_s)
    most = IN_FLIGHT
    if job_s > 0.0:
        most = min(most, int((patience_s - least_s) / (2 * job_s)))
    if w.flying == 0 and (not w.shortens or most < 1 or least_s >= patience_s or not is_quiet(w)):
        put_in_order(w)
        return int(NONE)
    longest_s = least_s + 2 * most * job_s
    counted_s = w.zero_s + w.bin + w.window - 3 - longest_s if w.series else math.inf
    last_s = min(until_s, counted_s)
    watching = w.watching > 0
    in_order = watching or w.population > 0
    if in_order:
        put_in_order(w)
    events = 0
    while True:
        if events <= 0:
            events = min(_budget(w), MOST_EVENTS)
            if events <= 0:
                return GROW
            if w.row + ROOM >= len(rows(w)):
                return ROWS_FULL
            events = min(events, len(rows(w)) - w.row - ROOM)
        events -= 1
        end_s = next_end_s(w) if in_order else math.inf
        come_s = arrivals(w)[w.arrival] if w.arrival < len(arrivals(w)) else math.inf
        knock_s = first_s(knocks(w))
        loss_s = first_s(losses(w))
        set_s = min(timer_s(w), back_s(w))
        t_s = min(min(min(end_s, come_s), min(knock_s, loss_s)), set_s)
        if t_s > last_s:
            w.now_s = max(w.now_s, last_s)
            catch_up_all(w, w.now_s)
            if not in_order and not _pass(w, w.now_s):
                return ROWS_FULL
            return DONE if last_s == until_s else BINS_FULL
        if t_s == come_s and not in_order and knock_s == math.inf:
            before = w.arrived
            newcomers(w, min(min(loss_s, set_s), last_s), longest_s, events)
            if w.arrived > before:
                events -= w.arrived - before
                continue
        if t_s == back_s(w) and not watching and knock_s == math.inf:
            before = w.back_at
            quiet_s = min(min(end_s, come_s), min(min(loss_s, timer_s(w) - one_way_s), last_s - one_way_s))
            come_back(w, quiet_s, most, longest_s, events)
            if w.back_at > before:
                events -= w.back_at - before
                continue
        if t_s < knock_s <= last_s and (w.loose == 0 or knock_s < timer_s(w)) and not watching:
            what = first(knocks(w))
            slot = slot_of(what)
            early = not is_live(w, what)
            if not early and users(w)[slot].end_s > knock_s:
                early = knocks_at(w, slot, knock_s, most, longest_s)
            if early:
                take(knocks(w))
                continue
        w.now_s = t_s
        at_once = knock_s == math.inf and t_s + one_way_s <= last_s
        at_once = at_once and (w.loose == 0 or t_s + one_way_s < timer_s(w))
        if t_s == knock_s:
            what = first(knocks(w))
            slot = slot_of(what)
            if is_live(w, what):
                if users(w)[slot].end_s < t_s:
                    session_ends(w, slot, users(w)[slot].end_s)
                elif not knocks_at(w, slot, t_s, most, longest_s):
                    return _leave(w, in_order)
            take(knocks(w))
            continue
        if t_s == loss_s:
            what = take(losses(w))
            soon(w, slot_of(ahead(losses(w), 8)))
            slot = slot_of(what)
            if not is_live(w, what):
                continue
            if users(w)[slot].end_s < t_s:
                # there is no next one, or it would have ended before
                session_ends(w, slot, users(w)[slot].end_s)
                continue
            if not lost(w, slot, t_s):
                continue
        elif t_s == back_s(w):
            slot = one_comes_back(w, t_s)
        elif t_s == set_s:
            if top_s(timers(w)) > t_s:
                turn(w)
                continue
            what = timers(w)[1].what
            slot, kind = slot_of(what), kind_of(what)
            u = users(w)[slot]
            if kind == CUT_SHORT:
                pop(timers(w))
                slot = cut_short(w, serial_of(what), t_s)
                if w.emptied >= 0:
                    return int(_emptied(w, slot, t_s))
                if slot < 0:
                    continue
            elif is_live(w, what) and kind != RETRY:
                return _leave(w, in_order)
            else:
                pop(timers(w))
                w.loose -= int(kind == AGAIN)
                if not is_live(w, what) or u.phase != WAITING or u.end_s <= t_s:
                    continue
                soon_on_top(w, timers(w))
                u.retries += 1
                connect(w, slot, t_s)
        elif t_s == end_s:
            if w.sorted_at >= w.sorted_to:
                open_bucket(w)
                continue
            at = present(w)[w.sorted_at].life
            w.sorted_at += 1
            slot = lives(w)[at].slot
            if slot == OVER:
                continue
            if slot >= 0:
                if not session_ends(w, slot, t_s):
                    slot = NONE
            else:
                if hosts(w)[at] < 0 or lives(w)[at].ready_s == math.inf or watching:
                    catch_up_all(w, t_s)
                life_ends(w, at, t_s)
                slot = NONE
                if w.population > 0:
                    one = lives(w)[at]
                    if (
                        at_once
                        and not watching
                        and successor(w, one.place, one.occupant + 1, t_s, most, longest_s)
                    ):
                        continue
                    slot = next_user(w, at, t_s)
            if w.emptied >= 0:
                return int(_emptied(w, slot, t_s))
            if slot < 0:
                continue
        else:
            if at_once and not watching and newcomer(w, t_s, most, longest_s):
                w.arrival += 1
                w.arrived += 1
                continue
            slot = come(w, t_s)
        if watching:
            at_once = at_once and t_s + one_way_s <= next_end_s(w)
        at_once = at_once and users(w)[slot].end_s > t_s + one_way_s
        if not at_once or not knocks_at(w, slot, t_s + one_way_s, most, longest_s):
            put(knocks(w), t_s + one_way_s, packed(KNOCK, slot, users(w)[slot].serial))
