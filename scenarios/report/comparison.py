"""The self-contained page of several runs: small multiples on shared axes, one table, cost against disruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from scenarios.labels import LABELS, SECTIONS, Label, best, bounds, hint, written
from scenarios.record import Record
from scenarios.report.figures import PAINTERS, legend_of, panels
from scenarios.report.frontier import COST, FORCED, frontier_figure, points_of, way_back_figure
from scenarios.report.groups import Group, differences, grouped
from scenarios.report.render import render, sentence
from scenarios.report.style import svg_of

_SHOWN = 4  # differing keys that are named


def compare_page(records: Sequence[Record], summaries: Sequence[Any], folders: Sequence[str]) -> str:
    """`compare.html`; runs of the same strategy, world and spec are one column, with the mean's interval."""
    return page_of(grouped(records, summaries, folders))


def page_of(groups: Sequence[Group], told: Sequence[str] = ()) -> str:
    """The page of these columns. With `told` they are not rivals: none is best, and its lines stand on top."""
    scenarios = ", ".join(dict.fromkeys(group.first.run["spec"]["name"] for group in groups))
    worlds = len(dict.fromkeys(group.world for group in groups))
    return render(
        "compare.html.j2",
        title=f"{scenarios}: {', '.join(dict.fromkeys(group.strategy for group in groups))}",
        sentence=told[0] if told else _sentence(groups),
        notes=[*told[1:], *_interrupted(groups)] if told else [*_interrupted(groups), *_differing(groups)],
        rivals=not told,
        # a row a strategy and a column a world, where that gives a full grid
        columns=worlds if 1 < worlds <= 3 and len(groups) % worlds == 0 else 3,
        several=any(group.runs > 1 for group in groups),
        pictures={name: _panels(name, groups) for name in ("connections", "reconnects", "pods")},
        frontier=_svg(
            None if told else frontier_figure(groups),
            "frontier",
            "Pod-hours against forced reconnects, a point a column",
        ),
        way_back=_svg(
            way_back_figure(groups), "way-back", "Share of the users cut off who are back, a line a column"
        ),
        left_out=[g.name for g in groups if g.mean(FORCED) is None or g.mean(COST) is None],
        blocked=any(not point.comparable for point in points_of(groups)),
        groups=groups,
        sections=[(title, [_row(label, groups, not told) for label in labels]) for title, labels in SECTIONS],
    )


@dataclass(frozen=True)
class _Panels:
    panels: Sequence[tuple[str, str]]  # name and SVG of each group
    legend: str  # empty where the pictures label themselves


def _panels(name: str, groups: Sequence[Group]) -> _Panels:
    drawn = panels(PAINTERS[name], [group.first for group in groups])
    legend = _svg(legend_of(drawn), f"{name}-legend", "legend")
    pictures = [
        (group.name, svg_of(figure, f"{name}-{number}", f"{name} of {group.name}"))
        for number, (group, figure) in enumerate(zip(groups, drawn, strict=True))
    ]
    return _Panels(pictures, legend)


def _svg(figure: Figure | None, name: str, label: str) -> str:
    return "" if figure is None else svg_of(figure, name, label)


def _sentence(groups: Sequence[Group]) -> str:
    """Which cut the fewest and which cost the least, among those that did all their deploys."""
    known = [g for g in groups if g.mean(FORCED) is not None and g.mean(COST) is not None]
    ranked = [g for g in known if g.all_done] or known
    behind = [f"{g.name} did {g.deploys}" for g in groups if not g.all_done and ranked != known]
    also = f" {sentence('; '.join(behind))}" if behind else ""
    if len(ranked) < 2:
        return f"Too little is known of these runs to rank them.{also}"
    gentle = min(ranked, key=lambda g: (g.mean(FORCED) or 0, g.mean(COST) or 0))
    cheap = min(ranked, key=lambda g: (g.mean(COST) or 0, g.mean(FORCED) or 0))
    if gentle is cheap:
        return f"{gentle.name} cut the fewest connections ({_told(gentle)}) and cost the least ({_cost(gentle)}).{also}"
    return (
        f"{gentle.name} cut the fewest connections: {_told(gentle)}, for {_cost(gentle)}. "
        + sentence(f"{cheap.name} cost the least: {_cost(cheap)}, and {_told(cheap)}")
        + also
    )


def _told(group: Group) -> str:
    return f"{group.mean(FORCED):.3g} per client and deploy"


def _cost(group: Group) -> str:
    return f"{group.mean(COST):,.3g} pod-hours"


def _interrupted(groups: Sequence[Group]) -> list[str]:
    names = [g.name for g in groups if any(record.run.get("interrupted") for record in g.records)]
    return [f"Interrupted, and measured until then: {', '.join(names)}."] if names else []


def _differing(groups: Sequence[Group]) -> list[str]:
    keys = differences([group.first for group in groups])
    if not keys:
        return []
    named = [f"{key} ({', '.join(values[:3])})" for key, values in list(keys.items())[:_SHOWN]]
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return [f"The specs differ in {', '.join(named)}{more}: compare with care."]


def _row(label: Label, groups: Sequence[Group], rivals: bool) -> dict[str, Any]:
    """The best mean of rivals is marked; one whose interval meets the best one's cannot be told from it."""
    means = [group.mean(label.key) for group in groups]
    winner = best(label, means) if rivals else None
    top_spreads = [
        g.spread(label.key)
        for g, mean in zip(groups, means, strict=True)
        if mean is not None and written(label, mean) == winner
    ]
    cells = []
    for group, mean in zip(groups, means, strict=True):
        spread = group.spread(label.key)
        is_best = mean is not None and written(label, mean) == winner
        tied = not is_best and winner is not None and spread is not None and any(
            top is not None and spread.mean_low <= top.mean_high and top.mean_low <= spread.mean_high for top in top_spreads
        )  # fmt: skip
        interval = "" if spread is None else bounds(label, spread.mean_low, spread.mean_high)
        text = written(label, mean, several=group.runs > 1)
        cells.append(
            {"text": text, "interval": interval, "mark": "best" if is_best else "tied" if tied else ""}
        )
    return {"hint": hint(LABELS[label.key]), "text": label.text, "cells": cells}
