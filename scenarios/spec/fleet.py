"""The fleet of a spec: pods, nodes, the chat server's settings, the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scenarios.spec.base import Choice, Part, Word
from scenarios.spec.units import Cpu, Duration, Memory
from scenarios.spec.users import PositiveDuration

PositiveCpu = Annotated[Cpu, Field(gt=0)]
PositiveMemory = Annotated[Memory, Field(gt=0)]
GIB = 2.0**30


class Pod(Part):
    """What one pod is planned, scheduled (in sim) and billed as."""

    cpu: PositiveCpu = Field(default=1.0, description="CPUs")
    memory: PositiveMemory = Field(default=2 * GIB, description="memory")
    price_per_hour: float = Field(
        default=0.05, ge=0, description="of one pod from created to gone, in dollars"
    )


class Nodes(Part):
    """The machines that pods are scheduled on."""

    count: int = Field(default=3, ge=1, description="how many")
    cpu: PositiveCpu = Field(default=16.0, description="CPUs of one")
    memory: PositiveMemory = Field(default=64 * GIB, description="memory of one")


class Probe(Part):
    """The readiness probe."""

    period: PositiveDuration = Field(default=1.0, description="between two probes")


class StartupLognormal(Part):
    """Most pods start in about the same time, a few take much longer."""

    median: PositiveDuration = Field(description="half start faster")
    sigma: float = Field(default=0.0, ge=0, le=5, description="of the logarithm; 0: all take the median")


class Startup(Choice):
    """How long a pod takes from scheduled to listening."""

    lognormal: StartupLognormal | None = None
    fixed: PositiveDuration | None = Field(default=None, description="every pod takes this long")


class Fleet(Part):
    """How many pods a release has, and what they are."""

    replicas: int = Field(default=4, ge=1, description="pods of one release")
    pod: Pod = Field(default_factory=Pod)
    nodes: Nodes = Field(default_factory=Nodes)
    startup: Startup = Field(
        default_factory=lambda: Startup.model_validate({"lognormal": {"median": "1s", "sigma": 0.3}}),
        description="from scheduled to listening; a pod is ready no earlier",
    )
    probe: Probe = Field(default_factory=Probe)
    removal: Duration = Field(
        default=0.7, description="from a terminating pod's exit until its object is gone; sim and local"
    )

    @property
    def capacity_pods(self) -> int:
        """Pods that the nodes hold."""
        by_cpu = (self.nodes.cpu + 1e-9) // self.pod.cpu
        return self.nodes.count * int(min(by_cpu, self.nodes.memory // self.pod.memory))

    @model_validator(mode="after")
    def _fits(self) -> Fleet:
        if self.capacity_pods < self.replicas:
            raise ValueError(
                f"replicas={self.replicas} do not fit: the nodes hold {self.capacity_pods} pods; "
                "give more or larger nodes"
            )
        return self


class Server(Part):
    """The chat server in each pod, and the backend behind all of them."""

    login_cpu: Duration = Field(default=0.002, description="CPU time of one login in the gateway")
    backlog: int = Field(default=128, ge=1, description="connections that may wait to be accepted")
    handshake_timeout: PositiveDuration = Field(
        default=10.0, description="from accepted to logged in, else it closes"
    )
    backend_logins_per_s: float = Field(
        default=500.0, gt=0, description="that the backend does, over all pods together"
    )
    ping_interval: PositiveDuration = Field(default=30.0, description="of the server's pings to its clients")
    on_sigterm: Literal["auto", "close", "hold", "pace"] = Field(
        default="auto",
        description="close: serve on for `linger`, then close all and exit; hold: exit when the last "
        "connection has left; pace: as hold, and ask clients to leave at `pace_per_s`; auto: "
        "hold under graceful, else close",
    )
    linger: Duration = Field(
        default=2.0, description="how long it accepts after SIGTERM; routing stops up to 1.1 s later"
    )
    on_deselected: Literal["leave_when_empty", "pace", "nothing"] = Field(
        default="leave_when_empty",
        description="what the hook makes it do: end when the last connection has left, but serve on for "
        "`linger`; the same, and ask clients to leave at `pace_per_s`; or nothing",
    )
    pace_per_s: float = Field(
        default=10.0,
        gt=0,
        description="clients asked to leave in a second, with pace as on_sigterm or on_deselected",
    )


class Throttled(Part):
    """As Linux does it behind kube-proxy: a few are refused, all others hang until an endpoint is there."""

    per_s: float = Field(
        default=1.0, gt=0, description="new connections refused in a second, over all users: one address"
    )
    burst: float = Field(default=6.0, ge=1, description="refused at once after a pause")


class NoEndpoints(Choice):
    """What a new connection meets that finds no pod."""

    refuse: Word | None = Field(default=None, description="each is refused at once")
    throttled: Throttled | None = None


class Network(Part):
    """The way from a client to a pod."""

    sync_period: Duration = Field(
        default=1.0, description="kube-proxy's minimum sync period; 0s: endpoint changes count at once"
    )
    no_endpoints: NoEndpoints | None = Field(
        default=None,
        description="what a Service without endpoints does to new connections: refuse them, as local does, or "
        "throttled, as Kubernetes does; left out: refuse, but throttled in what kind and current are held against",
    )


class Requests(Part):
    """What a pod asks of a real cluster."""

    cpu: PositiveCpu = Field(default=0.01, description="CPUs")
    memory: PositiveMemory = Field(default=64 * 2.0**20, description="memory")


class Kubernetes(Part):
    """Settings of the worlds on a real Kubernetes."""

    requests: Requests = Field(default_factory=Requests)
