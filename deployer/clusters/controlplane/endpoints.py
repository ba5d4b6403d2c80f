"""Who is behind the Service, and when kube-proxy learns of a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.clusters.controlplane.objects import State


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The Service's endpoints by pod name, oldest pods first."""

    ready: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()  # terminating, and still ready by their probes


def endpoints(state: State) -> Endpoints:
    """The endpoints as the EndpointSlice has them; a Service without a selector has none."""
    selector = state.service.selector
    if not selector:
        return Endpoints()
    behind = [p for p in state.pods.values() if p.ready and _selects(selector, p.labels)]
    return Endpoints(
        ready=tuple(p.name for p in behind if not p.terminating),
        serving=tuple(p.name for p in behind if p.terminating),
    )


def backends(found: Endpoints) -> tuple[str, ...]:
    """Where new connections go: ready pods, else terminating ones that still serve, else nowhere."""
    return found.ready or found.serving


def next_sync_s(changed_s: float, last_sync_s: float, period_s: float, latency_s: float) -> float:
    """When kube-proxy's rules follow an endpoint change that came after its last sync.

    `latency_s` after the change, but `period_s` (its minimum sync period) after the last sync at the
    earliest; before the first sync, give −inf. With a period of 0 the change counts at once.
    """
    if period_s == 0:
        return changed_s
    return max(changed_s + latency_s, last_sync_s + period_s)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
