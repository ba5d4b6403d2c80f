"""The one place that holds the cluster's state: writes go in, the model's controllers run, orders go out."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from deployer.actions import Action, Annotate, CloseConnections, LookAgain, NotifyDeselected
from deployer.clusters.controlplane import api, controllers
from deployer.clusters.controlplane import kubelet as model
from deployer.clusters.controlplane.endpoints import Endpoints, backends, endpoints, next_sync_s
from deployer.clusters.controlplane.objects import Order, StartPod, State, StopPod
from deployer.clusters.controlplane.view import fleet_of
from deployer.clusters.local import admin, codec
from deployer.clusters.local.config import Config
from deployer.clusters.local.journal import Journal
from deployer.clusters.local.kubelet import Kubelet
from deployer.clusters.local.network import Front, Network
from deployer.clusters.local.proxy import Proxy
from deployer.clusters.telling import Told
from deployer.fleet import RELEASE_LABEL, Count, Fleet, Kind, Release
from deployer.marks import NOTIFIED

ASK_TIMEOUT_S = 2.0
SHORTEST_WAIT_S = 0.01  # before the controllers run again because of time alone

Write = Callable[[State, float], State]


class ApiDownError(Exception):
    """The API server is down (a fault); try again later."""


class World:
    """State, controllers, kubelet and proxy of one app, on the running loop."""

    def __init__(self, config: Config, network: Network, front: Front, journal: Journal) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._journal = journal
        self._victims = config.stream("victims")
        self.state = api.empty(config.app, config.selects_release)
        self.kubelet = Kubelet(config, network, self, self._process_died)
        self.proxy = Proxy(front, config.pod.gateway_port, config.stream("route"), self.kubelet.is_dying)
        self._endpoints = Endpoints()
        self._last_sync_s = -math.inf
        self._sync_timer: asyncio.TimerHandle | None = None
        self._due_timer: asyncio.TimerHandle | None = None
        self._watchers: set[asyncio.Future[None]] = set()
        self._outages = 0
        self._held: list[Write] = []  # kubelets' reports while the API server is down
        self._told = Told(lambda line: print(line, file=sys.stderr, flush=True))
        self._shutting_down = False

    # What a deployer asks.

    def observe(self) -> Fleet:
        """The fleet now. Raises ApiDownError."""
        self._check_api()
        return fleet_of(self.state, self._config.limits)

    async def act(self, action: Action) -> None:
        """Carry out one action. Raises ApiDownError, RejectedError."""
        self._check_api()
        match action:
            case NotifyDeselected(pods, undo):
                method = "DELETE" if undo else "POST"
                answers = await self._tell(pods, "/deselected", method)
                staying = {name for name, pod in self.state.pods.items() if not pod.terminating}
                self._told.take(answers, undo, f"{method} /deselected", staying)
            case Annotate(deployment, key, value) if key == NOTIFIED:
                found = self.state.deployments.get(deployment)
                before = None if found is None else found.annotations.get(key)
                note = replace(action, value=self._told.to_note(value, before))
                self._write(lambda state, now_s: api.act(state, note, self._config.shape, now_s))
            case CloseConnections(pods, per_s):
                there = [pod for pod in pods if self.kubelet.pid_of(pod) is not None]
                await self._tell(there, f"/drain?per_s={per_s / max(1, len(there)):.6g}")
            case LookAgain():
                pass
            case _:
                self._write(lambda state, now_s: api.act(state, action, self._config.shape, now_s))

    def request(self, release: Release, kind: Kind) -> int:
        """Write a request down and return its number. Raises ApiDownError."""
        self._check_api()
        state, number = api.request(self.state, release, kind, time.time())
        self._change(state)
        return number

    async def ask(self, pods: Iterable[str]) -> dict[str, Count | None]:
        """Connection counts through the API server, so none of them while it is down."""
        self._check_api()
        return await self.sample(pods)

    async def sample(self, pods: Iterable[str] | None = None) -> dict[str, Count | None]:
        """Connection counts from the pods themselves; of all with a process where none are named."""
        names = self.kubelet.running() if pods is None else tuple(dict.fromkeys(pods))
        return dict(zip(names, await asyncio.gather(*map(self._count, names)), strict=True))

    async def watch(self, version: int, timeout_s: float) -> int:
        """Wait for a state newer than `version`; the version at the end. Raises ApiDownError."""
        self._check_api()
        if self.state.version <= version:
            changed = self._loop.create_future()
            self._watchers.add(changed)
            try:
                await asyncio.wait([changed], timeout=timeout_s)
            finally:
                self._watchers.discard(changed)
        return self.state.version

    @property
    def routes(self) -> list[str]:
        """The pods' addresses that new connections go to now."""
        return list(self.proxy.backends)

    # Faults.

    def kill_pod(self, pod: str) -> bool:
        """Kill a pod's process (SIGKILL); False where none runs."""
        killed = self.kubelet.kill(pod)
        if killed:
            self.event("kill_pod", pod)
        return killed

    def delete_pod(self, pod: str, grace_s: float | None, why: str) -> None:
        """Delete a pod as `kubectl delete pod` does. Raises ApiDownError, RejectedError."""
        self._check_api()
        state, orders = api.delete_pod(self.state, pod, time.time(), grace_s, why)
        self._change(state, orders)

    def freeze_node(self, node: str, duration_s: float) -> bool:
        """Stop a node and all of its processes for a while; False where there is none of that name."""
        frozen = self.kubelet.freeze(node, duration_s)
        if frozen:
            self.event("node_loss", node, f"for {duration_s:g} s")
        return frozen

    def take_api_down(self, duration_s: float) -> None:
        """For a while nothing can be read or written, and nobody reconciles; routes and processes stay."""
        self._outages += 1
        self.event("api_down", self._config.app, f"for {duration_s:g} s")
        self._loop.call_later(duration_s, self._api_is_back)

    def _api_is_back(self) -> None:
        self._outages -= 1
        if self._outages == 0:
            self.event("api_up", self._config.app)
            held, self._held = self._held, []
            for write in held:
                self._write(write)
            self._reconcile()

    # What the kubelet reports.

    def scheduled(self, pod: str, node: str) -> None:
        """A pod has a node."""
        self._report(lambda state, now_s: model.scheduled(state, pod, node, now_s))

    def started(self, pod: str) -> None:
        """A pod's process runs."""
        self._report(lambda state, now_s: model.started(state, pod, now_s))

    def ready(self, pod: str, is_ready: bool) -> None:
        """A pod's readiness has changed."""
        self._report(lambda state, now_s: model.ready(state, pod, is_ready, now_s))

    def restarted(self, pod: str) -> None:
        """A pod's process runs again."""
        self._report(lambda state, now_s: model.restarted(state, pod, now_s))

    def gone(self, pod: str) -> None:
        """A pod's process has ended for good."""
        self._report(lambda state, now_s: model.gone(state, pod, now_s))

    def event(self, kind: str, target: str, detail: str = "") -> None:
        """Note something for the journal."""
        self._journal.event(time.time(), kind, target, detail)

    # The end.

    async def shut_down(self, patience_s: float) -> None:
        """Dump the last state, then end everything; nothing of the end is in the journal."""
        self._shutting_down = True
        for timer in (self._sync_timer, self._due_timer):
            if timer is not None:
                timer.cancel()
        try:
            self._journal.final(codec.state_to_json(self.state), time.time())
        finally:
            self.proxy.close()
            await self.kubelet.shut_down(patience_s)

    # Inside.

    def _check_api(self) -> None:
        if self._outages:
            raise ApiDownError("the API server is down")

    def _report(self, write: Write) -> None:
        if self._outages:
            self._held.append(write)
        else:
            self._write(write)

    def _write(self, write: Write) -> None:
        self._change(write(self.state, time.time()))

    def _reconcile(self) -> None:
        self._due_timer = None
        self._change(self.state)

    def _change(self, state: State, orders: Iterable[Order] = ()) -> None:
        """Take a new state, let the controllers act on it, and carry out what follows."""
        if self._shutting_down or self._outages:
            return
        now_s = time.time()
        state, more = controllers.reconcile(state, now_s, self._victims)
        old, self.state = self.state, state
        if state is not old:
            self._journal.pods(old.pods, state.pods, now_s)
            if state.service.selector != old.service.selector:
                self.event("selected", state.service.selector.get(RELEASE_LABEL, self._config.app))
        for order in (*orders, *more):
            match order:
                case StartPod(pod):
                    self.kubelet.start(state.pods[pod])
                case StopPod(pod, grace_s):
                    self.kubelet.stop(pod, grace_s)
        self._endpoints_changed(now_s)
        self._wait_for_time(now_s)
        if state.version != old.version:
            for watcher in self._watchers:
                if not watcher.done():
                    watcher.set_result(None)

    def _wait_for_time(self, now_s: float) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        due_s = controllers.next_due_s(self.state, now_s)
        if due_s is not None:
            self._due_timer = self._loop.call_later(max(SHORTEST_WAIT_S, due_s - now_s), self._reconcile)

    def _endpoints_changed(self, now_s: float) -> None:
        found = endpoints(self.state)
        if found == self._endpoints:
            return
        self._endpoints = found
        if self._sync_timer is None:
            due_s = next_sync_s(
                now_s, self._last_sync_s, self._config.sync_period_s, self._config.timing.endpoint_s
            )
            if due_s <= now_s:
                self._sync()
            else:
                self._sync_timer = self._loop.call_later(due_s - now_s, self._sync)

    def _sync(self) -> None:
        self._sync_timer = None
        self._last_sync_s = time.time()
        found = (self.kubelet.address_of(pod) for pod in backends(self._endpoints))
        self.proxy.route(tuple(address for address in found if address is not None))

    def _process_died(self, address: str) -> None:
        if not self._shutting_down:
            self.proxy.pod_died(address)

    async def _count(self, pod: str) -> Count | None:
        address = self.kubelet.address_of(pod)
        if address is None:
            return None
        return await admin.count(address, self._config.pod.admin_port, ASK_TIMEOUT_S)

    async def _tell(
        self, pods: Iterable[str], target: str, method: str = "POST"
    ) -> dict[str, tuple[int, bytes] | None]:
        """Tell pods something: what each answers, None without an answer, which is no error: it may be gone already."""
        names = tuple(dict.fromkeys(pods))
        answers = await asyncio.gather(*(self._tell_one(pod, target, method) for pod in names))
        return dict(zip(names, answers, strict=True))

    async def _tell_one(self, pod: str, target: str, method: str) -> tuple[int, bytes] | None:
        address = self.kubelet.address_of(pod)
        if address is None:
            return None
        try:
            answer = await admin.exchange(address, self._config.pod.admin_port, method, target, ASK_TIMEOUT_S)
        except admin.NoAnswerError as error:
            self.event("not_told", pod, str(error))
            return None
        if answer.status >= 400:
            self.event("not_told", pod, f"{target}: status {answer.status}")
        return answer.status, answer.body
