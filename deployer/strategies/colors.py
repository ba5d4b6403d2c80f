"""N fixed Deployments, the slots: a deploy takes the one that was deselected longest ago."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from deployer.actions import (
    Action,
    Block,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    Refuse,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from deployer.draining.memory import time_of
from deployer.fleet import DESELECTED_AT, Decision, Deployment, Fleet, Outcome, Request
from deployer.marks import drains, failed, is_selected, selected_before
from deployer.strategies.base import at_least, bad_name, begun
from deployer.strategies.leaving import Leave, Leaving


@dataclass(frozen=True, kw_only=True)
class Colors(Leaving):
    """`count` slots, all at full size from the first deploy on (with `shrink`, until they drain).

    The Service selects slot and release. A slot that has never served its present release is free. Where the
    slot to take still drains, `when_busy` says what becomes of the deploy: `block` drops it, `wait` keeps it
    until the slot is free or a newer request comes, `force` takes the slot with its users, but never one that
    is pinned or of unknown state.
    """

    name: ClassVar[str] = "colors"

    count: int = 8
    when_busy: Literal["block", "wait", "force"] = "block"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self.name, "count", self.count, 2)

    @property
    def update(self) -> UpdateStrategy:
        """Kubernetes' Recreate: a slot is empty, or to be emptied, when it is taken."""
        return UpdateStrategy(UpdateType.RECREATE)

    @property
    def slots(self) -> Sequence[str]:
        """The slots' labels, in the order in which the first deploys take them."""
        return tuple(f"slot-{i}" for i in range(self.count))

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """Take a slot for the wanted release and switch to it once all its pods are ready."""
        goal = fleet.goal
        found = {slot: fleet.deployments.get(f"{fleet.app}-{slot}") for slot in self.slots}
        slots = {d.name: d for d in found.values() if d is not None}
        if goal is None:
            because = "the first deploy failed"
            lost = [d for d in slots.values() if failed(fleet, d.release) and not selected_before(fleet, d)]
            return [DeleteDeployment(d.name, because=because) for d in lost]
        if goal.outcome is None and (refusal := bad_name(goal) or self._lack(fleet, slots)) is not None:
            return [Refuse(goal.deploy, refusal)]
        leaves = {d.name: self._leave_slot(fleet, d, now_s) for d in slots.values() if drains(fleet, d)}
        target = self._target(fleet, slots, goal)
        actions: list[Action] = self._missing(fleet, found, goal)
        if target is None and not actions:
            target, busy = self._take(fleet, slots, goal, leaves)
            actions += busy
        if target is not None:
            actions += self._reach(fleet, slots, target, goal, now_s)
        taken = target.name if target is not None else None
        actions += self._clean_up(fleet, slots, goal, taken)
        for name, leave in leaves.items():
            if name != taken:
                actions += leave.actions
        return actions

    def _leave_slot(self, fleet: Fleet, slot: Deployment, now_s: float) -> Leave:
        """As any old release leaves, except that the slot stays: one that has drained shrinks at once."""
        leave, verdict = self.leave(fleet, slot, now_s), fleet.verdict_on(slot.name)
        drained = leave.may_go and verdict is not None and verdict.decision is Decision.DRAINED
        if not (self.shrink and drained and slot.desired > 1):
            return leave
        return replace(leave, actions=(Scale(slot.name, 1, because=leave.because),))

    def _lack(self, fleet: Fleet, slots: Mapping[str, Deployment]) -> str | None:
        capacity, needed = fleet.limits.capacity_pods, self.count * fleet.limits.replicas
        if len(slots) == self.count or capacity is None or needed <= capacity:
            return None
        return (
            f"{self.count} slots of {fleet.limits.replicas} pods need {needed}, and the nodes hold {capacity}"
        )

    def _missing(self, fleet: Fleet, found: Mapping[str, Deployment | None], goal: Request) -> list[Action]:
        return [
            CreateDeployment(
                f"{fleet.app}-{slot}",
                goal.release,
                fleet.limits.replicas,
                own_release=False,
                slot=slot,
                because="every slot is there at full size",
            )
            for slot, deployment in found.items()
            if deployment is None
        ]

    def _target(self, fleet: Fleet, slots: Mapping[str, Deployment], goal: Request) -> Deployment | None:
        """The slot that has the wanted release: the selected one, else the last that served it, else any."""
        having = [d for d in slots.values() if d.release == goal.release]

        def rank(deployment: Deployment) -> tuple[bool, bool, float]:
            since_s = time_of(deployment, DESELECTED_AT) or 0.0
            return (
                is_selected(fleet, deployment),
                selected_before(fleet, deployment),
                since_s,
            )

        return max(having, key=rank, default=None)

    def _take(
        self, fleet: Fleet, slots: Mapping[str, Deployment], goal: Request, leaves: Mapping[str, Leave]
    ) -> tuple[Deployment | None, Sequence[Action]]:
        """The slot for a release that none has yet, or what to do because it is busy."""
        others = [d for d in slots.values() if not is_selected(fleet, d)]
        free = [d for d in others if not selected_before(fleet, d)]
        if free:
            return free[0], ()
        oldest = min(
            others, key=lambda d: (time_of(d, DESELECTED_AT) is None, time_of(d, DESELECTED_AT) or 0.0)
        )
        leave, verdict = leaves.get(oldest.name, Leave()), fleet.verdict_on(oldest.name)
        if leave.may_go:
            return oldest, ()
        if verdict is None or verdict.decision is Decision.UNKNOWN:
            because = f"it is not known whether {oldest.name} has drained"
        elif math.isinf(verdict.whole_until_s):
            because = f"{oldest.name} is pinned"
        elif self.when_busy == "force":
            return oldest, ()
        else:
            because = f"{oldest.name}, deselected longest ago, still drains"
        return None, (Block(goal.deploy, because, drop=self.when_busy != "wait"),)

    def _reach(
        self, fleet: Fleet, slots: Mapping[str, Deployment], target: Deployment, goal: Request, now_s: float
    ) -> list[Action]:
        actions: list[Action] = []
        because = f"{goal.release} is wanted"
        if target.release != goal.release:
            actions.append(SetRelease(target.name, goal.release, because=because))
        if target.desired < fleet.limits.replicas:
            actions.append(Scale(target.name, fleet.limits.replicas, because=because))
        if actions:
            return [begun(target, now_s), *actions]
        if is_selected(fleet, target):
            return []
        first = fleet.selected is None
        awaited = list(slots.values()) if first else [target]
        ready_at_s = [self.ready_at_s(fleet, d) for d in awaited]
        if (not first or len(slots) == self.count) and None not in ready_at_s:
            latest_s = max(s for s in ready_at_s if s is not None)
            if latest_s > now_s:
                return [LookAgain(latest_s, because="its pods must have been ready for a while")]
            because = f"all pods of {target.name} are ready"
            return [Select(goal.release, slot=target.slot, because=because)]
        if goal.outcome is not None:
            return []
        late = [d for d, at_s in zip(awaited, ready_at_s, strict=True) if at_s is None]
        deadline_s = min((self.deadline_s(d, goal) for d in late), default=now_s + self.progress_deadline_s)
        if now_s < deadline_s:
            return [LookAgain(deadline_s, because="the progress deadline")]
        because = f"{late[0].name} has not progressed for {self.progress_deadline_s:g} s"
        return [Settle(goal.deploy, Outcome.FAILED, because=because)]

    def _clean_up(
        self, fleet: Fleet, slots: Mapping[str, Deployment], goal: Request, taken: str | None
    ) -> list[Action]:
        """A slot whose release failed gets the serving one, so that it stands at full size again."""
        return [
            SetRelease(d.name, goal.release, because=f"{d.release} failed")
            for d in slots.values()
            if d.name != taken
            and d.release != goal.release
            and goal.outcome is Outcome.DONE
            and not selected_before(fleet, d)
            and failed(fleet, d.release)
        ]
