"""Writes to the API server, as pure functions; `controllers.reconcile` carries out what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from deployer.actions import (
    Action,
    Annotate,
    Block,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    MarkForDeletion,
    NotifyDeselected,
    Refuse,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.clusters.controlplane import requests
from deployer.clusters.controlplane.draft import grace_of
from deployer.clusters.controlplane.objects import (
    DeploymentObject,
    Order,
    PodTemplate,
    RejectedError,
    ServiceObject,
    State,
    StopPod,
    UpdateStrategy,
)
from deployer.fleet import RELEASE_LABEL, SLOT_LABEL, Kind, Outcome, Release, Request

APP_LABEL = "app"
FORCED_GRACE_S = 2.0
"""How long a process lives on when its pod object was removed by force (measured on Kubernetes 1.34)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What every Deployment of this app looks like, besides name, release and size."""

    update: UpdateStrategy
    grace_s: float
    min_ready_s: float = 0.0
    progress_deadline_s: float = 600.0


def empty(app: str, selects_release: bool) -> State:
    """An app with its Service and nothing else.

    A Service that selects releases has no endpoints until the first Select; any other selects the whole app.
    """
    return State(app, ServiceObject(app, {} if selects_release else {APP_LABEL: app}))


def act(state: State, action: Action, shape: Shape, now_s: float) -> State:
    """Carry out one action: idempotent, and nothing on an object that is not there.

    NotifyDeselected, CloseConnections and LookAgain write nothing here; they are the world's.
    Raises RejectedError where the API server would refuse.
    """
    match action:
        case CreateDeployment():
            return _create(state, action, shape, now_s)
        case SetRelease():
            return _set_release(state, action)
        case Scale():
            return _scale(state, action)
        case Select():
            return _select(state, action, now_s)
        case DeleteDeployment():
            return _delete(state, action)
        case MarkForDeletion():
            return _mark(state, action)
        case Annotate():
            return _annotate(state, action)
        case Settle(deploy, outcome, because):
            return _settle(state, deploy, outcome, because, now_s)
        case Refuse(deploy, because):
            return _settle(state, deploy, Outcome.REFUSED, because, now_s)
        case Block(deploy, because, drop):
            if drop:
                return _settle(state, deploy, Outcome.BLOCKED, because, now_s)
            return _write_requests(state, requests.waiting(requests_of(state), deploy, because))
        case NotifyDeselected() | CloseConnections() | LookAgain():
            return state
    assert_never(action)


def delete_pod(
    state: State, pod: str, now_s: float, grace_s: float | None = None, why: str = ""
) -> tuple[State, tuple[Order, ...]]:
    """Delete one pod, with its own grace where none is given.

    A grace once started cannot be changed: deleting a terminating pod again does nothing. With `grace_s` 0
    (kubectl's --force) only the object goes, at once; the process outlives it, by 2 s or by all of an earlier
    grace.
    """
    found = state.pods.get(pod)
    if found is None:
        return state, ()
    if grace_s is not None and grace_s < 0:
        raise RejectedError(f"grace_s={grace_s} of pod {pod} must be >= 0")
    if grace_s == 0:
        pods = {name: other for name, other in state.pods.items() if name != pod}
        stop = () if found.terminating else (StopPod(pod, FORCED_GRACE_S),)
        return replace(state, pods=pods, version=state.version + 1), stop
    if found.terminating:
        return state, ()
    gone = replace(found, deleted_s=now_s, why=why)
    grace = grace_of(found) if grace_s is None or found.node is None else grace_s
    return replace(state, pods={**state.pods, pod: gone}, version=state.version + 1), (StopPod(pod, grace),)


def request(state: State, release: Release, kind: Kind, now_s: float) -> tuple[State, int]:
    """Write down that a release is wanted; returns the request's number, 0 for the app's first."""
    wanted, number = requests.added(requests_of(state), release, kind, now_s)
    return _write_requests(state, wanted), number


def requests_of(state: State) -> tuple[Request, ...]:
    """The requests that the Service remembers, oldest first."""
    return requests.read(state.service.annotations.get(requests.REQUESTS, ""))


def _create(state: State, action: CreateDeployment, shape: Shape, now_s: float) -> State:
    if action.name in state.deployments:
        return state
    _check_size(action.name, action.replicas)
    identity = {APP_LABEL: state.app}
    if action.slot is not None:
        identity[SLOT_LABEL] = action.slot
    match_labels = {**identity, RELEASE_LABEL: action.release} if action.own_release else identity
    return _with_deployment(
        state,
        DeploymentObject(
            name=action.name,
            match_labels=match_labels,
            template=PodTemplate(action.release, shape.grace_s, identity),
            replicas=action.replicas,
            created_s=now_s,
            strategy=shape.update,
            min_ready_s=shape.min_ready_s,
            progress_deadline_s=shape.progress_deadline_s,
            progressed_s=now_s,
            labels=identity,
        ),
    )


def _set_release(state: State, action: SetRelease) -> State:
    found = state.deployments.get(action.deployment)
    if found is None or found.template.release == action.release:
        return state
    own = found.match_labels.get(RELEASE_LABEL)
    if own is not None:
        raise RejectedError(
            f"Deployment {found.name} selects release {own} for good and cannot take {action.release}; "
            "create another Deployment"
        )
    return _with_deployment(state, replace(found, template=replace(found.template, release=action.release)))


def _scale(state: State, action: Scale) -> State:
    _check_size(action.deployment, action.replicas)
    found = state.deployments.get(action.deployment)
    if found is None or found.replicas == action.replicas:
        return state
    return _with_deployment(state, replace(found, replicas=action.replicas))


def _select(state: State, action: Select, now_s: float) -> State:
    selector = {APP_LABEL: state.app, RELEASE_LABEL: action.release}
    if action.slot is not None:
        selector[SLOT_LABEL] = action.slot
    if state.service.selector == selector:
        return state
    return _with_service(state, replace(state.service, selector=selector, selected_since_s=now_s))


def _delete(state: State, action: DeleteDeployment) -> State:
    """Its ReplicaSets go in the same write, so that a new Deployment of the name inherits nothing."""
    name = action.deployment
    if name not in state.deployments:
        return state
    return replace(
        state,
        deployments={key: d for key, d in state.deployments.items() if key != name},
        replicasets={key: rs for key, rs in state.replicasets.items() if rs.deployment != name},
        version=state.version + 1,
    )


def _mark(state: State, action: MarkForDeletion) -> State:
    marked = {
        name: replace(pod, deletion_cost=cost)
        for name, cost in action.costs.items()
        if (pod := state.pods.get(name)) is not None and pod.deletion_cost != cost
    }
    if not marked:
        return state
    return replace(state, pods={**state.pods, **marked}, version=state.version + 1)


def _annotate(state: State, action: Annotate) -> State:
    found = state.deployments.get(action.deployment)
    if found is None or found.annotations.get(action.key) == action.value:
        return state
    return _with_deployment(
        state, replace(found, annotations=_changed(found.annotations, action.key, action.value))
    )


def _settle(state: State, deploy: int, outcome: Outcome, because: str, now_s: float) -> State:
    return _write_requests(state, requests.settled(requests_of(state), deploy, outcome, because, now_s))


def _write_requests(state: State, wanted: Sequence[Request]) -> State:
    if wanted == requests_of(state):
        return state
    annotations = _changed(state.service.annotations, requests.REQUESTS, requests.write(wanted))
    return _with_service(state, replace(state.service, annotations=annotations))


def _changed(annotations: Mapping[str, str], key: str, value: str | None) -> dict[str, str]:
    changed = {k: v for k, v in annotations.items() if k != key}
    if value is not None:
        changed[key] = value
    return changed


def _with_deployment(state: State, deployment: DeploymentObject) -> State:
    deployments = {**state.deployments, deployment.name: deployment}
    return replace(state, deployments=deployments, version=state.version + 1)


def _with_service(state: State, service: ServiceObject) -> State:
    return replace(state, service=service, version=state.version + 1)


def _check_size(name: str, replicas: int) -> None:
    if replicas < 0:
        raise RejectedError(f"replicas={replicas} of Deployment {name} must be >= 0")
