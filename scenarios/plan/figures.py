"""The picture of a plan: pods and forced reconnects of each strategy, and how an old release empties."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from loadgen.behaviour.sessions import Empirical
from scenarios.plan.advice import Plan
from scenarios.plan.burndown import Burndown
from scenarios.plan.limits import LIMITS
from scenarios.plan.service import Service
from scenarios.plan.text import ratio_text, time_text
from scenarios.report.style import ARRIVALS, INK, RC, RECONNECTS, STATES, png_of, styled

_BAND = (0.05, 0.95)


def plan_figure(plan: Plan, width_in: float = 10.0) -> Figure:
    """All three pictures."""
    with styled():
        figure = Figure(figsize=(width_in, 7.4), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1), width_ratios=(1.25, 1))
        pods = figure.add_subplot(grid[0, 0])
        draw_pods(pods, plan)
        users = figure.add_subplot(grid[0, 1], sharey=pods)
        draw_forced(users, plan)
        users.tick_params(labelleft=False)
        draw_burndown(figure.add_subplot(grid[1, :]), plan.service)
    return figure


def file_of(figure: Figure, suffix: str) -> bytes:
    """The picture as a file that stands alone: .png or .svg, black on white, letters as outlines."""
    if suffix == ".png":
        return png_of(figure)
    stream = io.BytesIO()
    with plt.rc_context({**RC, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", facecolor="white", metadata={"Date": None})
    return stream.getvalue()


def draw_pods(axes: Axes, plan: Plan) -> None:
    """A bar for the mean number of pods, a tick for the peak, a line for what the nodes hold."""
    colour, _ = STATES["selected"]
    serving = plan.service.replicas
    for row, one in enumerate(plan.estimates):
        axes.barh(row, min(one.pods_mean, serving), color=colour, height=0.62)
        axes.barh(
            row, max(one.pods_mean - serving, 0), left=serving, height=0.62,
            color=STATES["draining"][0], edgecolor=INK, hatch=STATES["draining"][1], linewidth=0,
        )  # fmt: skip
        axes.plot([one.pods_peak] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=2)
        axes.annotate(
            f"{one.pods_mean:.0f}, peak {one.pods_peak}", (max(one.pods_peak, one.pods_mean), row),
            xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # the nodes' line does not cross it
        )  # fmt: skip
    axes.set_yticks(range(len(plan.estimates)), [one.name for one in plan.estimates])
    for label, one in zip(axes.get_yticklabels(), plan.estimates, strict=True):
        if one.name == plan.recommended.name:
            label.set_fontweight("bold")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    right = max(one.pods_peak for one in plan.estimates)
    capacity = plan.service.capacity_pods
    if capacity is not None and capacity < right * 2:
        axes.axvline(capacity, color=RECONNECTS, linewidth=1.2, linestyle=(0, (4, 2)))
        right = max(right, capacity)
        axes.set_xlabel(f"pods; dashed: the nodes hold {capacity}")
    else:
        axes.set_xlabel("pods")
    axes.set_xlim(0, right * 1.32)
    axes.set_title("Pods: serving, and more (mean; tick: peak)")


def draw_forced(axes: Axes, plan: Plan) -> None:
    """Forced reconnects per user and deploy."""
    values = [one.forced_per_user_deploy for one in plan.estimates]
    axes.barh(range(len(values)), values, color=RECONNECTS, height=0.62)
    for row, one in enumerate(plan.estimates):
        told = ratio_text(one.forced_per_user_deploy)
        if one.storm.verdict == "overloads":
            told += ", overloads the logins"
        axes.annotate(
            told,
            (one.forced_per_user_deploy, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(0, max(*values, 0.05) * 1.75)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("per user and deploy")
    axes.set_title("Forced reconnects")


def draw_burndown(axes: Axes, service: Service) -> None:
    """Connections left on an old release: mean, 90 % band, and who might end the drain before."""
    burn = Burndown.of(service, _shown_s(service))
    times = np.geomspace(max(burn.cut_s * 1e-4, 1e-3), burn.cut_s, 240)
    expected = burn.expected_open(times)
    low, high = (burn.open_quantile(q, times) for q in _BAND)
    unit_s, unit = _unit(burn.cut_s)
    axes.fill_between(times / unit_s, low, high, color=ARRIVALS, alpha=0.25, linewidth=0)
    axes.plot(times / unit_s, expected, color=ARRIVALS, linewidth=1.8)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(0, max(float(expected[0]) * 1.6, 2.0))
    axes.set_xlim(0, burn.cut_s / unit_s)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for limit in LIMITS.values():
        if burn.cut_s * 0.03 < limit.cut_s < burn.cut_s:
            axes.axvline(limit.cut_s / unit_s, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
            axes.annotate(
                f"{limit.name} {time_text(limit.cut_s)}", (limit.cut_s / unit_s, 0), xycoords=("data", "axes fraction"),
                xytext=(2, 3), textcoords="offset points", rotation=90, va="bottom", fontsize=7,
            )  # fmt: skip
    few = service.few_left
    if few > 0:
        axes.axhline(few, color=INK, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.annotate(
            f"few: {few:,}", (1, few), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
    axes.set_xlabel(f"{unit} after the switch")
    axes.set_ylabel("connections")
    measured = ", up to the longest session measured" if isinstance(service.session, Empirical) else ""
    axes.set_title(f"What is left on an old release (line: mean, band: 90 %{measured})")


def _shown_s(service: Service) -> float:
    if math.isinf(service.session.mean_s):
        return service.deadline_s
    far = Burndown.of(service, service.session.mean_s * 60).quantile_s(0.95)
    return far * 1.1 if math.isfinite(far) and far > 0 else service.deadline_s


def _unit(seconds: float) -> tuple[float, str]:
    return next(
        (one for one in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")) if seconds > 4 * one[0]),
        (1.0, "seconds"),
    )
