"""Room for what the event loop keeps: at first, and more when it runs short."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadgen.behaviour import backoff
from loadgen.behaviour.settings import Behaviour
from sim.fast import queues, wheel
from sim.fast.calm import MOST_PASSING, ROOM
from sim.fast.draws import key_of, parts_of
from sim.fast.layout import (
    ALL_ROWS,
    COUNTERS,
    DECORRELATED,
    EQUAL,
    EVENT,
    FULL,
    IMMEDIATE,
    LOST_ROWS,
    NO_JITTER,
    NO_ROWS,
    POD,
    ROW,
    SCHEDULE,
    TIMED,
    USER,
    Array,
)  # fmt: skip
from sim.fast.store import Store
from sim.latencies import Latencies
from sim.setup import ServerSetup, SetupError

MOST_USERS = 1 << 24
_ROWS = 1 << 16
SHORTENS = 1
"""Whether quiet times go the short way; it changes nothing but the time that it takes."""
_QUEUE = 2048  # at first; for a ring a power of two
_KEPT = {"full": ALL_ROWS, "lost": LOST_ROWS, "series": NO_ROWS}
_RINGS = ("knocks", "logins", "turns", "readies", "losses")


def grow(store: Store) -> None:
    """Twice the room of what is short of it. Raises SetupError for more users than can be numbered."""
    g, users = store.all[0], len(store["users"])
    for name in _RINGS:
        if not queues.fits(store[name], ROOM):
            store[name] = queues.twice(store[name])
    if store["stages"][0]["what"] + ROOM >= len(store["stages"]):
        store["stages"] = queues.larger(store["stages"], len(store["stages"]))
    room_for_timers(store, ROOM)
    if not g["population"] and g["free"] <= ROOM:
        if 2 * users > MOST_USERS:
            raise SetupError(f"more than {MOST_USERS} users are online at once; simulate a part of them")
        store["users"] = _new_users(store["users"])
        for name in ("vacant", "present", "unsorted", "marks", "tried", "following", "due"):
            store[name] = longer(store[name])
        free = int(g["free"])
        store["vacant"][free : free + users] = np.arange(users, 2 * users)[::-1]
        g["free"] = free + users
    if g["paced"] and g["pool"] + len(store["users"]) >= len(store["pool"]):
        store["pool"] = longer(store["pool"], 2 * len(store["pool"]) + 2 * len(store["users"]))


def room_for_timers(store: Store, more: int) -> None:
    """At least so many more of them."""
    g, timers = store.all[0], store["timers"]
    set_now = int(timers[0]["what"] + g["in_wheel"])
    if set_now + more >= len(timers):
        store["timers"] = queues.larger(timers, max(len(timers), more))
    if g["free_blocks"] <= ROOM or more > ROOM:
        blocks = ROOM + wheel.BUCKETS + more // wheel.IN_A_BLOCK + len(timers) // wheel.IN_A_BLOCK
        store["blocks"], g["free_block"] = wheel.more_blocks(store["blocks"], blocks, int(g["free_block"]))
        g["free_blocks"] += blocks


def first_store(
    behaviour: Behaviour, server: ServerSetup, latencies: Latencies, seed: int, users: int, level: str
) -> Store:
    """All that the loop needs, before anybody has come."""
    store = Store()
    s = store.all
    s["zero_s"] = s["pace_s"] = math.inf
    s["backend_back_s"] = -math.inf
    s["limiter_s"] = s["passed_s"] = -math.inf
    s["wheel_s"], s["wheel_bucket"], s["emptied"] = math.inf, -1, -1
    waits: Sequence[float] = (0.0,)
    policy = behaviour.reconnect
    s["give_up"] = -1 if policy.give_up is None else policy.give_up
    if isinstance(policy, backoff.Immediate):
        s["reconnect"] = IMMEDIATE
    elif isinstance(policy, backoff.Backoff):
        kinds = {"none": NO_JITTER, "equal": EQUAL, "full": FULL, "decorrelated": DECORRELATED}
        s["reconnect"], s["base_s"], s["cap_s"] = kinds[policy.jitter], policy.base_s, policy.cap_s
    else:
        s["reconnect"] = SCHEDULE
        waits = (policy.wait_s,) if isinstance(policy, backoff.Fixed) else policy.waits_s
    for stream in ("session", "backoff", "route"):
        s[f"{stream}_key"] = key_of(seed, stream)
    for name in ("one_way_s", "handshake_cpu_s", "first_syn_again_s"):
        s[name] = getattr(latencies, name)
    s["login_rest_s"] = latencies.login_network_s - latencies.one_way_s
    s["login_cpu_s"], s["handshake_timeout_s"] = server.login_cpu_s, server.handshake_timeout_s
    s["interval_s"] = 1 / server.backend_logins_per_s if server.backend_logins_per_s else 0.0
    s["connect_timeout_s"], s["most_waiting"] = behaviour.connect_timeout_s, server.backlog
    s["shortens"] = SHORTENS
    s["kept"], s["series"] = _KEPT[level], level != "full"
    pods = np.zeros(64, POD)
    pods["pace_s"], pods["frozen_until_s"] = math.inf, -math.inf
    parts, lengths, sums = parts_of(behaviour.session)
    arrays: dict[str, Array] = {
        "users": _new_users(np.zeros(0, USER), users),
        "pods": pods,
        "backends": np.zeros(0),
        "arrivals": np.zeros(0),
        "vacant": np.zeros(users),
        "calendar": np.zeros(0),
        "tried": np.zeros(users),
        "following": np.zeros(users),
        "due": np.zeros(users),
        "present": np.zeros(users, TIMED),
        "unsorted": np.zeros(users, TIMED),
        "marks": np.zeros(users),
        "wheel": np.full(wheel.BUCKETS, -1),
        "blocks": wheel.more_blocks(np.zeros(0, EVENT), _QUEUE, -1)[0],
        "passing": queues.empty(2 * MOST_PASSING),
        "pool": np.zeros(1),
        "waits": np.array(waits),
        "parts": parts,
        "lengths": lengths,
        "sums": sums,
        "rows": np.zeros(_ROWS, ROW),
        "bins": np.zeros((1, 1, COUNTERS)),
        **{name: queues.empty(_QUEUE) for name in ("timers", "stages", *_RINGS)},
    }
    s["free_blocks"] = _QUEUE
    for name, array in arrays.items():
        store[name] = array
    return store


def _new_users(users: Array, more: int = 0) -> Array:
    """Twice as many, or `more` more; the new ones are nobody yet."""
    more = more or len(users)
    grown = np.zeros(len(users) + more, USER)
    grown[: len(users)] = users
    grown["occupant"][len(users) :] = -1
    grown["pod"][len(users) :] = -1
    return grown


def longer(array: Array, size: int = 0) -> Array:
    """The array with twice the room, or with so much; what is new is zero, or an idle pod."""
    grown = np.zeros(size or 2 * len(array), array.dtype)
    grown[: len(array)] = array
    if array.dtype == POD:
        grown["frozen_until_s"][len(array) :] = -math.inf
        grown["pace_s"][len(array) :] = math.inf
    return grown
