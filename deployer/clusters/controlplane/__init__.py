"""A pure model of what Kubernetes does by itself: Deployments, ReplicaSets, endpoints, the life of a pod.

A world holds one `State`, hands it API writes (`api`), kubelet reports (`kubelet`) and calls
`controllers.reconcile` after each; what comes back is the next `State` and orders for the kubelet. Only
the clock and the kubelet differ between worlds.
"""
