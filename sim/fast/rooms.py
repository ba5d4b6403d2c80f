"""Room for what the event loop keeps: at first, and more when it runs short."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadgen.behaviour import backoff
from loadgen.behaviour.settings import Behaviour
from sim.fast import lives, queues, wheel
from sim.fast.calm import ROOM
from sim.fast.draws import key_of, parts_of
from sim.fast.layout import (
    ALL_ROWS,
    COUNTERS,
    DECORRELATED,
    EQUAL,
    EVENT,
    FULL,
    IMMEDIATE,
    IN_FLIGHT,
    LIFE,
    LOST_ROWS,
    NO_JITTER,
    NO_ROWS,
    POD,
    SCHEDULE,
    USER,
    Array,
)  # fmt: skip
from sim.fast.memory import Store
from sim.fast.takeoff import AT_ONCE
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
    g = store.all[0]
    wanted = ROOM + int(g["flying"]) + 2  # as `calm` reckons it
    for name in _RINGS:
        if not queues.fits(store[name], wanted):
            store[name] = queues.twice(store[name])
    if store["stages"][0]["what"] + wanted >= len(store["stages"]):
        store["stages"] = queues.larger(store["stages"], len(store["stages"]))
    room_for_timers(store, ROOM)
    room_for_lives(store, ROOM)
    room_for_slots(store, 2)
    if g["paced"] and g["pool"] + len(store["users"]) >= len(store["pool"]):
        store.grow("pool", 2 * len(store["pool"]) + 2 * len(store["users"]))


def room_for_slots(store: Store, more: int) -> None:
    """At least so many free ones, beyond those that logins in flight and the next events may take.

    Where users come and go: a fixed population has one each. Raises SetupError for more than can be numbered.
    """
    g, users = store.all[0], len(store["users"])
    more += int(g["flying"]) + ROOM
    if g["population"] or g["free"] > more:
        return
    size = users
    while g["free"] + size - users <= more:
        size *= 2
    if size > MOST_USERS:
        raise SetupError(f"more than {MOST_USERS} users come again at once; simulate a part of them")
    _nobody(store.grow("users", size)[users:])
    store.grow("vacant", size)
    store.grow("tried", size)[users:] = -1
    free = int(g["free"])
    store["vacant"][free : free + size - users] = np.arange(users, size)[::-1]
    g["free"] = free + size - users
    _room_for_order(store)


def room_for_lives(store: Store, more: int) -> None:
    """At least so many free blocks of them."""
    g, blocks = store.all[0], len(store["lives"]) // lives.BLOCK
    if g["free_lives"] > more:
        return
    size = max(blocks, more + 1)
    if (blocks + size) * lives.IN_A_BLOCK > 2 * MOST_USERS:
        raise SetupError(f"more than {MOST_USERS} users are online at once; simulate a part of them")
    for name in ("lives", "hosts"):
        store.grow(name, (blocks + size) * lives.BLOCK, int(g["high"]))
    g["free_lives"] += size
    _room_for_order(store)


def _room_for_order(store: Store) -> None:
    """What is put in order may be all lives or all slots."""
    size = max(len(store["users"]), len(store["lives"]))
    for name in ("present", "unsorted", "marks"):
        if len(store[name]) < size:
            store.grow(name, size)


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
    behaviour: Behaviour,
    server: ServerSetup,
    latencies: Latencies,
    seed: int,
    users: int,
    level: str,
) -> Store:
    """All that the loop needs, before anybody has come: slots for `users`."""
    store = Store()
    s = store.all
    s["zero_s"] = s["pace_s"] = math.inf
    s["backend_back_s"] = -math.inf
    s["limiter_s"] = s["passed_s"] = s["known_s"] = -math.inf
    s["in_order"], s["free_life"] = 1, -1
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
        "users": _nobody(np.zeros(users, USER)),
        "pods": pods,
        "backends": np.zeros(0),
        "arrivals": np.zeros(0),
        "vacant": np.zeros(users),
        "chances": np.zeros(AT_ONCE),
        "stays": np.zeros(AT_ONCE),
        "calendar": np.zeros(0),
        "lives": np.zeros(0, LIFE),
        "hosts": np.zeros(0),
        "busy": np.zeros(len(pods)),
        "tried": np.full(users, -1),
        "wheel": np.full(wheel.BUCKETS, -1),
        "blocks": wheel.more_blocks(np.zeros(0, EVENT), _QUEUE, -1)[0],
        "pool": np.zeros(1),
        "waits": np.array(waits),
        "parts": parts,
        "lengths": lengths,
        "sums": sums,
        "bins": np.zeros((1, 1, COUNTERS)),
        **{name: queues.empty(_QUEUE) for name in ("timers", "stages", *_RINGS)},
    }
    s["free_blocks"] = _QUEUE
    for name, array in arrays.items():
        store[name] = array
    sizes = {
        "flights": len(pods) * IN_FLIGHT, "rows": _ROWS, "present": users, "unsorted": users, "marks": users,
    }  # fmt: skip
    for name, size in sizes.items():
        store.fresh(name, size)
    room_for_lives(store, ROOM)
    store.fresh("returning", 0)
    store.fresh("unplaced", 0)
    return store


def room_for_returns(store: Store, more: int) -> None:
    """So many more can be put among those who return."""
    g = store.all[0]
    if len(store["unplaced"]) < more:
        store.fresh("unplaced", 2 * more)
    wanted = (
        int(g["back_to"] - g["back_at"]) + more + lives.AHEAD
    )  # so far ahead of the next one it is looked
    if len(store["returning"]) < wanted:
        store.grow("returning", int(g["back_at"]) + 2 * wanted)


def room_for_pods(store: Store, more: int) -> None:
    """At least so many in all; a new one is idle."""
    before = len(store["pods"])
    if more <= before:
        return
    pods = store.grow("pods", 2 * more)[before:]
    pods["frozen_until_s"], pods["pace_s"] = -math.inf, math.inf
    store.grow("flights", 2 * more * IN_FLIGHT)
    store.grow("busy", 2 * more)


def _nobody(users: Array) -> Array:
    """Slots that nobody is in yet."""
    users["occupant"] = users["pod"] = users["at"] = -1
    return users
