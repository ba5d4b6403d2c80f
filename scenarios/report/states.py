"""What each pod is there for, over time, and what that takes in pod-hours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scenarios.metrics.run import Run, Span
from scenarios.record import Record
from scenarios.report.style import STATES
from scenarios.report.timeline import Stack, grid_of

Times = NDArray[np.float64]
HOUR_S = 3600.0


@dataclass(frozen=True)
class Share:
    """What all pods in one state took, from time zero of the metrics to the end."""

    state: str
    pod_hours: float
    cost: float


@dataclass(frozen=True)
class _Spans:
    """Times in a state, of all pods together; those of weight −1 are taken away again."""

    from_s: Times
    to_s: Times
    weight: float = 1.0

    def counted(self, t_s: Times) -> Times:
        """How many are under way at each instant of an ordered axis."""
        real = self.to_s > self.from_s
        changes = np.zeros(len(t_s) + 1)
        np.add.at(changes, np.searchsorted(t_s, self.from_s[real], side="left"), self.weight)
        np.add.at(changes, np.searchsorted(t_s, self.to_s[real], side="left"), -self.weight)
        return np.cumsum(changes[:-1])

    def hours(self, window: Span) -> float:
        """Their length as far as it lies in the window."""
        length = np.minimum(self.to_s, window.to_s) - np.maximum(self.from_s, window.from_s)
        return math.fsum(np.clip(length, 0.0, None)) * self.weight / HOUR_S


def pods_by_state(record: Record) -> Stack:
    """How many pods are selected, draining, idle, terminating or starting at each instant.

    Selected: ready, and new connections go there. Draining: deselected, with a connection by its last
    sample, even while it terminates. Idle: ready, not selected and with no known connection. Terminating
    and starting: what is left. With one Deployment a pod is selected while it is ready, and deselected means
    terminating.
    """
    t_s = grid_of(record)
    spans = _spans(Run(record))
    counts = np.array([sum((s.counted(t_s) for s in spans[name]), np.zeros(len(t_s))) for name in STATES])
    return Stack(t_s, tuple(STATES), counts)


def shares_by_state(record: Record) -> list[Share]:
    """Pod-hours and dollars of each state; the draining ones are the metric `draining_pod_hours`."""
    run = Run(record)
    price = run.spec.fleet.pod.price_per_hour
    hours = {name: math.fsum(one.hours(run.window) for one in spans) for name, spans in _spans(run).items()}
    # what is taken away again leaves rounding behind
    return [Share(name, max(hours[name], 0.0), max(hours[name], 0.0) * price) for name in STATES]


def _spans(run: Run) -> Mapping[str, list[_Spans]]:
    pods = run.record.pods
    created_s = pods["t_created_s"].to_numpy()
    gone_s = _or_never(pods["t_gone_s"])
    ready_s = _or_never(pods["t_ready_s"])
    ending_s = np.minimum(_or_never(pods["t_terminating_s"]), gone_s)
    ready_s = np.minimum(ready_s, ending_s)
    busy = _busy(run.record)
    if run.selects_release:
        reachable = run.reachable.to_numpy()
        selected = [
            _Spans(np.maximum(ready_s[of], span.from_s), np.minimum(ending_s[of], span.to_s))
            for release in pods["release"].unique().sort()
            for of in [(pods["release"] == release).to_numpy() & reachable]
            for span in run.selected_spans(release)
        ]
        parts = [
            (span.from_s, span.to_s, busy.filter(pl.col("release") == release))
            for release in busy["release"].unique().sort()
            for span in run.deselected_spans(release)
        ]
    else:
        selected = [_Spans(ready_s, ending_s)]
        parts = [
            (-math.inf, math.inf, busy.with_columns(pl.max_horizontal("from_s", "ending_s").alias("from_s")))
        ]
    draining, up, ending = [], [], []
    for from_s, to_s, of in parts:
        span = _Spans(np.maximum(of["from_s"].to_numpy(), from_s), np.minimum(of["to_s"].to_numpy(), to_s))
        ends_s = of["ending_s"].to_numpy()
        draining.append(span)
        up.append(_Spans(span.from_s, np.minimum(span.to_s, ends_s), -1.0))
        ending.append(_Spans(np.maximum(span.from_s, ends_s), span.to_s, -1.0))
    return {
        "starting": [_Spans(created_s, ready_s)],
        "selected": selected,
        "draining": draining,
        "idle": [_Spans(ready_s, ending_s), *(_Spans(s.from_s, s.to_s, -1.0) for s in selected), *up],
        "terminating": [_Spans(ending_s, gone_s), *ending],
    }


def _busy(record: Record) -> pl.DataFrame:
    """When pods had connections by their last sample: release, from_s, to_s, ready_s, ending_s."""
    pods = record.pods.select(
        "pod",
        "release",
        pl.col("t_ready_s").fill_null(math.inf).alias("ready_s"),
        pl.col("t_gone_s").fill_null(math.inf).alias("gone_s"),
        pl.min_horizontal("t_terminating_s", "t_gone_s").fill_null(math.inf).alias("ending_s"),
    )
    # codes instead of names, and changes alone: a week of samples is mostly the same again
    samples = record.samples.select(
        pl.col("pod").cast(pl.Categorical()).to_physical().alias("code"),
        "pod",
        "t_s",
        (pl.col("open_connections") > 0).fill_null(False).alias("busy"),
    )
    held = (
        samples.filter((pl.col("busy") != pl.col("busy").shift(1).over("code")).fill_null(True))
        .with_columns(pl.col("t_s").shift(-1).over("code").fill_null(math.inf).alias("until_s"))
        .filter("busy")
    )
    return held.join(pods, on="pod").select(
        "release",
        pl.max_horizontal("t_s", pl.min_horizontal("ready_s", "ending_s")).alias("from_s"),
        pl.min_horizontal("until_s", "gone_s").alias("to_s"),
        "ending_s",
    )


def _or_never(times: pl.Series) -> Times:
    return times.fill_null(math.inf).to_numpy()
