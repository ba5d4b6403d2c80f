"""How evenly connections lie on the pods that new ones may go to."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scenarios.metrics.run import Run, Span

_CHUNK = 20_000
"""Changes that are looked at together; bounds the memory."""
_ENDED = -1.0


def imbalance(run: Run) -> float | None:
    """Time-average of max over mean of the connections of the selected, ready pods, by their last samples.

    Moments at which they have no connection at all do not count. Null without samples, or if no moment
    counts.
    """
    changes = _changes(run)
    if changes.is_empty():
        return None
    t_s, values = changes["t_s"].to_numpy(), changes["value"].to_numpy()
    pods = changes["code"].to_numpy()
    now = np.full(int(pods.max()) + 1, _ENDED)
    weighted = weight = 0.0
    start = 0
    while start < len(t_s):
        # a moment's changes belong together
        end = int(np.searchsorted(t_s, t_s[min(start + _CHUNK, len(t_s)) - 1], side="right"))
        until_s = t_s[end] if end < len(t_s) else t_s[end - 1]
        ratio, length_s = _ratios(now, t_s[start:end], pods[start:end], values[start:end], until_s)
        weighted += float(np.dot(ratio, length_s))
        weight += float(length_s[ratio > 0].sum())
        now[pods[start:end]] = values[start:end]
        start = end
    return weighted / weight if weight else None


def _ratios(
    now: NDArray[np.float64],
    t_s: NDArray[np.float64],
    pods: NDArray[np.int64],
    values: NDArray[np.float64],
    until_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Max over mean after each moment of change, 0 where there is no connection, and how long it lasts."""
    moments, at = np.unique(t_s, return_inverse=True)
    there = np.unique(np.concatenate((np.flatnonzero(now != _ENDED), pods)))
    counts = np.full((len(moments) + 1, len(there)), np.nan)
    counts[0] = now[there]
    counts[at + 1, np.searchsorted(there, pods)] = values
    known = np.where(np.isnan(counts), 0, np.arange(len(counts))[:, None])
    filled = np.take_along_axis(counts, np.maximum.accumulate(known, axis=0), axis=0)[1:]
    serving = filled != _ENDED
    total = np.where(serving, filled, 0.0).sum(axis=1)
    ratio = np.divide(
        filled.max(axis=1) * serving.sum(axis=1), total, out=np.zeros(len(moments)), where=total > 0
    )
    return ratio, np.diff(moments, append=until_s)


def _changes(run: Run) -> pl.DataFrame:
    """When a selected ready pod's count begins to hold, and when a pod stops to be one (-1); by time."""
    spans = run.held.filter(pl.col("ready_s").is_not_null())
    spans = spans.filter(pl.col("code").is_in(run.reachable.arg_true().cast(pl.Int64).implode()))
    everyone = [Span(-math.inf, math.inf)]
    parts = []
    for release in spans["release"].unique().sort():
        of = spans.filter(pl.col("release") == release)
        for selected in run.selected_spans(release) if run.selects_release else everyone:
            parts.append(
                of.select(
                    "code",
                    pl.max_horizontal("from_s", "ready_s", pl.lit(selected.from_s)).alias("from_s"),
                    pl.min_horizontal("to_s", "unready_s", pl.lit(selected.to_s)).alias("to_s"),
                    pl.col("open_connections").cast(pl.Float64).alias("value"),
                ).filter(pl.col("to_s") > pl.col("from_s"))
            )
    if not parts:
        return pl.DataFrame(schema={"t_s": pl.Float64, "code": pl.Int64, "value": pl.Float64})
    whole = pl.concat(parts)
    begins = whole.select(pl.col("from_s").alias("t_s"), "code", "value")
    ends = whole.select(pl.col("to_s").alias("t_s"), "code", pl.lit(_ENDED).alias("value"))
    # Where one count follows another at once, the end between them is none.
    ends = ends.join(begins, on=["t_s", "code"], how="anti")
    return pl.concat([begins, ends]).sort("t_s", "code")
