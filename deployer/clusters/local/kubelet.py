"""What scheduler and kubelets do: a process for each pod, probes, restarts, and its end."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployer.clusters.controlplane.objects import PodObject
from deployer.clusters.local import admin
from deployer.clusters.local.config import Config
from deployer.clusters.local.network import Network
from deployer.clusters.local.nodes import Node, least_loaded, named
from deployer.clusters.local.process import Process

BETWEEN_STARTS_S = 0.005  # a fork stops the proxy for milliseconds; many pods at once must not starve it
NO_ADDRESS_RETRY_S = 0.2
REAP_S = 10.0  # SIGKILL leaves nothing to wait for but the kernel


class Reports(Protocol):
    """What a kubelet tells the API server, and the journal."""

    def scheduled(self, pod: str, node: str) -> None: ...  # noqa: D102 (as in controlplane.kubelet)

    def started(self, pod: str) -> None: ...  # noqa: D102

    def ready(self, pod: str, is_ready: bool) -> None: ...  # noqa: D102

    def restarted(self, pod: str) -> None: ...  # noqa: D102

    def gone(self, pod: str) -> None: ...  # noqa: D102

    def event(self, kind: str, target: str, detail: str = "") -> None:
        """Something that happened to a pod or node, for the journal."""
        ...


@dataclass(slots=True, eq=False)
class _Run:
    """One pod on its node."""

    name: str
    release: str
    grace_s: float
    created_s: float
    startup_s: float  # this pod's draw
    readiness_phase_s: float
    liveness_phase_s: float
    node: Node | None = None
    address: str | None = None
    process: Process | None = None
    may_be_ready_s: float = 0.0  # Unix time before which no probe counts
    ready: bool = False
    deaths: int = 0  # in a row
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Kubelet:
    """All nodes' kubelets and the scheduler, in one."""

    def __init__(
        self, config: Config, network: Network, reports: Reports, on_death: Callable[[str], None]
    ) -> None:
        """`on_death` is called with the address of every process that has ended, at once."""
        self._config = config
        self._network = network
        self._reports = reports
        self._on_death = on_death
        self._nodes = named(config.nodes)
        self._runs: dict[str, _Run] = {}
        self._at: dict[str, _Run] = {}  # by address
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._startup = config.stream("startup")
        self._probe = config.stream("probe")
        self._liveness = config.stream("liveness")
        self._logs = config.run_dir / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def start(self, pod: PodObject) -> None:
        """Carry out StartPod."""
        run = _Run(
            name=pod.name,
            release=pod.release,
            grace_s=pod.grace_s,
            created_s=pod.created_s,
            startup_s=self._config.startup.draw(self._startup),
            readiness_phase_s=self._probe.random() * self._config.readiness.period_s,
            liveness_phase_s=self._liveness.random() * self._config.liveness.period_s,
        )
        run.may_be_ready_s = run.created_s + run.startup_s
        self._runs[pod.name] = run
        self._do(self._live(run))

    def stop(self, pod: str, grace_s: float) -> None:
        """Carry out StopPod; a grace that runs is not changed by a second order."""
        run = self._runs.get(pod)
        if run is not None and not run.stopping.is_set():
            run.stopping.set()
            self._do(self._end(run, time.monotonic(), grace_s))

    def kill(self, pod: str) -> bool:
        """Kill a pod's process as a fault would; False where none runs."""
        run = self._runs.get(pod)
        if run is None or run.process is None or not run.process.running:
            return False
        run.process.send(signal.SIGKILL)
        return True

    def freeze(self, node: str, duration_s: float) -> bool:
        """Stop everything on a node for a while; False where there is none of that name."""
        found = next((n for n in self._nodes if n.name == node), None)
        if found is None:
            return False
        found.freeze()
        self._signal_all(found, signal.SIGSTOP)
        self._do(self._frozen(found, duration_s))
        return True

    def address_of(self, pod: str) -> str | None:
        """Where a pod listens; None before it has a place and after it is gone."""
        run = self._runs.get(pod)
        return None if run is None else run.address

    def pid_of(self, pod: str) -> int | None:
        """The process that runs for a pod; None where none does."""
        run = self._runs.get(pod)
        return run.process.pid if run and run.process and run.process.running else None

    def running(self) -> tuple[str, ...]:
        """The pods with a running process, in order of creation."""
        return tuple(name for name in self._runs if self.pid_of(name) is not None)

    def is_dying(self, address: str) -> bool:
        """Whether the process at an address has ended or is ending."""
        run = self._at.get(address)
        return run is None or run.process is None or run.process.dying

    async def shut_down(self, patience_s: float) -> None:
        """End all processes, by SIGTERM and after `patience_s` by SIGKILL; nothing is reported of it."""
        for task in self._tasks:
            task.cancel()
        left = [run.process for run in self._runs.values() if run.process and run.process.running]
        for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, REAP_S)):
            for process in left:
                process.send(number)
                process.send(signal.SIGCONT)
            await asyncio.gather(*(process.wait(wait_s) for process in left))
            left = [process for process in left if process.running]

    async def _live(self, run: _Run) -> None:
        """From the scheduler to the object's end."""
        node = run.node = least_loaded(self._nodes)
        node.pods += 1
        self._reports.scheduled(run.name, node.name)
        while (address := self._network.take()) is None:  # the nodes' pod range is used up
            if await _stops_within(run, NO_ADDRESS_RETRY_S):
                break
        if address is not None:
            run.address = address
            self._at[address] = run
            await self._keep_running(run, node, address)
        if run.deaths:
            await asyncio.sleep(self._config.timing.gone_after_exit_s)
        await node.awake.wait()
        node.pods -= 1
        del self._runs[run.name]
        if address is not None:
            del self._at[address]
            self._network.give_back(address)
        self._reports.gone(run.name)

    async def _keep_running(self, run: _Run, node: Node, address: str) -> None:
        """Run the process again and again until the pod is to stop."""
        first = True
        while True:
            process = await self._start_process(run, node, address)
            if process is None:
                return
            began_s = time.monotonic()
            if first:
                self._reports.started(run.name)
            else:
                run.may_be_ready_s = time.time() + run.startup_s
                self._reports.restarted(run.name)
            first = False
            probes = (
                self._do(self._probe_readiness(run, node, address)),
                self._do(self._probe_liveness(run, node, address, process)),
            )
            code = await process.wait()
            for probe in probes:
                probe.cancel()
            self._set_ready(run, False)
            if time.monotonic() - began_s >= self._config.backoff.forget_after_s:
                run.deaths = 0
            run.deaths += 1
            if run.stopping.is_set():
                return
            self._reports.event("died", run.name, f"exit code {code}")
            if await _stops_within(run, self._config.backoff.delay_s(run.deaths)):
                return

    async def _start_process(self, run: _Run, node: Node, address: str) -> Process | None:
        """Start the pod's program, one pod at a time; None where it is to stop before."""
        async with self._starting:
            await node.awake.wait()
            if run.stopping.is_set():
                return None
            spec = self._config.pod
            values = (run.name, run.release, address, run.grace_s)
            log = self._logs / f"{run.name}.log"
            process = Process(spec.argv(*values), spec.environment(*values), log)
            run.process = process
            process.when_ended(lambda: self._on_death(address))
            await asyncio.sleep(BETWEEN_STARTS_S)
            return process

    async def _end(self, run: _Run, deleted_s: float, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when the grace is over; both wait for a frozen node."""
        await asyncio.sleep(self._config.timing.sigterm_after_s)
        process = run.process
        if process is None or run.node is None:
            return
        await run.node.awake.wait()
        process.send(signal.SIGTERM)
        await process.wait(max(0.0, deleted_s + grace_s - time.monotonic()))
        await run.node.awake.wait()
        if process.running:
            self._reports.event("killed", run.name, f"grace of {grace_s:g} s is over")
            process.send(signal.SIGKILL)

    async def _probe_readiness(self, run: _Run, node: Node, address: str) -> None:
        probe = self._config.readiness
        failures = 0
        async for _ in _ticks(run.created_s + run.readiness_phase_s, probe.period_s):
            if node.frozen or time.time() < run.may_be_ready_s:
                continue
            passed = await admin.passes(address, self._config.pod.admin_port, probe.path, probe.timeout_s)
            if node.frozen:
                continue
            failures = 0 if passed else failures + 1
            if passed or failures >= probe.failures:
                self._set_ready(run, passed)

    async def _probe_liveness(self, run: _Run, node: Node, address: str, process: Process) -> None:
        probe = self._config.liveness
        failures = 0
        async for _ in _ticks(run.created_s + run.liveness_phase_s, probe.period_s):
            if run.stopping.is_set():
                return
            if node.frozen or time.time() < run.may_be_ready_s:
                continue
            passed = await admin.passes(address, self._config.pod.admin_port, probe.path, probe.timeout_s)
            if node.frozen:
                continue
            failures = 0 if passed else failures + 1
            if failures >= probe.failures:
                self._reports.event("not_live", run.name, f"{failures} failed probes in a row")
                process.send(signal.SIGTERM)
                await asyncio.sleep(run.grace_s)
                await node.awake.wait()
                process.send(signal.SIGKILL)
                return

    def _set_ready(self, run: _Run, is_ready: bool) -> None:
        if run.ready != is_ready:
            run.ready = is_ready
            self._reports.ready(run.name, is_ready)

    async def _frozen(self, node: Node, duration_s: float) -> None:
        """Freeze, tell when the cluster has noticed, thaw; the probes then find who is ready."""
        grace_s = self._config.node_grace_s
        await asyncio.sleep(min(duration_s, grace_s))
        if duration_s > grace_s:
            node.lost = True
            for run in self._runs.values():
                if run.node is node:
                    self._set_ready(run, False)
            await asyncio.sleep(duration_s - grace_s)
        if node.thaw():
            self._signal_all(node, signal.SIGCONT)

    def _signal_all(self, node: Node, number: signal.Signals) -> None:
        for run in self._runs.values():
            if run.node is node and run.process is not None:
                run.process.send(number)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task and hold it; what it raises goes to the loop's exception handler."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a pod's task failed", "exception": error})


async def _stops_within(run: _Run, wait_s: float) -> bool:
    try:
        await asyncio.wait_for(run.stopping.wait(), wait_s)
    except TimeoutError:
        return False
    return True


async def _ticks(first_s: float, period_s: float) -> AsyncIterator[int]:
    """Wake at the Unix times `first_s` + k·`period_s`; those that were missed are left out."""
    k = -1
    while True:
        k = max(k + 1, math.floor((time.time() - first_s) / period_s) + 1, 0)
        await asyncio.sleep(first_s + k * period_s - time.time())
        yield k
