"""How metrics are called and written for people: one list for the terminal, the report and the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scenarios.thresholds import METRICS

_LONG_S = 2 * 3600
"""Seconds are written as hours from here on."""


@dataclass(frozen=True, slots=True)
class Label:
    """One metric of `summary.json`. `better` tells which end wins; None where neither does."""

    key: str
    text: str
    unit: str = ""
    digits: int = 0
    better: Literal["low", "high"] | None = "low"


SECTIONS: tuple[tuple[str, tuple[Label, ...]], ...] = (
    (
        "What it did to users",
        (
            Label("forced_reconnects", "forced reconnects"),
            Label("forced_reconnects_per_client_deploy", "… per client and deploy", digits=3),
            Label("forced_reconnects_per_client_deploy_p99", "… 99th percentile of clients", digits=1),
            Label("hit_more_than_once_ratio", "clients hit more than once", "%", 1),
            Label("peak_reconnects_per_s", "peak reconnects", "/s", 0),
            Label("peak_reconnects_per_s_10s", "… over 10 s", "/s", 1),
            Label("reconnect_s_p50", "back online, median", "s", 2),
            Label("reconnect_s_p95", "… 95 %", "s", 2),
            Label("reconnect_s_p99", "… 99 %", "s", 2),
            Label("offline_user_s", "time offline, all users", "s", 1),
            Label("gave_up", "users who gave up"),
            Label("failed_attempts", "failed attempts"),
            Label("messages_lost", "messages lost"),
            Label("storm_recovery_s", "95 % of the losers back", "s", 1),
        ),
    ),
    (
        "What it cost",
        (
            Label("pod_hours", "pod-hours", "h", 3),
            Label("surplus_pod_hours", "… beyond the replicas", "h", 3),
            Label("draining_pod_hours", "… draining", "h", 3),
            Label("idle_pod_hours", "… idle", "h", 3),
            Label("cost", "cost", "$", 4),
            Label("peak_pods", "pods at most"),
            Label("mean_live_deployments", "live Deployments, mean", "", 2, None),
            Label("pending_pod_s", "pods waiting for a node", "s", 1),
            Label("imbalance", "fullest pod over the mean", "×", 2),
        ),
    ),
    (
        "How the deploys went",
        (
            Label("deploys_requested", "deploys requested", better=None),
            Label("deploys_done", "done", better="high"),
            Label("deploys_blocked", "blocked"),
            Label("deploys_superseded", "superseded"),
            Label("deploys_refused", "refused"),
            Label("deploys_failed", "failed"),
            Label("deploy_s_p50", "request to all on the new release, median", "s", 1),
            Label("drain_s_p50", "old release drained after, median", "s", 1, None),
            Label("rollback_s", "rollback", "s", 1),
        ),
    ),
)

LABELS: dict[str, Label] = {label.key: label for _, labels in SECTIONS for label in labels}


def written(label: Label, value: float | int | None, several: bool = False) -> str:
    """The value as a person reads it, with its unit; a dash where it is null. A mean of several has a decimal.

    Two hours of seconds or more are written in hours.
    """
    if value is None:
        return "–"
    digits, unit = max(label.digits, 1) if several else label.digits, label.unit
    shown = value * 100 if unit == "%" else value
    if unit == "s" and abs(value) >= _LONG_S:
        shown, digits, unit = value / 3600, 1, "h"
    number = f"{abs(shown):,.{digits}f}"
    sign = "−" if shown < 0 and number.strip("0.,") else ""
    if unit == "$":
        return f"{sign}${number}"
    return f"{sign}{number} {unit}" if unit else f"{sign}{number}"


def interval(label: Label, low: float, high: float, difference: bool = False) -> str:
    """Both ends as a person reads them. No metric is negative, a `difference` of two may be."""
    low = low if difference else max(low, 0.0)
    return f"{written(label, low, several=True)} … {written(label, high, several=True)}"


def bounds(label: Label, low: float, high: float) -> str:
    """A metric's interval; empty where it is a single value."""
    return "" if high <= low else interval(label, low, high)


def hint(label: Label) -> str:
    """What the metric means, with its key in summary.json."""
    return f"{label.key}: {METRICS[label.key]}"


def best(label: Label, values: Sequence[float | int | None]) -> str | None:
    """The winning value among runs, as it is written: more is not to be seen of it. None where nothing is to be won."""
    known = [value for value in values if value is not None]
    if label.better is None or len(known) < 2 or written(label, min(known)) == written(label, max(known)):
        return None
    return written(label, min(known) if label.better == "low" else max(known))
