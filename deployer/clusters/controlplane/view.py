"""The control plane's objects as a deployer sees them."""

from __future__ import annotations

from deployer.clusters.controlplane.api import requests_of
from deployer.clusters.controlplane.objects import DeploymentObject, PodObject, State
from deployer.fleet import RELEASE_LABEL, SLOT_LABEL, Deployment, Fleet, Limits, Pod, PodState


def fleet_of(state: State, limits: Limits) -> Fleet:
    """The fleet in this state, without verdicts and counts; Deployments counted as their status does."""
    owned: dict[str, list[PodObject]] = {name: [] for name in state.deployments}
    for pod in state.pods.values():
        if not pod.terminating and (owner := state.replicasets.get(pod.replicaset)) is not None:
            owned[owner.deployment].append(pod)
    selector = state.service.selector
    selected = selector.get(RELEASE_LABEL)
    return Fleet(
        app=state.app,
        limits=limits,
        requests=requests_of(state),
        deployments={name: _deployment(state, d, owned[name]) for name, d in state.deployments.items()},
        pods=tuple(_pod(p) for p in state.pods.values()),
        selected=selected,
        selected_slot=None if selected is None else selector.get(SLOT_LABEL),
        selected_since_s=None if selected is None else state.service.selected_since_s,
    )


def _deployment(state: State, found: DeploymentObject, pods: list[PodObject]) -> Deployment:
    present = {
        name
        for name in {p.replicaset for p in pods}
        if state.replicasets[name].template.key() == found.template.key()
    }
    updated = [p for p in pods if p.replicaset in present]
    return Deployment(
        name=found.name,
        release=found.template.release,
        desired=found.replicas,
        total=len(pods),
        updated=len(updated),
        ready=sum(p.ready for p in pods),
        updated_ready=sum(p.ready for p in updated),
        created_s=found.created_s,
        progressed_s=found.progressed_s,
        slot=found.labels.get(SLOT_LABEL),
        annotations=found.annotations,
    )


def _pod(pod: PodObject) -> Pod:
    return Pod(
        name=pod.name,
        deployment=pod.deployment,
        release=pod.release,
        state=_state(pod),
        created_s=pod.created_s,
        ready_since_s=pod.ready_since_s,
        terminating_since_s=pod.deleted_s,
        restarts=pod.restarts,
        node=pod.node,
        deletion_cost=pod.deletion_cost,
    )


def _state(pod: PodObject) -> PodState:
    if pod.terminating:
        return PodState.TERMINATING
    if pod.node is None:
        return PodState.PENDING
    if pod.ready:
        return PodState.READY
    return PodState.UNREADY if pod.was_ready else PodState.STARTING
