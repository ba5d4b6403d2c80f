"""The contract's verbs in the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import simpy

from deployer.actions import Action
from deployer.clusters.controlplane import api
from deployer.draining import DrainSettings
from deployer.fleet import Count, Fleet, Kind
from deployer.strategies import make
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Immediate
from loadgen.behaviour.sessions import Forever, Lognormal
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams
from sim.clock import EPOCH_S, Call
from sim.cluster import VirtualCluster
from sim.crowd import Cut
from sim.kubelet import Kubelet
from sim.network import ServiceProxy
from sim.setup import Bad, FleetSetup, PlannedDeploy, ServerSetup, Setup, Sigterm
from tests.worlds.stage import APP, Play, Refused, Stage

T = TypeVar("T")
LOOK_EVERY_S = 0.05


class SimConnection:
    def __init__(self, pod: str, release: str) -> None:
        self.pod, self.release, self.is_open = pod, release, True


class Clients:
    """A crowd that does what the test says."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._route: tuple[str, ...] = ()
        self._listening: dict[str, str] = {}
        self._emptied: dict[str, Callable[[], None]] = {}
        self._open: dict[str, list[SimConnection]] = {}
        self._rng = Random("route")

    def connect(self) -> SimConnection:
        pod = self._rng.choice(self._route) if self._route else ""
        if pod not in self._listening:
            raise Refused(f"nobody listens at {pod!r}")
        made = SimConnection(pod, self._listening[pod])
        self._open[pod].append(made)
        return made

    def route(self, backends: tuple[str, ...]) -> None:
        self._route = backends

    def listen(self, pod: str, release: str, emptied: Callable[[], None]) -> None:
        self._listening[pod] = release
        self._emptied[pod] = emptied
        self._open[pod] = []

    def stop_listening(self, pod: str) -> None:
        self._listening.pop(pod, None)

    def cut(self, pod: str, how: Cut) -> None:
        self.stop_listening(pod)
        for connection in self._open.pop(pod, []):
            connection.is_open = False

    def watch(self, pod: str) -> None:
        """It always tells in time."""

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        there = self._open.get(pod)
        if there:
            there.pop(0).is_open = False
            Call(self._env, 1 / per_s, lambda: self.pace(pod, per_s, newcomers))
            if not there:
                self._emptied[pod]()

    def count(self, pod: str) -> Count:
        return Count(len(self._open.get(pod, ())))

    def counts(self, pods: Sequence[str]) -> list[Count]:
        return [self.count(pod) for pod in pods]


class SimStage(Stage):
    """Control plane, kubelet and proxy of `sim`, without its users and its deployer."""

    name = "sim"

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self._env = env = simpy.Environment(initial_time=EPOCH_S)
        setup = Setup(
            seed=1,
            duration_s=1.0,
            fleet=FleetSetup(startup=Lognormal(1.0, 0.3)),
            behaviour=Behaviour(Fixed(1), Forever(), Immediate()),
            strategy=make("rolling", {}),
            limits=play.limits,
            drain=DrainSettings(),
            server=ServerSetup(on_sigterm=Sigterm(play.on_sigterm), linger_s=play.linger_s),
            deploys=tuple(PlannedDeploy(0.0, release, bad=Bad(bad)) for release, bad in play.bad.items()),
        )
        self._clients: Any = Clients(env)
        streams = Streams(1)
        proxy = ServiceProxy(env, setup.network.sync_period_s, setup.timing.endpoint_s, self._clients.route)
        self._cluster = VirtualCluster(
            env,
            api.empty(APP, play.selects_release),
            play.shape,
            play.limits,
            streams["victims"],
            self._clients,
            proxy,
            self._changed,
        )
        self._kubelet = Kubelet(env, setup, streams, self._clients, self._cluster.write)
        self._cluster.run_pods_on(self._kubelet)

    def observe(self) -> Fleet:
        return self._cluster.observe()

    def act(self, action: Action) -> None:
        self._cluster.act(action)

    def request(self, release: str, kind: Kind) -> int:
        return self._cluster.request(release, kind)

    def ask(self, pod: str) -> Count | None:
        return self._cluster.ask([pod])[pod]

    def delete_pod(self, pod: str, grace_s: float | None = None) -> None:
        orders: Any = ()

        def write(state: Any, now_s: float) -> Any:
            nonlocal orders
            state, orders = api.delete_pod(state, pod, now_s, grace_s, "test")
            return state

        there = self._cluster.state.pods[pod]
        self._cluster.write(write)
        for order in orders:
            self._kubelet.carry_out(order, there)

    def kill_server(self, pod: str) -> None:
        self._kubelet.kill(pod)

    def connect(self) -> SimConnection:
        made: SimConnection = self._clients.connect()
        return made

    def wait(self, what: str, holds: Callable[[Fleet], T], within_s: float = 90.0) -> T:
        until_s = self._env.now + within_s
        while not (found := holds(self.observe())):
            assert self._env.now < until_s, f"not so after {within_s:g} s: {what}"
            self.pass_time(LOOK_EVERY_S)
        return found

    def pass_time(self, for_s: float) -> None:
        self._env.run(until=self._env.now + for_s)

    @property
    def now_s(self) -> float:
        return float(self._env.now)

    def _changed(self) -> None:
        self.frames.append(self._cluster.observe())
