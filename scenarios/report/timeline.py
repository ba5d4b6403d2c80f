"""Numbers behind the pictures: what stood when, from a record's tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from scenarios.metrics.run import Run
from scenarios.record import Record

POINTS = 500
"""How finely a picture resolves its time axis: more than a page has pixels for it is of no use."""


@dataclass(frozen=True)
class Stack:
    """Counts over time, one row of `counts` for each name, from the bottom up."""

    t_s: np.ndarray
    names: tuple[str, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class Mark:
    """A deploy on the time axis."""

    release: str
    requested_s: float
    selected_s: float | None
    kind: str
    outcome: str | None


def duration_of(record: Record) -> float:
    """How long the run was measured, in seconds from time zero (an interrupted run: until then)."""
    return Run(record).window.to_s


def marks_of(record: Record) -> list[Mark]:
    """The deploys of a run in order, without the initial one."""
    rows = record.deploys.filter(pl.col("kind") != "initial").iter_rows(named=True)
    return [Mark(r["release"], r["t_requested_s"], r["t_selected_s"], r["kind"], r["outcome"]) for r in rows]


def faults_of(record: Record) -> list[float]:
    """When faults began: the events that the scenario asked for."""
    kinds = [fault.kind for fault in Run(record).spec.faults]
    found = record.events.filter(pl.col("kind").is_in(kinds))
    return found["t_s"].to_list()


def releases_of(record: Record) -> list[str]:
    """The releases in the order in which they were first asked for."""
    return list(dict.fromkeys(record.deploys.sort("deploy")["release"]))


def grid_of(record: Record) -> np.ndarray:
    """The instants of the time axis, evenly spaced, both ends among them."""
    duration_s = duration_of(record)
    return np.linspace(0.0, duration_s, min(POINTS, max(int(duration_s * 10), 1)) + 1)


def connections_by_release(record: Record) -> Stack:
    """Open connections per release: to the instant where every connection was kept, else in the series' bins."""
    releases = releases_of(record)
    t_s = grid_of(record)
    if record.run["spec"].get("record", "full") == "full":
        opened = record.connections.filter(pl.col("t_open_s").is_not_null())
        counts = [
            _open_at(t_s, of["t_open_s"], of["t_close_s"])
            for of in (opened.filter(pl.col("release") == release) for release in releases)
        ]
    else:
        # the last instant is the end of the last bin
        bins = np.minimum(np.floor(t_s), max(math.ceil(t_s[-1]) - 1, 0))
        kept = record.series.filter(pl.col("t_s").is_in(pl.Series(np.unique(bins)).implode()))
        counts = [_binned(kept.filter(pl.col("release") == release), bins) for release in releases]
    return Stack(t_s, tuple(releases), np.array(counts, dtype=float).reshape(len(releases), len(t_s)))


def span_s(record: Record) -> int:
    """How many seconds one bar of `per_second` stands for."""
    return math.ceil(max(math.ceil(duration_of(record)), 1) / POINTS)


def per_second(record: Record, column: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of `series` over all releases: bin starts from time zero, and counts.

    A run with more seconds than the picture has points shows the largest second of each point's span.
    """
    seconds = max(math.ceil(duration_of(record)), 1)
    counts = np.zeros(seconds)
    summed = (
        record.series.filter((pl.col("t_s") >= 0) & (pl.col("t_s") < seconds) & (pl.col(column) > 0))
        .group_by("t_s")
        .agg(pl.col(column).sum())
    )
    counts[summed["t_s"].to_numpy().astype(int)] = summed[column].to_numpy()
    width = span_s(record)
    padded = np.pad(counts, (0, -seconds % width))
    return np.arange(0, seconds, width, dtype=float), padded.reshape(-1, width).max(axis=1)


def _open_at(t_s: np.ndarray, opens: pl.Series, closes: pl.Series) -> np.ndarray:
    begun = np.searchsorted(np.sort(opens.to_numpy()), t_s, side="right")
    ended = np.searchsorted(np.sort(closes.drop_nulls().to_numpy()), t_s, side="right")
    return begun - ended


def _binned(of: pl.DataFrame, bins: np.ndarray) -> np.ndarray:
    if of.is_empty():
        return np.zeros(len(bins))
    of = of.sort("t_s")
    starts, opened = of["t_s"].to_numpy(), of["open"].to_numpy()
    at = np.minimum(np.searchsorted(starts, bins), len(starts) - 1)
    return np.where(starts[at] == bins, opened[at], 0)
