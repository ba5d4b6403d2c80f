"""A plan in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.plan.advice import Plan, is_gentle
from scenarios.plan.estimate import Estimate
from scenarios.plan.service import GIB
from scenarios.plan.text import rate_text, ratio_text, session_text, time_text

_LOGINS = {"stands": "ok", "queues": "wait {}", "overloads": "too many"}


def print_plan(console: Console, plan: Plan, notes: Sequence[str] = ()) -> None:
    """What was assumed, what each strategy costs and does, the recommendation, and what it hangs on."""
    service = plan.service
    for line in (_assumed(plan), *notes):
        console.print(Text(line), style="dim")
    console.print()
    _print_costs(console, plan)
    _print_users(console, plan)
    best = plan.recommended
    console.print(Text.assemble(("Take ", "bold"), (best.name, "bold green"), f": {best.how}."))
    console.print(Text(f"{plan.reason[0].upper()}{plan.reason[1:]}: {_told(best)}."))
    for what, one in plan.alternatives:
        console.print(Text.assemble(f"{what[0].upper()}{what[1:]}: ", (one.name, "bold"), f", {_told(one)}."))
    for warning in plan.warnings:
        console.print(Text(f"Mind: {warning}.", style="yellow"))
    console.print()
    _print_left(console, plan)
    _print_moved(console, plan)
    if service.nodes is None:
        console.print(Text("No bound on nodes was given (--nodes), so none limits the deploys.", style="dim"))


def _assumed(plan: Plan) -> str:
    service = plan.service
    nodes = ""
    if service.nodes is not None:
        nodes = (
            f", {service.nodes.count} nodes of {service.nodes.cpu:g} CPU and "
            f"{service.nodes.memory_bytes / GIB:g} GiB ({service.capacity_pods} pods)"
        )
    return (
        f"{service.connections:,} connections, {session_text(service.session)}, "
        f"{rate_text(service.deploys_per_day)} deploys a day; {service.replicas:,} pods a release of "
        f"{service.pod_cpu:g} CPU, {service.pod_memory_bytes / GIB:g} GiB, ${service.price_per_pod_hour:g}/h{nodes}; "
        f"ready in {time_text(service.startup_s)}; {service.logins_per_s:,.0f} logins/s; "
        f"fixed drains last {time_text(plan.drain_s)}, waiting ones {time_text(service.deadline_s)} at most"
    )


def _print_costs(console: Console, plan: Plan) -> None:
    table = Table(title="What it takes", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for head in ("pods, mean", "peak", "CPU", "memory", "nodes", "$ a month"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in plan.estimates:
        nodes = str(one.nodes_peak)
        if plan.service.nodes is not None and not one.fits:
            nodes += f" of {plan.service.nodes.count}"
        table.add_row(
            _name(plan, one),
            f"{one.pods_mean:.1f}",
            str(one.pods_peak),
            f"{one.cpu_peak:g}",
            f"{one.memory_peak_bytes / GIB:g} GiB",
            Text(nodes, style="" if one.fits else "red"),
            f"{one.dollars_per_month:,.0f}",
        )
    console.print(table)
    console.print(Text(_shrink_saves(plan), style="dim"))
    console.print()


def _shrink_saves(plan: Plan) -> str:
    """What it is worth to let empty pods of old releases go."""
    pods = {one.name: one.pods_mean for one in plan.estimates}
    pairs = [(name, f"{name}, shrink") for name in pods if f"{name}, shrink" in pods]
    saved = [f"{pods[one] - pods[other]:.1f} of {pods[one]:.1f} pods ({one})" for one, other in pairs]
    return f"Shrink saves {', '.join(saved)}."


def _print_users(console: Console, plan: Plan) -> None:
    table = Table(
        title="What a deploy does to users, and how many deploys a day are possible", title_justify="left", title_style="bold",
        box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("", no_wrap=True)
    for head in (
        "forced\na user",
        "cut\nat once",
        "back\nper s",
        "logins",
        "deploys\na day",
        "bound by",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for one in plan.estimates:
        storm = one.storm
        table.add_row(
            _name(plan, one),
            Text(
                ratio_text(one.forced_per_user_deploy), style="" if is_gentle(plan.service, one) else "yellow"
            ),
            f"{storm.cut:,.0f}",
            f"{storm.peak_per_s:,.0f}",
            Text(_LOGINS[storm.verdict].format(_short(storm.queue_s)), style=_colour(storm.verdict)),
            Text(rate_text(one.max_deploys_per_day), style="" if one.keeps_up else "red"),
            one.bound_by,
        )
    console.print(table)
    console.print()


def _print_left(console: Console, plan: Plan) -> None:
    table = Table(
        title="When an old release may go, after the switch", title_justify="left", title_style="bold",
        box=None, pad_edge=False,
    )  # fmt: skip
    for head in ("connections left", "half of the time by", "90 % of the time between", "and"):
        table.add_column(head, justify="right", no_wrap=True)
    for left in plan.left:
        told = f"{left.m:,} or fewer" if left.m else "none"
        table.add_row(told, time_text(left.median_s), time_text(left.low_s), time_text(left.high_s))
    console.print(table)
    console.print(Text(f"From {plan.left[0].method}; if nobody cuts them.", style="dim"))
    console.print()


def _print_moved(console: Console, plan: Plan) -> None:
    table = Table(
        title=f"What {plan.recommended.name} hangs on: each assumption halved and doubled", title_justify="left",
        title_style="bold", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("")
    for head in ("$ a month", "peak pods", "forced reconnects", "moves most"):
        table.add_column(head, justify="right", no_wrap=True)
    still = [moved.assumption for moved in plan.moved if moved.moves == "nothing"]
    for moved in plan.moved:
        if moved.moves == "nothing":
            continue
        ends = (moved.low, moved.high)
        table.add_row(
            moved.assumption,
            _range([f"{e.dollars_per_month:,.0f}" for e in ends if e is not None]),
            _range([str(e.pods_peak) for e in ends if e is not None]),
            _range([ratio_text(e.forced_per_user_deploy) for e in ends if e is not None]),
            f"{moved.moves} ×{moved.size:.2g}",
        )
    console.print(table)
    if still:
        console.print(Text(f"These move nothing here: {', '.join(still)}.", style="dim"))


def _short(t_s: float) -> str:
    """Two digits are enough, and leave the table within eighty columns."""
    return time_text(float(f"{t_s:.2g}"))


def _range(values: Sequence[str]) -> str:
    return " … ".join(dict.fromkeys(values))


def _name(plan: Plan, one: Estimate) -> Text:
    chosen = one.name == plan.recommended.name
    return Text(("▸ " if chosen else "  ") + one.name, style="bold green" if chosen else "")


def _colour(verdict: str) -> str:
    return {"stands": "", "queues": "yellow", "overloads": "red"}[verdict]


def _told(one: Estimate) -> str:
    rate = (
        "any number of"
        if math.isinf(one.max_deploys_per_day)
        else f"up to {rate_text(one.max_deploys_per_day)}"
    )
    return (
        f"{one.pods_mean:.1f} pods (peak {one.pods_peak}), ${one.dollars_per_month:,.0f} a month, "
        f"{ratio_text(one.forced_per_user_deploy)} forced reconnects per user and deploy, {rate} deploys a day"
    )
