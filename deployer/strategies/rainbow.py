"""One Deployment per release: the Service moves to the new one, the old ones drain."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from deployer.actions import (
    Action,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    Refuse,
    Scale,
    Select,
    Settle,
)
from deployer.draining.memory import deselected_s
from deployer.fleet import Decision, Deployment, Fleet, Outcome, Release, Request
from deployer.marks import abandoned, drains, is_selected, selected_before
from deployer.strategies.base import StrategyError, bad_name, begun
from deployer.strategies.leaving import Leave, Leaving


@dataclass(frozen=True, kw_only=True)
class Rainbow(Leaving):
    """`<app>-<release>`: create, wait until it is ready, switch, drain, delete when the verdict says so.

    A rollback is a switch back to a Deployment that still lives, after scaling it up again where it was
    shrunk. `max_releases` bounds the live Deployments; at the bound (or where the nodes are full) a deploy is
    refused, or the oldest draining ones are retired for it, but never one that is pinned or of unknown state.
    """

    name: ClassVar[str] = "rainbow"

    max_releases: int | None = None  # None: no cap of its own; the fleet's limits hold besides
    at_cap: Literal["refuse", "retire_oldest"] = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_releases is not None and self.max_releases < 2:
            raise StrategyError(
                f"{self.name}: max_releases={self.max_releases} must be at least 2: "
                "one that serves and one that comes"
            )

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """Bring the wanted release up and switch to it; let the others go as their verdicts allow."""
        going: dict[str, Action] = {}
        staying: dict[str, Sequence[Action]] = {}
        for d in fleet.deployments.values():
            if abandoned(fleet, d):
                going[d.name] = DeleteDeployment(d.name, because="its deploy came to nothing")
            elif drains(fleet, d):
                leave = self.leave_release(fleet, d, now_s)
                if leave.may_go:
                    going[d.name] = DeleteDeployment(d.name, because=leave.because)
                else:
                    staying[d.name] = leave.actions
        goal = fleet.goal
        reach = () if goal is None else self._reach(fleet, goal, going.keys(), now_s)
        retired = {a.deployment for a in reach if isinstance(a, DeleteDeployment)}
        modified = (a for name, actions in staying.items() if name not in retired for a in actions)
        return (*going.values(), *reach, *modified)

    def leave_release(self, fleet: Fleet, deployment: Deployment, now_s: float) -> Leave:
        """What to do about one old release."""
        return self.leave(fleet, deployment, now_s)

    def _reach(self, fleet: Fleet, goal: Request, going: Collection[str], now_s: float) -> tuple[Action, ...]:
        name = deployment_name(fleet.app, goal.release)
        new = fleet.deployments.get(name)
        if new is None:
            return self._begin(fleet, goal, name, going)
        if new.desired < fleet.limits.replicas:
            because = f"{goal.release} is wanted at full size"
            return (begun(new, now_s), Scale(name, fleet.limits.replicas, because=because))
        if is_selected(fleet, new):
            return ()
        ready_at_s = self.ready_at_s(fleet, new)
        if ready_at_s is not None:
            if ready_at_s > now_s:
                return (LookAgain(ready_at_s, because="its pods must have been ready for a while"),)
            return (Select(goal.release, because=f"its {new.ready} pods are ready"),)
        deadline_s = self.deadline_s(new, goal)
        if goal.outcome is not None:
            return ()
        if now_s < deadline_s:
            return (LookAgain(deadline_s, because="the progress deadline"),)
        because = (
            f"no progress for {self.progress_deadline_s:g} s with {new.ready} of {new.desired} pods ready"
        )
        failed = Settle(goal.deploy, Outcome.FAILED, because=because)
        if selected_before(fleet, new):  # a rollback that failed: its old users are still there
            return (failed,)
        return (failed, DeleteDeployment(name, because=because))

    def _begin(self, fleet: Fleet, goal: Request, name: str, going: Collection[str]) -> tuple[Action, ...]:
        create = CreateDeployment(
            name, goal.release, fleet.limits.replicas, because=f"{goal.release} is wanted"
        )
        if goal.outcome is not None:  # it served and was deleted by someone else: no cap keeps it away
            return (create,)
        if (bad := bad_name(goal)) is not None:
            return (Refuse(goal.deploy, bad),)
        retired: list[Action] = []
        live = [d for d in fleet.deployments.values() if d.name not in going]
        while (lack := self._lack(fleet, live)) is not None:
            oldest = self._oldest_leaving(fleet, live) if self.at_cap == "retire_oldest" else None
            if oldest is None:
                return (Refuse(goal.deploy, lack),)
            live.remove(oldest)
            retired.append(DeleteDeployment(oldest.name, because=f"it makes room: {lack}"))
        return (*retired, create)

    def _lack(self, fleet: Fleet, live: Sequence[Deployment]) -> str | None:
        caps = [c for c in (self.max_releases, fleet.limits.max_releases) if c is not None]
        if caps and len(live) + 1 > min(caps):
            return f"{len(live)} releases are live, and {min(caps)} may be"
        pods, capacity = sum(d.desired for d in live), fleet.limits.capacity_pods
        if capacity is not None and pods + fleet.limits.replicas > capacity:
            return (
                f"it needs {fleet.limits.replicas} pods beside {pods} others, and the nodes hold {capacity}"
            )
        return None

    def _oldest_leaving(self, fleet: Fleet, live: Sequence[Deployment]) -> Deployment | None:
        known = []
        for deployment in live:
            verdict, since_s = fleet.verdict_on(deployment.name), deselected_s(deployment)
            if verdict is None or since_s is None or not drains(fleet, deployment):
                continue
            if verdict.decision is not Decision.UNKNOWN and not math.isinf(verdict.whole_until_s):
                known.append((since_s, deployment.name, deployment))
        return min(known)[2] if known else None


def deployment_name(app: str, release: Release) -> str:
    """The Deployment of one release."""
    return f"{app}-{release}"
