"""The embedded cluster: real processes on loopback addresses, behind a proxy that does what kube-proxy does.

One process, `python -m deployer.clusters.local CONFIG.json`, runs the control-plane model, a kubelet and the
proxy; `client.LocalCluster` talks to it.
"""
