"""An app on a real Kubernetes cluster (1.29 or newer; tried on 1.34), through its API server only.

To construct one: the Service must be there, its selector empty (for strategies that select a release: nothing
is served until the first `Select`) or `selector` (for the strategies with one Deployment), and

    api = Api.connect(context="kind-drainbow")         # None: the kubeconfig's current one, or in-cluster
    api.check_version()
    app = App(
        name="chat",                                   # Fleet.app: Deployments are chat-<release>, or chat
        namespace="drainbow-run-1",
        service="chat",
        selector={"app": "chat"},                      # what all releases' pods have, no others
        template=yaml.safe_load(manifest),             # a Deployment; name, size, labels change
        limits=Limits(replicas=4),
        counting=CHAT,                                 # or Counting("metric" | "endpoint" | "tcp", port=…)
        hooks=Hooks(port=9090),                        # None: CloseConnections, NotifyDeselected are refused
        shape=strategy.shape,                          # roll-out settings and grace; None: the manifest's own
    )
    with KubernetesCluster(api, app) as cluster:
        cluster.request(release, Kind.INITIAL, Variant(image="chat:dev"))   # the variant is optional
        controller.run(cluster, strategy, drain, journal, cluster.watch, time.time, stop)

Pods get the label `drainbow.dev/release` (the Downward API shows it to the process), `drainbow.dev/slot`
where there are slots, and `drainbow.dev/deselected` once they are told. `cluster.pod_log.rows()` is what a
record wants to know of the pods; `cluster.sample()` asks all of them for their connections.
"""

from deployer.clusters.kubernetes.api import Api
from deployer.clusters.kubernetes.app import CHAT, App, Counting, Hooks, Variant
from deployer.clusters.kubernetes.cluster import KubernetesCluster

__all__ = ["CHAT", "Api", "App", "Counting", "Hooks", "KubernetesCluster", "Variant"]
