"""The pictures that several groups of runs share: cost against disruption, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from scenarios.report.groups import Group
from scenarios.report.style import FAINT, INK, styled
from scenarios.report.way_back import way_back

COST, FORCED = "pod_hours", "forced_reconnects_per_client_deploy"
# Okabe and Ito's palette again; the names stand beside the points and lines, the colour only helps
_COLOURS = {
    "recreate": "#D55E00", "rolling": "#E69F00", "graceful": "#CC79A7", "bluegreen": "#0072B2",
    "colors": "#56B4E9", "rainbow": "#009E73", "immutable": "#B5A900",
}  # fmt: skip
_MARKERS = {"sim": "s", "local": "o", "kind": "^", "current": "D", "kubernetes": "^"}
_STYLES = ("-", "--", "-.", ":")
_SIDES: tuple[tuple[int, Literal["left", "right"]], ...] = ((9, "left"), (-9, "right"))


@dataclass(frozen=True)
class Point:
    """A group on the picture of cost against disruption."""

    name: str
    strategy: str
    world: str
    pod_hours: tuple[float, float, float]  # mean, and its 95 % interval where there are several runs
    forced: tuple[float, float, float]
    comparable: bool  # each deploy was done
    on_frontier: bool


def points_of(groups: Sequence[Group]) -> list[Point]:
    """The groups that have both numbers. On the frontier: nobody that did all its deploys is better in both."""
    known = [g for g in groups if g.mean(COST) is not None and g.mean(FORCED) is not None]
    found = []
    for group in known:
        cost, forced = _interval(group, COST), _interval(group, FORCED)
        beaten = any(
            (other.mean(COST), other.mean(FORCED)) != (cost[0], forced[0])
            and (other.mean(COST) or 0) <= cost[0]
            and (other.mean(FORCED) or 0) <= forced[0]
            for other in known
            if other.all_done and other is not group
        )
        name = group.name if group.all_done else f"{group.name}, {group.deploys}"
        found.append(
            Point(
                name, group.strategy, group.world, cost, forced, group.all_done, group.all_done and not beaten
            )
        )
    return found


def frontier_figure(groups: Sequence[Group], width_in: float = 8.0, height_in: float = 4.2) -> Figure | None:
    """Pod-hours to the right, forced reconnects per client and deploy upwards; None without two points."""
    points = points_of(groups)
    if len(points) < 2:
        return None
    with styled():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        for point in points:
            (x, *x_ends), (y, *y_ends) = point.pod_hours, point.forced
            colour = _COLOURS.get(point.strategy, INK)
            axes.plot(x_ends, [y, y], color=INK, linewidth=1.0, zorder=2)
            axes.plot([x, x], y_ends, color=INK, linewidth=1.0, zorder=2)
            axes.plot(
                [x], [y], marker=_MARKERS.get(point.world, "o"), markersize=9, markeredgecolor=INK, zorder=3,
                color=colour if point.comparable else "none", markeredgewidth=0.9, clip_on=False,
            )  # fmt: skip
        best = sorted((p.pod_hours[0], p.forced[0]) for p in points if p.on_frontier)
        if len(best) > 1:
            axes.step(*zip(*best, strict=True), where="post", color=INK, linewidth=1.0, alpha=0.5, zorder=1)
        axes.set_xlim(0, max(p.pod_hours[2] for p in points) * 1.15)
        axes.set_ylim(
            -0.02 * max(p.forced[2] for p in points), max(*(p.forced[2] for p in points), 0.05) * 1.15
        )
        axes.set_xlabel("pod-hours")
        axes.set_ylabel("forced reconnects per client and deploy")
        _write_names(figure, axes, points, best)
    return figure


def way_back_figure(groups: Sequence[Group], width_in: float = 8.0, height_in: float = 3.2) -> Figure | None:
    """The share that is back over the time since the loss, a line a group; None where nobody was cut off."""
    found = [(g, back) for g in groups if (back := way_back(g.first)) is not None]
    if not found:
        return None
    with styled():
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        right = max(float(back.t_s[-1]) for _, back in found)
        for number, (group, back) in enumerate(found):
            colour = _COLOURS.get(group.strategy, INK)
            axes.step(
                [*back.t_s, right], [*back.share, back.share[-1]], where="post", color=colour, linewidth=1.8,
                linestyle=_STYLES[number % len(_STYLES)], label=f"{group.name}: {back.losses:,} losses",
            )  # fmt: skip
        axes.set_xlim(0, max(right * 1.04, 0.1))
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set_ylabel("back online")
        axes.set_xlabel("seconds since the loss")
        axes.grid(alpha=FAINT)
        figure.legend(loc="outside right upper", handlelength=3.2)
    return figure


def _interval(group: Group, key: str) -> tuple[float, float, float]:
    spread, mean = group.spread(key), group.mean(key) or 0.0
    if spread is None:
        return mean, mean, mean
    return mean, max(spread.mean_low, 0.0), spread.mean_high


def _write_names(
    figure: Figure, axes: Axes, points: Sequence[Point], line: Sequence[tuple[float, float]]
) -> None:
    """Each name beside its point, at the first place where it covers no point, no other name and no line."""
    figure.draw_without_rendering()
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    taken: list[Bbox] = []
    for point in points:
        x, y = axes.transData.transform((point.pod_hours[0], point.forced[0]))
        taken.append(Bbox.from_bounds(x - 7, y - 7, 14, 14))
    for (x, y), (next_x, next_y) in pairwise(axes.transData.transform(line)) if len(line) > 1 else ():
        taken += [
            Bbox([[x, y - 1], [next_x, y + 1]]),
            Bbox([[next_x - 1, min(y, next_y)], [next_x + 1, max(y, next_y)]]),
        ]
    room = axes.get_window_extent(renderer)
    for point in sorted(points, key=lambda p: p.pod_hours[0]):
        text = axes.annotate(
            point.name, (point.pod_hours[0], point.forced[0]), textcoords="offset points", annotation_clip=False,
            xytext=(0, 0), arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "shrinkB": 5, "alpha": 0.6},
        )  # fmt: skip
        for step in range(14):
            for side, align in _SIDES:
                text.set_position((side, -3 + 13 * ((step + 1) // 2) * (1 if step % 2 else -1)))
                text.set_horizontalalignment(align)
                text.update_positions(renderer)
                box = _text_box(text, renderer)
                inside = box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= room.y0 and box.y1 <= room.y1
                if inside and not any(box.overlaps(other) for other in taken):
                    break
            else:
                continue
            break
        if abs(text.get_position()[1]) <= 3 and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)  # it stands right beside its point
        taken.append(_text_box(text, renderer))


def _text_box(text: Text, renderer: Any) -> Bbox:
    return Text.get_window_extent(text, renderer)  # without the line to the point
