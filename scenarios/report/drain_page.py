"""The page of the drain study: its picture, its tables, and what is recommended because of them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scenarios.report.style import INK, png_of, styled
from scenarios.study_drain import (
    FAMILIES,
    POD_HOUR,
    POLICIES,
    RATES,
    REPLICAS,
    TOLERANCES,
    TOLERATED,
    USERS,
    Cell,
    Standing,
    chosen,
    frontier,
    standings,
)

_SMALLEST = 1e-4  # of forced reconnects per user; below it lies zero
_MARKERS = "ovs^D"


def picture_of(cells: Sequence[Cell]) -> bytes:
    """PNG: a panel for each family and rate, forced reconnects over pod-hours, the frontier as a line."""
    with styled():
        figure = Figure(figsize=(13.5, 9.2), layout="constrained")
        panels = figure.subplots(len(RATES), len(FAMILIES), sharex=True, sharey=True)
        for row, rate in zip(panels, RATES, strict=True):
            for axes, family in zip(row, FAMILIES, strict=True):
                _draw(axes, [c for c in cells if (c.rate, c.family) == (rate, family)])
        for axes, (told, _) in zip(panels[0], FAMILIES.values(), strict=True):
            axes.set_title(told)
        for axes, rate in zip(panels[:, 0], RATES, strict=True):
            axes.set_ylabel(f"{rate}\nforced reconnects per user and deploy")
        for axes in panels[-1]:
            axes.set_xlabel("pod-hours of old releases per deploy")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        return png_of(figure, dpi=110)


def _draw(axes: Axes, cells: Sequence[Cell]) -> None:
    best = frontier(cells)
    axes.step(
        [c.surplus_pod_h for c in best], [max(c.forced_ratio, 0) for c in best],
        where="post", color=INK, linewidth=0.8, alpha=0.6, zorder=1,
    )  # fmt: skip
    colours = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, cell in enumerate(cells):
        axes.plot(
            cell.surplus_pod_h, cell.forced_ratio, _MARKERS[number % len(_MARKERS)], label=cell.policy,
            color=colours[(2 * number) % 20 + (2 * number) // 20], markersize=7, markeredgecolor=INK,
            markeredgewidth=0.4, linestyle="none", clip_on=False, zorder=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=_SMALLEST, linscale=0.4)
    axes.set_ylim(0, 1.3)
    axes.axhline(TOLERATED, color=INK, linewidth=0.8, linestyle=":")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(FixedLocator([20, 50, 100, 200, 400]))
    axes.xaxis.set_minor_locator(NullLocator())


def page_of(cells: Sequence[Cell]) -> str:
    """Markdown, every number from the cells."""
    found = standings(cells)
    best = chosen(found, TOLERATED)
    parts = [
        _head(),
        _recommendation(found, best),
        _tolerances(found),
        _case_against(cells, found, best),
        _by_policy(found),
        _by_cell(cells),
    ]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    families = "; ".join(f"*{name}*: {told}" for name, (told, _) in FAMILIES.items())
    rates = ", ".join(RATES)
    return f"""# When may the old release go? A study in simulation

Made by `make study-drain`; the same code gives the same page.

Strategy `rainbow`, {REPLICAS} pods a release, {USERS} users, sessions with a mean of 2 h in five families ({families}),
{rates} deploys, six days of which the first three are left out; `hold` and `check_every` of 5 minutes, a deadline of
48 h except under `after`. Each of the {len(POLICIES) * len(FAMILIES) * len(RATES)} points is one run with seed 7.
To read it for another service, scale: what matters is the drain time over the mean session, and users per pod.

![Forced reconnects over pod-hours, by policy, family and rate](figures/study-drain.png)

The line joins what no other policy beats in both; the dotted one is {100 * TOLERATED:g} % of users. Pod-hours are all those
beyond the {REPLICAS} pods that serve, so a pod that stands empty because its release may not go yet is counted."""


def _recommendation(found: Sequence[Standing], best: Standing | None) -> str:
    if best is None:
        return f"## What to take\n\nEvery policy cuts more than {100 * TOLERATED:g} % of users somewhere before the deadline."
    lossless = min((s for s in found if s.own_ratio == 0), key=lambda s: s.mean_pod_h, default=None)
    text = f"""## What to take

**`{best.policy}`.** The rule: of the policies with which no deploy cuts more than {100 * TOLERATED:g} % of the connected users before
the deadline, in any family at any rate, the one with the fewest pod-hours on average. It cuts at most {_percent(best.own_ratio)} of
users per deploy by its own choice ({_percent(best.worst_ratio)} with those whom the deadline cuts under every policy that has
one) and takes {best.mean_pod_h:.0f} pod-hours per deploy (${best.mean_pod_h * POD_HOUR:.2f}), {best.worst_pod_h:.0f} in the worst case."""
    if lossless is not None and lossless.policy != best.policy:
        text += (
            f"\nTo cut nobody before the deadline takes `{lossless.policy}`: {lossless.mean_pod_h:.0f} pod-hours per deploy, "
            f"{lossless.mean_pod_h / best.mean_pod_h:.1f} times as many."
        )
    return text


def _tolerances(found: Sequence[Standing]) -> str:
    rows = []
    for tolerated in TOLERANCES:
        one = chosen(found, tolerated)
        row = (
            ("none", "", "")
            if one is None
            else (f"`{one.policy}`", f"{one.mean_pod_h:.0f}", _percent(one.own_ratio))
        )
        rows.append((_percent(tolerated), *row))
    told = (
        "The choice depends on what is tolerated. Where sessions have long tails nothing here cuts nobody: what is "
        "left after 48 h goes by the deadline, under every policy that has one. These are not counted here: a policy "
        "answers for those whom it cuts beyond them.\n\n"
    )
    return told + _table(
        (
            "users whom a deploy may cut before the deadline",
            "cheapest policy",
            "pod-hours per deploy",
            "cuts at worst by choice",
        ),
        rows,
    )


def _case_against(cells: Sequence[Cell], found: Sequence[Standing], best: Standing | None) -> str:
    if best is None:
        return "## The case against it\n\nThere is none to argue against."
    own = [cell for cell in cells if cell.policy == best.policy]
    beaten = [
        cell for cell in own
        if cell not in frontier([c for c in cells if (c.family, c.rate) == (cell.family, cell.rate)])
    ]  # fmt: skip
    priciest = max(own, key=lambda cell: cell.surplus_pod_h)
    rivals = [c for c in cells if (c.family, c.rate) == (priciest.family, priciest.rate)]
    cheaper = min(rivals, key=lambda cell: (cell.forced_ratio > 0.05, cell.surplus_pod_h))
    waiting = next((s for s in found if s.policy == "empty, shrink"), None)
    points = [
        f"It is not on the frontier in {len(beaten)} of {len(own)} cases: who knows the family of their sessions "
        "does better with a policy made for it.",
        f"Its worst case is *{priciest.family}* sessions at {priciest.rate}: {priciest.surplus_pod_h:.0f} pod-hours per "
        f"deploy, where `{cheaper.policy}` takes {cheaper.surplus_pod_h:.0f} and cuts {_percent(cheaper.forced_ratio)} "
        "of users. Who pays for pods and has clients that resume within a second should take that one.",
        "It needs counts, and so fails closed: a pod that cannot be asked keeps its release. `after` needs none, and "
        "goes on working when the pods' admin ports do not.",
        "The run has no zombies. Where clients vanish without a word, `discount_silent` is needed, or what is left "
        "never gets fewer.",
        "One mean session of 2 h, one size of fleet, one seed: shares of a percent rest on a few users.",
    ]
    if waiting is not None and waiting.policy != best.policy:
        points.insert(
            0,
            f"It saves {_percent(1 - best.mean_pod_h / waiting.mean_pod_h)} of the pod-hours of `empty, shrink`, which cuts "
            f"nobody before the deadline ({_percent(waiting.worst_ratio)} at worst). Who finds that too little for a cut "
            "should wait for the last one.",
        )
    return "## The case against it\n\n" + "\n".join(f"- {point}" for point in points)


def _by_policy(found: Sequence[Standing]) -> str:
    rows = [
        (
            f"`{s.policy}`",
            _percent(s.worst_ratio),
            _percent(s.own_ratio),
            f"{s.mean_pod_h:.0f}",
            f"{s.worst_pod_h:.0f}",
        )
        for s in found
    ]
    heads = (
        "policy",
        "forced reconnects per user and deploy, worst",
        "of these not by the deadline",
        "pod-hours per deploy, mean",
        "worst",
    )
    return "## All policies\n\n" + _table(heads, rows)


def _by_cell(cells: Sequence[Cell]) -> str:
    parts = [
        "## All runs\n\nForced reconnects per user and deploy / pod-hours of old releases per deploy (of these, with a connection)."
    ]
    for rate in RATES:
        rows = []
        for policy in POLICIES:
            by_family = {c.family: c for c in cells if (c.policy, c.rate) == (policy.name, rate)}
            rows.append((f"`{policy.name}`", *(_told(by_family[family]) for family in FAMILIES)))
        parts.append(f"### {rate}\n\n" + _table(("policy", *FAMILIES), rows))
    return "\n\n".join(parts)


def _told(cell: Cell) -> str:
    return f"{_percent(cell.forced_ratio)} / {cell.surplus_pod_h:.0f} ({cell.draining_pod_h:.0f})"


def _percent(ratio: float) -> str:
    return "0" if ratio == 0 else f"{100 * ratio:.2g} %" if ratio < 0.995 else f"{100 * ratio:.0f} %"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
