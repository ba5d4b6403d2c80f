"""A cluster in memory: the control-plane model with pods that become ready after a fixed time.

A double for tests of strategies and controllers: no process, no network, and time moves only when told.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deployer.actions import Action, CloseConnections, NotifyDeselected
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane import api, kubelet
from deployer.clusters.controlplane.controllers import next_due_s, reconcile
from deployer.clusters.controlplane.objects import PodObject, State
from deployer.clusters.controlplane.view import fleet_of
from deployer.controller import Step, step
from deployer.draining import DrainSettings
from deployer.fleet import Count, Fleet, Kind, Limits, Release
from deployer.journal import Journal
from deployer.strategies import Strategy

MOST_AT_ONCE = 1000
"""Looks that may change something at one moment; a deploy needs a handful, a shrink two a pod."""


@dataclass
class MemoryCluster:
    """One app. `users` holds each pod's open connections (absent: 0, None: it cannot be asked)."""

    app: str
    shape: api.Shape
    selects_release: bool
    limits: Limits
    now_s: float = 1_000_000.0
    startup_s: float = 1.0  # from created to ready
    stopping_s: float = 1.0  # from deleted to gone
    never_ready: set[Release] = field(default_factory=set)
    users: dict[str, int | None] = field(default_factory=dict)
    acted: list[tuple[float, Action]] = field(default_factory=list)
    fail_after: int | None = None  # so many more actions reach it, the next one does not

    def __post_init__(self) -> None:
        self._rng = random.Random("memory")
        self.state: State = api.empty(self.app, self.selects_release)

    @property
    def version(self) -> int:
        """Changes whenever an object does."""
        return self.state.version

    def observe(self) -> Fleet:
        """As `Cluster` promises."""
        return fleet_of(self.state, self.limits)

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """As `Cluster` promises; a pod that is not there cannot be asked."""
        told: dict[str, Count | None] = {}
        for name in pods:
            open_ = self.users.get(name, 0) if name in self.state.pods else None
            told[name] = None if open_ is None else Count(open_)
        return told

    def act(self, action: Action) -> None:
        """As `Cluster` promises. Clients that are asked to leave do so at once."""
        if self.fail_after is not None:
            if self.fail_after <= 0:
                self.fail_after = None
                raise ClusterUnreachable("the cluster in memory was told to fail")
            self.fail_after -= 1
        self.acted.append((self.now_s, action))
        if isinstance(action, CloseConnections):
            self.users.update(dict.fromkeys(action.pods, 0))
        elif not isinstance(action, NotifyDeselected):
            self._write(api.act(self.state, action, self.shape, self.now_s))

    def request(self, release: Release, kind: Kind) -> int:
        """As `Cluster` promises."""
        state, number = api.request(self.state, release, kind, self.now_s)
        self._write(state)
        return number

    def crash(self, pod: str) -> None:
        """Its container restarts; it is ready again after `startup_s`."""
        self._write(kubelet.restarted(self.state, pod, self.now_s))

    def next_event_s(self) -> float | None:
        """When something will happen by itself, as long as nobody writes; None: never."""
        moments = [at_s for p in self.state.pods.values() if (at_s := self._due_s(p)) is not None]
        due_s = next_due_s(self.state, self.now_s)
        return min([*moments, *([] if due_s is None else [due_s])], default=None)

    def advance(self, to_s: float) -> None:
        """Let time pass, with all that happens by itself until then."""
        while (at_s := self.next_event_s()) is not None and at_s <= to_s:
            self.now_s = max(self.now_s, at_s)
            self._happen()
        self.now_s = max(self.now_s, to_s)

    def _happen(self) -> None:
        state = self.state
        for pod in self.state.pods.values():
            if (due_s := self._due_s(pod)) is None or due_s > self.now_s:
                continue
            if pod.terminating:
                state = kubelet.gone(state, pod.name, self.now_s)
                self.users.pop(pod.name, None)
            else:
                state = kubelet.ready(state, pod.name, True, self.now_s)
        self._write(state)

    def _due_s(self, pod: PodObject) -> float | None:
        if pod.deleted_s is not None:
            return pod.deleted_s + self.stopping_s
        if pod.ready or pod.release in self.never_ready:
            return None
        return (pod.started_s if pod.restarts and pod.started_s else pod.created_s) + self.startup_s

    def _write(self, state: State) -> None:
        state, _ = reconcile(state, self.now_s, self._rng)
        for pod in state.pods.values():
            if pod.node is None:
                state = kubelet.scheduled(state, pod.name, "node", self.now_s)
                state = kubelet.started(state, pod.name, self.now_s)
        self.state = state


def play(
    cluster: MemoryCluster, strategy: Strategy, drain: DrainSettings, journal: Journal, until_s: float
) -> list[Step]:
    """Run the controller on the cluster's own time, as a world does, and return its looks.

    Raises RuntimeError where it acts again and again at one moment.
    """
    steps: list[Step] = []
    at_once = 0
    while True:
        version = cluster.version
        steps.append(step(cluster, strategy, drain, cluster.now_s, journal))
        at_once = at_once + 1 if cluster.version != version else 0
        if at_once > MOST_AT_ONCE:
            raise RuntimeError(f"{strategy.name} does not come to rest: {steps[-1].actions}")
        if cluster.version != version:
            continue
        moments = (steps[-1].look_again_s, cluster.next_event_s())
        next_s = min((at_s for at_s in moments if at_s is not None), default=until_s)
        cluster.advance(min(next_s, until_s))
        if next_s >= until_s:
            return steps
