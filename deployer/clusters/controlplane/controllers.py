"""Kubernetes' controllers for Deployments and ReplicaSets and its garbage collection, run to rest."""

from __future__ import annotations

from random import Random

from deployer.clusters.controlplane import replicasets, rollout
from deployer.clusters.controlplane.draft import Draft, available_at_s
from deployer.clusters.controlplane.objects import Order, State

MOST_PASSES = 100
"""Far more than any Deployment needs at one moment: revisions only shrink or grow one way in it."""


class NotSettlingError(AssertionError):
    """The controllers' model contradicts itself: an error of this program."""


def reconcile(state: State, now_s: float, rng: Random) -> tuple[State, tuple[Order, ...]]:
    """Run the controllers until none has anything to do, and return the State and orders for the kubelet.

    To be called after every write and report (`kubelet.scheduled` and `started` excepted) and at
    `next_due_s`. `rng` draws the new pods' UIDs. With nothing to do, it gives the same State back.
    """
    draft = Draft(state, now_s, rng)
    for pod in draft.ownerless:
        draft.delete_pod(pod, "deployment deleted")
    for name in state.deployments:
        _settle(draft, name)
    return draft.finish()


def next_due_s(state: State, now_s: float) -> float | None:
    """When time alone makes a ready pod available (minReadySeconds) and the controllers move; None: never."""
    patient = {name: d.min_ready_s for name, d in state.deployments.items() if d.min_ready_s > 0}
    if not patient:
        return None
    due = (
        available_at_s(pod, patient[pod.deployment])
        for pod in state.pods.values()
        if pod.ready and not pod.terminating and pod.deployment in patient
    )
    return min((at_s for at_s in due if at_s > now_s), default=None)


def _settle(draft: Draft, deployment: str) -> None:
    for _ in range(MOST_PASSES):
        before = draft.changes
        rollout.sync(draft, deployment)
        for name in tuple(draft.owned[deployment]):
            replicasets.sync(draft, name)
        if draft.changes == before:
            return
    raise NotSettlingError(f"Deployment {deployment} still changes after {MOST_PASSES} passes")
