"""Deploy strategies, one file each: pure functions from what is seen to what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from deployer.actions import Action
from deployer.clusters.controlplane.api import Shape
from deployer.fleet import Fleet
from deployer.strategies.base import StrategyError
from deployer.strategies.registry import STRATEGIES, make

__all__ = ["STRATEGIES", "Strategy", "StrategyError", "make"]


class Strategy(Protocol):
    """Level-triggered: keeps no state, never sleeps, knows no clock but the one it is told."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def selects_release(self) -> bool:
        """Whether the Service selects one release, or the whole app."""
        ...

    @property
    def reads_counts(self) -> bool:
        """Whether it must know the pods' connections, whatever the drain policy."""
        ...

    @property
    def auto_rollback(self) -> int:
        """Crashes after the switch that bring a rollback by itself; 0: none do."""
        ...

    @property
    def shape(self) -> Shape:
        """What its Deployments are like."""
        ...

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """What to do about this fleet at Unix time `now_s`; nothing once the goal is met."""
        ...
