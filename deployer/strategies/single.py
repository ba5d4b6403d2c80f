"""One Deployment whose template is patched; the cluster's own update replaces the pods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deployer.actions import (
    Action,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    Refuse,
    Scale,
    SetRelease,
    Settle,
)
from deployer.fleet import Fleet, Outcome
from deployer.marks import failed
from deployer.strategies.base import Base, bad_name, begun


@dataclass(frozen=True, kw_only=True)
class Single(Base):
    """The plan that recreate, rolling and graceful share; they differ in what the cluster does with it."""

    selects_release: ClassVar[bool] = False

    def spare_pods(self, replicas: int) -> int:
        """Pods beyond `replicas` without which an update cannot begin."""
        return 0

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """Patch the template to the wanted release; give up where that does not progress."""
        goal, replicas = fleet.goal, fleet.limits.replicas
        only = fleet.deployments.get(fleet.app)
        if goal is None:
            if only is not None and failed(fleet, only.release):
                return [
                    DeleteDeployment(
                        only.name, because=f"{only.release} failed and there is none to return to"
                    )
                ]
            return []
        begins = goal.outcome is None and (only is None or only.release != goal.release)
        if begins and (refusal := bad_name(goal) or self._lack(fleet)) is not None:
            return [Refuse(goal.deploy, refusal)]
        if only is None:
            because = f"{goal.release} is wanted"
            return [CreateDeployment(fleet.app, goal.release, replicas, own_release=False, because=because)]
        actions: list[Action] = []
        if only.release != goal.release:
            actions.append(SetRelease(only.name, goal.release, because=f"{goal.release} is wanted"))
        if only.desired != replicas:
            actions.append(Scale(only.name, replicas, because=f"a release needs {replicas} pods"))
        if actions:
            actions.insert(0, begun(only, now_s))
        if actions or only.complete or goal.outcome is not None:
            return actions
        deadline_s = self.deadline_s(only, goal)
        if now_s < deadline_s:
            return [LookAgain(deadline_s, because="the progress deadline")]
        ready = f"{only.updated_ready} of {replicas} pods ready"
        because = f"no progress for {self.progress_deadline_s:g} s with {ready}"
        return [Settle(goal.deploy, Outcome.FAILED, because=because)]

    def _lack(self, fleet: Fleet) -> str | None:
        capacity, replicas = fleet.limits.capacity_pods, fleet.limits.replicas
        needed = replicas + (self.spare_pods(replicas) if fleet.deployments else 0)
        if capacity is None or needed <= capacity:
            return None
        return f"it needs {needed} pods, and the nodes hold {capacity}"
