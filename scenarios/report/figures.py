"""The pictures of one run, drawn on axes that the caller owns, so that a comparison can line them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scenarios.record import Record
from scenarios.report.states import pods_by_state
from scenarios.report.style import ARRIVALS, INK, RECONNECTS, STATES, styled
from scenarios.report.timeline import (
    Mark,
    connections_by_release,
    duration_of,
    marks_of,
    per_second,
)

Painter = Callable[[Axes, Record], None]


def draw_connections(axes: Axes, record: Record) -> None:
    """The signature: open connections over time, stacked, each release in the colour of its SHA."""
    stack = connections_by_release(record)
    floor = np.zeros(len(stack.t_s))
    for release, counts in zip(stack.names, stack.counts, strict=True):
        top = floor + counts
        axes.fill_between(stack.t_s, floor, top, color=f"#{release}", linewidth=0)
        # a thin edge keeps neighbours apart for who sees no colours
        axes.plot(stack.t_s, np.where(counts > 0, top, np.nan), color=INK, linewidth=0.5)
        _name_band(axes, stack.t_s, floor, counts, release)
        floor = top
    axes.set_ylabel("open connections")
    axes.set_ylim(0, max(float(floor.max()) * 1.12, 1.0))
    _mark_deploys(axes, marks_of(record))
    _time_axis(axes, record)


def draw_reconnects(axes: Axes, record: Record) -> None:
    """Reconnect attempts in each second, ordinary arrivals behind them as a line."""
    t_s, reconnects = per_second(record, "reconnect_requests")
    _, arrivals = per_second(record, "arrivals")
    width = t_s[1] - t_s[0] if len(t_s) > 1 else 1.0
    axes.bar(t_s, reconnects, width=width, align="edge", color=RECONNECTS, linewidth=0, label="reconnects")
    axes.step(t_s, arrivals, where="post", color=ARRIVALS, linewidth=1.0, label="arrivals")
    axes.set_ylabel("attempts per second")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylim(0, max(float(reconnects.max()), float(arrivals.max()), 1.0) * 1.12)
    axes.legend(loc="upper right", ncols=2)
    _mark_deploys(axes, marks_of(record))
    _time_axis(axes, record)


def draw_pods(axes: Axes, record: Record) -> None:
    """Pods over time by what they are there for."""
    stack = pods_by_state(record)
    floor = np.zeros(len(stack.t_s))
    for state, counts in zip(stack.names, stack.counts, strict=True):
        if not counts.any():
            continue
        colour, hatch = STATES[state]
        axes.fill_between(
            stack.t_s, floor, floor + counts, step="post", facecolor=colour, edgecolor=INK, hatch=hatch,
            linewidth=0, label=state,
        )  # fmt: skip
        floor = floor + counts
    axes.set_ylabel("pods")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylim(0, max(float(floor.max()) * 1.25, 1.0))
    axes.legend(loc="upper right", ncols=len(STATES))
    _mark_deploys(axes, marks_of(record))
    _time_axis(axes, record)


def figure_of(painter: Painter, record: Record, width_in: float = 9.0, height_in: float = 3.0) -> Figure:
    """One picture alone."""
    with styled():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        painter(figure.add_subplot(), record)
    return figure


def side_by_side(
    painter: Painter,
    records: Sequence[Record],
    titles: Sequence[str],
    height_in: float = 2.6,
    columns: int = 3,
) -> Figure:
    """The same picture of several runs on shared axes, so that heights and times compare at a glance."""
    columns = min(columns, len(records)) or 1
    rows = -(-len(records) // columns)
    with styled():
        figure = Figure(figsize=(3.6 * columns + 0.6, height_in * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        flat = list(grid.flat)
        tops = []
        for axes, record, title in zip(flat, records, titles, strict=False):
            painter(axes, record)
            tops.append(axes.get_ylim()[1])
            axes.set_title(title)
            if axes not in grid[:, 0]:
                axes.set_ylabel("")
        for axes in flat[: len(records)]:
            axes.set_ylim(0, max(tops))
        for axes in flat[len(records) :]:
            axes.set_visible(False)
    return figure


def _name_band(axes: Axes, t_s: np.ndarray, floor: np.ndarray, counts: np.ndarray, release: str) -> None:
    at = int(counts.argmax())
    if counts[at] <= 0:
        return
    dark = sum(w * int(release[i : i + 2], 16) for w, i in ((0.299, 0), (0.587, 2), (0.114, 4))) < 140
    middle = float(floor[at] + counts[at] / 2)
    left, right = float(t_s[0]), float(t_s[-1])
    x = min(max(float(t_s[at]), left + 0.04 * (right - left)), right - 0.04 * (right - left))
    axes.text(x, middle, release, ha="center", va="center", fontsize=8, color="white" if dark else "black")


def _mark_deploys(axes: Axes, marks: Sequence[Mark]) -> None:
    """A dashed line where a deploy was asked for, a flag in its release's colour where it was selected."""
    top = axes.get_ylim()[1]
    for mark in marks:
        axes.axvline(mark.requested_s, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.7)
        shape = "v" if mark.kind == "deploy" else "<"
        axes.plot(
            [mark.requested_s], [top], marker=shape, markersize=7, color=f"#{mark.release}", markeredgecolor=INK,
            markeredgewidth=0.6, clip_on=False, zorder=5,
        )  # fmt: skip
        if mark.selected_s is not None:
            axes.axvline(mark.selected_s, color=INK, linewidth=0.8, alpha=0.9)


def _time_axis(axes: Axes, record: Record) -> None:
    duration_s = duration_of(record)
    axes.set_xlim(0, duration_s)
    unit_s, unit = next(
        (u for u in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")) if duration_s > 3 * u[0]),
        (1.0, "seconds"),
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:g}"))
    steps = np.array([1, 2, 5, 6, 10, 12, 15, 20, 24, 30, 50, 100]) * unit_s
    step = next((s for s in steps if duration_s / s <= 10), steps[-1])
    axes.set_xticks(np.arange(0, duration_s + 1e-9, step))
    axes.set_xlabel(unit)
