"""Deploy strategies, one file each: pure functions from what is seen to what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from deployer.actions import Action
from deployer.fleet import Fleet


class Strategy(Protocol):
    """Level-triggered: keeps no state, never sleeps, knows no clock but the one it is told."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def plan(self, fleet: Fleet, now_s: float) -> Sequence[Action]:
        """What to do about this fleet at Unix time `now_s`; nothing once the goal is met."""
        ...
