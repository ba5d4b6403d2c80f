"""What killed runs left on clusters: `drainbow clean` calls this before it removes the runs' folders."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api
from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from scenarios.folders import abandoned, is_owned
from scenarios.worlds import kind, namespaces
from scenarios.worlds.kubernetes import PLACE, REMOVE_S


def remove_left(root: Path, kind_name: str) -> list[str]:
    """Remove the namespaces of runs that are dead; says what was removed, and what could not be.

    On our kind cluster those are found by their labels, on any other cluster by what the abandoned runs in
    `root` noted: no cluster is asked that no run of this machine was on. Frozen nodes of the kind cluster go on.
    """
    said = [f"kind node {node} is frozen no more" for node in kind.thaw(kind_name)]
    for place in _noted(root):
        said += _remove(place["context"], place["kubeconfig"] or None, place["namespace"])
    cluster = kind.existing(kind_name)
    if cluster is not None:
        for name in _dead(cluster.context, str(cluster.kubeconfig)):
            said += _remove(cluster.context, str(cluster.kubeconfig), name)
    return said


def _noted(root: Path) -> Iterator[dict[str, str]]:
    for folder in abandoned(root):
        try:
            yield json.loads((folder / PLACE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def _dead(context: str, kubeconfig: str) -> list[str]:
    """Namespaces of runs of this machine that do not go on."""
    try:
        with closing(Api.connect(context, kubeconfig)) as api:
            there = namespaces.found(api, f"{MANAGED_BY}={OURS}")
    except (ClusterUnreachable, RejectedError):
        return []
    owned = ((namespace["metadata"]["name"], namespaces.owner_of(namespace)) for namespace in there)
    return [
        name
        for name, owner in owned
        if owner is not None and owner[1] == socket.gethostname() and not is_owned(Path(owner[0]))
    ]


def _remove(context: str | None, kubeconfig: str | None, name: str) -> list[str]:
    where = f"namespace {name} of {context or 'the current context'}"
    try:
        with closing(Api.connect(context, kubeconfig)) as api:
            gone = namespaces.remove(api, name, REMOVE_S, lambda _: None)
    except RejectedError as error:
        return [f"not removed: {where}: {error}"]
    return [where if gone else f"not removed: {where}: it does not answer, or is still going"]
