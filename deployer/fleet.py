"""What a deployer sees: a frozen picture of one app on one cluster.

Everything a strategy decides from is in a `Fleet`. Nothing here knows a clock: times are Unix seconds
that the cluster put there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

Release = str
"""The first six characters of a git SHA; its colour too."""

PREFIX = "drainbow.dev/"
RELEASE_LABEL = PREFIX + "release"
SLOT_LABEL = PREFIX + "slot"
DESELECTED_AT = PREFIX + "deselected-at"
"""On a Deployment: Unix seconds at which the Service stopped to select it; absent while it is selected."""
QUIET_SINCE = PREFIX + "quiet-since"
"""On a Deployment: Unix seconds since when its drain condition has held without a break."""

SKEW_S = 300.0
"""So far apart the clocks of two machines may be: a time that is further out of place is a mistake."""


def unix_s(text: str | None) -> float | None:
    """The finite time that an annotation holds; None where it is absent or holds none."""
    try:
        time_s = float(text or "")
    except ValueError:
        return None
    return time_s if math.isfinite(time_s) else None


class PodState(StrEnum):
    """Where a pod stands; terminating beats all others, whatever its probe says."""

    PENDING = "pending"  # no node yet
    STARTING = "starting"  # on a node, was never ready
    READY = "ready"
    UNREADY = "unready"  # was ready once
    TERMINATING = "terminating"


@dataclass(frozen=True, slots=True)
class Count:
    """What one pod said of its own connections when it was asked."""

    open: int  # accepted, logged in or not
    silent: int = 0  # of these, without traffic for several ping intervals


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. `count` is None where it was not asked or could not be: unknown, never zero."""

    name: str
    deployment: str
    release: Release
    state: PodState
    created_s: float
    ready_since_s: float | None = None  # None while it is not ready
    terminating_since_s: float | None = None
    restarts: int = 0
    node: str | None = None
    deletion_cost: int = 0
    count: Count | None = None

    def counted(self, count: Count | None) -> Pod:
        """The pod with what it says; `dataclasses.replace` would take five times as long."""
        return Pod(
            self.name,
            self.deployment,
            self.release,
            self.state,
            self.created_s,
            self.ready_since_s,
            self.terminating_since_s,
            self.restarts,
            self.node,
            self.deletion_cost,
            count,
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """One Deployment, counted as Kubernetes counts it: terminating pods are in none of the numbers."""

    name: str
    release: Release  # of its template
    desired: int
    total: int  # status.replicas: pods of any template
    updated: int  # pods of the present template
    ready: int  # pods of any template
    updated_ready: int  # pods of the present template
    created_s: float
    progressed_s: float  # when its roll-out last moved (the Progressing condition's lastUpdateTime)
    slot: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Every wanted pod is of the present template and ready, and no pod of an older one is left."""
        return self.updated_ready == self.updated == self.total == self.desired


class Outcome(StrEnum):
    """How a deploy ended."""

    DONE = "done"
    REFUSED = "refused"  # will never start: cap, capacity, bad request
    BLOCKED = "blocked"  # could not start, and was dropped
    SUPERSEDED = "superseded"  # a newer request came before it was selected
    FAILED = "failed"  # started, never became ready; cleaned up


class Kind(StrEnum):
    """What a request is."""

    INITIAL = "initial"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Request:
    """One wish for a release, kept on the cluster until long after it is settled."""

    deploy: int  # 0 is the initial release; each request has its own, in order
    release: Release
    kind: Kind
    requested_s: float
    outcome: Outcome | None = None  # None: open
    reason: str = ""  # of the outcome, or why it waits
    settled_s: float | None = None  # for DONE: when its release was selected and all ready


class Decision(StrEnum):
    """What a drain verdict says of a release."""

    KEEP = "keep"
    DRAINED = "drained"
    OVERDUE = "overdue"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """May this release go? Given only for Deployments that are neither selected nor wanted."""

    release: Release
    deployment: str
    decision: Decision
    reason: str  # one sentence
    evidence: Mapping[str, float | int | str | None] = field(default_factory=dict)
    whole_until_s: float = 0.0  # no pod of it leaves before, empty or not: kept warm, or pinned (inf)

    @property
    def may_go(self) -> bool:
        """Drained, or overdue."""
        return self.decision in (Decision.DRAINED, Decision.OVERDUE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the fleet."""

    replicas: int  # pods that one release needs
    max_releases: int | None = None  # live Deployments at most; None: no cap
    capacity_pods: int | None = None  # what the nodes hold at most; None: unknown


@dataclass(frozen=True)
class Fleet:
    """One app on one cluster, as seen at one moment."""

    app: str
    limits: Limits
    requests: Sequence[Request] = ()  # oldest first; settled ones may have been forgotten
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Sequence[Pod] = ()
    selected: Release | None = None  # None: the Service selects the whole app, or nothing was selected yet
    selected_slot: str | None = None
    selected_since_s: float | None = None
    verdicts: Sequence[Verdict] = ()

    @property
    def open_requests(self) -> tuple[Request, ...]:
        """The queue of requests without an outcome, oldest first."""
        return tuple(r for r in self.requests if r.outcome is None)

    @cached_property
    def goal(self) -> Request | None:
        """The request that decides what is wanted: the newest open one, else the newest done one."""
        for wanted in (None, Outcome.DONE):
            for request in reversed(self.requests):
                if request.outcome == wanted:
                    return request
        return None

    @property
    def wanted(self) -> Release | None:
        """The release that the fleet is to reach."""
        return self.goal.release if self.goal else None

    def deployments_of(self, release: Release) -> tuple[Deployment, ...]:
        """The Deployments whose template has this release, oldest first."""
        found = (d for d in self.deployments.values() if d.release == release)
        return tuple(sorted(found, key=lambda d: (d.created_s, d.name)))

    def pods_of(self, deployment: str) -> tuple[Pod, ...]:
        """The Deployment's pods, terminating ones included."""
        return tuple(p for p in self.pods if p.deployment == deployment)

    def verdict_on(self, deployment: str) -> Verdict | None:
        """The verdict on this Deployment, None where there is none."""
        return next((v for v in self.verdicts if v.deployment == deployment), None)
