"""The names of all metrics, and whether a summary keeps to a scenario's bounds on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS: Mapping[str, str] = {
    "forced_reconnects": "opened connections that the server, the pod's end or the network closed",
    "forced_reconnects_per_client_deploy": "forced reconnects that deploys caused, over the clients "
    "connected at their requests; both summed over the deploys done",
    "forced_reconnects_per_client_deploy_p99": "99th percentile over clients and deploys of that number",
    "hit_more_than_once_ratio": "share of these clients that one deploy disconnected twice or more",
    "peak_reconnects_per_s": "reconnect attempts in the busiest second",
    "peak_reconnects_per_s_10s": "reconnect attempts a second in the busiest ten consecutive seconds",
    "reconnect_s_p50": "median of the seconds from a loss to logged in again (Kaplan-Meier)",
    "reconnect_s_p95": "95th percentile of the same",
    "reconnect_s_p99": "99th percentile of the same",
    "offline_user_s": "seconds from losses to logged in, left, gave up or the end; summed",
    "gave_up": "users who gave up",
    "failed_attempts": "attempts that never logged in",
    "messages_lost": "messages that a user online did not receive because a connection was cut",
    "storm_recovery_s": "seconds from a deploy's first forced close until 95 % of its losers are back; "
    "of the worst deploy",
    "pod_hours": "hours of pods from created to gone",
    "idle_pod_hours": "hours of ready pods without a connection",
    "draining_pod_hours": "hours of deselected pods with a connection",
    "surplus_pod_hours": "hours of pods beyond the replicas",
    "cost": "pod-hours times the price of one",
    "peak_pods": "pods at one time at most",
    "mean_live_deployments": "live Deployments, mean over time",
    "pending_pod_s": "seconds that pods waited for a node",
    "imbalance": "fullest selected ready pod over their mean, mean over time",
    "deploys_requested": "deploys and rollbacks requested, without the initial one",
    "deploys_done": "of these: done",
    "deploys_blocked": "of these: could not start",
    "deploys_superseded": "of these: a newer request came before they were selected",
    "deploys_refused": "of these: could never have started",
    "deploys_failed": "of these: started, never became ready",
    "deploy_s_p50": "median of the seconds from a request to selected and all ready",
    "drain_s_p50": "median of the seconds from selected to the old release drained (Kaplan-Meier)",
    "rollback_s": "median of the seconds from a rollback's request to selected and all ready",
}
"""Every key of summary.json, in order, with its meaning in short; the formulas are in `scenarios.metrics`."""


def missed(summary: Mapping[str, float | int | None], thresholds: Mapping[str, Any]) -> list[str]:
    """One line for each bound that the summary does not keep to; none if all are kept.

    `thresholds` maps a metric to something with `max` and `min` (either may be None), or to a mapping with
    such keys. A metric that is null misses its bound: what was not measured was not met.
    """
    lines = []
    for name, bound in thresholds.items():
        value = summary[name]
        for word in ("max", "min"):
            limit = bound.get(word) if isinstance(bound, Mapping) else getattr(bound, word)
            if limit is None:
                continue
            if value is None:
                lines.append(f"{name} cannot be told from this run; its {word} is {limit:g}")
            elif value > limit if word == "max" else value < limit:
                lines.append(f"{name} is {value:g}, its {word} is {limit:g}")
    return lines
