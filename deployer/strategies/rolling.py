"""Kubernetes' own default: one Deployment, its pods replaced a few at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from deployer.strategies.base import StrategyError
from deployer.strategies.single import Single


@dataclass(frozen=True, kw_only=True)
class Rolling(Single):
    """A rolling update within `max_surge` and `max_unavailable`: pods, or a share such as "25%"."""

    name: ClassVar[str] = "rolling"

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"

    def __post_init__(self) -> None:
        super().__post_init__()
        surge = _bound(self.name, "max_surge", self.max_surge)
        unavailable = _bound(self.name, "max_unavailable", self.max_unavailable)
        if surge == 0 and unavailable == 0:
            raise StrategyError(
                f"{self.name}: max_surge={self.max_surge} and max_unavailable={self.max_unavailable} "
                "leave no pod to begin with; raise one of them"
            )

    @property
    def update(self) -> UpdateStrategy:
        """Kubernetes' RollingUpdate."""
        return UpdateStrategy(UpdateType.ROLLING, self.max_surge, self.max_unavailable)

    def spare_pods(self, replicas: int) -> int:
        """One where no pod may be missing, for then a new one must come before an old one goes."""
        value = _bound(self.name, "max_unavailable", self.max_unavailable)
        share = isinstance(self.max_unavailable, str)
        unavailable = math.floor(replicas * value / 100) if share else value  # Kubernetes rounds it down
        surges = _bound(self.name, "max_surge", self.max_surge) > 0
        return 1 if unavailable == 0 and surges else 0


def _bound(strategy: str, setting: str, value: int | str) -> int:
    """The number in a bound: pods, or percent where it is a text."""
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdecimal():
        return int(value[:-1])
    raise StrategyError(f'{strategy}: {setting}={value!r} must be a number of pods or a share such as "25%"')
