"""A running local cluster, as the controller and the runner use it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from deployer.actions import Action
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.local import codec
from deployer.clusters.local.config import Config, ConfigError
from deployer.fleet import Count, Fleet, Kind, Release

ANSWER_S = 20.0  # beyond what a request may take by itself
CONFIG = "cluster.json"
LOG = "cluster.log"


class ClusterFailedError(Exception):
    """The cluster's process ended with an error of its own; says where its output is."""


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    file: BinaryIO

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class LocalCluster:
    """Implements `deployer.clusters.Cluster`; every method may be called from any thread.

    Beyond ClusterUnreachable, writes raise RejectedError where the API server would refuse them. It connects
    when it must, so that it can be made before the cluster is up, and goes on after an outage.
    """

    def __init__(self, path: Path | str) -> None:
        """`path` is the cluster's socket."""
        self.path = str(path)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def observe(self) -> Fleet:
        """As in Cluster."""
        return codec.fleet_from_json(self._call("observe"))

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """As in Cluster; raises nothing."""
        names = list(pods)
        try:
            return codec.counts_from_json(self._call("ask", pods=names))
        except (ClusterUnreachable, ClusterFailedError):
            return dict.fromkeys(names)

    def act(self, action: Action) -> None:
        """As in Cluster."""
        self._call("act", action=codec.action_to_json(action))

    def request(self, release: Release, kind: Kind) -> int:
        """As in Cluster."""
        number: int = self._call("request", release=release, kind=kind.value)
        return number

    def watch(self, version: int, timeout_s: float) -> int:
        """Wait until the cluster's version is above this one, at most so long; returns the version then.

        Ask with -1 before an `observe` and with the answer after it, and no change is missed.
        """
        found: int = self._call("watch", timeout_s, version=version, timeout_s=timeout_s)
        return found

    def sample(self) -> Mapping[str, Count | None]:
        """The counts of all pods with a running process; None for one that cannot be asked."""
        return codec.counts_from_json(self._call("sample"))

    def status(self) -> dict[str, Any]:
        """Network, front address, routes and, for each pod, its node, address, pid and connections."""
        found: dict[str, Any] = self._call("status")
        return found

    @property
    def front(self) -> tuple[str, int]:
        """Where clients connect."""
        host, port = self.status()["front"].rsplit(":", 1)
        return host, int(port)

    def kill_pod(self, pod: str) -> bool:
        """Kill a pod's process, as a fault; False where none runs."""
        killed: bool = self._call("kill_pod", pod=pod)
        return killed

    def delete_pod(self, pod: str, grace_s: float | None = None, why: str = "deleted") -> None:
        """Delete a pod, as a user or a node drain would; nothing where it is gone."""
        self._call("delete_pod", pod=pod, grace_s=grace_s, why=why)

    def freeze_node(self, node: str, duration_s: float) -> bool:
        """Stop a node and all on it for a while, as a fault; False where there is none of that name."""
        frozen: bool = self._call("freeze_node", node=node, duration_s=duration_s)
        return frozen

    def take_api_down(self, duration_s: float) -> None:
        """Have everything that goes through the API server fail for a while, as a fault."""
        self._call("api_down", duration_s=duration_s)

    def shutdown(self) -> None:
        """End the cluster and all of its pods; returns at once, and without error where it has ended."""
        with contextlib.suppress(ClusterUnreachable):
            self._call("shutdown")

    def close(self) -> None:
        """Close the connections to the cluster; a later call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _call(self, op: str, takes_s: float = 0.0, **args: Any) -> Any:
        request = json.dumps({"op": op, "args": args}).encode() + b"\n"
        connection = self._take()
        try:
            connection.sock.settimeout(takes_s + ANSWER_S)
            connection.sock.sendall(request)
            line = connection.file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("it ended")
        except OSError as error:
            connection.close()
            raise self._unreachable(op, error) from error
        except BaseException:
            connection.close()  # an answer is still on its way
            raise
        with self._lock:
            self._idle.append(connection)
        answer = json.loads(line)
        if "error" not in answer:
            return answer["ok"]
        if answer["kind"] == "rejected":
            raise RejectedError(answer["error"])
        if answer["kind"] == "internal":
            raise ClusterFailedError(f"{op}: {answer['error']}; the local cluster's own output says more")
        raise self._unreachable(op, answer["error"])

    def _take(self) -> _Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(ANSWER_S)
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise self._unreachable("connect", error) from error
        return _Connection(sock, sock.makefile("rb"))

    def _unreachable(self, op: str, error: object) -> ClusterUnreachable:
        return ClusterUnreachable(f"local cluster at {self.path}: {op}: {error or 'no answer'}")


@dataclass(slots=True)
class Running:
    """A cluster that this process has started."""

    process: subprocess.Popen[str]
    cluster: LocalCluster
    front: tuple[str, int]
    network: str

    def stop(self, timeout_s: float = 30.0) -> int:
        """End it and wait; returns its exit code, -9 where it had to be killed."""
        self.cluster.shutdown()
        self.cluster.close()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start(config: Config, env: Mapping[str, str] | None = None) -> Running:
    """Start a cluster as a child, `env` added to its environment; it ends with the thread that calls this.

    Its configuration and its output are `cluster.json` and `cluster.log` in `run_dir`.
    Raises ConfigError where the configuration or a port is refused, ClusterFailedError for any other end.
    """
    config.run_dir.mkdir(parents=True, exist_ok=True)
    path, log = config.run_dir / CONFIG, config.run_dir / LOG
    path.write_bytes(config.to_json())
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployer.clusters.local", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    assert process.stdout is not None
    with process.stdout as lines:
        line = lines.readline()
    if not line:
        code = process.wait()
        said = log.read_text().strip().rpartition("\n")[2]
        if code == 2:
            raise ConfigError(said)
        raise ClusterFailedError(f"the local cluster ended with exit code {code}: {said} (see {log})")
    about = json.loads(line)
    host, port = about["front"].rsplit(":", 1)
    return Running(process, LocalCluster(about["socket"]), (host, int(port)), about["network"])
