"""What all strategies share: the settings that each has, and when a roll-out counts as stuck."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from deployer.actions import Annotate
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from deployer.draining.memory import time_of
from deployer.fleet import Deployment, Fleet, Request
from deployer.marks import BEGUN_AT, whole

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
"""What a release may be called: it becomes a label and a part of names."""


class StrategyError(ValueError):
    """A strategy or a setting that cannot be; one line that names the value, the bound and the way out."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """Settings of every strategy.

    Raises StrategyError for a value out of bounds.
    """

    name: ClassVar[str]
    selects_release: ClassVar[bool] = True

    progress_deadline_s: float = 600.0  # without any progress for so long, a deploy has failed
    min_ready_s: float = 0.0  # how long a new pod must have been ready before it counts
    grace_s: float = 30.0  # from SIGTERM to SIGKILL
    auto_rollback: int = (
        0  # crashes after the switch that make it roll back by itself; 0: it only reports them
    )

    def __post_init__(self) -> None:
        if self.progress_deadline_s <= self.min_ready_s:
            raise StrategyError(
                f"{self.name}: progress_deadline={self.progress_deadline_s:g} s must be above "
                f"min_ready={self.min_ready_s:g} s, or every deploy fails"
            )
        at_least(self.name, "min_ready", self.min_ready_s, 0)
        at_least(self.name, "grace", self.grace_s, 0)
        at_least(self.name, "auto_rollback", self.auto_rollback, 0)

    @property
    def reads_counts(self) -> bool:
        """Whether it must know the pods' connections, whatever the drain policy."""
        return False

    @property
    def update(self) -> UpdateStrategy:
        """How its Deployments replace their pods, which a Deployment per release never does."""
        return UpdateStrategy(UpdateType.ROLLING)

    @property
    def shape(self) -> Shape:
        """What the worlds must know of its Deployments."""
        return Shape(
            update=self.update,
            grace_s=self.grace_s,
            min_ready_s=self.min_ready_s,
            progress_deadline_s=self.progress_deadline_s,
        )

    def deadline_s(self, deployment: Deployment, goal: Request) -> float:
        """When this roll-out counts as stuck unless it progresses before."""
        begun_s = time_of(deployment, BEGUN_AT) or 0.0
        moved_s = max(deployment.progressed_s, deployment.created_s, goal.requested_s, begun_s)
        return moved_s + self.progress_deadline_s

    def ready_at_s(self, fleet: Fleet, deployment: Deployment) -> float | None:
        """When all its pods, none of an old template, have been ready for `min_ready_s`; None before."""
        if not whole(fleet, deployment) or deployment.desired < fleet.limits.replicas:
            return None
        if self.min_ready_s == 0:
            return (
                -math.inf
            )  # they are now; the cluster's clock may be ahead of the one that it is compared with
        since = [p.ready_since_s for p in fleet.pods_of(deployment.name) if p.ready_since_s is not None]
        return max(since, default=deployment.progressed_s) + self.min_ready_s


def begun(deployment: Deployment, now_s: float) -> Annotate:
    """The mark that goes ahead of asking a Deployment for another release or more pods."""
    return Annotate(deployment.name, BEGUN_AT, repr(float(now_s)), because="its roll-out begins")


def at_least(strategy: str, setting: str, value: float, bound: float) -> None:
    """Raise StrategyError for a value below its bound."""
    if not value >= bound:
        raise StrategyError(f"{strategy}: {setting}={value:g} must be at least {bound:g}")


def bad_name(goal: Request) -> str | None:
    """Why no Deployment can bear this release's name, None where one can."""
    if DNS_LABEL.fullmatch(goal.release):
        return None
    return f"release {goal.release!r} is no name for a Deployment: at most 40 of a-z, 0-9 and inner dashes"
