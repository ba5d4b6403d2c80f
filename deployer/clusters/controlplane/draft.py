"""A `State` while the controllers change it: mappings are copied once, and pods are indexed by ReplicaSet."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from random import Random

from deployer.clusters.controlplane.objects import (
    DeploymentObject,
    Order,
    PodObject,
    PodTemplate,
    ReplicaSetObject,
    StartPod,
    State,
    StopPod,
)
from deployer.fleet import RELEASE_LABEL

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own for generated names: no vowels, no bad words


@dataclass(slots=True)
class Counts:
    """The status of one ReplicaSet; terminating pods are in no number."""

    total: int
    ready: int
    available: int


class Draft:
    """What the controllers read and write in one `reconcile`; `finish` gives the next State."""

    def __init__(self, state: State, now_s: float, rng: Random) -> None:
        self.now_s = now_s
        self.deployments = dict(state.deployments)
        self.replicasets = dict(state.replicasets)
        self._state = state
        self._rng = rng
        self._pods = dict(state.pods)
        self._next_order = state.next_order
        self._orders: list[Order] = []
        self.changes = 0
        """Writes so far."""
        self._active: dict[str, dict[str, PodObject]] = {name: {} for name in self.replicasets}
        self._present: dict[str, int] = dict.fromkeys(self.replicasets, 0)
        self.ownerless: list[PodObject] = []
        for pod in self._pods.values():
            if pod.replicaset not in self._active:
                if pod.replicaset and not pod.terminating:
                    self.ownerless.append(pod)
                continue
            self._present[pod.replicaset] += 1
            if not pod.terminating:
                self._active[pod.replicaset][pod.name] = pod
        self.owned: dict[str, list[str]] = {name: [] for name in self.deployments}
        for rs in self.replicasets.values():
            self.owned[rs.deployment].append(rs.name)
        self.reasons: dict[str, str] = {}
        """Why a ReplicaSet was scaled down in this reconcile, by its name."""

    def active(self, replicaset: str) -> list[PodObject]:
        """Its pods that are not terminating."""
        return list(self._active[replicaset].values())

    def present(self, replicaset: str) -> int:
        """How many pods of it there are, terminating ones included."""
        return self._present[replicaset]

    def counts(self, replicaset: ReplicaSetObject) -> Counts:
        """Its status now."""
        min_ready_s = self.deployments[replicaset.deployment].min_ready_s
        total = ready = available = 0
        for pod in self._active[replicaset.name].values():
            total += 1
            if pod.ready:
                ready += 1
                available += available_at_s(pod, min_ready_s) <= self.now_s
        return Counts(total, ready, available)

    def put_deployment(self, deployment: DeploymentObject) -> None:
        """Write a Deployment."""
        self.deployments[deployment.name] = deployment
        self.changes += 1

    def put_replicaset(self, replicaset: ReplicaSetObject) -> None:
        """Write a ReplicaSet, a new one or a changed one."""
        if replicaset.name not in self.replicasets:
            self._active[replicaset.name] = {}
            self._present[replicaset.name] = 0
            self.owned[replicaset.deployment].append(replicaset.name)
        self.replicasets[replicaset.name] = replicaset
        self.changes += 1

    def drop_replicaset(self, replicaset: ReplicaSetObject) -> None:
        """Delete a ReplicaSet without live pods."""
        del self.replicasets[replicaset.name]
        self.owned[replicaset.deployment].remove(replicaset.name)
        self.changes += 1

    def create_pod(self, replicaset: ReplicaSetObject) -> None:
        """Make one pod of the ReplicaSet's template."""
        template = replicaset.template
        pod = PodObject(
            name=f"{replicaset.name}-{_word(self._next_order, 5)}",
            replicaset=replicaset.name,
            deployment=replicaset.deployment,
            labels={**template.labels, RELEASE_LABEL: template.release},
            release=template.release,
            grace_s=template.grace_s,
            created_s=self.now_s,
            order=self._next_order,
            uid=self._rng.getrandbits(64),
        )
        self._next_order += 1
        self._pods[pod.name] = pod
        self._active[replicaset.name][pod.name] = pod
        self._present[replicaset.name] += 1
        self._orders.append(StartPod(pod.name))
        self.changes += 1

    def delete_pod(self, pod: PodObject, why: str) -> None:
        """Begin a pod's termination, with its own grace."""
        self._pods[pod.name] = replace(pod, deleted_s=self.now_s, why=why)
        if pod.replicaset in self._active:
            del self._active[pod.replicaset][pod.name]
        self._orders.append(StopPod(pod.name, grace_of(pod)))
        self.changes += 1

    def finish(self) -> tuple[State, tuple[Order, ...]]:
        """The State as it is now, the very same one if nothing was changed, and orders in their order."""
        if not self.changes:
            return self._state, ()
        state = replace(
            self._state,
            deployments=self.deployments,
            replicasets=self.replicasets,
            pods=self._pods,
            next_order=self._next_order,
            version=self._state.version + 1,
        )
        return state, tuple(self._orders)


def grace_of(pod: PodObject) -> float:
    """The grace of a pod that is deleted now: none where no kubelet has to stop it."""
    return 0.0 if pod.node is None else pod.grace_s


def available_at_s(pod: PodObject, min_ready_s: float) -> float:
    """When a pod counts as available if it stays ready; +inf while it is not ready."""
    return float("inf") if pod.ready_since_s is None else pod.ready_since_s + min_ready_s


def replicaset_name(deployment: str, template: PodTemplate) -> str:
    """The Deployment's name and a hash of the template, as Kubernetes does it: a template has one name."""
    return f"{deployment}-{_word(zlib.crc32(repr(template.key()).encode()), 7)}"


def _word(number: int, length: int) -> str:
    letters: list[str] = []
    while number or len(letters) < length:
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(reversed(letters))
