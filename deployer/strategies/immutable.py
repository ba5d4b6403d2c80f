"""The strategy that Kubernetes lacks: pods are told that they are deselected, and leave when empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from deployer.actions import Action, Annotate, NotifyDeselected
from deployer.draining.memory import deselected_s
from deployer.fleet import Decision, Deployment, Fleet, PodState
from deployer.marks import AGAIN, NOTIFIED, is_wanted, told_names, told_text
from deployer.strategies.leaving import Leave, shrunk
from deployer.strategies.rainbow import Rainbow


@dataclass(frozen=True, kw_only=True)
class Immutable(Rainbow):
    """As rainbow, but an old release leaves pod by pod, each once it is empty, and is deleted at none.

    Emulated on stock Kubernetes: the deployer tells each pod once (the hook), and scales the old Deployment
    down as its pods empty. A verdict that the whole release may go ends it sooner. Pods that were told and
    are to serve again, after a rollback, are told so before the switch.
    """

    name: ClassVar[str] = "immutable"

    @property
    def reads_counts(self) -> bool:
        """Always: each pod leaves by its own count."""
        return True

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """As rainbow, and with the hook taken back where it has to be."""
        back = [a for d in fleet.deployments.values() if is_wanted(fleet, d) for a in _told_back(fleet, d)]
        return (*back, *super().plan(fleet, now_s))

    def leave_release(self, fleet: Fleet, deployment: Deployment, now_s: float) -> Leave:
        """Tell the pods, let the empty ones go, then the Deployment."""
        verdict = fleet.verdict_on(deployment.name)
        if verdict is None or deselected_s(deployment) is None:
            return Leave()
        told = _told(fleet, deployment)
        if verdict.decision is Decision.UNKNOWN:
            return Leave(actions=told)
        leave = replace(self, shrink=False).leave(fleet, deployment, now_s)
        if leave.may_go:
            return leave
        return Leave(actions=(*told, *leave.actions, *shrunk(fleet, deployment, verdict, now_s, floor=0)))


def _told(fleet: Fleet, deployment: Deployment) -> tuple[Action, ...]:
    """The hook, for the pods that have not been told yet."""
    known = set(told_names(deployment.annotations.get(NOTIFIED, "")))
    pods = [p for p in fleet.pods_of(deployment.name) if p.state in (PodState.READY, PodState.UNREADY)]
    new = tuple(sorted(p.name for p in pods if p.name not in known))
    if not new:
        return ()
    names = told_text((*(p.name for p in pods if p.name in known), *new))
    return (
        NotifyDeselected(new, because=f"{deployment.release} is no longer selected"),
        Annotate(deployment.name, NOTIFIED, names, because="they were told"),
    )


def _told_back(fleet: Fleet, deployment: Deployment) -> tuple[Action, ...]:
    """The hook taken back, for the pods that were told."""
    told = [name.removesuffix(AGAIN) for name in told_names(deployment.annotations.get(NOTIFIED, ""))]
    there = {p.name for p in fleet.pods_of(deployment.name) if p.state is not PodState.TERMINATING}
    if not told:
        return ()
    because = f"{deployment.release} is to serve again"
    return (
        NotifyDeselected(tuple(name for name in told if name in there), undo=True, because=because),
        Annotate(deployment.name, NOTIFIED, None, because=because),
    )
