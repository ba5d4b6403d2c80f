"""Who else ends a drain: known limits of vendors that cut it short, whatever the deploy system wants."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.errors import UserMistake
from scenarios.spec.base import nearest

_ALL = frozenset({"graceful", "bluegreen", "colors", "rainbow", "immutable"})
_TERMINATING = frozenset({"graceful"})
_SWITCHING = _ALL - _TERMINATING


@dataclass(frozen=True, slots=True)
class Limit:
    """A drain ends `cut_s` after its start under the strategies in `hits`."""

    name: str
    cut_s: float
    hits: frozenset[str]
    why: str  # what it does
    way_out: str


LIMITS: dict[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit(
            "cluster-autoscaler", 600.0, _TERMINATING,
            "when it takes a node away it honours at most 10 min of a terminating pod's grace",
            "raise --max-graceful-termination-sec; running pods are kept by safe-to-evict: \"false\"",
        ),
        Limit(
            "gke", 3600.0, _ALL,
            "a node upgrade honours disruption budgets and grace for 1 h at most, then takes the pods",
            "put upgrades into a maintenance window without drains; Autopilot has extended-duration pods",
        ),
        Limit(
            "ingress-nginx", 240.0, _ALL,
            "worker-shutdown-timeout: after a reload of its configuration the old workers live for 240 s",
            "raise worker-shutdown-timeout, or let websockets go round the ingress",
        ),
        Limit(
            "haproxy", 1800.0, _ALL,
            "hard-stop-after: after a reload the old process lives for 30 min",
            "raise hard-stop-after",
        ),
        Limit(
            "knative", 60.0, _ALL,
            "its autoscaler takes pods as an old revision's load falls; of a pod that is told to end, queue-proxy "
            "cuts websockets after 60 s at most, counted from when no new request came for 30 s",
            "keep the old revision at its size by min-scale while it has connections",
        ),
        Limit(
            "argo", 30.0, _SWITCHING,
            "scaleDownDelaySeconds: the old ReplicaSet goes 30 s after the switch",
            "set scaleDownDelaySeconds to the drain time",
        ),
        Limit(
            "nlb", 300.0, _ALL,
            "deregistration_delay: 300 s after a target is deregistered its connections are closed, if "
            "connection termination is on (for TCP it is off unless set)",
            "leave deregistration_delay.connection_termination off, and target_health_state.unhealthy's too: on by "
            "default, it closes what an unready target still serves",
        ),
        Limit(
            "istio", 5.0, _TERMINATING,
            "terminationDrainDuration: the sidecar closes connections 5 s after the pod is told to end",
            "raise terminationDrainDuration, or set EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        ),
    )
}  # fmt: skip
"""By name; the values are the vendors' defaults. docs/how-to-plan-capacity.md names the pages that give them."""


def limit_named(name: str) -> Limit:
    """The limit of that name. Raises UserMistake."""
    if name not in LIMITS:
        raise UserMistake(f"--limit {name}: unknown{nearest(name, LIMITS)}")
    return LIMITS[name]
