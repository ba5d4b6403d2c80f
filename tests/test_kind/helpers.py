"""What a run on the cluster left there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from scenarios.worlds import namespaces
from tests.session_cluster import Cluster

TRIES = 5


def namespaces_of(cluster: Cluster, out: Path) -> list[str]:
    """The namespaces of runs in this folder, those that are on their way out too."""
    query = {"labelSelector": f"{MANAGED_BY}={OURS}"}
    with closing(cluster.connect()) as api:
        items = _asked(lambda: api.call("GET", "/api/v1/namespaces", query=query))["items"]
    owners = {item["metadata"]["name"]: namespaces.owner_of(item) for item in items}
    return [name for name, owner in owners.items() if owner and owner[0].startswith(str(out))]


def _asked(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of an API server that may be busy, or just starting."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(ClusterUnreachable):
            return ask()
        time.sleep(1.0)
    return ask()
