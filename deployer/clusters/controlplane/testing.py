"""A whole cluster in a few lines, for tests of what stands on the control plane."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random

from deployer.actions import Action, CreateDeployment
from deployer.clusters.controlplane import api, kubelet
from deployer.clusters.controlplane.controllers import next_due_s, reconcile
from deployer.clusters.controlplane.objects import Order, StartPod, State, UpdateStrategy
from deployer.clusters.controlplane.view import fleet_of
from deployer.fleet import Deployment, Limits

NEVER = float("inf")


def uneven_starts(seed: int) -> Callable[[str], float]:
    """A start-up time of its own for each pod, 0.1 to 3 s."""
    rng = Random(f"{seed}/startup")
    return lambda release: rng.uniform(0.1, 3.0)


class TimedCluster:
    """The controllers, and a kubelet whose pods are ready and gone after times that the test gives.

    It begins at rest, with one Deployment "chat" of release aaaaaa. `after` is called with the State after
    each reconcile.
    """

    def __init__(
        self,
        update: UpdateStrategy,
        replicas: int,
        start_s: Callable[[str], float] = lambda release: 1.0,
        stop_s: float = 2.9,
        min_ready_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.shape = api.Shape(update, grace_s=30.0, min_ready_s=min_ready_s)
        self.now_s = 1000.0
        self.rng = Random(f"{seed}/victims")
        self.start_s, self.stop_s = start_s, stop_s
        self.state = api.empty("chat", selects_release=False)
        self.after: Callable[[State], None] = lambda state: None
        self._due: list[tuple[float, int, str, str]] = []
        self._count = itertools.count()
        self.do(CreateDeployment("chat", "aaaaaa", replicas, own_release=False))
        self.rest()

    def do(self, *actions: Action) -> None:
        """Carry out these actions in one moment, then let the controllers act."""
        for action in actions:
            self.state = api.act(self.state, action, self.shape, self.now_s)
        self.settle()

    def settle(self) -> None:
        """Let the controllers act."""
        self.state, orders = reconcile(self.state, self.now_s, self.rng)
        self._obey(orders)
        self.after(self.state)

    def delete(self, pod: str) -> None:
        """Delete one pod, as somebody from outside."""
        self.state, orders = api.delete_pod(self.state, pod, self.now_s, why="test")
        self._obey(orders)
        self.settle()

    def run(self, for_s: float) -> None:
        """Let time pass."""
        until_s = self.now_s + for_s
        while (at_s := self._next_s()) is not None and at_s <= until_s:
            self._step(at_s)
        self.now_s = until_s

    def rest(self) -> None:
        """Let time pass until nothing more is to happen."""
        while (at_s := self._next_s()) is not None:
            self._step(at_s)

    @property
    def seen(self) -> Deployment:
        """The Deployment "chat" as a deployer sees it."""
        return fleet_of(self.state, Limits(1)).deployments["chat"]

    def live(self) -> list[str]:
        """The releases of the pods that are not terminating, sorted, one entry a pod."""
        return sorted(p.release for p in self.state.pods.values() if not p.terminating)

    def _next_s(self) -> float | None:
        times = [self._due[0][0]] if self._due else []
        if (due_s := next_due_s(self.state, self.now_s)) is not None:
            times.append(due_s)
        return min(times, default=None)

    def _step(self, at_s: float) -> None:
        self.now_s = at_s
        while self._due and self._due[0][0] <= at_s:
            _, _, what, pod = heapq.heappop(self._due)
            if what == "run":
                node = f"node-{self.state.pods[pod].order % 3}" if pod in self.state.pods else ""
                self.state = kubelet.scheduled(self.state, pod, node, at_s)
                self.state = kubelet.started(self.state, pod, at_s)
            elif what == "ready":
                self.state = kubelet.ready(self.state, pod, True, at_s)
            else:
                self.state = kubelet.gone(self.state, pod, at_s)
        self.settle()

    def _obey(self, orders: tuple[Order, ...]) -> None:
        for order in orders:
            if isinstance(order, StartPod):
                self._at(0.01, "run", order.pod)
                self._at(self.start_s(self.state.pods[order.pod].release), "ready", order.pod)
            else:
                self._at(self.stop_s if order.grace_s else 0.0, "gone", order.pod)

    def _at(self, in_s: float, what: str, pod: str) -> None:
        if in_s < NEVER:
            heapq.heappush(self._due, (self.now_s + in_s, next(self._count), what, pod))
