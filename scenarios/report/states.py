"""What each pod is there for, over time."""

from __future__ import annotations

import numpy as np
import polars as pl

from scenarios.metrics.run import Run, Span
from scenarios.record import Record
from scenarios.report.style import STATES
from scenarios.report.timeline import Stack, grid_of


def pods_by_state(record: Record) -> Stack:
    """How many pods are starting, selected, draining, idle or terminating at each instant.

    Selected: ready, and new connections go there. Draining: deselected, with a connection by its last
    sample. Idle: deselected and without one. With one Deployment a pod is selected while it is ready, and
    a terminating one that still holds connections counts as terminating.
    """
    run = Run(record)
    t_s = grid_of(record)
    names = tuple(STATES)
    counts = np.zeros((len(names), len(t_s)))
    rows = {name: row for row, name in enumerate(names)}
    for pod in record.pods.iter_rows(named=True):
        created_s = pod["t_created_s"]
        ready_s = _or_never(pod["t_ready_s"])
        gone_s = _or_never(pod["t_gone_s"])
        ending_s = min(_or_never(pod["t_terminating_s"]), gone_s)
        up = (t_s >= ready_s) & (t_s < ending_s)
        selected = up & _inside(t_s, run.selected_spans(pod["release"])) if run.selects_release else up
        busy = _open_at(record, pod["pod"], t_s) > 0
        counts[rows["starting"]] += (t_s >= created_s) & (t_s < np.minimum(ready_s, ending_s))
        counts[rows["selected"]] += selected
        counts[rows["draining"]] += up & ~selected & busy
        counts[rows["idle"]] += up & ~selected & ~busy
        counts[rows["terminating"]] += (t_s >= ending_s) & (t_s < gone_s)
    return Stack(t_s, names, counts)


def _inside(t_s: np.ndarray, spans: list[Span]) -> np.ndarray:
    inside = np.zeros(len(t_s), dtype=bool)
    for span in spans:
        inside |= (t_s >= span.from_s) & (t_s < span.to_s)
    return inside


def _open_at(record: Record, pod: str, t_s: np.ndarray) -> np.ndarray:
    """The pod's last sample at each instant; 0 before its first."""
    of = record.samples.filter((pl.col("pod") == pod) & pl.col("open_connections").is_not_null()).sort("t_s")
    if of.is_empty():
        return np.zeros(len(t_s))
    at = np.searchsorted(of["t_s"].to_numpy(), t_s, side="right") - 1
    return np.where(at >= 0, of["open_connections"].to_numpy()[np.maximum(at, 0)], 0)


def _or_never(t_s: float | None) -> float:
    return float("inf") if t_s is None else float(t_s)
