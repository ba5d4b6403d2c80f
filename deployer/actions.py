"""What a deployer may ask of a cluster: a closed union, each action with the reason for it.

Every action is idempotent: carrying one out again, or on what is already gone, changes nothing and is no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployer.fleet import Outcome, Release


@dataclass(frozen=True, slots=True)
class CreateDeployment:
    """A new Deployment for one release; its labels select the app, its own identity and nothing more."""

    name: str
    release: Release
    replicas: int
    own_release: bool = True  # matchLabels hold the release (rainbow, immutable)
    slot: str | None = None  # matchLabels hold the slot (bluegreen, colors)
    because: str = ""


@dataclass(frozen=True, slots=True)
class SetRelease:
    """Patch the template; the cluster's own update (rolling or recreate) does the rest."""

    deployment: str
    release: Release
    because: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the wanted number of pods."""

    deployment: str
    replicas: int
    because: str = ""


@dataclass(frozen=True, slots=True)
class Select:
    """Point the Service at one release; in the same write it notes since when (`Fleet.selected_since_s`)."""

    release: Release
    slot: str | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete a Deployment and, by the cluster's garbage collection, its pods."""

    deployment: str
    because: str = ""


@dataclass(frozen=True, slots=True)
class MarkForDeletion:
    """Set pods' deletion costs: the lowest goes first on the next scale-down."""

    costs: Mapping[str, int] = field(default_factory=dict)
    because: str = ""


@dataclass(frozen=True, slots=True)
class NotifyDeselected:
    """Tell pods that they are no longer selected (the hook), or with `undo` that they are to serve again."""

    pods: tuple[str, ...]
    undo: bool = False
    because: str = ""


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Have pods ask their clients to leave, `per_s` a second over all of these pods together."""

    pods: tuple[str, ...]
    per_s: float
    because: str = ""


@dataclass(frozen=True, slots=True)
class Annotate:
    """Write (or with None remove) one annotation on a Deployment."""

    deployment: str
    key: str
    value: str | None
    because: str = ""


@dataclass(frozen=True, slots=True)
class Settle:
    """Write the outcome of a request: done, superseded or failed."""

    deploy: int
    outcome: Outcome
    because: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A request cannot start now; `drop` ends it as blocked, else it waits. Recorded when it changes."""

    deploy: int
    because: str
    drop: bool = True


@dataclass(frozen=True, slots=True)
class Refuse:
    """A request will never start. Recorded when it changes."""

    deploy: int
    because: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing to do before this moment unless an object changes; never carried out by a cluster."""

    at_s: float
    because: str = ""


Action = (
    CreateDeployment
    | SetRelease
    | Scale
    | Select
    | DeleteDeployment
    | MarkForDeletion
    | NotifyDeselected
    | CloseConnections
    | Annotate
    | Settle
    | Block
    | Refuse
    | LookAgain
)
