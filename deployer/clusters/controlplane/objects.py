"""The objects of the control-plane model: frozen, and replaced, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RejectedError(ValueError):
    """The API server would refuse this write; says which value and why in one line."""


class UnreadableError(RejectedError):
    """What an annotation holds cannot be used; names it, its value and the way out in one line."""


class UpdateType(StrEnum):
    """How a Deployment replaces its pods."""

    ROLLING = "RollingUpdate"
    RECREATE = "Recreate"


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """A Deployment's `spec.strategy`; bounds are pods (int) or a share such as "25%"."""

    type: UpdateType = UpdateType.ROLLING
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What a ReplicaSet makes its pods of; equal templates are one revision."""

    release: str
    grace_s: float = 30.0
    labels: Mapping[str, str] = field(default_factory=dict)  # besides the release: app, slot

    def key(self) -> tuple[object, ...]:
        """What tells one template from another."""
        return (self.release, self.grace_s, tuple(sorted(self.labels.items())))


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """What the Deployment controller last wrote of its pods; terminating ones are in no number."""

    total: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    complete: bool = False  # the Progressing condition's reason is NewReplicaSetAvailable


@dataclass(frozen=True, slots=True)
class DeploymentObject:
    """A Deployment."""

    name: str
    match_labels: Mapping[str, str]
    template: PodTemplate
    replicas: int
    created_s: float
    strategy: UpdateStrategy = UpdateStrategy()
    min_ready_s: float = 0.0
    progress_deadline_s: float = 600.0
    revision_history_limit: int = 10
    progressed_s: float = 0.0  # the Progressing condition's lastUpdateTime, a time-out not counted as one
    status: DeploymentStatus = DeploymentStatus()
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaSetObject:
    """One revision of a Deployment."""

    name: str
    deployment: str
    template: PodTemplate
    revision: int
    replicas: int  # wanted
    created_s: float
    desired: int = 0  # annotation desired-replicas: the Deployment's number when this one was last scaled
    max_replicas: int = 0  # annotation max-replicas: desired plus surge at that time


@dataclass(frozen=True, slots=True)
class PodObject:
    """A pod as the API server has it; its process is the kubelet's business."""

    name: str
    replicaset: str  # "" for an orphan
    deployment: str
    labels: Mapping[str, str]  # app, release, slot …
    release: str
    grace_s: float
    created_s: float
    order: int  # 0 for the app's first pod, then counting up
    uid: int = 0  # drawn when the pod is created; breaks ties in the order of scale-down
    node: str | None = None
    scheduled_s: float | None = None
    started_s: float | None = None  # its process runs
    ready: bool = False
    ready_since_s: float | None = None
    was_ready: bool = False
    deleted_s: float | None = None  # terminating since
    deletion_cost: int = 0
    restarts: int = 0
    why: str = ""  # what ended it, in a word or two (rollout, scale-down, deployment deleted, kill …)

    @property
    def terminating(self) -> bool:
        """Whether it was deleted and its object is still there."""
        return self.deleted_s is not None


@dataclass(frozen=True, slots=True)
class ServiceObject:
    """The one Service of an app: a pod is behind it when it has all these labels."""

    name: str
    selector: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    selected_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the API server stores of one app."""

    app: str
    service: ServiceObject
    deployments: Mapping[str, DeploymentObject] = field(default_factory=dict)
    replicasets: Mapping[str, ReplicaSetObject] = field(default_factory=dict)
    pods: Mapping[str, PodObject] = field(default_factory=dict)
    next_order: int = 0  # of the next pod
    version: int = 0  # grows with every change, as a resourceVersion does


@dataclass(frozen=True, slots=True)
class StartPod:
    """An order to the kubelet: this pod was created."""

    pod: str


@dataclass(frozen=True, slots=True)
class StopPod:
    """An order to the kubelet: this pod was deleted; SIGTERM now, SIGKILL when the grace is over.

    A grace of 0 is for a pod without a node: nothing has to end, its object may be reported gone at once.
    """

    pod: str
    grace_s: float


Order = StartPod | StopPod


@dataclass(frozen=True, slots=True)
class Timing:
    """What a real cluster takes for its own steps, in seconds (measured; docs/model.md says how)."""

    sigterm_after_s: float = 0.04  # delete → SIGTERM
    gone_after_exit_s: float = 0.7  # process has exited → object gone
    endpoint_s: float = 0.07  # change of an endpoint → kube-proxy's rules, when no sync was recent
