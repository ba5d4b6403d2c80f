"""A rolling update whose old pods may take hours to leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deployer.strategies.base import StrategyError
from deployer.strategies.rolling import Rolling


@dataclass(frozen=True, kw_only=True)
class Graceful(Rolling):
    """Rolling with a long terminationGracePeriodSeconds: old pods wait for their last connection.

    `grace_cut_s` is after how long someone who is not bound by the grace (node drain, autoscaler, load
    balancer) kills a terminating pod all the same; None: nobody does. The worlds carry that out.
    """

    name: ClassVar[str] = "graceful"

    grace_s: float = 48 * 3600.0
    grace_cut_s: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grace_cut_s is not None and not 0 < self.grace_cut_s <= self.grace_s:
            raise StrategyError(
                f"{self.name}: grace_cut={self.grace_cut_s:g} s must be above 0 and at most "
                f"grace={self.grace_s:g} s; leave it out where nobody cuts the grace"
            )
