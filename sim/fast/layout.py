"""Where the compiled event loop keeps what it knows: one record a user, a pod, a row, and queues of events."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
f8, i8, i4, i2, i1 = np.float64, np.int64, np.int32, np.int16, np.int8

EVENT = np.dtype([("t_s", f8), ("order", i8), ("what", i8)])
"""An entry of a queue; see `queues`."""

TIMED = np.dtype([("t_s", f8), ("slot", i8)])
"""A user's slot and when its session ends."""

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
        ("life", i4),  # of the slot's occupants: the end of an earlier one's session is stale
        ("occupant", i4),
        ("attempt", i4),
        ("retries", i4),
        ("failed", i4),
        ("pod", i4),
        ("phase", i1),
        ("stage", i1),  # the server's side
        ("cut", i1),  # how the server's side ended
        ("told", i1),  # that it opened
        ("opened_before", i1),
        ("losing", i1),  # a forced close has not been followed by a login yet
        ("in_calendar", i1),
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
NO_CUT, REFUSED, RESET, EOF, NETWORK, SERVER, POD_GONE, BACKEND, SILENCE = range(9)  # cut

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
        ("release", i4),
        ("listening", i1),
        ("watched", i1),
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
BY_USER, BY_SERVER, BY_POD_GONE, BY_NETWORK, BY_NOBODY, BY_RUN_END = range(6)
NO_FAILURE, F_REFUSED, F_CONNECT, F_HANDSHAKE, F_LOGIN = range(5)

GLOBAL = np.dtype(
    [
        ("now_s", f8),
        ("zero_s", f8),  # inf before time zero
        ("end_s", f8),  # of the run
        ("backend_back_s", f8),  # it is away before
        ("limiter_s", f8),  # the backend's next turn is not before
        ("pace_s", f8),  # the earliest of all pods'
        ("calendar_s", f8),  # where the calendar begins
        ("bucket_s", f8),
        ("wheel_s", f8),  # when the wheel's next bucket that holds anything begins
        ("passed_s", f8),  # the backend's limiter before the logins that are passing
        ("sequence", i8),
        ("wheel_bucket", i8),  # the wheel's present bucket, counted from 0 s
        ("in_wheel", i8),  # timers in the wheel
        ("free_block", i8),  # the first of the list
        ("free_blocks", i8),
        ("arrival", i8),  # the next in the array of arrivals
        ("arrived", i8),  # places so far
        ("bucket", i8),  # the calendar's present one
        ("sorted_at", i8),  # the present bucket's next entry
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
NO_ROWS, LOST_ROWS, ALL_ROWS = range(3)

ARRIVALS, RECONNECTS, LOGINS, USER_CLOSES, FORCED_CLOSES, OPENED, CLOSED = range(7)
"""Counters of the series; the last two are of changes that show at the next bin's start."""
COUNTERS = 7

KINDS = {
    "users": USER,
    "pods": POD,
    "backends": np.dtype(i8),  # numbers of the pods that are routed to
    "arrivals": np.dtype(f8),  # times, ascending
    "vacant": np.dtype(i8),  # slots that nobody is in
    "calendar": np.dtype(i4),  # each bucket's first slot, -1: none
    "tried": np.dtype(i4),  # by slot: the pod of its latest attempt, for looking through all slots
    "following": np.dtype(i4),  # by slot: the next one in its bucket
    "due": np.dtype(f8),  # by slot: its time in the calendar
    "present": TIMED,  # the present bucket, by time
    "unsorted": TIMED,  # as it was
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
    "passing": EVENT,  # logins that are done, but not before what is to be done next; see `calm`
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
