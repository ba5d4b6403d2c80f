"""Who ended a pod, and which forced closes a deploy caused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import polars as pl

from scenarios.metrics.run import FAULT_S, SKEW_S, Run, selections
from scenarios.record import RUN_ENDS, RUN_START, is_cut

_DONE_ALREADY = re.compile(r"(deploy|scale-down deploy) \d+|fault \S+|end")
_ROLLOUT = re.compile(r"(?:rollout to|recreate for) (\S+)")
_EVICTED_S = 600.0
"""A pod on a lost node is evicted when its tolerations are over, by default after 300 s."""


def attribute(pods: pl.DataFrame, deploys: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """`pods` whose `why` names who ended them: "deploy 2", "scale-down deploy 2", "fault kill_pod", "end".

    What the cluster wrote there is used: "rollout to R" and "recreate for R" belong to the newest deploy of
    R, "deployment deleted" and "scale-down" to the deploy that replaced the pod's release. Where it wrote
    nothing, a pod of a Deployment that had several releases belongs to the newest request, any other to the
    deploy that replaced its release, and one whose release was never selected to that release's own deploy.
    A fault that names the pod or its node comes first, as does the end of the run. A pod that was not ended
    has null.
    """
    shared = set(
        pods.group_by("deployment")
        .agg(pl.col("release").n_unique().alias("n"))
        .filter(pl.col("n") > 1)["deployment"]
        .to_list()
    )
    asked = list(deploys.sort("deploy").iter_rows(named=True))
    selected = selections(deploys)
    own = (RUN_START, *RUN_ENDS)
    faults = list(events.filter(~pl.col("kind").is_in(own)).iter_rows(named=True))
    ends = events.filter(pl.col("kind").is_in(RUN_ENDS))["t_s"].to_list()
    end_s = min(ends, default=float("inf"))
    whys = [
        _why(pod, pod["deployment"] in shared, asked, selected, faults, end_s)
        for pod in pods.iter_rows(named=True)
    ]
    return pods.with_columns(pl.Series("why", whys, dtype=pl.String))


def _why(
    pod: Mapping[str, Any],
    shared: bool,
    asked: list[dict[str, Any]],
    selected: list[tuple[float, str, int]],
    faults: list[dict[str, Any]],
    end_s: float,
) -> str | None:
    t_s = pod["t_terminating_s"] if pod["t_terminating_s"] is not None else pod["t_gone_s"]
    raw = pod["why"] or ""
    if t_s is None:
        return None
    if _DONE_ALREADY.fullmatch(raw):
        return raw
    if t_s >= end_s:
        return "end"
    rollout = _ROLLOUT.fullmatch(raw)
    for fault in faults:
        after_s = t_s - fault["t_s"]
        if fault["target"] == pod["pod"] and -SKEW_S <= after_s <= FAULT_S:
            return f"fault {fault['kind']}"
        on_node = fault["target"] is not None and fault["target"] == pod["node"]
        if on_node and -SKEW_S <= after_s <= _EVICTED_S and rollout is None and raw != "deployment deleted":
            return f"fault {fault['kind']}"
    if rollout is not None:
        found = _newest(asked, t_s, release=rollout[1])
    elif shared and raw != "deployment deleted":
        found = _newest(asked, t_s, not_release=pod["release"])
    else:
        found = _replaced_by(pod["release"], selected, asked, t_s)
    if found is None:
        return raw or None
    return f"scale-down deploy {found}" if raw == "scale-down" else f"deploy {found}"


def _newest(
    asked: list[dict[str, Any]], t_s: float, release: str | None = None, not_release: str | None = None
) -> int | None:
    """The newest request by then that could have moved pods, of this release or of any but that one."""
    fits = [
        row
        for row in asked
        if row["kind"] != "initial"
        and row["outcome"] not in ("refused", "blocked")
        and (release is None or row["release"] == release)
        and row["release"] != not_release
    ]
    # Kubernetes writes deletion times in whole seconds, so a request may seem to come just after.
    for late_s in (0.0, 1.0):
        found = [row["deploy"] for row in fits if row["t_requested_s"] <= t_s + late_s]
        if found:
            return int(max(found))
    return None


def _replaced_by(
    release: str, selected: list[tuple[float, str, int]], asked: list[dict[str, Any]], t_s: float
) -> int | None:
    """The deploy that took the Service away from this release, the last time before then."""
    taken = [
        deploy
        for (_, before, _), (at_s, now, deploy) in pairwise(selected)
        if before == release != now and at_s <= t_s + 1.0
    ]
    if taken:
        return taken[-1]
    if any(name == release for _, name, _ in selected):
        return None  # it is selected still
    return _newest(asked, t_s, release=release)


def caused(run: Run) -> pl.DataFrame:
    """The forced closes in the window, each with `deploy`: the one that caused it, null where none did.

    A deploy caused a close of a connection to a pod that it ended (`pods.why`), from the moment when the
    pod was asked to end; and, once the deployer has asked clients to leave (CloseConnections), a close by
    the server on a release that this deploy replaced. What comes within five seconds after a fault that
    names the pod is the fault's. Needs the levels full or lost.
    """
    owned = run.record.pods.select(
        "pod",
        pl.min_horizontal("t_terminating_s", "t_gone_s").alias("_ended_s"),
        pl.col("why").str.extract(r"deploy (\d+)$").cast(pl.Int64).alias("_owner"),
    )
    cut = (
        run.record.connections.filter(is_cut() & run.within("t_close_s"))
        .with_row_index("_row")
        .join(owned, on="pod", how="left", maintain_order="left")
    )
    ended = pl.col("t_close_s") >= pl.col("_ended_s") - SKEW_S
    nudged = run.record.actions.filter(pl.col("action").str.starts_with("CloseConnections"))["t_s"].min()
    asked = (
        pl.lit(False)
        if nudged is None
        else (pl.col("closed_by") == "server") & (pl.col("t_close_s") >= pl.lit(nudged))
    )
    replaced = pl.lit(None, dtype=pl.Int64)
    for (_, before, _), (at_s, now, deploy) in pairwise(run.selections):
        if before != now:
            gone = (pl.col("release") == before) & (pl.col("t_close_s") >= at_s)
            back_s = min(
                (t for t, name, _ in run.selections if name == before and t > at_s), default=float("inf")
            )
            replaced = pl.when(gone & (pl.col("t_close_s") < back_s)).then(pl.lit(deploy)).otherwise(replaced)
    cause = (
        pl.when(ended.fill_null(False) & pl.col("_owner").is_not_null())
        .then(pl.col("_owner"))
        .when(asked)
        .then(replaced)
        .otherwise(None)
        .cast(pl.Int64)
    )
    faults = run.record.events.filter(~pl.col("kind").is_in([RUN_START, *RUN_ENDS])).select(
        pl.col("t_s").alias("_t_s"), pl.col("target").alias("pod")
    )
    late_s = pl.col("t_close_s") - pl.col("_t_s")
    hit = cut.join(faults, on="pod").filter((late_s >= -SKEW_S) & (late_s <= FAULT_S))["_row"].unique()
    by_fault = pl.col("_row").is_in(hit.implode())
    initial = run.record.deploys.filter(pl.col("kind") == "initial")["deploy"]
    found = cut.with_columns(pl.when(by_fault).then(None).otherwise(cause).alias("deploy"))
    counts = ~pl.col("deploy").is_in(initial.implode())
    return found.with_columns(pl.when(counts).then(pl.col("deploy")).alias("deploy")).drop(
        "_row", "_ended_s", "_owner"
    )
