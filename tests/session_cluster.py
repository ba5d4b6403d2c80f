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

    def delete(self) -> None:
        kind.delete(self.name)

    def wait_for_removals(self) -> None:
        removals, self._removals = self._removals, []
        assert all(removal.result() for removal in removals), "namespaces of the suite are left"

    def _remove(self, namespace: str) -> bool:
        with contextlib.closing(self.connect()) as api:
            return namespaces.remove(api, namespace, REMOVE_S, print)


def cluster_of(config: pytest.Config) -> Cluster:
    """The cluster that is given, else one of the session's own, deleted at its end."""
    if _CLUSTER not in config.stash:
        given = os.environ.get(GIVEN, "")
        made = config.stash[_CLUSTER] = Cluster(given.removeprefix("kind-") or "drainbow-test")
        if not given:
            config.add_cleanup(made.delete)
    return config.stash[_CLUSTER]
