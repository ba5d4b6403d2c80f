"""What there is to see of a service: its releases, and what would be done about them now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deployer.actions import Action
from deployer.clusters import Cluster
from deployer.clusters.kubernetes import KubernetesCluster, Variant
from deployer.controller import Step, step
from deployer.draining import DrainSettings
from deployer.fleet import Count, Fleet, Kind, PodState, Release, Verdict
from deployer.journal import MemoryJournal
from deployer.marks import is_selected, is_wanted
from deployer.own.doubting import doubts
from deployer.own.healing import cares_of
from deployer.strategies import Strategy


def warnings(cluster: KubernetesCluster, now_s: float) -> list[str]:
    """A line for each thing that somebody should see to: an adopted Deployment, annotations that cannot be."""
    cares = [care.warning for care in cares_of(cluster)]
    return [*cares, *doubts(cluster.service(), cluster.deployments(), now_s)]


@dataclass(frozen=True, slots=True)
class Row:
    """One release that has pods, or should have."""

    release: Release
    deployment: str
    role: str  # serving, coming or draining
    ready: int
    desired: int
    terminating: int
    connections: int | None  # None: no pod said
    unknown: int  # pods that did not say
    age_s: float
    image: str | None
    verdict: str | None
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


@dataclass
class Onlooker:
    """A cluster on which nothing is done: what would have been is kept."""

    cluster: Cluster
    actions: list[Action] = field(default_factory=list)

    def observe(self) -> Fleet:
        """As in Cluster."""
        return self.cluster.observe()

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """As in Cluster."""
        return self.cluster.ask(pods)

    def act(self, action: Action) -> None:
        """Keeps it."""
        self.actions.append(action)

    def request(self, release: Release, kind: Kind) -> int:
        """Is not written."""
        return -1


def would_do(cluster: Cluster, strategy: Strategy, drain: DrainSettings, now_s: float) -> Step:
    """One look that changes nothing: its verdicts and the actions that are due. Raises ClusterUnreachable."""
    return step(Onlooker(cluster), strategy, drain, now_s, MemoryJournal())


def counted(cluster: KubernetesCluster, fleet: Fleet) -> Fleet:
    """The fleet with what all its pods say."""
    counts = cluster.ask(p.name for p in fleet.pods if p.state is not PodState.PENDING)
    return replace(fleet, pods=tuple(replace(p, count=counts.get(p.name)) for p in fleet.pods))


def rows(
    fleet: Fleet, verdicts: Iterable[Verdict], variants: Mapping[Release, Variant], now_s: float
) -> list[Row]:
    """A row for each Deployment, the serving one first, then the youngest first."""
    said = {v.deployment: v for v in verdicts}
    found = []
    for d in fleet.deployments.values():
        pods = fleet.pods_of(d.name)
        live = [p for p in pods if p.state is not PodState.TERMINATING]
        counts = [p.count.open for p in pods if p.count is not None]
        verdict = said.get(d.name)
        serving = is_selected(fleet, d)
        role = "serving" if serving else "coming" if is_wanted(fleet, d) else "draining"
        found.append(
            Row(
                release=d.release,
                deployment=d.name,
                role=role,
                ready=d.ready,
                desired=d.desired,
                terminating=len(pods) - len(live),
                connections=sum(counts) if counts else None,
                unknown=sum(p.count is None for p in pods),
                age_s=max(0.0, now_s - d.created_s),
                image=variants.get(d.release, Variant()).image,
                verdict=None if verdict is None else verdict.decision.value,
                reason="" if verdict is None else verdict.reason,
                evidence={} if verdict is None else dict(verdict.evidence),
            )
        )
    return sorted(found, key=lambda r: (r.role != "serving", r.age_s))
