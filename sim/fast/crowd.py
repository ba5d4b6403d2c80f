"""The fast crowd: a `Crowd` whose users live in arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import simpy

from deployer.fleet import Count, Release
from loadgen.behaviour import backoff
from loadgen.behaviour.arrivals import Fixed, Trace
from loadgen.behaviour.settings import Behaviour
from sim.clock import EPOCH_S
from sim.crowd import Cut, Log
from sim.fast import loop, queues
from sim.fast.coming import coming
from sim.fast.draws import key_of, parts_of
from sim.fast.layout import (
    ACCEPTED,
    ALL_ROWS,
    BACKEND,
    BACKLOG,
    COUNTERS,
    DECORRELATED,
    EQUAL,
    FULL,
    IMMEDIATE,
    LOST_ROWS,
    NETWORK,
    NO_JITTER,
    NO_ROWS,
    ONLINE,
    POD,
    POD_GONE,
    ROW,
    SCHEDULE,
    SERVER,
    TRYING,
    USER,
    Array,
)  # fmt: skip
from sim.fast.store import Store
from sim.fast.tables import Series, connections
from sim.latencies import Latencies
from sim.setup import ServerSetup, SetupError

MOST_USERS = 1 << 24
FIRST_USERS = 1024  # of a population that comes and goes
ROWS = 1 << 16
WINDOW = 2048  # bins of the series that are counted at a time
IN_A_BUCKET = 128  # ends of sessions, in the mean
MOST_BUCKETS = 1 << 18
HEAPS = ("timers", "stages")
RINGS = ("knocks", "logins", "turns", "readies", "losses")
_ROWS = {"full": ALL_ROWS, "lost": LOST_ROWS, "series": NO_ROWS}
_CUTS = {Cut.SERVER: SERVER, Cut.POD_GONE: POD_GONE, Cut.BACKEND: BACKEND}


class FastCrowd:
    """Follows SimPy's clock: before each of the world's events it goes ahead to it, in compiled code.

    Users behave as the oracle's, message for message of the protocol, but send no messages to each other:
    what the record says of those is null. Times inside are seconds since `EPOCH_S`.
    """

    def __init__(
        self,
        env: simpy.Environment,
        behaviour: Behaviour,
        server: ServerSetup,
        latencies: Latencies,
        seed: int,
        duration_s: float,
        level: str = "full",
    ) -> None:
        """`level` is the record's: full, lost or series. Raises SetupError for more users than it can number."""
        self._env, self._behaviour, self._seed, self._duration_s = env, behaviour, seed, duration_s
        self.online = env.event()
        self._pods: dict[str, int] = {}  # the present number of a pod's server
        self._names: list[str] = [""]  # by number; 0 listens never
        self._of: list[Release] = [""]
        self._releases: dict[Release, int] = {}
        self._emptied: dict[int, Callable[[], None]] = {}
        self._at_s = 0.0  # where the event loop is
        self._expected_s = math.inf  # the last arrival that it knows
        self._watched: set[int] = set()  # that have not been cut
        self._backends: tuple[str, ...] = ()
        self._asked: Sequence[str] = ()
        self._numbers = np.zeros(0, np.int64)  # of the pods asked last
        self._coming: Iterator[Array] = iter(())
        self._rows: list[Array] = []
        self._series = Series(duration_s)
        population = behaviour.population
        count = population.count if isinstance(population, Fixed) else 0
        if count > MOST_USERS:
            raise SetupError(f"users={count} must be at most {MOST_USERS}; simulate a part of them")
        self._lag = math.ceil(2 * behaviour.connect_timeout_s) + 3  # bins that an attempt may reach back
        self._s = _store(
            behaviour, server, latencies, seed, max(count, FIRST_USERS if not count else 1), level
        )
        window = WINDOW
        while window < 8 * self._lag:
            window *= 2
        self._s["bins"] = np.zeros((1, window, COUNTERS), np.int32)
        self._g["population"] = count
        if not count:
            self._s["vacant"][:] = np.arange(len(self._s["users"]))[::-1]
            self._g["free"] = len(self._s["users"])

    @property
    def attempts(self) -> int:
        """Attempts made so far, the ramp's too."""
        return int(self._g["attempts"])

    @property
    def _g(self) -> Array:
        found: Array = self._s.all[0]
        return found

    # What the world asks

    def start(self) -> None:
        """The fixed population comes, evenly spaced."""
        count = int(self._g["population"])
        if not count:
            self.online.succeed()
            return
        times = self._now_s + np.arange(count) / self._behaviour.ramp_per_s
        self._s["arrivals"] = times
        self._g["tell_online"] = 1

    def zero(self) -> None:
        """Residual lives run, or the first arrivals come."""
        self._sync()
        population, expected = self._behaviour.population, 0.0
        mean_s = self._behaviour.session.mean_s
        if isinstance(population, Fixed):
            expected = population.count * (1 + self._duration_s / mean_s)
        elif isinstance(population, Trace):
            expected = len(population.times_s)
        else:
            expected = population.per_s * self._duration_s
        buckets = int(min(max(expected / IN_A_BUCKET, 16), MOST_BUCKETS))
        self._s["calendar"] = np.full(buckets, -1, np.int32)
        self._g["bucket_s"] = self._duration_s / (buckets - 1)
        self._g["bucket"] = -1
        self._g["end_s"] = self._now_s + self._duration_s
        if not isinstance(population, Fixed):
            self._coming = coming(population, self._seed)
            self._expected_s = -math.inf
        users = self._s["users"]
        there = users[(users["told"] == 1) & ((users["phase"] == TRYING) | (users["phase"] == ONLINE))]
        release = self._s["pods"]["release"][there["pod"]] + 1
        self._series.begin(np.bincount(release, minlength=len(self._s["bins"])))
        # an event goes to the queue of timers if its bucket is not in the calendar: there is room for all
        self._s["timers"] = queues.larger(self._s["timers"], len(users))
        loop.zero(self._s.address)

    def route(self, backends: tuple[str, ...]) -> None:
        """New connections go to these."""
        self._sync()
        self._backends = backends
        self._aim()

    def listen(self, pod: str, release: Release, emptied: Callable[[], None]) -> None:
        """A pod accepts from now on, with an idle CPU and no connection."""
        self._sync()
        number = len(self._names)
        self._names.append(pod)
        self._of.append(release)
        self._pods[pod] = number
        self._asked = ()
        self._emptied[number] = emptied
        if number >= len(self._s["pods"]):
            self._s["pods"] = _longer(self._s["pods"])
        code = self._releases.setdefault(release, len(self._releases))
        if code + 1 >= len(self._s["bins"]):
            bins = np.zeros((code + 2, *self._s["bins"].shape[1:]), np.int32)
            bins[: len(self._s["bins"])] = self._s["bins"]
            self._s["bins"] = bins
        record = self._s["pods"][number]
        record["free_s"], record["pace_s"] = -math.inf, math.inf
        record["release"], record["listening"] = code, 1
        self._aim()

    def watch(self, pod: str) -> None:
        """From now on the world wants to know when the pod's last connection has left."""
        if pod in self._pods:
            self._s["pods"][self._pods[pod]]["watched"] = 1
            self._watched.add(self._pods[pod])

    def stop_listening(self, pod: str) -> None:
        """A pod's listener is closed; who waited in its backlog is reset."""
        self._sync()
        if pod in self._pods:
            self._s["pods"][self._pods[pod]]["listening"] = 0
            self._cut(self._pods[pod], BACKLOG, NETWORK)

    def cut(self, pod: str, how: Cut) -> None:
        """Everything that a pod has accepted ends now."""
        self._sync()
        if pod in self._pods:
            self._cut(self._pods[pod], ACCEPTED, _CUTS[how])
            self._watched.discard(self._pods[pod])

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        """Begin to ask a pod's clients to leave."""
        self._sync()
        if pod not in self._pods:
            return
        number = self._pods[pod]
        if len(self._s["pool"]) < self._g["pool"] + 3 * len(self._s["users"]):
            self._s["pool"] = _longer(self._s["pool"], len(self._s["pool"]) + 4 * len(self._s["users"]))
        record = self._s["pods"][number]
        record["pace_until_s"] = math.inf if newcomers else self._now_s + float(self._g["one_way_s"])
        record["pace_s"] = self._now_s if per_s else math.inf
        record["pace_every_s"] = 1 / per_s if per_s else math.inf
        loop.pace(self._s.address, number)

    def lose_backend(self, until_s: float) -> None:
        """All that is accepted ends now, and each login that gets so far before the backend is back."""
        self._sync()
        self._g["backend_back_s"] = max(float(self._g["backend_back_s"]), until_s - EPOCH_S)
        for number in self._pods.values():
            self._cut(number, ACCEPTED, BACKEND)

    def freeze(self, pod: str, until_s: float) -> None:
        """Its CPU has no time before then; each client looks for a sign of life within its keepalive."""
        self._sync()
        if pod in self._pods:
            self._s["timers"] = queues.larger(self._s["timers"], len(self._s["users"]))
            key = key_of(self._seed, "peers")
            keepalive_s = self._behaviour.keepalive_s
            loop.freeze(self._s.address, self._pods[pod], until_s - EPOCH_S, key, keepalive_s)

    def count(self, pod: str) -> Count:
        """Connections that the pod has accepted."""
        self._sync()
        number = self._pods.get(pod)
        return Count(0 if number is None else int(self._s["pods"][number]["open"]))

    def counts(self, pods: Sequence[str]) -> Sequence[Count]:
        """As `count`, of many."""
        return [Count(n) for n in self.open_connections(pods)]

    def open_connections(self, pods: Sequence[str]) -> Sequence[int]:
        """As `count`, all at once."""
        self._sync()
        if pods != self._asked:
            self._asked = pods
            self._numbers = np.array([self._pods.get(pod, 0) for pod in pods], np.int64)
        found: list[int] = self._s["pods"]["open"][self._numbers].tolist()
        return found

    def ahead(self, until_s: float) -> float | None:
        """Go on to this moment; an earlier one, or this, if the world has to be told something then."""
        if not self._watched and not self._g["tell_online"]:
            return None  # there is time until somebody asks
        state = self._advance(until_s - EPOCH_S)
        return None if state == loop.DONE else max(EPOCH_S + float(self._g["now_s"]), self._env.now)

    def tell(self) -> None:
        """The moment has come."""
        emptied = int(self._g["emptied"])
        if emptied >= 0:
            self._g["emptied"] = -1
            self._emptied[emptied]()
        elif self._g["tell_online"]:
            self._g["tell_online"] = 0
            self.online.succeed()

    def end(self) -> Log:
        """The run is over: the tables that the record's level asks for."""
        self._sync()
        slot = 0
        while (slot := loop.finish_all(self._s.address, slot)) < len(self._s["users"]):
            self._keep_rows()
        self._keep_rows()
        zero_s = float(self._g["zero_s"])
        series = None
        if self._g["series"]:
            self._series.add(int(self._g["bin"]), self._s["bins"])
            series = self._series.table(list(self._releases))
        rows = np.concatenate(self._rows) if self._rows else np.zeros(0, ROW)
        self._rows.clear()
        return Log(connections(rows, self._names, self._of, zero_s), series)

    # Its own

    @property
    def _now_s(self) -> float:
        return max(self._env.now - EPOCH_S, self._at_s)

    def _sync(self) -> None:
        """Be where SimPy is."""
        now_s = self._env.now - EPOCH_S
        if now_s > self._at_s:
            while self._advance(now_s) != loop.DONE:
                self.tell()

    def _advance(self, until_s: float) -> int:
        """To this moment, or until the world has to know something."""
        until_s = max(until_s, self._at_s)
        while True:
            if until_s >= self._expected_s:
                self._expect(until_s)
            state = loop.advance(self._s.address, until_s)
            if state == loop.GROW:
                self._grow()
            elif state == loop.ROWS_FULL:
                self._keep_rows()
            elif state == loop.BINS_FULL:
                self._keep_bins()
            else:
                self._at_s = until_s if state == loop.DONE else float(self._g["now_s"])
                return state

    def _expect(self, until_s: float) -> None:
        """Have the arrivals up to this moment in the array."""
        while len(self._s["arrivals"]) == 0 or self._s["arrivals"][-1] <= until_s:
            more = next(self._coming, None)
            if more is None:
                self._expected_s = math.inf
                return
            left = self._s["arrivals"][self._g["arrival"] :]
            self._s["arrivals"] = np.concatenate((left, more + self._g["zero_s"]))
            self._g["arrival"] = 0
            self._expected_s = float(self._s["arrivals"][-1]) if len(more) else self._expected_s

    def _aim(self) -> None:
        numbers = np.array([self._pods.get(pod, 0) for pod in self._backends], np.int64)
        self._s["backends"] = numbers

    def _cut(self, number: int, stage: int, how: int) -> None:
        affected = self._s["pods"][number]["open" if stage == ACCEPTED else "backlog"]
        if not affected:
            return
        losses = self._s["losses"]
        while not queues.fits(losses, int(affected) + loop.ROOM):
            losses = queues.twice(losses)
        self._s["losses"] = losses
        loop.cut(self._s.address, number, stage, how)

    def _keep_rows(self) -> None:
        if self._g["row"]:
            self._rows.append(self._s["rows"][: self._g["row"]].copy())
            self._g["row"] = 0

    def _keep_bins(self) -> None:
        """Pass on what is complete of the window, and move it on."""
        bins = self._s["bins"]
        done = bins.shape[1] - self._lag
        self._series.add(int(self._g["bin"]), bins[:, :done])
        bins[:, : self._lag] = bins[:, done:].copy()
        bins[:, self._lag :] = 0
        self._g["bin"] += done

    def _grow(self) -> None:
        """Twice the room of what is short of it."""
        store, users = self._s, len(self._s["users"])
        for name in RINGS:
            if not queues.fits(store[name], loop.ROOM):
                store[name] = queues.twice(store[name])
        for name in HEAPS:
            if store[name][0]["what"] + loop.ROOM >= len(store[name]):
                store[name] = queues.larger(store[name], len(store[name]))
        if not self._g["population"] and self._g["free"] <= loop.ROOM:
            if 2 * users > MOST_USERS:
                raise SetupError(f"more than {MOST_USERS} users are online at once; simulate a part of them")
            store["users"] = _new_users(store["users"])
            for name in ("vacant", "present", "tried", "following", "due"):
                store[name] = _longer(store[name])
            free = int(self._g["free"])
            store["vacant"][free : free + users] = np.arange(users, 2 * users)[::-1]
            self._g["free"] = free + users
        if self._g["paced"] and self._g["pool"] + len(store["users"]) >= len(store["pool"]):
            store["pool"] = _longer(store["pool"], 2 * len(store["pool"]) + 2 * len(store["users"]))


def _store(
    behaviour: Behaviour, server: ServerSetup, latencies: Latencies, seed: int, users: int, level: str
) -> Store:
    store = Store()
    s = store.all
    s["zero_s"] = s["pace_s"] = math.inf
    s["backend_back_s"] = -math.inf
    s["limiter_s"], s["emptied"] = -math.inf, -1
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
    s["kept"], s["series"] = _ROWS[level], level != "full"
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
        "present": np.zeros(users),
        "pool": np.zeros(1),
        "waits": np.array(waits),
        "parts": parts,
        "lengths": lengths,
        "sums": sums,
        "rows": np.zeros(ROWS, ROW),
        "bins": np.zeros((1, 1, COUNTERS)),
        **{name: queues.empty(1024) for name in (*HEAPS, *RINGS)},
    }
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


def _longer(array: Array, size: int = 0) -> Array:
    grown = np.zeros(size or 2 * len(array), array.dtype)
    grown[: len(array)] = array
    if array.dtype == POD:
        grown["frozen_until_s"][len(array) :] = -math.inf
        grown["pace_s"][len(array) :] = math.inf
    return grown
