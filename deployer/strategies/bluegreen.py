"""Blue/green: two slots, of which one serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deployer.strategies.base import StrategyError
from deployer.strategies.colors import Colors


@dataclass(frozen=True, kw_only=True)
class BlueGreen(Colors):
    """Colors with two slots, blue and green."""

    name: ClassVar[str] = "bluegreen"

    count: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count != 2:
            raise StrategyError(f"{self.name}: count={self.count} must be 2; take colors for more slots")

    @property
    def slots(self) -> Sequence[str]:
        """Blue serves first."""
        return ("blue", "green")
