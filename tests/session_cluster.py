"""The kind cluster of the whole test session, for every test that is marked `cluster`."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from deployer.clusters.kubernetes import Api
from scenarios.worlds import Where, kind, namespaces
from scenarios.worlds.grounds import OnKind

GIVEN = "DRAINBOW_TEST_CONTEXT"
"""Names a kind cluster that is there already (kind-NAME), and stays."""
OWN = "drainbow-test"
"""The session's own, where none is given; gone at its end."""
REMOVE_S = 120.0

_CLUSTER = pytest.StashKey["Cluster"]()


class Cluster:
    """The cluster, the chat image that its nodes have, and namespaces that are on their way out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ground = OnKind(Where(kind_name=name))
        self.kubeconfig, self.context, self.image = self.ground.prepare(print)
        self._remover = ThreadPoolExecutor(4)
        self._removals: list[Future[bool]] = []

    def connect(self) -> Api:
        return Api.connect(self.context, self.kubeconfig)

    def remove(self, namespace: str) -> None:
        self._removals.append(self._remover.submit(self._remove, namespace))

    def wait_for_removals(self) -> None:
        removals, self._removals = self._removals, []
        assert all(removal.result() for removal in removals), "namespaces of the suite are left"

    def _remove(self, namespace: str) -> bool:
        with contextlib.closing(self.connect()) as api:
            return namespaces.remove(api, namespace, REMOVE_S, print)


def cluster_of(config: pytest.Config) -> Cluster:
    """The cluster that is given, else one of the session's own, deleted at its end.

    Where the session has several processes (pytest -n) they share it, and the one that leads them deletes it.
    """
    if _CLUSTER not in config.stash:
        given = os.environ.get(GIVEN, "").removeprefix("kind-")
        config.stash[_CLUSTER] = Cluster(given or OWN)
        if not given:
            told: dict[str, object] | None = getattr(config, "workeroutput", None)
            if told is None:
                delete_at_end(config, OWN)
            else:
                told["kind_cluster"] = OWN
    return config.stash[_CLUSTER]


def delete_at_end(config: pytest.Config, name: str) -> None:
    """Delete this cluster when this process is through."""
    config.add_cleanup(lambda: kind.delete(name))
