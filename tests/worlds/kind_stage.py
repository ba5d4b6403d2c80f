"""The contract's verbs on a real Kubernetes: in a namespace of its own on a kind cluster."""

from __future__ import annotations

import os
import secrets
import socket
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from deployer.clusters.kubernetes import Api, App, KubernetesCluster
from deployer.fleet import Kind
from scenarios.spec import load
from scenarios.worlds import Front, Where, kind, namespaces, objects
from scenarios.worlds.grounds import OnKind
from scenarios.worlds.kubernetes import BAD
from tests.worlds.real_stage import RealStage
from tests.worlds.stage import APP, Play

REMOVE_S = 120.0


_CLUSTER = pytest.StashKey["Cluster"]()


class Cluster:
    """The kind cluster of the whole test session, and namespaces that are on their way out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ground = OnKind(Where(kind_name=name))
        self.kubeconfig, self.context, self.image = self.ground.prepare(print)
        self._remover = ThreadPoolExecutor(4)
        self._removals: list[Future[bool]] = []

    def connect(self) -> Api:
        return Api.connect(self.context, self.kubeconfig)

    def remove(self, namespace: str) -> None:
        self._removals.append(
            self._remover.submit(namespaces.remove, self.connect(), namespace, REMOVE_S, print)
        )

    def delete(self) -> None:
        kind.delete(self.name)

    def wait_for_removals(self) -> None:
        removals, self._removals = self._removals, []
        assert all(removal.result() for removal in removals), "namespaces of the suite are left"


def cluster_of(config: pytest.Config) -> Cluster:
    """The cluster of DRAINBOW_TEST_CONTEXT (kind-NAME), else one of the session's own, deleted at its end."""
    if _CLUSTER not in config.stash:
        given = os.environ.get("DRAINBOW_TEST_CONTEXT", "")
        made = config.stash[_CLUSTER] = Cluster(given.removeprefix("kind-") or "drainbow-test")
        if not given:
            config.add_cleanup(made.delete)
    return config.stash[_CLUSTER]


class KindStage(RealStage):
    """A namespace with a backend, a Service and nothing else yet."""

    name = "kind"

    def __init__(self, play: Play, cluster: Cluster, folder: str) -> None:
        self.api = cluster.connect()
        self.namespace = f"contract-{secrets.token_hex(3)}"
        namespaces.create(self.api, objects.namespace_of(self.namespace, folder, socket.gethostname()))
        self._remove = cluster.remove
        try:
            self._furnish(play, cluster)
        except BaseException:
            cluster.remove(self.namespace)
            raise

    def _furnish(self, play: Play, cluster: Cluster) -> None:
        spec = load("tiny", [f"server.linger={play.linger_s}s", "server.handshake_timeout=1h"])
        namespaces.start_backend(self.api, self.namespace, spec, cluster.image, on_control_plane=True)
        selector = None if play.selects_release else {"app": APP}
        node_port = namespaces.create_front(self.api, self.namespace, selector, cluster.ground.node_ports)
        self._front: Front = cluster.ground.front(self.api, node_port)
        app = App(
            name=APP,
            namespace=self.namespace,
            service=APP,
            selector={"app": APP},
            template=objects.gateway_of(spec, cluster.image, play.on_sigterm, play.grace_s),
            limits=play.limits,
            shape=play.shape,
        )
        RealStage.__init__(self, play, KubernetesCluster(self.api, app))
        for release, bad in play.bad.items():
            self.cluster.request(release, Kind.DEPLOY, BAD[bad])

    def front(self) -> tuple[str, int]:
        return self._front.host, self._front.port

    def delete_pod(self, pod: str, grace_s: float | None = None) -> None:
        options = {} if grace_s is None else {"gracePeriodSeconds": int(grace_s)}
        self.api.call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{pod}", options)

    def kill_server(self, pod: str) -> None:
        namespaces.kill_server(self.api, self.namespace, pod)

    def close(self) -> None:
        super().close()
        self.cluster.close()
        self._remove(self.namespace)
