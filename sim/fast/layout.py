"""Where the compiled event loop keeps what it knows: one record a user, a pod, a row, and queues of events."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
f8, i8, i4, i2, i1 = np.float64, np.int64, np.int32, np.int16, np.int8


def _numbers(n: int) -> tuple[Any, ...]:
    """Constants. Not plain ones: Numba would compile what they are passed to once more for each."""
    return tuple(np.int64(i) for i in range(n))


EVENT = np.dtype([("t_s", f8), ("order", i8), ("what", i8)])
"""An entry of a queue; see `queues`."""

TIMED = np.dtype([("t_s", f8), ("life", i8)])
"""One of the lives and when it ends."""

PART = np.dtype(
    [("fresh", f8), ("met", f8), ("p1", f8), ("p2", f8), ("kind", i8), ("first", i8), ("count", i8)]
)
"""One part of a session distribution; `fresh` and `met` are running shares."""

_USER = np.dtype(
    [
        ("end_s", f8),  # when the session ends; before time zero: how long it will last
        ("request_s", f8),
        ("connected_s", f8),  # TCP; inf: not yet
        ("open_s", f8),  # the websocket, as the client sees it; inf: not yet
        ("ready_s", f8),  # logged in; inf: not yet
        ("wait_s", f8),  # the last wait before a retry
        ("place", i8),
        ("serial", i4),  # of the attempt, over all occupants: an event of an earlier one is stale
        ("occupant", i4),
        ("attempt", i4),
        ("retries", i4),
        ("failed", i4),
        ("pod", i4),
        ("at", i4),  # its place among the lives, -1: none
        ("phase", i1),
        ("stage", i1),  # the server's side
        ("cut", i1),  # how the server's side ended
        ("told", i1),  # that it opened
        ("opened_before", i1),
        ("losing", i1),  # a forced close has not been followed by a login yet
    ],
    align=True,
)
_FIELDS: Any = {
    "names": list(_USER.names or ()),
    "formats": [_USER[name] for name in _USER.names or ()],
    "offsets": [place[1] for place in (_USER.fields or {}).values()],
    "itemsize": 128,
}
USER = np.dtype(_FIELDS)
"""Two cache lines: where there are a million users, waiting for memory is most of the work."""
VACANT, TRYING, ONLINE, WAITING = range(4)  # phase
NOWHERE, BACKLOG, ACCEPTED = range(3)  # stage
NO_CUT, REFUSED, RESET, EOF, NETWORK, SERVER, POD_GONE, BACKEND, SILENCE = _numbers(9)  # cut

_LIFE = np.dtype(
    [
        ("end_s", f8),
        ("request_s", f8),  # this and what follows: of the present attempt
        ("open_s", f8),
        ("ready_s", f8),
        ("place", i8),
        ("occupant", i4),
        ("attempt", i4),
        ("slot", i4),  # of a user who is not just online; else one of those below
        ("following", i4),  # in a block's head: the next block, -1: none
        ("opened_before", i1),
        ("losing", i1),
    ],
    align=True,
)
_FIELDS = {
    "names": list(_LIFE.names or ()),
    "formats": [_LIFE[name] for name in _LIFE.names or ()],
    "offsets": [place[1] for place in (_LIFE.fields or {}).values()],
    "itemsize": 64,
}
LIFE = np.dtype(_FIELDS)
"""A user's time from arrival to the end of the session, in one cache line: all there is of one who is online."""
OVER, ONLY_ONLINE, RETURNING = -1, -2, -3

RETURN = np.dtype([("t_s", f8), ("chance", f8), ("life", i8)])
"""Who will come again then; `chance` says to which pod. See `returns`."""

FLIGHT = np.dtype(
    [
        ("accepted_s", f8),
        ("served_s", f8),  # when the pod has done its part
        ("wait_s", f8),  # this and the next two as in the user's record, for those who fail
        ("retries", i4),
        ("failed", i4),
        ("life", i8),  # -1: it has been cut
    ],
    align=True,
)
"""A login under way in quiet times; see `calm`."""
IN_FLIGHT = 256  # at most, of a pod; a power of two

POD = np.dtype(
    [
        ("free_s", f8),  # when its CPU has done all that it was given
        ("open", i8),
        ("backlog", i8),
        ("pace_s", f8),  # when the next client is asked to leave
        ("pace_every_s", f8),
        ("frozen_until_s", f8),
        ("pace_until_s", f8),  # only those are asked who were accepted by then
        ("pace_at", i8),  # the clients to be asked are pool[pace_at:pace_to]
        ("pace_to", i8),
        ("came", i8),  # logins in quiet times so far; of these
        ("accepted", i8),
        ("logged", i8),  # the pod's part is done, or known to be
        ("left", i8),  # are over
        ("release", i4),
        ("listening", i1),
        ("watched", i1),
        ("busy", i1),  # it is in the list of those that have logins in flight
    ],
    align=True,
)

ROW = np.dtype(
    [
        ("place", i8),
        ("occupant", i4),
        ("attempt", i4),
        ("t_request_s", f8),
        ("t_open_s", f8),  # NaN is null, here and below
        ("t_ready_s", f8),
        ("t_close_s", f8),
        ("t_end_s", f8),
        ("pod", i4),
        ("reason", i1),
        ("closed_by", i1),
        ("failure", i1),
        ("cut", i1),
        ("gave_up", i1),
    ],
    align=True,
)
ARRIVAL, RECONNECT = range(2)
DONE, ALL_ONLINE, EMPTIED, GROW, ROWS_FULL, BINS_FULL = range(6)
"""Why the event loop comes back."""
NONE: Any = np.int64(-1)
"""Nothing follows, or it goes on."""
KNOCK, ACCEPT, LOGIN, SERVED, READY, AGAIN, RETRY, CUT_SHORT, TCP_DEADLINE, DEADLINE, NO_ANSWER = _numbers(11)
"""Kinds of events."""
BY_USER, BY_SERVER, BY_POD_GONE, BY_NETWORK, BY_NOBODY, BY_RUN_END = _numbers(6)
NO_FAILURE, F_REFUSED, F_CONNECT, F_HANDSHAKE, F_LOGIN = _numbers(5)

GLOBAL = np.dtype(
    [
        ("now_s", f8),
        ("zero_s", f8),  # inf before time zero
        ("backend_back_s", f8),  # it is away before
        ("limiter_s", f8),  # the backend's next turn is not before
        ("pace_s", f8),  # the earliest of all pods'
        ("calendar_s", f8),  # where the calendar begins
        ("bucket_s", f8),
        ("buckets_per_s", f8),
        ("wheel_s", f8),  # when the wheel's next bucket that holds anything begins
        ("passed_s", f8),  # the backend's limiter after all logins in flight
        ("known_s", f8),  # the last SYN that has been looked at: so far the pods are ahead
        ("sequence", i8),
        ("wheel_bucket", i8),  # the wheel's present bucket, counted from 0 s
        ("in_wheel", i8),  # timers in the wheel
        ("free_block", i8),  # the first of the list
        ("free_blocks", i8),
        ("free_life", i8),  # the first of the list of free blocks of lives
        ("free_lives", i8),
        ("flying", i8),  # logins in flight
        ("active", i8),  # pods in the list of busy ones
        ("back_at", i8),  # of those who return: the next one
        ("back_to", i8),
        ("loose", i8),  # timers that may change what a pod's CPU has to do
        ("watching", i8),  # pods whose last connection's end the world waits for
        ("arrival", i8),  # the next in the array of arrivals
        ("arrived", i8),  # places so far
        ("drawn_from", i8),  # the first place of those whose numbers have been drawn ahead
        ("drawn_to", i8),  # … and the one after the last
        ("high", i8),  # lives are below
        ("bucket", i8),  # the calendar's present one
        ("in_order", i8),  # whether the present bucket is
        ("sorted_at", i8),  # its next entry
        ("sorted_to", i8),
        ("free", i8),  # slots on the stack of free ones
        ("pool", i8),  # of the paced ones' lists
        ("paced", i8),  # pods
        ("row", i8),
        ("bin", i8),  # the first of the series' window
        ("online", i8),
        ("population", i8),  # 0: users come and go
        ("tell_online", i8),
        ("emptied", i8),  # a watched pod, -1: none
        ("attempts", i8),
    ],
    align=True,
)

SETTINGS = np.dtype(
    [
        ("session_key", np.uint64),
        ("backoff_key", np.uint64),
        ("route_key", np.uint64),
        ("one_way_s", f8),
        ("handshake_cpu_s", f8),
        ("login_cpu_s", f8),
        ("login_rest_s", f8),  # from the backend's turn to logged in
        ("interval_s", f8),  # between two turns of the backend
        ("handshake_timeout_s", f8),
        ("connect_timeout_s", f8),
        ("first_syn_again_s", f8),
        ("base_s", f8),
        ("cap_s", f8),
        ("most_waiting", i8),  # in a pod's backlog
        ("give_up", i8),  # -1: never
        ("reconnect", i8),
        ("kept", i8),  # rows
        ("series", i8),  # whether it is counted
        ("shortens", i8),  # whether quiet times may go the short way
    ],
    align=True,
)
IMMEDIATE, SCHEDULE, NO_JITTER, EQUAL, FULL, DECORRELATED = range(6)  # reconnect
TIES = (IMMEDIATE, SCHEDULE, NO_JITTER, DECORRELATED)
"""With these, users who lost their connections together come again together."""
NO_ROWS, LOST_ROWS, ALL_ROWS = range(3)

ARRIVALS, RECONNECTS, LOGINS, USER_CLOSES, FORCED_CLOSES, OPENED, CLOSED = _numbers(7)
"""Counters of the series; the last two are of changes that show at the next bin's start."""
COUNTERS = 7

KINDS = {
    "users": USER,
    "pods": POD,
    "backends": np.dtype(i8),  # numbers of the pods that are routed to
    "arrivals": np.dtype(f8),  # times, ascending
    "chances": np.dtype(f8),  # of newcomers, drawn ahead: which pod it is to be
    "stays": np.dtype(f8),  # … and how long the session
    "vacant": np.dtype(i8),  # slots that nobody is in
    "calendar": np.dtype(i4),  # each bucket's latest life, -1: none; the last bucket is never opened
    "lives": LIFE,
    "hosts": np.dtype(i4),  # by life: the pod that has accepted it, -1: none, or its user has a slot
    "tried": np.dtype(i4),  # by slot: the pod of its latest attempt, for looking through all slots
    "present": TIMED,  # the present bucket, by time
    "unsorted": TIMED,  # as it was
    "returning": RETURN,  # by time
    "unplaced": RETURN,  # scratch
    "marks": np.dtype(i4),  # for sorting it
    "wheel": np.dtype(i4),  # each bucket's first block, -1: none
    "blocks": EVENT,  # of timers in the wheel, see there
    "pool": np.dtype(i8),  # connections that are asked to leave, in that order, pod by pod
    "waits": np.dtype(f8),  # of a reconnect schedule
    "parts": PART,
    "lengths": np.dtype(f8),
    "sums": np.dtype(f8),
    "rows": ROW,
    "bins": np.dtype(i4),  # release, bin, counter
    "timers": EVENT,  # a heap: retries and other things of users, of the wheel's present bucket
    "stages": EVENT,  # a heap: of logins under way
    "knocks": EVENT,  # this and the rest: rings
    "logins": EVENT,
    "turns": EVENT,  # logins that wait for the backend's turn; times are those of coming
    "readies": EVENT,
    "losses": EVENT,
    "flights": FLIGHT,  # a ring for each pod
    "busy": np.dtype(i8),  # pods that have any
}
"""Every array and the type of its records."""

STORE = np.dtype(
    [
        *((name, GLOBAL[name]) for name in GLOBAL.names or ()),
        *((name, SETTINGS[name]) for name in SETTINGS.names or ()),
        *((f"{name}_at", i8) for name in KINDS),  # addresses
        *((f"{name}_n", i8) for name in KINDS),  # lengths
        ("window", i8),  # bins of a release
    ],
    align=True,
)
"""All of it: what compiled functions are given is one record of this kind, a pointer."""
