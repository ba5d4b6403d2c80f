"""How an old release leaves: nudged, shrunk as it empties, then gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from deployer.actions import Action, Annotate, CloseConnections, LookAgain, MarkForDeletion, Scale
from deployer.draining.memory import deselected_s, time_of
from deployer.fleet import Decision, Deployment, Fleet, Pod, PodState, Verdict
from deployer.marks import NUDGED_UNTIL
from deployer.strategies.base import Base, StrategyError, at_least

NUDGE_SLACK_S = 60.0
"""What clients get, beyond the paced time, to follow a request to leave."""
VICTIM_COST = -1
"""Deletion cost of the pod that is to go next; all others have 0, as pods have by default."""


@dataclass(frozen=True, kw_only=True)
class Nudge:
    """Ask the clients that are left `after_s` after the deselection to leave, `per_s` of them a second."""

    after_s: float
    per_s: float

    def __post_init__(self) -> None:
        at_least("nudge", "after", self.after_s, 0)
        if not self.per_s > 0:
            raise StrategyError(f"nudge: per_s={self.per_s:g} must be above 0; leave nudge out to ask nobody")


@dataclass(frozen=True)
class Leave:
    """What to do about an old release now, and whether it may go altogether."""

    may_go: bool = False
    because: str = ""
    actions: Sequence[Action] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Leaving(Base):
    """The modifiers of the strategies in which old releases drain."""

    shrink: bool = False  # scale an old release down as its pods empty
    nudge: Nudge | None = None

    @property
    def reads_counts(self) -> bool:
        """Whether it must know the pods' connections, whatever the drain policy."""
        return self.shrink or self.nudge is not None

    def leave(self, fleet: Fleet, deployment: Deployment, now_s: float, floor: int = 1) -> Leave:
        """What the modifiers make of the verdict on this Deployment; nothing while it is unknown.

        With `shrink`, pods that are empty go one by one, down to `floor`. The drain settings keep it warm
        or pinned: until then its verdict is to keep it, and no pod of it goes.
        """
        verdict = fleet.verdict_on(deployment.name)
        since_s = deselected_s(deployment)
        if verdict is None or since_s is None or verdict.decision is Decision.UNKNOWN:
            return Leave()
        nudging = self._nudging(fleet, deployment, verdict, since_s, now_s)
        if verdict.may_go and not (verdict.decision is Decision.OVERDUE and nudging):
            return Leave(may_go=True, because=verdict.reason)
        if not self.shrink:
            return Leave(actions=nudging)
        return Leave(actions=(*nudging, *shrunk(fleet, deployment, verdict, now_s, floor)))

    def _nudging(
        self, fleet: Fleet, deployment: Deployment, verdict: Verdict, since_s: float, now_s: float
    ) -> tuple[Action, ...]:
        """Ask those who are left, of an overdue release once; empty when they are gone or had their time."""
        if self.nudge is None:
            return ()
        overdue = verdict.decision is Decision.OVERDUE
        due_s = since_s + self.nudge.after_s
        if now_s < due_s and not overdue:
            return (LookAgain(due_s, because="the nudge"),)
        until_s = time_of(deployment, NUDGED_UNTIL)
        if until_s is not None and (overdue or now_s < until_s):
            return (LookAgain(until_s, because="the nudge's end"),) if now_s < until_s else ()
        pods = [p for p in fleet.pods_of(deployment.name) if p.count is not None and p.count.open > 0]
        if not pods:
            return ()
        left = sum(p.count.open for p in pods if p.count is not None)
        until_s = now_s + left / self.nudge.per_s + NUDGE_SLACK_S
        because = f"{left} connections are left {now_s - since_s:.0f} s after the deselection"
        return (
            CloseConnections(tuple(p.name for p in pods), self.nudge.per_s, because=because),
            Annotate(deployment.name, NUDGED_UNTIL, repr(until_s), because="they were asked to leave"),
            LookAgain(until_s, because="the nudge's end"),
        )


def shrunk(
    fleet: Fleet, deployment: Deployment, verdict: Verdict, now_s: float, floor: int
) -> tuple[Action, ...]:
    """One step towards one pod less: mark an empty pod, or, once the cluster shows the mark, scale by one.

    Only while every pod is ready and has said its count: else the cluster would choose another victim.
    """
    if now_s < verdict.whole_until_s:
        pinned = math.isinf(verdict.whole_until_s)
        return () if pinned else (LookAgain(verdict.whole_until_s, because="no pod of it leaves before"),)
    pods = [p for p in fleet.pods_of(deployment.name) if p.state is not PodState.TERMINATING]
    whole = len(pods) == deployment.desired == deployment.total == deployment.ready
    if not whole or deployment.desired <= floor or any(p.state is not PodState.READY for p in pods):
        return ()
    empty = [p for p in pods if p.count is not None and p.count.open == 0]
    if not empty or any(p.count is None for p in pods):
        return ()
    victim = min(empty, key=_victim_order)
    wanted = {p.name: VICTIM_COST if p is victim else 0 for p in pods}
    wrong = {p.name: wanted[p.name] for p in pods if p.deletion_cost != wanted[p.name]}
    if wrong:
        return (MarkForDeletion(wrong, because=f"{victim.name} is empty"),)
    return (Scale(deployment.name, deployment.desired - 1, because=f"{victim.name} is empty"),)


def _victim_order(pod: Pod) -> tuple[bool, str]:
    """Stay with the one that is marked already."""
    return (pod.deletion_cost != VICTIM_COST, pod.name)
