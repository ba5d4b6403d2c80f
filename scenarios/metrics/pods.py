"""What the run cost: pods, and what they were good for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby

import polars as pl

from scenarios.metrics.run import Run, Span

Value = float | int | None
HOUR_S = 3600.0
_GAP_S = 2.0
"""A Deployment whose pods all go before new ones come (Recreate) is live all the same."""


def lives(run: Run) -> list[Span]:
    """Each pod from created to gone, as far as it lies in the window."""
    rows = run.record.pods.select("t_created_s", "t_gone_s").iter_rows()
    return [span for created_s, gone_s in rows if (span := _clipped(run, created_s, gone_s)) is not None]


def pod_hours(run: Run) -> float:
    """Σ over pods of the hours from created to gone, within the window."""
    return math.fsum(span.to_s - span.from_s for span in lives(run)) / HOUR_S


def cost(run: Run) -> float:
    """pod_hours · fleet.pod.price_per_hour."""
    return pod_hours(run) * run.spec.fleet.pod.price_per_hour


def peak_pods(run: Run) -> int:
    """The most pods that were there at one time, from created to gone."""
    return max((count for _, _, count in steps(lives(run))), default=0)


def surplus_pod_hours(run: Run) -> float:
    """∫ max(0, pods(t) − fleet.replicas) dt, in hours."""
    replicas = run.spec.fleet.replicas
    return math.fsum((to - at) * max(0, n - replicas) for at, to, n in steps(lives(run))) / HOUR_S


def steps(spans: Iterable[Span]) -> list[tuple[float, float, int]]:
    """How many spans are under way, as (from, to, count)."""
    changes = sorted(change for span in spans for change in ((span.from_s, 1), (span.to_s, -1)))
    found, count, last_s = [], 0, 0.0
    for at_s, group in groupby(changes, key=lambda change: change[0]):
        if count and at_s > last_s:
            found.append((last_s, at_s, count))
        count += sum(step for _, step in group)
        last_s = at_s
    return found


def mean_live_deployments(run: Run) -> Value:
    """Mean over the window of the number of live Deployments.

    A Deployment is live from its first pod's creation until all its pods are terminating or gone; up to two
    seconds between the last of the old pods and the first new one do not interrupt it.
    """
    length_s = run.window.to_s - run.window.from_s
    if length_s <= 0:
        return None
    total_s = 0.0
    rows = run.record.pods.sort("deployment", "t_created_s")
    for _, pods in groupby(rows.iter_rows(named=True), key=lambda pod: pod["deployment"]):
        start_s = there_s = live_s = -math.inf
        for pod in pods:
            gone_s = math.inf if pod["t_gone_s"] is None else pod["t_gone_s"]
            ends_s = gone_s if pod["t_terminating_s"] is None else pod["t_terminating_s"]
            if pod["t_created_s"] > there_s + _GAP_S:
                total_s += _overlap_s(run.window, Span(start_s, live_s))
                start_s = pod["t_created_s"]
            there_s, live_s = max(there_s, gone_s), max(live_s, ends_s)
        total_s += _overlap_s(run.window, Span(start_s, live_s))
    return total_s / length_s


def pending_pod_s(run: Run) -> Value:
    """Σ over pods of the seconds in the window from created until they got a node or were ended.

    Null where the world does not tell when pods got their nodes.
    """
    pods = run.record.pods
    if pods["t_scheduled_s"].is_null().all() and pods["node"].is_not_null().any():
        return None
    total_s = 0.0
    for pod in pods.iter_rows(named=True):
        ends = (pod["t_scheduled_s"], pod["t_terminating_s"], pod["t_gone_s"])
        until_s = min((end for end in ends if end is not None), default=math.inf)
        total_s += _overlap_s(run.window, Span(pod["t_created_s"], until_s))
    return total_s


def idle_pod_hours(run: Run) -> Value:
    """Hours in which pods were ready and not terminating, and had no connection by their last sample.

    Null without samples. A pod counts from its first sample on.
    """
    if run.record.samples.is_empty():
        return None
    spans = run.held.filter((pl.col("open_connections") == 0) & pl.col("ready_s").is_not_null())
    return _hours(spans, pl.col("ready_s"), pl.col("unready_s"))


def draining_pod_hours(run: Run) -> Value:
    """Hours in which pods were deselected and had at least one connection by their last sample.

    Deselected: the Service selected another release after this one; with one Deployment: terminating. Null
    without samples.
    """
    if run.record.samples.is_empty():
        return None
    busy = run.held.filter(pl.col("open_connections") > 0)
    if not run.selects_release:
        return _hours(busy, pl.col("unready_s"), pl.col("gone_s"))
    total = 0.0
    for release in busy["release"].unique().sort():
        of = busy.filter(pl.col("release") == release)
        for span in run.deselected_spans(release):
            total += _hours(of, pl.lit(span.from_s), pl.lit(span.to_s))
    return total


def _hours(spans: pl.DataFrame, from_s: pl.Expr, to_s: pl.Expr) -> float:
    """How long the spans are, as far as they lie between two moments."""
    length = pl.min_horizontal("to_s", to_s) - pl.max_horizontal("from_s", from_s)
    return math.fsum(spans.select(length.clip(lower_bound=0.0)).to_series().to_list()) / HOUR_S


def _clipped(run: Run, from_s: float, to_s: float | None) -> Span | None:
    start_s = max(from_s, run.window.from_s)
    end_s = run.window.to_s if to_s is None else min(to_s, run.window.to_s)
    return Span(start_s, end_s) if end_s > start_s else None


def _overlap_s(one: Span, other: Span) -> float:
    return max(0.0, min(one.to_s, other.to_s) - max(one.from_s, other.from_s))
