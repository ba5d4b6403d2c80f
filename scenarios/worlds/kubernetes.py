"""A namespace of a Kubernetes cluster as a world: on kind, or on any cluster that a kubeconfig names."""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import Api, App, KubernetesCluster, Variant
from deployer.clusters.kubernetes.api import NotFoundError
from deployer.clusters.kubernetes.target import Target
from deployer.fleet import Count, Fleet, Kind, PodState, Release
from deployer.process import Config as DeployerConfig
from scenarios.assemble import read_lines
from scenarios.errors import OutOfReach, UserMistake
from scenarios.housekeeping import MARK
from scenarios.probing import answer_of
from scenarios.worlds import Event, Front, Harvest, Where, namespaces, objects
from scenarios.worlds.grounds import Ground, OnAny, OnKind
from scenarios.worlds.kind import KindCluster, Say
from scenarios.worlds.load_job import Site
from scenarios.worlds.local import Plan
from scenarios.worlds.reasons import with_reasons
from scenarios.worlds.supervision import RESTART_S, Deployer

PLACE = "kubernetes.json"
"""In the run's folder: cluster and namespace, for whoever has to clean up after a killed run."""
BAD = {
    "never_ready": Variant(env={"CHAT_BACKEND": "127.0.0.1:9"}),  # nothing listens there: it is never ready
    "crashes": Variant(env={"CHAT_BACKLOG": "0"}),  # it refuses its settings, at each start
    "crashes_after_switch": Variant(env={"CHAT_CRASH_AFTER": "5s"}),  # after a probe has found it ready
}
"""What makes a release bad: the same settings as in the local world."""
REMOVE_S = 90.0


Raising = Callable[[], contextlib.AbstractContextManager[object]]


class KubernetesWorld:
    """Pods of a cluster, in a namespace of the run's own; backend and deployer as in every world."""

    def __init__(self, plan: Plan, ground: Ground, say: Say, raising: Raising) -> None:
        self.name = ground.name
        self._plan, self._ground, self._say, self._raising = plan, ground, say, raising
        self.namespace = f"drainbow-{plan.spec.name[:30].replace('_', '-').strip('-')}-{secrets.token_hex(3)}"
        self._logs = plan.folder / "logs"
        self._api: Api | None = None
        self._cluster: KubernetesCluster | None = None
        self._deployer = Deployer(plan.folder, {MARK: str(plan.folder)})
        self._faults = random.Random(f"{plan.spec.seed}/faults")
        self._ends: list[
            tuple[float, int, Callable[[], None], str]
        ] = []  # of faults: when, how, what it is called
        self._faults_made = 0
        self._restarts: dict[str, int] = {}
        self._cut: set[str] = set()
        self._versions: dict[str, str] = {}
        self._last: Fleet | None = None

    def start(self) -> Front:
        """As in RealWorld: the cluster, the namespace, the backend, the deployer, the first request."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self._raising():
            kubeconfig, context, image = self._ground.prepare(self._say)
        self._say(f"starting in namespace {self.namespace}")
        try:
            api = self._api = Api.connect(context, kubeconfig or None)
            api.check_version()
            self._versions["kubernetes"] = str(api.call("GET", "/version").get("gitVersion", ""))
            self._versions["data_plane"] = answer_of(api)
            place = {"kubeconfig": kubeconfig, "context": context, "namespace": self.namespace}
            (self._plan.folder / PLACE).write_text(json.dumps(place))
            folder = str(self._plan.folder.resolve())
            namespaces.create(api, objects.namespace_of(self.namespace, folder, socket.gethostname()))
            namespaces.start_backend(
                api, self.namespace, self._plan.spec, image, self._ground.kind is not None
            )
            selector = None if self._plan.strategy.selects_release else {"app": objects.GATEWAY}
            node_port = namespaces.create_front(api, self.namespace, selector, self._ground.node_ports)
            app = self._app(image)
            self._cluster = KubernetesCluster(api, app)
            self.request(self._plan.initial, Kind.INITIAL)
            target = Target(app, context, kubeconfig or None)
            self._deployer.start(self._deployer_settings(target))
            return self._ground.front(api, node_port)
        except (RejectedError, ClusterUnreachable, NotFoundError) as error:
            raise OutOfReach(str(error)) from None

    def observe(self) -> Fleet:
        """As in RealWorld."""
        with _allowed():
            self._last = self._running.observe()
            return self._last

    def request(self, release: Release, kind: Kind) -> int:
        """As in RealWorld."""
        bad = self._plan.bad.get(release)
        with _allowed():
            return self._running.request(release, kind, BAD[bad] if bad else None)

    def inject(self, kind: str, target: str, duration_s: float) -> Sequence[Event]:
        """As in RealWorld, all faults; the nodes and the API server only of a kind cluster."""
        now_s = time.time()
        kind_cluster = self._ground.kind
        if kind == "deployer_killed":
            self._deployer.kill(now_s + duration_s)
        elif kind == "kill_pod":
            target = self._kill(target)
        elif kind == "backend_down":
            with _allowed():
                self._scale_backend(0)
            self._later(now_s + duration_s, lambda: self._scale_backend(1), "backend_started")
        elif kind == "node_loss" and kind_cluster is not None:
            node = self._node(target, kind_cluster)
            target = node
            kind_cluster.pause(node)
            self._later(now_s + duration_s, lambda: kind_cluster.unpause(node), "node_back")
        elif kind == "api_down" and kind_cluster is not None:
            kind_cluster.take_api_away(duration_s)
            self._later(now_s + duration_s, self._ask_api, "api_up")
        else:
            raise UserMistake(f"fault {kind} is not possible in world {self.name}; take --world kind")
        return [Event(now_s, kind, target)]

    def supervise(self) -> Sequence[Event]:
        """As in RealWorld: faults end when their time is over, or as soon as the cluster lets them; servers that
        died are noted.
        """
        now_s = time.time()
        events: list[Event] = []
        while self._ends and self._ends[0][0] <= now_s:
            _, number, end, kind = heapq.heappop(self._ends)
            try:
                with _allowed():
                    end()
                events.append(Event(time.time(), kind, ""))
            except ClusterUnreachable:
                heapq.heappush(self._ends, (now_s + RESTART_S, number, end, kind))
        events += self._deployer.supervise(now_s)
        events += self._look_after_pods(now_s)
        return events

    def sample(self) -> Mapping[str, Count | None]:
        """As in RealWorld."""
        with _allowed():
            return self._running.sample()

    def harvest(self) -> Harvest:
        """As in RealWorld."""
        with contextlib.suppress(ClusterUnreachable, OutOfReach):
            self.observe()
        lines = read_lines(self._plan.folder / "deployer.jsonl")
        actions = [row for row in lines if "action" in row]
        return Harvest(
            pods=with_reasons(self._running.pod_log.rows(), actions),
            actions=actions,
            verdicts=[row for row in lines if "verdict" in row],
            last=self._last,
            versions=self._versions,
        )

    def close(self) -> None:
        """As in RealWorld: first who acts, then what was broken, then the namespace with all in it."""
        self._deployer.stop()
        while self._ends:
            end = heapq.heappop(self._ends)[2]
            with contextlib.suppress(OutOfReach, ClusterUnreachable, RejectedError, NotFoundError):
                end()
        if self._ground.kind is not None and any(f.kind == "api_down" for f in self._plan.spec.faults):
            self._ground.kind.bring_api_back()
        if self._cluster is not None:
            self._cluster.close()
        if self._api is None:
            return
        self._say(f"removing namespace {self.namespace}")
        try:
            gone = namespaces.remove(self._api, self.namespace, REMOVE_S, self._say)
        except RejectedError as error:
            gone = False
            self._say(str(error))
        if gone:
            (self._plan.folder / PLACE).unlink(missing_ok=True)
        else:
            self._say(
                f"namespace {self.namespace} is not gone after {REMOVE_S:.0f} s; `drainbow clean` removes it"
            )
        self._api.close()
        self._api = None

    @property
    def site(self) -> Site:
        """Where a load within the cluster goes, once this has started."""
        image = self._ground.load_image
        assert self._api is not None
        assert image is not None
        return Site(self._api, self.namespace, image, self._ground.kind is not None)

    @property
    def _running(self) -> KubernetesCluster:
        assert self._cluster is not None
        return self._cluster

    def _app(self, image: str) -> App:
        plan = self._plan
        mode = plan.spec.server.on_sigterm
        if mode == "auto":
            mode = "hold" if plan.strategy.name == "graceful" else "close"
        return App(
            name=objects.GATEWAY,
            namespace=self.namespace,
            service=objects.GATEWAY,
            selector={"app": objects.GATEWAY},
            template=objects.gateway_of(plan.spec, image, mode, plan.strategy.shape.grace_s),
            limits=plan.limits,
            shape=plan.strategy.shape,
        )

    def _deployer_settings(self, target: Target) -> DeployerConfig:
        return DeployerConfig(
            socket=None,
            strategy=self._plan.strategy.name,
            journal=self._plan.folder / "deployer.jsonl",
            kubernetes=target.data(),
            settings=dict(self._plan.strategy_settings),
            drain=self._plan.drain,
        )

    def _look_after_pods(self, now_s: float) -> list[Event]:
        """Note servers that died, and cut the grace of those who had theirs for long enough."""
        try:
            fleet = self.observe()
            with _allowed():
                raw = self._running.pods()
        except ClusterUnreachable:
            return []
        events = []
        for pod in fleet.pods:
            if pod.restarts > self._restarts.get(pod.name, 0):
                self._restarts[pod.name] = pod.restarts
                if not _left(raw.get(pod.name, {})):
                    events.append(Event(now_s, "server_died", pod.name))
        cut_s: float | None = getattr(self._plan.strategy, "grace_cut_s", None)
        if cut_s is not None:
            due = {pod.name for pod in fleet.pods if now_s - (pod.terminating_since_s or now_s) >= cut_s}
            for name in due - self._cut:
                self._cut.add(name)
                self._kill(name)
        return events

    def _kill(self, target: str) -> str:
        """SIGKILL to the server of a pod, or of one that is drawn among the ready; its name."""
        if target == "random":
            ready = sorted(pod.name for pod in self.observe().pods if pod.state is PodState.READY)
            target = self._faults.choice(ready) if ready else ""
        if target:
            namespaces.kill_server(self._running.api, self.namespace, target)
        return target

    def _node(self, target: str, kind: KindCluster) -> str:
        """The worker of this name, or one that is drawn among those with pods."""
        if target != "random":
            if target not in kind.workers:
                raise UserMistake(
                    f"fault node_loss: {target} is no worker; there are {', '.join(kind.workers)}"
                )
            return target
        busy = {pod.node for pod in self.observe().pods}
        return self._faults.choice([node for node in kind.workers if node in busy] or list(kind.workers))

    def _ask_api(self) -> None:
        self._running.api.version()

    def _scale_backend(self, replicas: int) -> None:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{objects.BACKEND}"
        self._running.api.merge(path, {"spec": {"replicas": replicas}})

    def _later(self, at_s: float, end: Callable[[], None], kind: str) -> None:
        self._faults_made += 1
        heapq.heappush(self._ends, (at_s, self._faults_made, end, kind))


def open_world(
    world: str, plan: Plan, where: Where, say: Say, raising: Raising = contextlib.nullcontext
) -> KubernetesWorld:
    """The world `kind` or `current`; nothing is started or asked yet. Raises UserMistake.

    `say` hears, in a few words, what it does that takes long; what takes longest, the making of a cluster and an
    image, is done within `raising`, so that an interruption need not wait for it.
    """
    ground: Ground = OnKind(where) if world == "kind" else OnAny(where)
    for fault in plan.spec.faults:
        if fault.kind in ("node_loss", "api_down") and world != "kind":
            raise UserMistake(
                f"fault {fault.kind} breaks the cluster itself, which only --world kind may; leave it out"
            )
    return KubernetesWorld(plan, ground, say, raising)


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """What the API server refuses for good puts the world out of reach: the namespace is gone, or our right to it."""
    try:
        yield
    except (RejectedError, NotFoundError) as error:
        raise OutOfReach(str(error)) from None


def _left(pod: Mapping[str, Any]) -> bool:
    """Whether its server ended without an error, the last time: it was told to, or left when it was empty."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        ended = status.get("lastState", {}).get("terminated") or {}
        return bool(ended.get("exitCode") == 0)
    return False
