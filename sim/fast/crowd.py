"""The fast crowd: a `Crowd` whose users live in arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import simpy

from deployer.fleet import Count, Release
from loadgen.behaviour.arrivals import Fixed, Trace
from loadgen.behaviour.settings import Behaviour
from sim.clock import EPOCH_S
from sim.crowd import Cut, Log
from sim.fast import loop, orders, queues, rooms
from sim.fast.calm import ROOM
from sim.fast.coming import coming
from sim.fast.draws import key_of
from sim.fast.layout import (
    ACCEPTED,
    BACKEND,
    BACKLOG,
    BINS_FULL,
    COUNTERS,
    DONE,
    GROW,
    NETWORK,
    ONLINE,
    POD_GONE,
    ROW,
    ROWS_FULL,
    SERVER,
    TRYING,
    Array,
)  # fmt: skip
from sim.fast.lives import IN_A_BLOCK
from sim.fast.tables import Series, connections
from sim.latencies import Latencies
from sim.setup import ServerSetup, SetupError

FIRST_USERS = 1024  # of a population that comes and goes
WINDOW = 1024  # bins of the series that are counted at a time
MORE_RELEASES = 6  # than there are so far: room for their bins
IN_A_BUCKET = 256  # ends of sessions, in the mean
MOST_BUCKETS = 1 << 18
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
        self._asked: Sequence[str] | None = None
        self._numbers = np.zeros(0, np.int64)  # of the pods asked last
        self._coming: Iterator[Array] = iter(())
        self._rows: list[Array] = []
        self._series = Series(duration_s)
        population = behaviour.population
        count = population.count if isinstance(population, Fixed) else 0
        if count > rooms.MOST_USERS:
            raise SetupError(f"users={count} must be at most {rooms.MOST_USERS}; simulate a part of them")
        self._lag = math.ceil(2 * behaviour.connect_timeout_s) + 3  # bins that an attempt may reach back
        self._s = rooms.first_store(behaviour, server, latencies, seed, count or FIRST_USERS, level)
        self._g = self._s.all[0]  # a view
        self._open = self._s["pods"]["open"]  # another
        self._waits_for_all = False
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
        self._waits_for_all = True

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
        self._s["calendar"] = np.full(buckets + 1, -1, np.int32)
        self._g["bucket_s"] = self._duration_s / (buckets - 1)
        self._g["buckets_per_s"] = (buckets - 1) / self._duration_s
        self._g["bucket"] = self._g["in_order"] = 0
        if not isinstance(population, Fixed):
            self._coming = coming(population, self._seed)
            self._expected_s = -math.inf
        there = _expected(self._behaviour, self._duration_s)
        rooms.room_for_lives(self._s, there // IN_A_BLOCK + min(there, buckets) + ROOM)
        users = self._s["users"]
        there = users[(users["told"] == 1) & ((users["phase"] == TRYING) | (users["phase"] == ONLINE))]
        release = self._s["pods"]["release"][there["pod"]] + 1
        self._series.begin(np.bincount(release, minlength=len(self._s["bins"])))
        orders.zero(self._s.address)

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
        self._asked = None  # a pod may have a new number; nobody asks for None
        self._emptied[number] = emptied
        rooms.room_for_pods(self._s, number + 1)
        self._open = self._s["pods"]["open"]
        code = self._releases.setdefault(release, len(self._releases))
        if code + 1 >= len(self._s["bins"]):
            self._s.grow("bins", code + 2 + MORE_RELEASES)
        record = self._s["pods"][number]
        record["free_s"], record["pace_s"] = -math.inf, math.inf
        record["release"], record["listening"] = code, 1
        if pod in self._backends:
            self._aim()

    def watch(self, pod: str) -> None:
        """From now on the world wants to know when the pod's last connection has left."""
        if pod in self._pods:
            self._s["pods"][self._pods[pod]]["watched"] = 1
            self._watched.add(self._pods[pod])
            self._g["watching"] = len(self._watched)

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
            self._g["watching"] = len(self._watched)

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        """Begin to ask a pod's clients to leave."""
        self._sync()
        if pod not in self._pods:
            return
        number = self._pods[pod]
        if len(self._s["pool"]) < self._g["pool"] + 3 * len(self._s["users"]):
            self._s.grow("pool", len(self._s["pool"]) + 4 * len(self._s["users"]))
        rooms.room_for_slots(self._s, int(self._s["pods"][number]["open"]))
        record = self._s["pods"][number]
        record["pace_until_s"] = math.inf if newcomers else self._now_s + float(self._g["one_way_s"])
        record["pace_s"] = self._now_s if per_s else math.inf
        record["pace_every_s"] = 1 / per_s if per_s else math.inf
        orders.pace(self._s.address, number)

    def lose_backend(self, until_s: float) -> None:
        """All that is accepted ends now, and each login that gets so far before the backend is back."""
        self._sync()
        self._g["backend_back_s"] = max(float(self._g["backend_back_s"]), until_s - EPOCH_S)
        orders.settle(self._s.address)
        for number in self._pods.values():
            self._cut(number, ACCEPTED, BACKEND)

    def freeze(self, pod: str, until_s: float) -> None:
        """Its CPU has no time before then; each client looks for a sign of life within its keepalive."""
        self._sync()
        if pod in self._pods:
            open_now = int(self._s["pods"][self._pods[pod]]["open"])
            rooms.room_for_slots(self._s, open_now)
            rooms.room_for_timers(self._s, open_now + ROOM)
            key = key_of(self._seed, "peers")
            keepalive_s = self._behaviour.keepalive_s
            orders.freeze(self._s.address, self._pods[pod], until_s - EPOCH_S, key, keepalive_s)

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
        found: list[int] = self._open[self._numbers].tolist()
        return found

    def ahead(self, until_s: float) -> float | None:
        """Go on to this moment; an earlier one, or this, if the world has to be told something then."""
        if not self._watched and not self._waits_for_all:
            return None  # there is time until somebody asks
        state = self._advance(until_s - EPOCH_S)
        return None if state == DONE else max(EPOCH_S + float(self._g["now_s"]), self._env.now)

    def tell(self) -> None:
        """The moment has come."""
        emptied = int(self._g["emptied"])
        if emptied >= 0:
            self._g["emptied"] = -1
            self._emptied[emptied]()
        elif self._g["tell_online"]:
            self._g["tell_online"] = 0
            self._waits_for_all = False
            self.online.succeed()

    def end(self) -> Log:
        """The run is over: the tables that the record's level asks for."""
        self._sync()
        slot = 0
        rooms.room_for_slots(self._s, 0)
        everybody = len(self._s["users"]) + len(self._s["lives"])
        while (slot := orders.finish_all(self._s.address, slot)) < everybody:
            self._keep_rows()
        self._keep_rows()
        zero_s = float(self._g["zero_s"])
        series = None
        if self._g["series"]:
            self._series.add(int(self._g["bin"]), self._s["bins"], self._s["bins"].shape[1])
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
            while self._advance(now_s) != DONE:
                self.tell()

    def _advance(self, until_s: float) -> int:
        """To this moment, or until the world has to know something."""
        until_s = max(until_s, self._at_s)
        while True:
            if until_s >= self._expected_s:
                self._expect(until_s)
            state = loop.advance(self._s.address, until_s)
            if state == GROW:
                rooms.grow(self._s)
            elif state == ROWS_FULL:
                self._keep_rows()
            elif state == BINS_FULL:
                self._keep_bins()
            else:
                self._at_s = until_s if state == DONE else float(self._g["now_s"])
                return state

    def _expect(self, until_s: float) -> None:
        """Have the arrivals up to this moment in the array."""
        while len(self._s["arrivals"]) == 0 or self._s["arrivals"][-1] <= until_s:
            more = next(self._coming, None)
            if more is None:
                self._expected_s = math.inf
                return
            left = self._s["arrivals"][self._g["arrival"] :]
            arrivals = self._s.fresh("arrivals", len(left) + len(more))
            arrivals[: len(left)] = left
            np.add(more, self._g["zero_s"], out=arrivals[len(left) :])
            self._g["arrival"] = 0
            self._expected_s = float(self._s["arrivals"][-1]) if len(more) else self._expected_s

    def _aim(self) -> None:
        numbers = np.array([self._pods.get(pod, 0) for pod in self._backends], np.int64)
        self._s["backends"] = numbers

    def _cut(self, number: int, stage: int, how: int) -> None:
        affected = self._s["pods"][number]["open" if stage == ACCEPTED else "backlog"]
        if not affected:
            return
        rooms.room_for_slots(self._s, int(affected))
        rooms.room_for_returns(self._s, int(affected))
        while not queues.fits(self._s["losses"], int(affected) + ROOM):
            self._s["losses"] = queues.twice(self._s["losses"])
        orders.cut(self._s.address, number, stage, how)

    def _keep_rows(self) -> None:
        if self._g["row"]:
            self._rows.append(self._s["rows"][: self._g["row"]].copy())
            self._g["row"] = 0

    def _keep_bins(self) -> None:
        """Pass on what is complete of the window, and move it on."""
        bins = self._s["bins"]
        done = bins.shape[1] - self._lag
        self._series.add(int(self._g["bin"]), bins, done)
        self._g["bin"] += done


def _expected(behaviour: Behaviour, duration_s: float) -> int:
    """About how many users are there at once (Little's law), so that room need not grow many times."""
    population = behaviour.population
    if isinstance(population, Fixed):
        return population.count
    per_s = len(population.times_s) / duration_s if isinstance(population, Trace) else population.per_s
    return int(min(per_s * min(behaviour.session.mean_s, duration_s), rooms.MOST_USERS / 4))
