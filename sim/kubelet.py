"""The simulated kubelet and scheduler: carries out the control plane's orders and reports back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import simpy

from deployer.clusters.controlplane import api
from deployer.clusters.controlplane import kubelet as reports
from deployer.clusters.controlplane.objects import Order, PodObject, StartPod, State
from deployer.fleet import Release
from loadgen.behaviour.streams import Streams
from sim.clock import Call
from sim.crowd import Crowd
from sim.pods import ChatServer, Phase
from sim.setup import Bad, Setup

CRASH_AFTER_S = 5.0
"""A release that crashes after the switch does so this long after a readiness probe found it."""
NODE_NOT_READY_S = 47.0
"""So long after a node stands still it is not ready, nor are its pods (measured; node-monitor-grace-period, 50 s
since Kubernetes 1.32, runs from the last heartbeat, and these are 10 s apart) …"""
EVICTED_S = 300.0
"""… and so much later its pods are deleted (the default tolerations)."""
LOST = "node lost"
FAILURES = 3
"""Readiness probes in a row that must fail before a pod is not ready (Kubernetes' default)."""


@dataclass(slots=True)
class PodLife:
    """One row of table `pods`; Unix seconds here, seconds since time zero in the outcome."""

    pod: str
    release: Release
    deployment: str
    node: str | None
    t_created_s: float
    t_scheduled_s: float | None = None  # got a node
    t_ready_s: float | None = None  # first time
    t_terminating_s: float | None = None
    t_gone_s: float | None = None
    why: str | None = None  # what ended it


@dataclass(slots=True)
class Node:
    """A machine, and what is not yet taken of it."""

    name: str
    cpu: float
    memory_bytes: float
    pods: int = 0
    frozen_until_s: float = -math.inf


@dataclass(slots=True)
class _Pod:
    """What the kubelet knows of a pod, besides its row."""

    life: PodLife
    startup_s: float  # scheduled and created → listens
    phase_s: float  # of its readiness probe
    node: Node | None = None
    server: ChatServer | None = None
    next_start: Call | None = None
    next_probe: Call | None = None
    restarts: int = 0  # of the crash loop
    ran_from_s: float = 0.0  # the present process, its start-up too
    kill_at_s: float | None = None  # set once it is terminating
    grace_s: float = math.inf  # as its server knows it: the template's
    grace_ends_s: float = math.inf
    ready: bool = False
    ended: bool = False
    evicted: bool = False


class Kubelet:
    """Runs the pods of all nodes. `report` writes a change to the control plane and may bring new orders."""

    def __init__(
        self,
        env: simpy.Environment,
        setup: Setup,
        streams: Streams,
        crowd: Crowd,
        report: Callable[[Callable[[State, float], State]], None],
        address_gone: Callable[[str], None] = lambda pod: None,
    ) -> None:
        """`address_gone`: nobody answers at this pod's address any more; told where addresses are modelled."""
        self._env, self._setup, self._crowd, self._report = env, setup, crowd, report
        self._fleet, self._timing, self._latencies = setup.fleet, setup.timing, setup.latencies
        self._startup, self._probe, self._stopping = streams["startup"], streams["probe"], streams["stopping"]
        self._address_gone = address_gone
        self._bad: Mapping[Release, Bad] = {d.release: d.bad for d in setup.deploys if d.release and d.bad}
        nodes = setup.fleet.nodes
        self._nodes = [Node(f"node-{n + 1}", nodes.cpu, nodes.memory_bytes) for n in range(nodes.count)]
        self._pods: dict[str, _Pod] = {}  # whose objects are not gone
        self._unscheduled: list[str] = []
        self._reaches_backend = True
        self.lives: list[PodLife] = []  # every pod there ever was, in order of creation

    def carry_out(self, order: Order, pod: PodObject) -> None:
        """Start a pod that was created, or stop one that was deleted."""
        if isinstance(order, StartPod):
            self._start(pod)
        else:
            self._stop(order.pod, order.grace_s, pod.why)

    def server_of(self, pod: str) -> ChatServer | None:
        """The pod's process, None where there is none."""
        found = self._pods.get(pod)
        return found.server if found else None

    def serving(self) -> tuple[str, ...]:
        """The pods whose process can be asked, in order of creation."""
        now_s = self._env.now  # once: it is asked for every sample
        return tuple(
            name
            for name, pod in self._pods.items()
            if pod.server
            and pod.server.phase is not Phase.STARTING
            and (pod.node is None or now_s >= pod.node.frozen_until_s)
        )

    def kill(self, pod: str) -> None:
        """SIGKILL to the server in a pod, from outside; it is started again unless the pod terminates."""
        found = self._pods.get(pod)
        if found and found.server:
            found.server.kill()

    def reach_backend(self, reached: bool) -> None:
        """Whether the servers reach the backend, which their readiness probes ask for."""
        self._reaches_backend = reached
        for name, pod in self._pods.items():
            if pod.server:
                pod.server.reaches_backend = reached
                if pod.server.phase is not Phase.STARTING:
                    self._probe_next(name, pod, 0 if reached else FAILURES - 1)

    def node_of(self, pod: str) -> str:
        """The node that a pod runs on; empty where it has none."""
        found = self._pods.get(pod)
        return found.node.name if found and found.node else ""

    def freeze(self, node: str, duration_s: float) -> None:
        """A node stands still for a while, the kubelet on it too; nothing where there is none of that name."""
        until_s = self._env.now + duration_s
        for found in (n for n in self._nodes if n.name == node):
            found.frozen_until_s = max(found.frozen_until_s, until_s)
            for name, pod in self._pods.items():
                if pod.node is found and pod.server and pod.server.phase is not Phase.STARTING:
                    self._crowd.freeze(name, until_s)
            Call(self._env, NODE_NOT_READY_S, partial(self._miss, found))
            Call(self._env, NODE_NOT_READY_S + EVICTED_S, partial(self._evict, found))
            Call(self._env, duration_s, partial(self._thaw, found))

    def _is_frozen(self, pod: _Pod) -> bool:
        return pod.node is not None and self._env.now < pod.node.frozen_until_s

    def _miss(self, node: Node) -> None:
        """The node has not been heard of: its pods count as not ready."""
        for name, pod in list(self._pods.items()):
            if pod.node is node and self._is_frozen(pod) and pod.ready:
                pod.ready = False
                self._report(partial(_unready, pod=name))

    def _evict(self, node: Node) -> None:
        """Its pods' objects are deleted; their processes know nothing of it until the node is back."""
        for name, pod in list(self._pods.items()):
            if pod.node is node and self._is_frozen(pod) and pod.kill_at_s is None and not pod.evicted:
                pod.evicted = True
                pod.life.t_terminating_s, pod.life.why = self._env.now, LOST
                self._report(partial(_evicted, pod=name))

    def _thaw(self, node: Node) -> None:
        """The node is back."""
        for name, pod in list(self._pods.items()):
            if pod.node is node and not self._is_frozen(pod):
                if pod.evicted:
                    self._stop(name, pod.grace_s, pod.life.why or LOST)
                elif pod.server and pod.server.phase is not Phase.STARTING:
                    self._probe_next(name, pod)

    def _start(self, pod: PodObject) -> None:
        life = PodLife(pod.name, pod.release, pod.deployment, None, self._env.now)
        self.lives.append(life)
        self._pods[pod.name] = _Pod(
            life,
            startup_s=self._fleet.startup.draw(self._startup),
            phase_s=self._probe.uniform(0.0, self._fleet.probe_period_s),
            grace_s=pod.grace_s,
        )
        Call(self._env, self._latencies.scheduled_s, lambda: self._schedule(pod.name))

    def _schedule(self, name: str) -> None:
        pod = self._pods.get(name)
        if pod is None or pod.kill_at_s is not None:
            return
        fits = [node for node in self._nodes if self._fits(node)]
        if not fits:
            self._unscheduled.append(name)
            return
        node = min(fits, key=lambda n: n.pods)  # the emptiest, the first among equals
        node.pods += 1
        node.cpu -= self._fleet.pod_cpu
        node.memory_bytes -= self._fleet.pod_memory_bytes
        pod.node, pod.life.node, pod.life.t_scheduled_s = node, node.name, self._env.now
        self._report(lambda state, now_s: reports.scheduled(state, name, node.name, now_s))
        self._run(name, pod, pod.startup_s - self._latencies.scheduled_s)

    def _fits(self, node: Node) -> bool:
        slack = 1e-9  # sums of fractions of a core
        if self._env.now < node.frozen_until_s:
            return False
        return node.cpu >= self._fleet.pod_cpu - slack and node.memory_bytes >= self._fleet.pod_memory_bytes

    def _run(self, name: str, pod: _Pod, startup_s: float) -> None:
        """A process that will listen after its start-up."""
        pod.server = ChatServer(
            self._env,
            name,
            pod.life.release,
            self._setup.sigterm,
            self._setup.server.linger_s,
            self._setup.server.pace_per_s,
            self._latencies.exit_s,
            self._crowd,
            exited=lambda: self._exited(name),
            on_deselected=self._setup.server.on_deselected,
        )
        pod.server.reaches_backend = self._reaches_backend
        pod.ran_from_s = self._env.now
        pod.next_start = Call(self._env, startup_s, lambda: self._listens(name, pod))

    def _listens(self, name: str, pod: _Pod) -> None:
        if pod.server is None:
            return
        if self._is_frozen(pod) and pod.node:
            until_s = pod.node.frozen_until_s
            pod.next_start = Call(self._env, until_s - self._env.now, lambda: self._listens(name, pod))
            return
        self._report(lambda state, now_s: reports.started(state, name, now_s))
        bad = self._bad.get(pod.life.release)
        if bad is Bad.CRASHES:
            pod.server.kill()
            return
        pod.server.listen()
        if bad is not Bad.NEVER_READY:
            self._probe_next(name, pod)

    def _probe_next(self, name: str, pod: _Pod, ticks_more: int = 0) -> None:
        """Look at the next tick of the readiness probe; ticks at which nothing can change are left out."""
        period_s = self._fleet.probe_period_s
        first_s = pod.life.t_created_s + pod.phase_s
        ticks = max(math.ceil((self._env.now - first_s) / period_s), 0) + ticks_more
        if pod.next_probe:
            pod.next_probe.cancel()
        pod.next_probe = Call(
            self._env, first_s + ticks * period_s - self._env.now, lambda: self._set_ready(name, pod)
        )

    def _set_ready(self, name: str, pod: _Pod) -> None:
        """Report what the probe sees."""
        ready = pod.server is not None and pod.server.ready
        if self._is_frozen(pod) or ready == pod.ready or self._pods.get(name) is not pod:
            return
        pod.ready = ready
        if ready and self._bad.get(pod.life.release) is Bad.CRASHES_AFTER_SWITCH and pod.server:
            Call(self._env, CRASH_AFTER_S, pod.server.kill)
        if ready and pod.life.t_ready_s is None:
            pod.life.t_ready_s = self._env.now
        self._report(lambda state, now_s: reports.ready(state, name, ready, now_s))

    def _stop(self, name: str, grace_s: float, why: str) -> None:
        pod = self._pods.get(name)
        if pod is None or pod.kill_at_s is not None:
            return
        if self._is_frozen(pod) and pod.node:
            pod.life.t_terminating_s, pod.life.why, pod.evicted = self._env.now, why, True
            return
        cut_s = self._setup.grace_cut_s
        pod.grace_ends_s = self._env.now + pod.grace_s
        pod.kill_at_s = self._env.now + (grace_s if cut_s is None else min(grace_s, cut_s))
        if not pod.evicted:
            pod.life.t_terminating_s, pod.life.why = self._env.now, why
        if name in self._unscheduled:
            self._unscheduled.remove(name)
        Call(self._env, self._timing.sigterm_after_s, lambda: self._sigterm(name, pod))

    def _sigterm(self, name: str, pod: _Pod) -> None:
        if pod.server is None:  # no node, or crashed a moment ago
            self._end(name, pod)
            return
        assert pod.kill_at_s is not None
        Call(self._env, pod.kill_at_s - self._env.now, pod.server.kill)
        pod.server.sigterm(
            pod.grace_ends_s - self._env.now
        )  # it knows nothing of a cut or of a shorter grace
        if pod.ready and pod.server is not None:
            self._probe_next(name, pod, FAILURES - 1)

    def _exited(self, name: str) -> None:
        """The process has ended, by itself or not."""
        pod = self._pods[name]
        pod.server = None
        for call in (pod.next_start, pod.next_probe):
            if call:
                call.cancel()
        if pod.kill_at_s is not None:
            self._end(name, pod)
            return
        Call(self._env, self._latencies.crash_seen_s, lambda: self._set_ready(name, pod))
        wait_s = self._latencies.restart_s
        if self._env.now - pod.ran_from_s >= self._latencies.crash_loop_forgotten_s:
            pod.restarts = 0
        if pod.restarts:
            longer_s = self._latencies.crash_loop_base_s * 2.0 ** min(pod.restarts - 1, 32)
            wait_s = min(longer_s, self._latencies.crash_loop_cap_s)
        pod.restarts += 1
        pod.next_start = Call(self._env, wait_s, lambda: self._restart(name, pod))

    def _end(self, name: str, pod: _Pod) -> None:
        """No process of a terminating pod is left; its object goes too."""
        if not pod.ended:
            pod.ended = True
            after_s = self._timing.gone_after_exit_s if pod.node else 0.0
            Call(self._env, after_s, lambda: self._gone(name, pod))
            if self._setup.network.no_endpoints is None or pod.node is None:
                self._set_ready(name, pod)
                return
            spread_s = self._stopping.uniform(0.0, self._latencies.address_spread_s)
            lost_s = after_s * self._latencies.address_gone_ratio + spread_s
            Call(self._env, lost_s, lambda: self._address_gone(name))
            unready_s = lost_s + after_s * self._latencies.endpoint_gone_ratio
            Call(self._env, unready_s, lambda: self._set_ready(name, pod))

    def _restart(self, name: str, pod: _Pod) -> None:
        if pod.kill_at_s is not None:
            return
        self._report(lambda state, now_s: reports.restarted(state, name, now_s))
        self._run(name, pod, pod.startup_s)

    def _gone(self, name: str, pod: _Pod) -> None:
        pod.life.t_gone_s = self._env.now
        del self._pods[name]
        if pod.node:
            pod.node.pods -= 1
            pod.node.cpu += self._fleet.pod_cpu
            pod.node.memory_bytes += self._fleet.pod_memory_bytes
        self._report(lambda state, now_s: reports.gone(state, name, now_s))
        waiting, self._unscheduled = self._unscheduled, []
        for unscheduled in waiting:
            self._schedule(unscheduled)


def _unready(state: State, now_s: float, pod: str) -> State:
    return reports.ready(state, pod, False, now_s)


def _evicted(state: State, now_s: float, pod: str) -> State:
    changed, _ = api.delete_pod(state, pod, now_s, why=LOST)  # nobody is there to carry the order out
    return changed
