"""The numbers behind every picture as tables, for whoever draws them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from scenarios.labels import LABELS
from scenarios.record import Record
from scenarios.report.frontier import points_of
from scenarios.report.groups import Group
from scenarios.report.states import pods_by_state, shares_by_state
from scenarios.report.timeline import Stack, connections_by_release, per_second
from scenarios.report.way_back import way_back


def tables_of(record: Record) -> dict[str, pl.DataFrame]:
    """One table for each picture of a run, by the picture's name."""
    t_s, reconnects = per_second(record, "reconnect_requests")
    _, arrivals = per_second(record, "arrivals")
    back = way_back(record)
    curve = (
        {}
        if back is None
        else {"t_s": back.t_s, "share_back": back.share, "low": back.low, "high": back.high}
    )
    return {
        "connections": _long(connections_by_release(record), "release", "open_connections"),
        "reconnects": pl.DataFrame(
            {"t_s": t_s, "reconnects": _whole(reconnects), "arrivals": _whole(arrivals)}
        ),
        "pods": _long(pods_by_state(record), "state", "pods"),
        "way-back": pl.DataFrame(
            curve, schema=dict.fromkeys(("t_s", "share_back", "low", "high"), pl.Float64())
        ),
    }


def run_tables(record: Record, summary: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """The pictures' tables of a run, and those that its page shows as tables."""
    shares = shares_by_state(record)
    return {
        **tables_of(record),
        "pod-hours": pl.DataFrame(
            {
                "state": [s.state for s in shares],
                "pod_hours": [s.pod_hours for s in shares],
                "cost_dollars": [s.cost for s in shares],
            }
        ),
        "deploys": record.deploys,
        "summary": pl.DataFrame(
            {"metric": list(summary), "value": [None if v is None else float(v) for v in summary.values()]},
            schema={"metric": pl.String(), "value": pl.Float64()},
        ),
    }


def compare_tables(groups: Sequence[Group]) -> dict[str, pl.DataFrame]:
    """The pictures' tables of each group's first run, the frontier, and every metric with its interval."""
    found: dict[str, list[pl.DataFrame]] = {}
    for group in groups:
        for name, table in tables_of(group.first).items():
            named = table.with_columns(pl.lit(group.name).alias("runs"))
            found.setdefault(name, []).append(named.select("runs", *table.columns))
    points = points_of(groups)
    return {
        **{name: pl.concat(tables) for name, tables in found.items()},
        "frontier": pl.DataFrame(
            [
                (p.name, p.strategy, p.world, *p.pod_hours, *p.forced, p.comparable, p.on_frontier)
                for p in points
            ],
            schema={
                "runs": pl.String(), "strategy": pl.String(), "world": pl.String(), "pod_hours": pl.Float64(),
                "pod_hours_low": pl.Float64(), "pod_hours_high": pl.Float64(), "forced": pl.Float64(),
                "forced_low": pl.Float64(), "forced_high": pl.Float64(), "all_deploys_done": pl.Boolean(),
                "on_frontier": pl.Boolean(),
            },
            orient="row",
        ),
        "metrics": pl.DataFrame(
            [_metric(group, key) for key in LABELS for group in groups],
            schema={
                "metric": pl.String(), "runs": pl.String(), "n": pl.Int64(), "mean": pl.Float64(),
                "mean_low": pl.Float64(), "mean_high": pl.Float64(),
            },
            orient="row",
        ),
    }  # fmt: skip


def _metric(group: Group, key: str) -> tuple[str, str, int, float | None, float | None, float | None]:
    spread = group.spread(key)
    low, high = (spread.mean_low, spread.mean_high) if spread is not None else (None, None)
    return key, group.name, len(group.values(key)), group.mean(key), low, high


def _long(stack: Stack, name: str, value: str) -> pl.DataFrame:
    """A row for each instant and name."""
    instants = len(stack.t_s)
    return pl.DataFrame(
        {
            "t_s": np.tile(stack.t_s, len(stack.names)),
            name: np.repeat(np.array(stack.names, dtype=object), instants).tolist(),
            value: _whole(stack.counts.reshape(-1)),
        },
        schema={"t_s": pl.Float64(), name: pl.String(), value: pl.Int64()},
    )


def _whole(counts: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.rint(counts).astype(np.int64)
    return whole
