"""What the contract suite needs of a world: one app, its verbs, clients, and every state that was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from deployer.actions import Action, CreateDeployment, Select
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import UpdateStrategy
from deployer.fleet import Count, Fleet, Kind, Limits, Pod, PodState

A, B, C = "aaaaaa", "bbbbbb", "cccccc"
APP = "chat"
PATIENCE_S = 90.0  # for what takes seconds on a quiet machine

T = TypeVar("T")


class Refused(Exception):
    """A new connection did not come about."""


class Connection(Protocol):
    """One client's connection."""

    @property
    def pod(self) -> str: ...

    @property
    def release(self) -> str: ...

    @property
    def is_open(self) -> bool: ...


@dataclass(frozen=True)
class Play:
    """What a test's app is like."""

    update: UpdateStrategy = field(default_factory=UpdateStrategy)
    replicas: int = 2
    grace_s: float = 30.0
    min_ready_s: float = 0.0
    selects_release: bool = False
    on_sigterm: str = "close"
    linger_s: float = 1.0
    bad: Mapping[str, str] = field(default_factory=dict)  # release → never_ready | crashes

    @property
    def shape(self) -> Shape:
        return Shape(self.update, self.grace_s, self.min_ready_s)

    @property
    def limits(self) -> Limits:
        return Limits(self.replicas)


class Stage(ABC):
    """One app in one world."""

    name: str
    frames: list[Fleet]

    def __init__(self, play: Play) -> None:
        self.play = play
        self.frames = []

    @abstractmethod
    def observe(self) -> Fleet: ...

    @abstractmethod
    def act(self, action: Action) -> None: ...

    @abstractmethod
    def request(self, release: str, kind: Kind) -> int: ...

    @abstractmethod
    def ask(self, pod: str) -> Count | None: ...

    @abstractmethod
    def delete_pod(self, pod: str, grace_s: float | None = None) -> None: ...

    @abstractmethod
    def kill_server(self, pod: str) -> None: ...

    @abstractmethod
    def connect(self) -> Connection:
        """Raises Refused."""

    @abstractmethod
    def wait(self, what: str, holds: Callable[[Fleet], T], within_s: float = PATIENCE_S) -> T:
        """Wait until this is true of the fleet, and return it; an AssertionError names `what`."""

    @abstractmethod
    def pass_time(self, for_s: float) -> None: ...

    @property
    @abstractmethod
    def now_s(self) -> float: ...

    # The same in every world.

    def begin(self, release: str = A) -> None:
        """A Deployment of this release, all ready and served."""
        own = self.play.selects_release
        name = f"{APP}-{release}" if own else APP
        self.act(CreateDeployment(name, release, self.play.replicas, own_release=own))
        self.wait(f"{name} is ready", lambda fleet: is_complete(fleet, name, release))
        if own:
            self.act(Select(release))
        self.connected()

    def connected(self, wanted: Callable[[Connection], bool] = lambda _: True) -> Connection:
        """A connection, as soon as one comes about that is wanted."""
        found: list[Connection] = []

        def one(_: Fleet) -> bool:
            try:
                found.append(self.connect())
            except Refused:
                return False
            return wanted(found[-1])

        self.wait("a connection", one)
        self.pass_time(0.02)  # a world whose clock does not run by itself must go on
        return found[-1]

    def closed(self, connection: Connection) -> float:
        """Wait until it is closed; when that was."""
        self.wait(f"the connection to {connection.pod} is closed", lambda _: not connection.is_open)
        return self.now_s

    def gone(self, pod: str) -> float:
        """Wait until the pod's object is gone; when that was."""
        self.wait(f"pod {pod} is gone", lambda fleet: all(p.name != pod for p in fleet.pods))
        return self.now_s

    def rolled_out(self, release: str) -> None:
        """Wait for the end of a roll-out."""
        self.wait(f"{release} is rolled out", lambda fleet: is_complete(fleet, APP, release))


def is_complete(fleet: Fleet, deployment: str, release: str) -> bool:
    found = fleet.deployments.get(deployment)
    return found is not None and found.release == release and found.complete


def live(fleet: Fleet) -> list[Pod]:
    return [pod for pod in fleet.pods if pod.state is not PodState.TERMINATING]


def ready(fleet: Fleet) -> list[Pod]:
    return [pod for pod in fleet.pods if pod.state is PodState.READY]


def terminating(fleet: Fleet) -> list[Pod]:
    return [pod for pod in fleet.pods if pod.state is PodState.TERMINATING]


def named(fleet: Fleet, name: str) -> Pod | None:
    return next((pod for pod in fleet.pods if pod.name == name), None)
