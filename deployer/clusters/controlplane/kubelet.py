"""What a scheduler and a kubelet report of pods; about a pod that is gone, nothing is changed."""

from __future__ import annotations

from dataclasses import replace

from deployer.clusters.controlplane.objects import PodObject, State


def scheduled(state: State, pod: str, node: str, now_s: float) -> State:
    """The pod has a node. The controllers need not run for it."""
    found = state.pods.get(pod)
    if found is None or found.node is not None:
        return state
    return _with_pod(state, replace(found, node=node, scheduled_s=now_s))


def started(state: State, pod: str, now_s: float) -> State:
    """Its process runs. The controllers need not run for it."""
    found = state.pods.get(pod)
    if found is None or found.started_s is not None:
        return state
    return _with_pod(state, replace(found, started_s=now_s))


def ready(state: State, pod: str, is_ready: bool, now_s: float) -> State:
    """Its readiness probe says so; reported of terminating pods too, as Kubernetes does (`serving`)."""
    found = state.pods.get(pod)
    if found is None or found.ready == is_ready:
        return state
    since_s = now_s if is_ready else None
    return _with_pod(
        state,
        replace(found, ready=is_ready, ready_since_s=since_s, was_ready=found.was_ready or is_ready),
    )


def restarted(state: State, pod: str, now_s: float) -> State:
    """Its process died and was started again at `now_s`: the same pod, not ready, one restart more."""
    found = state.pods.get(pod)
    if found is None:
        return state
    again = replace(found, restarts=found.restarts + 1, ready=False, ready_since_s=None, started_s=now_s)
    return _with_pod(state, again)


def gone(state: State, pod: str, now_s: float) -> State:
    """The object is gone: its process has ended, or its node was given up."""
    if pod not in state.pods:
        return state
    pods = {name: other for name, other in state.pods.items() if name != pod}
    return replace(state, pods=pods, version=state.version + 1)


def _with_pod(state: State, pod: PodObject) -> State:
    return replace(state, pods={**state.pods, pod.name: pod}, version=state.version + 1)
