"""The embedded cluster as a world: its cluster, its deployer and its XMPP backend, each a process."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import Timing
from deployer.clusters.local import client
from deployer.clusters.local.config import Config as ClusterConfig
from deployer.clusters.local.config import ConfigError, PodSpec, Probe, Startup
from deployer.clusters.local.journal import EVENTS, PODS
from deployer.draining import DrainSettings
from deployer.fleet import Count, Fleet, Kind, Limits, PodState, Release
from deployer.process import Config as DeployerConfig
from deployer.strategies.registry import AnyStrategy
from scenarios.assemble import read_lines
from scenarios.errors import OutOfReach, UserMistake
from scenarios.housekeeping import MARK
from scenarios.load import DOMAIN, PASSWORD
from scenarios.processes import Child
from scenarios.spec.shape import Spec
from scenarios.worlds import Event, Front, Harvest
from scenarios.worlds.supervision import Deployer

LEFT = "exit code 0"
"""A server that ended so was told to, or left when it was empty: no fault."""
SPARE_FILES = 300
BACKEND_PORT = 5222
BAD = {
    "never_ready": (
        "--backend",
        "127.0.0.1:9",
    ),  # nothing listens there, and without a backend it is not ready
    "crashes": ("--backlog", "0"),  # it refuses its settings, at each start
    "crashes_after_switch": ("--crash-after", "5s"),  # after a readiness probe has found it
}
"""What makes a release bad: a setting that is wrong, as it would be in life."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a local run is made of."""

    spec: Spec
    strategy: AnyStrategy
    strategy_settings: Mapping[str, Any]
    drain: DrainSettings
    limits: Limits
    startup: Startup
    initial: Release
    bad: Mapping[Release, str]
    folder: Path
    port: int


class LocalWorld:
    """Real processes on loopback addresses; see DESIGN in docs/ for what each is."""

    name = "local"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._logs = plan.folder / "logs"
        self._backend: Child | None = None
        self._cluster: client.Running | None = None
        self._deployer = Deployer(plan.folder, self._mark)
        self._backend_address = ""
        self._backend_back_s: float | None = None  # when it is started again, while it is down
        self._faults = random.Random(f"{plan.spec.seed}/faults")
        self._last: Fleet | None = None

    def start(self) -> Front:
        """Start backend, cluster and deployer, and ask for the first release."""
        self._logs.mkdir(parents=True, exist_ok=True)
        address = self._start_backend()
        self._cluster = self._start_cluster(address)
        self._running.cluster.request(self._plan.initial, Kind.INITIAL)
        config = DeployerConfig(
            socket=Path(self._running.cluster.path),
            strategy=self._plan.strategy.name,
            settings=dict(self._plan.strategy_settings),
            drain=self._plan.drain,
            journal=self._journal,
        )
        self._deployer.start(config)
        return Front(*self._running.front)

    def observe(self) -> Fleet:
        """As in RealWorld."""
        self._last = self._running.cluster.observe()
        return self._last

    def request(self, release: Release, kind: Kind) -> int:
        """As in RealWorld."""
        return self._running.cluster.request(release, kind)

    def inject(self, kind: str, target: str, duration_s: float) -> Sequence[Event]:
        """As in RealWorld: every fault. Raises ClusterUnreachable where one needs the API server."""
        now_s = time.time()
        cluster = self._running.cluster
        if kind == "deployer_killed":
            self._deployer.kill(now_s + duration_s)
        elif kind == "backend_down":
            assert self._backend is not None
            self._backend.kill()
            self._backend_back_s = now_s + duration_s
        elif kind == "api_down":
            cluster.take_api_down(duration_s)
        elif kind == "node_loss":
            if target == "random":
                target = self._one_of({pod.node for pod in self.observe().pods if pod.node})
            if not cluster.freeze_node(target, duration_s):
                raise UserMistake(f"node_loss: no node {target!r}; there are node-1 … node-{self._nodes}")
        else:
            if target == "random":
                target = self._one_of({p.name for p in self.observe().pods if p.state is PodState.READY})
            cluster.kill_pod(target)
        return [Event(now_s, kind, target)]

    def supervise(self) -> Sequence[Event]:
        """As in RealWorld: a deployer that died is started again after a while."""
        now_s = time.time()
        if self._running.process.poll() is not None:
            raise OutOfReach(f"the local cluster ended: {_last_line(self._plan.folder / client.LOG)}")
        assert self._backend is not None
        events = []
        if self._backend_back_s is not None:
            if now_s >= self._backend_back_s:
                self._backend_back_s = None
                self._backend = self._backend_process()
                events.append(Event(now_s, "backend_started", ""))
        elif self._backend.exit_code is not None:
            raise OutOfReach(f"the XMPP backend ended: {self._backend.last_words()}")
        return events + self._deployer.supervise(now_s)

    def sample(self) -> Mapping[str, Count | None]:
        """As in RealWorld."""
        return self._running.cluster.sample()

    def harvest(self) -> Harvest:
        """As in RealWorld."""
        with contextlib.suppress(ClusterUnreachable):
            self.observe()
        lines = read_lines(self._journal)
        pods = {row["pod"]: row for row in read_lines(self._plan.folder / PODS)}
        return Harvest(
            pods=tuple(pods.values()),
            actions=[row for row in lines if "action" in row],
            verdicts=[row for row in lines if "verdict" in row],
            events=[
                Event(row["t_s"], f"server_{row['kind']}", row["target"])
                for row in read_lines(self._plan.folder / EVENTS)
                if row["kind"] in ("died", "not_live") and row.get("detail") != LEFT
            ],
            last=self._last,
        )

    def close(self) -> None:
        """As in RealWorld: first who acts, then what is acted on."""
        self._deployer.stop()
        if self._cluster is not None:
            self._cluster.stop()
        if self._backend is not None:
            self._backend.stop()

    @property
    def _running(self) -> client.Running:
        assert self._cluster is not None
        return self._cluster

    @property
    def _journal(self) -> Path:
        return self._plan.folder / "deployer.jsonl"

    def _one_of(self, names: set[str]) -> str:
        """One at random, none of none."""
        return self._faults.choice(sorted(names)) if names else ""

    @property
    def _nodes(self) -> int:
        return self._plan.spec.fleet.nodes.count

    def _backend_process(self) -> Child:
        rate = f"{self._plan.spec.server.backend_logins_per_s:f}"
        command = [sys.executable, "-m", "chatserver", "xmppd", "--xmpp", self._backend_address]
        command += ["--domain", DOMAIN, "--password", PASSWORD, "--logins-per-s", rate]
        return Child("xmppd", command, self._logs / "xmppd.log", self._mark)

    def _start_backend(self) -> str:
        address = self._backend_address = f"{_backend_address()}:{BACKEND_PORT}"
        self._backend = self._backend_process()
        deadline_s = time.monotonic() + 30.0
        host, port = address.rsplit(":", 1)
        while time.monotonic() < deadline_s and self._backend.exit_code is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
                return address
            time.sleep(0.05)
        raise OutOfReach(f"the XMPP backend did not come up: {self._backend.last_words()}")

    def _start_cluster(self, backend: str) -> client.Running:
        plan = self._plan
        server = plan.spec.server
        mode = server.on_sigterm
        if mode == "auto":
            mode = "hold" if plan.strategy.name == "graceful" else "close"
        command = (
            *(sys.executable, "-m", "chatserver", "gateway"),
            *(
                "--listen",
                "{address}:{gateway_port}",
                "--admin",
                "{address}:{admin_port}",
                "--backend",
                backend,
            ),
            *("--domain", DOMAIN, "--pod", "{pod}", "--release", "{release}", "--grace", "{grace_s}s"),
            *("--login-cpu", f"{server.login_cpu * 1000:f}ms", "--backlog", str(server.backlog)),
            *("--handshake-timeout", f"{server.handshake_timeout:f}s"),
            *("--ping-interval", f"{server.ping_interval:f}s", "--linger", f"{server.linger:f}s"),
            *("--on-sigterm", mode, "--per-s", f"{server.pace_per_s:f}"),
            *("--on-deselected", server.on_deselected),
        )
        try:
            return client.start(
                ClusterConfig(
                    run_dir=plan.folder,
                    app="chat",
                    limits=plan.limits,
                    shape=plan.strategy.shape,
                    selects_release=plan.strategy.selects_release,
                    pod=PodSpec(
                        command=command,
                        env=self._mark,
                        release_args={release: BAD[bad] for release, bad in plan.bad.items()},
                    ),
                    startup=plan.startup,
                    readiness=Probe("/readyz", plan.spec.fleet.probe.period),
                    timing=Timing(gone_after_exit_s=plan.spec.fleet.removal),
                    sync_period_s=plan.spec.network.sync_period,
                    nodes=self._nodes,
                    seed=plan.spec.seed,
                    front_port=plan.port,
                ),
                self._mark,
            )
        except ConfigError as error:
            raise UserMistake(str(error)) from None
        except client.ClusterFailedError as error:
            raise OutOfReach(str(error)) from None

    @property
    def _mark(self) -> dict[str, str]:
        return {MARK: str(self._plan.folder)}


def check_files(users: int) -> None:
    """Raise UserMistake where this machine allows too few open files for so many users.

    The proxy needs two a connection, more than any other process of a run.
    """
    needed = 2 * users + SPARE_FILES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserMistake(
            f"{users} users need {needed} open files in one process and the limit is {hard}; raise it "
            f"(ulimit -Hn {needed}), or take at most {max((hard - SPARE_FILES) // 2, 0)} users"
        )


def _backend_address() -> str:
    """An address that no other run on this machine uses: made from this process's number.

    Raises OutOfReach where something listens on port 5222 of every address.
    """
    pid = os.getpid()
    address = f"127.{64 + (pid >> 16) % 128}.{(pid >> 8) % 256}.{pid % 256}"
    try:
        with socket.create_server((address, BACKEND_PORT)):
            return address
    except OSError as error:
        raise OutOfReach(
            f"port {BACKEND_PORT} of {address} cannot be had ({error.strerror}); end what listens on that port of all "
            "addresses, such as an XMPP server of this machine"
        ) from None


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else f"it said nothing in {path}"
