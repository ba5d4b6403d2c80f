"""Everything that a simulated run needs: `scenarios` builds it from a spec, tests by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Protocol

from deployer.clusters.controlplane.objects import Timing
from deployer.draining import DrainSettings
from deployer.fleet import Kind, Limits, Release
from deployer.strategies import Strategy
from loadgen.behaviour.settings import Behaviour
from sim.latencies import Latencies

GIB = 2.0**30


class SetupError(ValueError):
    """A setup that cannot be run; one line that names the value, the bound and the way out."""


class Draw(Protocol):
    """A distribution of durations, such as those of `loadgen.behaviour.sessions`."""

    def draw(self, rng: Random) -> float:
        """One duration in seconds."""
        ...


class Sigterm(StrEnum):
    """What the chat server does when it is asked to end."""

    AUTO = "auto"  # hold under `graceful`, else close
    CLOSE = "close"  # serve on for `linger_s`, then close every connection and exit
    HOLD = (
        "hold"  # exit when `linger_s` is over and the last connection has left, or just before the grace ends
    )
    PACE = "pace"  # as hold, and ask clients to leave at a rate


class Bad(StrEnum):
    """What is wrong with a release that is broken on purpose."""

    NEVER_READY = "never_ready"  # it runs, and its readiness probe fails for ever
    CRASHES = "crashes"  # its process ends before it listens, at each start
    CRASHES_AFTER_SWITCH = "crashes_after_switch"  # 5 s after it was found ready, after each start


class Deselected(StrEnum):
    """What the chat server does when it is told that the Service no longer selects it."""

    LEAVE_WHEN_EMPTY = "leave_when_empty"  # end when `linger_s` is over and the last connection has left
    PACE = "pace"  # the same, and ask clients to leave at a rate
    NOTHING = "nothing"


class CrowdKind(StrEnum):
    """How users are simulated; both ways agree in distribution."""

    AUTO = "auto"  # oracle for few users with few messages, else fast
    ORACLE = "oracle"  # one by one, messages included
    FAST = "fast"  # in arrays, without messages


class Level(StrEnum):
    """How much of the connections is kept; as the record's levels."""

    FULL = "full"
    LOST = "lost"  # those that were cut, and their users' attempts until they are back
    SERIES = "series"  # none, only counts


class FaultKind(StrEnum):
    """What can be broken during a run."""

    KILL_POD = "kill_pod"  # SIGKILL to the server in one pod; the kubelet starts it again
    NODE_LOSS = "node_loss"  # a node and all that runs on it stands still for the duration
    BACKEND_DOWN = "backend_down"  # the XMPP server is away for the duration, and with it every session
    API_DOWN = "api_down"  # nothing can be read from or written to the cluster for the duration
    DEPLOYER_KILLED = "deployer_killed"  # the deployer dies, and a new one starts after the duration


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at a time after time zero."""

    at_s: float
    kind: FaultKind
    target: str = "random"  # kill_pod, node_loss: a name, or random among the ready pods, or their nodes
    duration_s: float = 1.0  # of all but kill_pod


@dataclass(frozen=True, slots=True)
class Nodes:
    """The machines that pods are scheduled on."""

    count: int = 3
    cpu: float = 16.0
    memory_bytes: float = 64 * GIB


@dataclass(frozen=True, slots=True)
class FleetSetup:
    """The pods: how large they are, how fast they start. How many one release needs is in `Limits`."""

    startup: Draw  # created and scheduled → the server listens
    app: str = "chat"
    probe_period_s: float = 1.0  # of the readiness probe
    nodes: Nodes = Nodes()
    pod_cpu: float = 1.0
    pod_memory_bytes: float = 2 * GIB


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """The chat server in a pod, and the backend behind all of them."""

    login_cpu_s: float = 0.002  # CPU time of one login; a pod has one core for them
    backlog: int = 128  # connections that may wait to be accepted
    handshake_timeout_s: float = 10.0  # who waits longer for the server's turn to the handshake is closed
    backend_logins_per_s: float = 500.0  # over all pods together; 0: no limit
    on_sigterm: Sigterm = Sigterm.AUTO
    linger_s: float = 2.0
    on_deselected: Deselected = Deselected.LEAVE_WHEN_EMPTY
    pace_per_s: float = 10.0  # with `pace` as on_sigterm or on_deselected
    ping_interval_s: float = 30.0  # a client that answers none of three pings is silent


@dataclass(frozen=True, slots=True)
class Throttled:
    """New connections that find no pod, as Linux treats them behind kube-proxy's iptables rules.

    Without endpoints only so many are refused, for the kernel limits the ICMP answers to one address
    (`icmp_ratelimit`, a burst of `XRLIM_BURST_FACTOR`), and all users come from one; the others hang. So does
    who is sent to a pod that has ended and is still an endpoint.
    """

    per_s: float = 1.0
    burst: float = 6.0


@dataclass(frozen=True, slots=True)
class NetworkSetup:
    """The way from a client to a pod."""

    sync_period_s: float = 1.0  # kube-proxy's minimum sync period; 0: endpoint changes count at once
    no_endpoints: Throttled | None = None  # None: who finds no pod is refused at once


@dataclass(frozen=True, slots=True)
class PlannedDeploy:
    """A release that is requested at a time after time zero."""

    at_s: float
    release: Release | None = (
        None  # None with a rollback: the release that was selected before the present one
    )
    kind: Kind = Kind.DEPLOY
    bad: Bad | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """One simulated run. The same setup gives the same bytes."""

    seed: int
    duration_s: float
    fleet: FleetSetup
    behaviour: Behaviour
    strategy: Strategy
    limits: Limits
    drain: DrainSettings
    initial: Release = "a1b2c3"
    server: ServerSetup = ServerSetup()
    network: NetworkSetup = NetworkSetup()
    deploys: tuple[PlannedDeploy, ...] = ()
    faults: tuple[Fault, ...] = ()
    level: Level = Level.FULL
    crowd: CrowdKind = CrowdKind.AUTO
    timing: Timing = field(default_factory=Timing)
    latencies: Latencies = field(default_factory=Latencies)

    def __post_init__(self) -> None:
        """Raises SetupError for a value out of its bounds."""
        server, nodes = self.server, self.fleet.nodes
        _need("duration_s", self.duration_s, self.duration_s > 0, "above 0")
        _need("replicas", self.limits.replicas, self.limits.replicas >= 1, "at least 1")
        _need("probe_period_s", self.fleet.probe_period_s, self.fleet.probe_period_s > 0, "above 0")
        _need("nodes.count", nodes.count, nodes.count >= 1, "at least 1")
        _need("backlog", server.backlog, server.backlog >= 1, "at least 1")
        _need("login_cpu_s", server.login_cpu_s, server.login_cpu_s >= 0, "0 or more")
        _need(
            "backend_logins_per_s", server.backend_logins_per_s, server.backend_logins_per_s >= 0, "0 or more"
        )
        _need("linger_s", server.linger_s, server.linger_s >= 0, "0 or more")
        _need("ping_interval_s", server.ping_interval_s, server.ping_interval_s > 0, "above 0")
        _need("pace_per_s", server.pace_per_s, server.pace_per_s > 0, "above 0")
        _need("sync_period_s", self.network.sync_period_s, self.network.sync_period_s >= 0, "0 or more")
        throttled = self.network.no_endpoints
        if throttled is not None:
            _need("no_endpoints.per_s", throttled.per_s, throttled.per_s > 0, "above 0")
            _need("no_endpoints.burst", throttled.burst, throttled.burst >= 1, "at least 1")
        for at_s in (*(d.at_s for d in self.deploys), *(f.at_s for f in self.faults)):
            _need("at_s", at_s, at_s >= 0, "0 or more: nothing is planned before time zero")
        if self.crowd is CrowdKind.FAST and (lacking := self.oracle_only):
            setting, without = lacking
            raise SetupError(f"crowd: fast does not know {setting}; set crowd: auto or oracle, or {without}")

    @property
    def sigterm(self) -> Sigterm:
        """What the server does on SIGTERM under this strategy; never `auto`."""
        if self.server.on_sigterm is not Sigterm.AUTO:
            return self.server.on_sigterm
        return Sigterm.HOLD if self.strategy.name == "graceful" else Sigterm.CLOSE

    @property
    def oracle_only(self) -> tuple[str, str] | None:
        """A setting that the fast crowd does not know, and the one that it knows instead; None: it knows all."""
        if self.behaviour.vanish_ratio:
            return f"users.vanish: {self.behaviour.vanish_ratio:.4g}", "users.vanish: 0%"
        if self.network.no_endpoints is not None:
            return "network.no_endpoints: throttled", "network.no_endpoints: refuse"
        return None

    @property
    def grace_cut_s(self) -> float | None:
        """After how long a terminating pod is killed by someone who heeds no grace; None: by nobody."""
        cut_s: float | None = getattr(self.strategy, "grace_cut_s", None)
        return cut_s


def _need(name: str, value: float, holds: bool, bound: str) -> None:
    if not holds:
        raise SetupError(f"{name}={value:g} must be {bound}")
