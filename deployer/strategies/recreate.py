"""All old pods go, then new ones come: the floor under every other strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from deployer.strategies.single import Single


@dataclass(frozen=True, kw_only=True)
class Recreate(Single):
    """One Deployment of type Recreate: everyone is cut, and nobody is served in between."""

    name: ClassVar[str] = "recreate"

    @property
    def update(self) -> UpdateStrategy:
        """Kubernetes' Recreate."""
        return UpdateStrategy(UpdateType.RECREATE)
