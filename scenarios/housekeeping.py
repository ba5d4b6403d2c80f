"""What killed runs left, and what this machine has: `drainbow clean` and `drainbow doctor`."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.folders import abandoned, is_owned

MARK = "DRAINBOW_RUN"
"""In the environment of every process of a run: the run's folder, so that a leftover is known as ours."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `doctor` looked at."""

    what: str
    ok: bool
    found: str
    way_out: str = ""

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def clean_up(root: Path) -> list[str]:
    """End processes, and remove folders, sockets and namespaces, of runs whose runner is gone; old images too.

    Says what was removed, and what could not be.
    """
    from deployer.clusters.local import leftovers as local
    from scenarios import probing
    from scenarios.worlds import Where, images, leftovers

    said = []
    for process in _orphans():
        try:
            name = " ".join(process.cmdline())[:80]
            process.kill()
            said.append(f"process {process.pid} ({name})")
        except psutil.Error:
            continue
    said += [str(path) for path in local.clean()]
    said += leftovers.remove_left(root, Where().kind_name)
    said += probing.remove_left()
    said += images.remove_old(Where().kind_name)
    for folder in abandoned(root):
        shutil.rmtree(folder)
        said.append(str(folder))
    return said


def _orphans() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            run = process.environ().get(MARK)
        except psutil.Error:
            continue
        if run and process.pid != os.getpid() and not is_owned(Path(run)):
            found.append(process)
    return found


def examine(context: str | None = None) -> list[Finding]:
    """What each world needs, and whether it is here; `context` is of the kubeconfig, None: its current one."""
    tools = docker(), kind_tool()
    return [
        Finding(
            "Python",
            sys.version_info >= (3, 11),
            ".".join(map(str, sys.version_info[:3])),
            "install 3.11 or newer",
        ),
        _processors(),
        _descriptors(),
        _loopback(),
        *tools,
        *([kind_cluster()] if all(tool.ok for tool in tools) else []),
        _tool("kubectl", ["kubectl", "version", "--client"], "install kubectl to look into clusters by hand"),
        kubeconfig(context),
    ]


def print_examination(console: Console, findings: Sequence[Finding]) -> None:
    """A line for each finding, what is missing with the way out, and which worlds can run."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("missing", style="yellow")
        more = "" if finding.ok else f"\n→ {finding.way_out}"
        table.add_row(mark, finding.what, finding.found + more)
    console.print(table)
    ok = {finding.what: finding.ok for finding in findings}
    worlds = ["sim"] + (["local"] if ok["loopback addresses"] and ok["file descriptors"] else [])
    worlds += ["kind"] if ok["Docker"] and ok["kind"] and ok["kind cluster"] else []
    worlds += ["current"] if ok["kubeconfig"] else []
    console.print(f"worlds that can run here: {', '.join(worlds)}")


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(
        "processors", count >= 2, f"{count}", "with one, local runs measure the machine more than the deploy"
    )


def _descriptors() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    enough = hard == resource.RLIM_INFINITY or hard >= 4096
    return Finding("file descriptors", enough, f"at most {shown} a process", "raise it: ulimit -Hn 65536")


def _loopback() -> Finding:
    import socket

    address = "127.86.75.30"
    try:
        with socket.create_server((address, 0)):
            pass
    except OSError as error:
        return Finding(
            "loopback addresses",
            False,
            f"{address}: {error.strerror}",
            "pods need 127.0.0.0/8 (Linux has it)",
        )
    return Finding("loopback addresses", True, "127.0.0.0/8")


def docker() -> Finding:
    """Whether Docker is installed and its engine answers."""
    way_out = "install Docker Engine and start it, or use --world local"
    if shutil.which("docker") is None:
        return Finding("Docker", False, "no docker command", way_out)
    asked = _ask(["docker", "version", "--format", "{{.Server.Version}}"])
    if asked is None or asked.returncode != 0:
        return Finding("Docker", False, "docker is installed, its engine does not answer", way_out)
    return Finding("Docker", True, asked.stdout.strip())


def kind_tool() -> Finding:
    """Whether kind is installed."""
    return _tool("kind", ["kind", "version"], "install kind, or use --world local")


def kind_cluster() -> Finding:
    """Whether the kind cluster that runs use answers, if it is there."""
    from scenarios.worlds import Where, kind

    name = Where().kind_name
    asked = _ask(["kind", "get", "clusters"])
    if asked is None or name not in asked.stdout.split():
        return Finding("kind cluster", True, f"{name} is not there; the first run makes it")
    if kind.existing(name) is None:
        way_out = "`make kind-up` wakes it, --recreate makes it anew, or use --world local"
        return Finding("kind cluster", False, f"{name} is there and does not answer", way_out)
    return Finding("kind cluster", True, f"{name} answers")


def kubeconfig(context: str | None) -> Finding:
    """Whether there is a cluster for `--world current` and for one's own service."""
    from deployer.clusters import ClusterUnreachable
    from deployer.clusters.controlplane.objects import RejectedError
    from deployer.clusters.kubernetes.api import Api

    what, lacking = "kubeconfig", "for --world current and for your own service only"
    try:
        with contextlib.closing(Api.connect(context)) as api:
            api.check_version()
            major, minor = api.version()
            return Finding(what, True, f"{api.name} answers, Kubernetes {major}.{minor}; {lacking}")
    except ClusterUnreachable as error:
        way_out = "start that cluster, or choose another with --context or `kubectl config use-context`"
        return Finding(what, False, str(error), f"{way_out}; {lacking}")
    except RejectedError as error:
        return Finding(what, False, str(error), lacking)


def _tool(name: str, command: Sequence[str], way_out: str) -> Finding:
    if shutil.which(name) is None:
        return Finding(name, False, f"no {name} command", way_out)
    asked = _ask(command)
    if asked is None or asked.returncode != 0:
        return Finding(name, False, f"`{' '.join(command)}` failed", way_out)
    return Finding(name, True, asked.stdout.strip().splitlines()[0])


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
