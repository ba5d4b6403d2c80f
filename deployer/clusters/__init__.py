"""What a deployer acts on: the `Cluster` contract, the pure control-plane model, and the real clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from deployer.actions import Action
from deployer.fleet import Count, Fleet, Kind, Release


class ClusterUnreachable(Exception):
    """The cluster did not answer; trying again later may help. Says which and why in one line."""


class Cluster(Protocol):
    """One app on one cluster, as the controller uses it; the same in every world."""

    def observe(self) -> Fleet:
        """The fleet now, without verdicts and without connection counts.

        Raises ClusterUnreachable.
        """
        ...

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """Ask these pods for their connections; None for one that is gone, hangs or answers nonsense.

        Raises nothing: a pod that cannot be asked is unknown.
        """
        ...

    def act(self, action: Action) -> None:
        """Carry out one action; idempotent.

        Raises ClusterUnreachable; the next step then sees what was carried out and what was not.
        """
        ...

    def request(self, release: Release, kind: Kind) -> int:
        """Write down that a release is wanted and return the request's number.

        Raises ClusterUnreachable.
        """
        ...
