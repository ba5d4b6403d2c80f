"""The pictures of one run, drawn on axes that the caller owns, so that a comparison can line them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scenarios.metrics.run import Run
from scenarios.record import Record
from scenarios.report.bands import name_bands
from scenarios.report.states import pods_by_state
from scenarios.report.style import ARRIVALS, HATCH, INK, RECONNECTS, STATES, styled
from scenarios.report.timeline import (
    Mark,
    connections_by_release,
    duration_of,
    faults_of,
    marks_of,
    per_second,
    span_s,
)
from scenarios.report.way_back import QUANTILES, WayBack, way_back

Painter = Callable[[Axes, Record], None]
_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def draw_connections(axes: Axes, record: Record) -> None:
    """The signature: open connections over time, stacked, each release in the colour of its SHA."""
    stack = connections_by_release(record)
    tops = np.cumsum(stack.counts, axis=0)
    for release, counts, top in zip(stack.names, stack.counts, tops, strict=True):
        if not counts.any():
            continue
        around = _around(counts)
        t_s, high = stack.t_s[around], top[around]
        axes.fill_between(t_s, high - counts[around], high, color=f"#{release}", linewidth=0)
        # a thin edge keeps neighbours apart for who sees no colours
        axes.plot(t_s, high, color=INK, linewidth=0.5)
    axes.set_ylabel("open connections")
    axes.set_ylim(0, max(float(stack.counts.sum(axis=0).max(initial=0)) * 1.08, 1.0))
    _mark_deploys(axes, marks_of(record))
    _mark_faults(axes, faults_of(record))
    _time_axis(axes, record)
    name_bands(axes, stack)


def draw_reconnects(axes: Axes, record: Record) -> None:
    """Reconnect attempts in each second, ordinary arrivals before them as a line."""
    t_s, reconnects = per_second(record, "reconnect_requests")
    _, arrivals = per_second(record, "arrivals")
    width = span_s(record)
    _bars(axes, t_s, reconnects, width)
    ends = np.append(t_s, t_s[-1] + width)
    axes.step(
        ends, np.append(arrivals, arrivals[-1]), where="post", color=ARRIVALS, linewidth=1.0, label="arrivals"
    )
    axes.set_ylabel("attempts per second" if width == 1 else "attempts, busiest second")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylim(0, max(float(reconnects.max()), float(arrivals.max()), 1.0) * 1.12)
    _mark_deploys(axes, marks_of(record))
    _mark_faults(axes, faults_of(record))
    _time_axis(axes, record)


def draw_pods(axes: Axes, record: Record) -> None:
    """Pods over time by what they are there for; on the right what they cost in an hour."""
    stack = pods_by_state(record)
    floor = np.zeros(len(stack.t_s))
    for state, counts in zip(stack.names, stack.counts, strict=True):
        top = floor + counts
        if counts.any():
            colour, hatch = STATES[state]
            at = _corners(floor, top)
            axes.fill_between(
                stack.t_s[at], floor[at], top[at], step="post", facecolor=colour, edgecolor=HATCH, hatch=hatch,
                linewidth=0, label=state,
            )  # fmt: skip
        floor = top
    axes.set_ylabel("pods")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylim(0, max(float(floor.max(initial=0)) * 1.08, 1.0))
    price = Run(record).spec.fleet.pod.price_per_hour
    if price > 0:
        cost = axes.secondary_yaxis(
            "right", functions=(partial(np.multiply, price), partial(np.multiply, 1 / price))
        )
        cost.set_ylabel("$ an hour")
        cost.yaxis.set_major_locator(MaxNLocator(nbins=4))
    _mark_deploys(axes, marks_of(record))
    _mark_faults(axes, faults_of(record))
    _time_axis(axes, record)


def draw_way_back(axes: Axes, record: Record) -> None:
    """The share of losses after which the user was logged in again, over the time since the loss."""
    found = way_back(record)
    _share_axis(axes)
    if found is None:
        axes.set_xticks([])
        axes.text(0.5, 0.5, nothing_lost(record), ha="center", va="center", transform=axes.transAxes)
        return
    axes.fill_between(found.t_s, found.low, found.high, step="post", color=ARRIVALS, alpha=0.2, linewidth=0)
    axes.step(found.t_s, found.share, where="post", color=ARRIVALS, linewidth=1.6)
    seen_s = float(found.t_s[-1])
    axes.set_xlim(0, max(seen_s * 1.04, 0.1))
    _mark_quantiles(axes, found)
    axes.set_xlabel("seconds since the loss")


PAINTERS: dict[str, Painter] = {
    "connections": draw_connections,
    "reconnects": draw_reconnects,
    "pods": draw_pods,
    "way-back": draw_way_back,
}
"""The pictures of a run by the names of their files."""


def figure_of(painter: Painter, record: Record, width_in: float = 9.0, height_in: float = 3.0) -> Figure:
    """One picture alone."""
    with styled():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        painter(axes, record)
        _legend(figure, [axes])
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
        for axes, record, title in zip(flat, records, titles, strict=False):
            painter(axes, record)
            axes.set_title(title)
            if axes not in grid[:, 0]:
                axes.set_ylabel("")
        share_limits(flat[: len(records)])
        for axes in flat[len(records) :]:
            axes.set_visible(False)
        _legend(figure, flat[: len(records)])
    return figure


def panels(
    painter: Painter, records: Sequence[Record], width_in: float = 4.4, height_in: float = 2.5
) -> list[Figure]:
    """The same picture of several runs, each a figure of its own, with the same limits on all."""
    found = []
    with styled():
        for record in records:
            figure = Figure(figsize=(width_in, height_in), layout="constrained")
            painter(figure.add_subplot(), record)
            found.append(figure)
        share_limits([figure.axes[0] for figure in found])
    return found


def share_limits(many: Sequence[Axes]) -> None:
    """Give all the widest limits of any; flags at the top stay there."""
    if not many:
        return
    old = [axes.get_ylim()[1] for axes in many]
    right, top = max(axes.get_xlim()[1] for axes in many), max(old)
    for axes in many:
        axes.set_xlim(axes.get_xlim()[0], right)
        axes.set_ylim(axes.get_ylim()[0], top)


def legend_of(drawn: Sequence[Figure]) -> Figure | None:
    """The legend of several panels alone; None where the picture labels itself."""
    handles = _handles([axes for figure in drawn for axes in figure.axes])
    if not handles:
        return None
    with styled():
        figure = Figure(figsize=(7.0, 0.3))
        figure.legend(
            list(handles.values()), list(handles), loc="center left", ncols=len(handles), borderpad=0
        )
    return figure


def time_unit(duration_s: float) -> tuple[float, str]:
    """The unit in which a time axis of this length reads best: its seconds and its name."""
    return next((one for one in _UNITS if duration_s > 3 * one[0]), _UNITS[-1])


def _handles(many: Sequence[Axes]) -> dict[str, Artist]:
    found: dict[str, Artist] = {}
    for axes in many:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = [*STATES, *found]
    return {label: found[label] for label in sorted(found, key=order.index)}


def _legend(figure: Figure, many: Sequence[Axes]) -> None:
    handles = _handles(many)
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=len(handles))


def _around(counts: np.ndarray) -> slice:
    """From one instant before the first count that is not zero to one after the last."""
    there = np.flatnonzero(counts)
    return slice(max(int(there[0]) - 1, 0), min(int(there[-1]) + 2, len(counts)))


def _corners(floor: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Where a step picture changes, and its ends: what lies between need not be drawn."""
    moved = (np.diff(floor, prepend=np.nan) != 0) | (np.diff(top, prepend=np.nan) != 0)
    moved[[0, -1]] = True
    return np.flatnonzero(moved)


def _bars(axes: Axes, t_s: np.ndarray, counts: np.ndarray, width: float) -> None:
    """All bars as one outline: a thousand rectangles would make the page heavy."""
    edges = np.append(t_s, t_s[-1] + width)
    tops = np.append(counts, 0.0)
    at = _corners(np.zeros(len(tops)), tops)
    axes.fill_between(
        edges[at], 0, tops[at], step="post", color=RECONNECTS, linewidth=0.5, label="reconnects"
    )


def _mark_deploys(axes: Axes, marks: Sequence[Mark]) -> None:
    """A dashed line where a deploy was asked for, a flag in its release's colour there, a line where selected."""
    for mark in marks:
        axes.axvline(mark.requested_s, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.7)
        shape = "<" if mark.kind == "rollback" else "v"
        axes.plot(
            [mark.requested_s], [1.0], marker=shape, markersize=7, color=f"#{mark.release}", markeredgecolor=INK,
            markeredgewidth=0.6, clip_on=False, zorder=5, transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        if mark.selected_s is not None:
            axes.axvline(mark.selected_s, color=INK, linewidth=0.8, alpha=0.9)


def _mark_faults(axes: Axes, times_s: Sequence[float]) -> None:
    """A cross at the top for each fault."""
    for t_s in times_s:
        axes.plot(
            [t_s], [1.0], marker="X", markersize=7, color=INK, clip_on=False, zorder=5,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _time_axis(axes: Axes, record: Record) -> None:
    duration_s = duration_of(record)
    axes.set_xlim(0, duration_s)
    unit_s, unit = time_unit(duration_s)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:g}"))
    steps = np.array([1, 2, 5, 6, 10, 12, 15, 20, 24, 30, 50, 100]) * unit_s
    step = next((s for s in steps if duration_s / s <= 10), duration_s / 8)
    axes.set_xticks(np.arange(0, duration_s + 1e-9, step))
    axes.set_xlabel(unit)


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.set_ylabel("back online")


def nothing_lost(record: Record) -> str:
    """Why there is no way back to draw."""
    if Run(record).level == "series":
        return "A record of level series does not tell it."
    return "Nobody was cut off."


def _mark_quantiles(axes: Axes, found: WayBack) -> None:
    for q, at_s in zip(QUANTILES, found.quantiles_s, strict=True):
        if at_s is None:
            continue
        axes.plot([0, at_s, at_s], [q, q, 0], color=INK, linewidth=0.7, linestyle=(0, (3, 2)), alpha=0.7)
    told = [
        f"{100 * q:.0f} % after {at_s:.2f} s" if at_s is not None else f"{100 * q:.0f} %: not seen"
        for q, at_s in zip(QUANTILES, found.quantiles_s, strict=True)
    ]
    if found.censored:
        told.append(f"{found.censored:,} of {found.losses:,}\nnot seen to come back")
    axes.text(1.015, 1.0, "\n".join(told), ha="left", va="top", linespacing=1.6, transform=axes.transAxes)
