"""Local clusters of stand-in servers, and clients for them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.actions import CreateDeployment, Select
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import Timing, UpdateStrategy
from deployer.clusters.local.client import LocalCluster, Running, start
from deployer.clusters.local.config import Backoff, Config, PodSpec, Probe, Startup
from deployer.fleet import Limits

STANDIN = Path(__file__).with_name("standin.py")
PATIENCE_S = 60.0  # for what takes a second on a quiet machine
COMMAND = (
    sys.executable,
    *("-S", str(STANDIN)),
    *("--pod", "{pod}", "--release", "{release}", "--address", "{address}"),
    *("--gateway-port", "{gateway_port}", "--admin-port", "{admin_port}"),
)


def config_for(run_dir: Path, **changes: Any) -> Config:
    """A quick cluster: all of a real one's waits shortened."""
    config = Config(
        run_dir=run_dir,
        app="chat",
        limits=Limits(replicas=2),
        shape=Shape(UpdateStrategy(max_surge=1, max_unavailable=0), grace_s=20.0),
        selects_release=True,
        pod=PodSpec(COMMAND, gateway_port=15280, admin_port=19090),
        startup=Startup(0.0),
        readiness=Probe("/readyz", 0.1, failures=1, timeout_s=5.0),
        liveness=Probe("/healthz", 1.0, timeout_s=20.0),
        backoff=Backoff(first_s=0.1, base_s=0.2),
        sync_period_s=0.0,
        timing=Timing(0.01, 0.05, 0.0),
        seed=7,
    )
    return replace(config, **changes)


def eventually(what: Callable[[], Any], wait_s: float = PATIENCE_S) -> Any:
    """Wait until this is true, and return it."""
    end_s = time.monotonic() + wait_s
    while not (found := what()):
        assert time.monotonic() < end_s, f"still {found!r} after {wait_s:g} s"
        time.sleep(0.02)
    return found


class Client:
    """One connection through the front port; it knows who serves it."""

    def __init__(self, front: tuple[str, int]) -> None:
        self.sock = socket.create_connection(front, timeout=PATIENCE_S)
        self.greeting = b""
        try:
            while not self.greeting.endswith(b"\n"):
                more = self.sock.recv(1)
                if not more:
                    raise ConnectionResetError("closed before a greeting")
                self.greeting += more
        except BaseException:
            self.sock.close()
            raise
        self.pod, self.release = self.greeting.decode().split()

    def says(self, line: bytes) -> bytes:
        """Send a line and return what comes back."""
        self.sock.sendall(line)
        return self.sock.recv(65536)

    def works(self) -> bool:
        """Whether the connection still carries bytes both ways."""
        try:
            return self.says(b"hello\n") == b"hello\n"
        except OSError:
            return False

    def was_reset(self) -> bool:
        """Whether the other side ends it with RST; waits for its end."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False


class Lab:
    """Starts clusters and clients, waits for them, and ends them."""

    config_for = staticmethod(config_for)
    eventually = staticmethod(eventually)

    def __init__(self, run_dir: Path, stack: contextlib.ExitStack) -> None:
        self.run_dir = run_dir
        self._stack = stack
        self._clusters = 0
        self._dirs: dict[int, Path] = {}

    def cluster(self, **changes: Any) -> Running:
        """A cluster of its own directory."""
        self._clusters += 1
        run_dir = self.run_dir / f"run-{self._clusters}"
        running = start(config_for(run_dir, **changes))
        self._stack.callback(running.stop)
        self._dirs[running.process.pid] = run_dir
        return running

    def spec(self, *args: str, release: str | None = None) -> PodSpec:
        """A stand-in with these arguments, for all releases or for one."""
        spec = PodSpec(COMMAND, gateway_port=15280, admin_port=19090)
        if release is not None:
            return replace(spec, release_args={release: args})
        return replace(spec, command=(*COMMAND, *args))

    def dir_of(self, running: Running) -> Path:
        """A cluster's run_dir."""
        return self._dirs[running.process.pid]

    def log(self, running: Running, pod: str) -> str:
        """What a pod has printed."""
        return (self.dir_of(running) / "logs" / f"{pod}.log").read_text()

    def started(self, running: Running, release: str) -> bool:
        """Whether a pod of this release has printed that it runs."""
        pods = [p["pod"] for p in running.cluster.status()["pods"] if p["release"] == release and p["pid"]]
        return any("started" in self.log(running, pod) for pod in pods)

    def pods(self, running: Running) -> dict[str, dict[str, Any]]:
        """The last row of each pod in the journal."""
        return {row["pod"]: row for row in self._rows(running, "pods.jsonl")}

    def events(self, running: Running) -> list[dict[str, Any]]:
        """The journal's events."""
        return self._rows(running, "events.jsonl")

    def _rows(self, running: Running, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dir_of(running) / file).read_text().splitlines()]

    def suspend(self, pid: int) -> None:
        """Stop a process without ending it."""
        os.kill(pid, signal.SIGSTOP)

    @contextlib.contextmanager
    def listening_everywhere(self) -> Iterator[int]:
        """Some port that is taken on all addresses."""
        with socket.create_server(("0.0.0.0", 0)) as listener:
            yield listener.getsockname()[1]

    def client(self, running: Running) -> Client:
        """A client of it."""
        client = Client(running.front)
        self._stack.callback(client.sock.close)
        return client

    def deploy(self, cluster: LocalCluster, release: str, replicas: int = 2, select: bool = True) -> None:
        """Create a release's Deployment, wait until all of it is ready, and point the Service at it."""
        cluster.act(CreateDeployment(f"chat-{release}", release, replicas))
        eventually(lambda: len(self.ready(cluster, release)) == replicas)
        if select:
            cluster.act(Select(release))
            eventually(lambda: cluster.status()["routes"])

    def ready(self, cluster: LocalCluster, release: str) -> list[str]:
        """The names of a release's ready pods."""
        return [p["pod"] for p in cluster.status()["pods"] if p["release"] == release and p["ready"]]

    def pod(self, cluster: LocalCluster, name: str) -> dict[str, Any] | None:
        """A pod's row, None where it is gone."""
        return next((p for p in cluster.status()["pods"] if p["pod"] == name), None)

    def refused(self, running: Running) -> bool:
        """Whether a client would be refused now."""
        try:
            socket.create_connection(running.front, timeout=PATIENCE_S).close()
        except ConnectionRefusedError:
            return True
        return False


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield Lab(tmp_path, stack)
