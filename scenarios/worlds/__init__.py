"""The worlds that a scenario runs in: what differs between them, behind one small contract."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployer.fleet import Count, Fleet, Kind, Release


@dataclass(frozen=True, slots=True)
class Front:
    """Where users connect to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run: a fault, its end, the run's start and end."""

    t_s: float  # Unix time
    kind: str
    target: str


@dataclass(slots=True)
class Harvest:
    """What a real world saw, in Unix seconds; rows are mappings with the record's column names."""

    pods: Sequence[Mapping[str, Any]] = ()
    actions: Sequence[Mapping[str, Any]] = ()
    verdicts: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Event] = ()  # that the world noted by itself: a server that died
    last: Fleet | None = (
        None  # as last seen, at the end if the cluster answers then: requests with their outcomes
    )
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Where:
    """What a person chooses of the cluster; kind's share counts in the world `kind` only."""

    context: str | None = None  # current: of the kubeconfig; None: its current one
    image: str | None = None  # of the chat server; kind: built where none is given
    front: str | None = None  # current: HOST:PORT, where users reach node port PORT
    kind_image: str | None = None  # of the nodes
    recreate: bool = False  # the kind cluster
    load_workers: int = 0  # of the load within the cluster; 0: on this machine
    load_image: str | None = None  # of these workers; kind: built where none is given
    kind_name: str = field(default_factory=lambda: os.environ.get("DRAINBOW_KIND_NAME", "drainbow"))


class RealWorld(Protocol):
    """A world of real pods. Its life: start → (request, inject, sample, supervise)* → harvest → close.

    What asks the cluster raises ClusterUnreachable where that cannot be asked now, and OutOfReach where it
    refuses for good.
    """

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def start(self) -> Front:
        """Bring everything up, the first release requested; returns before its pods are ready.

        Raises Stop with one line that says what is missing.
        """
        ...

    def observe(self) -> Fleet:
        """The fleet now."""
        ...

    def request(self, release: Release, kind: Kind) -> int:
        """Ask for a release; the request's number."""
        ...

    def inject(self, kind: str, target: str, duration_s: float) -> Sequence[Event]:
        """Let a fault happen now."""
        ...

    def supervise(self) -> Sequence[Event]:
        """Look after the processes of the run; what happened to them since the last call."""
        ...

    def sample(self) -> Mapping[str, Count | None]:
        """What every pod says of its connections now."""
        ...

    def harvest(self) -> Harvest:
        """Everything seen up to now."""
        ...

    def close(self) -> None:
        """End all that it started; safe at any moment, and twice."""
        ...
