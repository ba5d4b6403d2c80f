"""The virtual cluster: the control-plane model on the simulated clock, as the deployer's `Cluster`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random

import simpy

from deployer.actions import Action, CloseConnections, NotifyDeselected
from deployer.clusters.controlplane import api, controllers
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.endpoints import endpoints
from deployer.clusters.controlplane.objects import State
from deployer.clusters.controlplane.view import fleet_of
from deployer.fleet import Count, Fleet, Kind, Limits, Release, Request
from sim.clock import Call, until
from sim.crowd import Crowd
from sim.kubelet import Kubelet
from sim.network import ServiceProxy
from sim.pods import ChatServer


class VirtualCluster:
    """One app on a cluster that exists in memory only; never out of reach.

    Every write is followed by the controllers, as far as they get without time passing; their orders go
    to the kubelet, changed endpoints to the proxy, and `changed` is called.
    """

    def __init__(
        self,
        env: simpy.Environment,
        state: State,
        shape: Shape,
        limits: Limits,
        victims: Random,
        crowd: Crowd,
        proxy: ServiceProxy,
        changed: Callable[[], None],
    ) -> None:
        self._env, self.state, self._shape, self._limits = env, state, shape, limits
        self._victims, self._crowd, self._proxy, self._changed = victims, crowd, proxy, changed
        self._seen = state
        self._fleet: Fleet | None = None  # the fleet of the state that was seen last
        self._due: Call | None = None
        self._due_s: float | None = None
        self._kubelet: Kubelet | None = None
        self.down_until_s = -float("inf")  # out of reach before
        self._held: list[Callable[[State, float], State]] = []
        self.requests: dict[int, Request] = {}  # each as last seen, forgotten ones too

    def run_pods_on(self, kubelet: Kubelet) -> None:
        """Orders go to this kubelet; to be called once, before the first write."""
        self._kubelet = kubelet

    def observe(self) -> Fleet:
        """The fleet now."""
        if self._fleet is None or self._seen is not self.state:
            self._seen, self._fleet = self.state, fleet_of(self.state, self._limits)
        return self._fleet

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """What each of these pods says; None for one without a process."""
        serving = set(self._kubelet.serving() if self._kubelet else ())
        pods = tuple(pods)
        asked = tuple(pod for pod in pods if pod in serving)
        return {**dict.fromkeys(pods), **dict(zip(asked, self._crowd.counts(asked), strict=True))}

    def act(self, action: Action) -> None:
        """Carry out one action."""
        if isinstance(action, CloseConnections):
            servers = self._servers(action.pods)
            for server in servers:
                server.close_paced(action.per_s / len(servers))
        elif isinstance(action, NotifyDeselected):
            for server in self._servers(action.pods):
                (server.selected if action.undo else server.deselected)()
        self.write(lambda state, now_s: api.act(state, action, self._shape, now_s))

    def request(self, release: Release, kind: Kind) -> int:
        """Write down that a release is wanted."""
        state, number = api.request(self.state, release, kind, self._env.now)
        self._settle(state)
        return number

    def write(self, change: Callable[[State, float], State]) -> None:
        """One write to the API server, and what the controllers make of it; held back while it is away."""
        if self._env.now < self.down_until_s:
            self._held.append(change)
        else:
            self._settle(change(self.state, self._env.now))

    def take_down(self, duration_s: float) -> None:
        """The API server is away: nothing is written, nobody reconciles, routes and processes stay."""
        self.down_until_s = max(self.down_until_s, self._env.now + duration_s)
        Call(self._env, duration_s, self._back)

    def _back(self) -> None:
        if self._env.now < self.down_until_s:
            return
        held, self._held = self._held, []
        for change in held:
            self.write(change)
        self._settle(self.state)

    def _servers(self, pods: Iterable[str]) -> list[ChatServer]:
        if self._kubelet is None:
            return []
        return [server for pod in pods if (server := self._kubelet.server_of(pod)) is not None]

    def _settle(self, state: State) -> None:
        before = self.state.version
        now_s = self._env.now
        state, orders = controllers.reconcile(state, now_s, self._victims)
        self.state = state
        if state.version != before:
            for request in api.requests_of(state):
                self.requests[request.deploy] = request
            for order in orders:
                assert self._kubelet is not None
                self._kubelet.carry_out(order, state.pods[order.pod])
            self._proxy.changed(endpoints(state))
            self._changed()
        self._look_again_at(controllers.next_due_s(state, now_s))

    def _look_again_at(self, due_s: float | None) -> None:
        """The controllers run again when time alone changes something (minReadySeconds)."""
        if due_s == self._due_s:
            return
        if self._due:
            self._due.cancel()
        self._due_s, self._due = due_s, None
        if due_s is not None:
            self._due = Call(self._env, until(self._env, due_s), self._ring)

    def _ring(self) -> None:
        self._due_s = None
        if self._env.now >= self.down_until_s:
            self._settle(self.state)
