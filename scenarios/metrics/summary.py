"""All metrics of a record in one dict."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.metrics import balance, deploys, pods, users
from scenarios.metrics.run import Run
from scenarios.record import Record, json_text
from scenarios.thresholds import METRICS

Summary = dict[str, float | int | None]


def summarise(record: Record) -> Summary:
    """Every metric of `METRICS`, in that order; null where the record cannot give it.

    It is made from the tables and from what run.json says was run: `spec` and `strategy`. The window is
    [warm_up, end of the run); what was requested, closed or waited for outside of it does not count. Raises
    RecordError or SpecError where run.json is not of this version.
    """
    run = Run(record)
    found: Summary = {
        "forced_reconnects": users.forced_reconnects(run),
        **users.per_client_deploy(run),
        "peak_reconnects_per_s": users.peak_reconnects_per_s(run),
        "peak_reconnects_per_s_10s": users.peak_reconnects_per_s_10s(run),
        **users.way_back(run),
        "gave_up": users.gave_up(run),
        "failed_attempts": users.failed_attempts(run),
        "messages_lost": users.messages_lost(run),
        "storm_recovery_s": users.storm_recovery_s(run),
        "pod_hours": pods.pod_hours(run),
        "idle_pod_hours": pods.idle_pod_hours(run),
        "draining_pod_hours": pods.draining_pod_hours(run),
        "surplus_pod_hours": pods.surplus_pod_hours(run),
        "cost": pods.cost(run),
        "peak_pods": pods.peak_pods(run),
        "mean_live_deployments": pods.mean_live_deployments(run),
        "pending_pod_s": pods.pending_pod_s(run),
        "imbalance": balance.imbalance(run),
        **deploys.counts(run),
        "deploy_s_p50": deploys.deploy_s_p50(run),
        "drain_s_p50": deploys.drain_s_p50(run),
        "rollback_s": deploys.rollback_s(run),
    }
    return {name: found[name] for name in METRICS}


def summary_json(summary: Mapping[str, float | int | None]) -> str:
    """The text of summary.json; the same for the same numbers."""
    return json_text(summary)
