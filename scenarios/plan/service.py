"""What a plan is made for: a service's numbers, as a person gives them or as a scenario says them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from deployer.clusters.controlplane.rollout import bounds
from loadgen.behaviour import arrivals
from loadgen.behaviour.backoff import Backoff, Reconnect
from loadgen.behaviour.sessions import Exponential, Session
from scenarios import build
from scenarios.errors import UserMistake
from scenarios.plan.limits import Limit
from scenarios.spec import Spec
from scenarios.spec.units import share_of

DAY_S = 86_400.0
MOST_PER_DAY = DAY_S
"""Deploys a day that a plan is made for: one a second."""
GIB = 2.0**30
FEW_RATIO = 0.001
"""`few` where nothing is said: one connection in a thousand."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The machines that pods are scheduled on."""

    count: int
    cpu: float = 16.0
    memory_bytes: float = 64 * GIB


@dataclass(frozen=True)
class Service:
    """One service. Its users come at a steady rate and the deploys at even intervals.

    Raises UserMistake for a value that cannot be.
    """

    connections: int  # open at one time, on the whole
    session: Session = field(default_factory=lambda: Exponential(3600.0))
    deploys_per_day: float = 1.0
    replicas: int = 4  # pods of one release
    pod_cpu: float = 1.0
    pod_memory_bytes: float = 2 * GIB
    price_per_pod_hour: float = 0.05  # dollars
    nodes: Nodes | None = None  # None: as many as it takes
    logins_per_s: float = 500.0  # that the whole service can do
    reconnect: Reconnect = field(default_factory=Backoff)
    connect_timeout_s: float = 10.0  # a client hangs up after so long
    startup_s: float = 10.0  # until all pods of a release are ready
    linger_s: float = 2.0  # a pod that is told to end serves on for so long
    drain_s: float | None = None  # what old releases get under a fixed time; None: see `burndown.drain_of`
    deadline_s: float = 48 * 3600.0  # for policies that wait for users: then it goes anyway
    few: int | None = None  # connections that may be cut; None: a thousandth of all
    hold_s: float = 60.0  # how long a verdict must have held
    colors: int = 8
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"
    grace_s: float = 48 * 3600.0  # of long-grace rolling
    grace_cut_s: float | None = None  # someone ends that grace so early
    limit: Limit | None = None  # someone who ends drains so early
    tolerated: float = 0.01  # forced reconnects per user and deploy that may be

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("connections", self.connections, 1, 10**9),
            ("replicas", self.replicas, 1, 100_000),
            ("colors", self.colors, 2, 1000),
            ("nodes", 1 if self.nodes is None else self.nodes.count, 1, 10**6),
        ):
            if not least <= value <= most:
                raise UserMistake(f"{name}={value} must be from {least} to {most:,}")
        for name, amount in (
            ("few", self.few_left),
            ("price", self.price_per_pod_hour),
            ("tolerate", self.tolerated),
            ("hold", self.hold_s),
        ):
            if not 0 <= amount < math.inf:
                raise UserMistake(f"{name}={amount:g} must be at least 0 and finite")
        for name, amount in (
            ("startup", self.startup_s),
            ("deploys-per-day", self.deploys_per_day),
            ("pod-cpu", self.pod_cpu),
            ("pod-memory", self.pod_memory_bytes),
            ("logins-per-s", self.logins_per_s),
            ("drain", 1.0 if self.drain_s is None else self.drain_s),
            ("deadline", self.deadline_s),
            ("grace", self.grace_s),
        ):
            if not 0 < amount < math.inf:
                raise UserMistake(f"{name}={amount:g} must be above 0 and finite")
        if all(value in (0, "0%") for value in (self.max_surge, self.max_unavailable)):
            raise UserMistake(
                f"max-surge={self.max_surge} and max-unavailable={self.max_unavailable} leave no pod to begin with; "
                "raise one of them"
            )
        if self.nodes is not None and self.pods_per_node < 1:
            raise UserMistake(
                f"a pod of {self.pod_cpu:g} CPU and {self.pod_memory_bytes / GIB:g} GiB does not fit on a node; "
                "give larger nodes by --node-cpu and --node-memory"
            )

    @property
    def spacing_s(self) -> float:
        """Between two deploys."""
        return DAY_S / self.deploys_per_day

    @property
    def few_left(self) -> int:
        """Connections that policy `few` may cut."""
        return int(self.connections * FEW_RATIO) if self.few is None else self.few

    @property
    def pods_per_node(self) -> int:
        """How many fit on one node by CPU and by memory; nodes of the default size where none are given."""
        nodes = self.nodes or Nodes(1)
        by_cpu = (nodes.cpu + 1e-9) // self.pod_cpu
        return int(min(by_cpu, nodes.memory_bytes // self.pod_memory_bytes))

    @property
    def capacity_pods(self) -> int | None:
        """Pods that the nodes hold; None: as many as it takes."""
        return None if self.nodes is None else self.nodes.count * self.pods_per_node

    @property
    def rolling(self) -> tuple[int, int]:
        """maxSurge and maxUnavailable in pods, rounded as Kubernetes rounds them."""
        return bounds(UpdateStrategy(UpdateType.ROLLING, self.max_surge, self.max_unavailable), self.replicas)


def service_of(spec: Spec, deploys_per_day: float | None = None) -> Service:
    """The numbers that a scenario says; `deploys_per_day`, where given, instead of its own deploys.

    Raises SpecError for a file that holds no times, and UserMistake.
    """
    behaviour = build.behaviour_of(spec)
    session, fleet, rolling = behaviour.session, spec.fleet, spec.strategy.rolling
    policy, graceful = spec.drain.policy, spec.strategy.graceful
    connections = _connections(behaviour.population, session.mean_s, spec.duration)
    few = None
    if policy.few is not None:
        left = policy.few.left
        few = left if isinstance(left, int) else int(share_of(left) * connections)
    return Service(
        connections=connections,
        session=session,
        deploys_per_day=_deploys_per_day(spec) if deploys_per_day is None else deploys_per_day,
        replicas=fleet.replicas,
        pod_cpu=fleet.pod.cpu,
        pod_memory_bytes=fleet.pod.memory,
        price_per_pod_hour=fleet.pod.price_per_hour,
        nodes=Nodes(fleet.nodes.count, fleet.nodes.cpu, fleet.nodes.memory),
        logins_per_s=_logins_per_s(spec),
        reconnect=behaviour.reconnect,
        connect_timeout_s=behaviour.connect_timeout_s,
        startup_s=_all_ready_s(spec),
        linger_s=spec.server.linger,
        drain_s=None if policy.after is None else policy.after.duration,
        deadline_s=48 * 3600.0 if spec.drain.deadline_s is None else spec.drain.deadline_s,
        few=few,
        hold_s=60.0 if spec.drain.hold is None else spec.drain.hold,
        colors=spec.strategy.colors.count,
        max_surge=rolling.max_surge,
        max_unavailable=rolling.max_unavailable,
        grace_s=graceful.grace,
        grace_cut_s=graceful.grace_cut,
    )


def _connections(population: arrivals.Population, mean_s: float, duration_s: float) -> int:
    """Little's law, L = λW, where users arrive: the rate (a day's highest one) times the mean session."""
    if isinstance(population, arrivals.Fixed):
        return population.count
    if isinstance(population, arrivals.Trace):
        times = [t_s for t_s in population.times_s if t_s < duration_s]
        per_s = len(times) / duration_s
    elif isinstance(population, arrivals.Diurnal):
        per_s = population.per_s * (1 + population.swing_ratio)
    else:
        per_s = population.per_s
    if math.isinf(mean_s):
        raise UserMistake("users who arrive and stay forever have no steady state; give users.count instead")
    return max(round(per_s * mean_s), 1)


def _deploys_per_day(spec: Spec) -> float:
    """By the mean gap between deploys where there are several, else one in the whole duration."""
    evenly = {deploy.every for deploy in spec.deploys if deploy.every is not None}
    if len(spec.deploys) == 1 and evenly:
        return DAY_S / evenly.pop()
    times = [deploy.at_s for deploy in spec.planned_deploys() if deploy.kind == "deploy"]
    if not times:
        raise UserMistake(f"scenario {spec.name} deploys nothing; give --deploys-per-day")
    if times[-1] == times[0]:
        return len(times) / spec.duration * DAY_S
    return (len(times) - 1) / (times[-1] - times[0]) * DAY_S


def _logins_per_s(spec: Spec) -> float:
    """The narrower of the backend and of the pods' CPUs, one of which does logins in each pod."""
    pods_per_s = spec.fleet.replicas / spec.server.login_cpu if spec.server.login_cpu > 0 else math.inf
    return min(spec.server.backend_logins_per_s, pods_per_s)


def _all_ready_s(spec: Spec) -> float:
    """Mean until the slowest pod listens, E[max] = ∫ 1 − F(t)^n dt, and then half a probe period on average."""
    startup = build.startup_of(spec)
    half_probe_s = spec.fleet.probe.period / 2
    if startup.sigma == 0:
        return startup.median_s + half_probe_s
    t_s = startup.median_s * np.exp(startup.sigma * np.linspace(-8, 8, 2001))
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in np.linspace(-8, 8, 2001)])
    return float(t_s[0] + np.trapezoid(1 - below**spec.fleet.replicas, t_s)) + half_probe_s
