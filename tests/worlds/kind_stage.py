"""The contract's verbs on a real Kubernetes: in a namespace of its own on a kind cluster."""

from __future__ import annotations

import secrets

from deployer.clusters.kubernetes import App, KubernetesCluster
from deployer.fleet import Kind
from scenarios.spec import load
from scenarios.worlds import Front, namespaces, objects
from scenarios.worlds.kubernetes import BAD
from tests.session_cluster import Cluster
from tests.worlds.real_stage import RealStage
from tests.worlds.stage import APP, Play


class KindStage(RealStage):
    """A namespace with a backend, a Service and nothing else yet."""

    name = "kind"

    def __init__(self, play: Play, cluster: Cluster) -> None:
        self.api = cluster.connect()
        self.namespace = f"contract-{secrets.token_hex(3)}"
        furnished = objects.namespace_of(self.namespace, "", "")
        # no run has it: no other test may clean it away as what a dead run left
        del furnished["metadata"]["annotations"]
        namespaces.create(self.api, furnished)
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
