"""What the commands for one's own service print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.actions import Action, Annotate, LookAgain
from deployer.controller import Step
from deployer.fleet import Fleet, Release, Verdict
from deployer.own.looking import Row

_COLOUR = re.compile(r"[0-9a-f]{6}")


def print_status(
    console: Console, fleet: Fleet, rows: Sequence[Row], warnings: Sequence[str], now_s: float
) -> None:
    """A line for each release, what became of the last request, and what somebody should know."""
    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("release", "left"),
        ("", "left"),
        ("pods", "right"),
        ("connections", "right"),
        ("age", "right"),
        ("verdict", "left"),
        ("image", "left"),
    ):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        pods = f"{row.ready}/{row.desired}" + (f" +{row.terminating} leaving" if row.terminating else "")
        verdict = f"{row.verdict}: {row.reason}" if row.verdict else ""
        cells = (row.role, pods, _connections(row), age_text(row.age_s), verdict, row.image or "")
        table.add_row(swatch(row.release), *cells)
    console.print(table)
    if fleet.requests:
        last = fleet.requests[-1]
        outcome = last.outcome or "under way"
        ago = age_text(max(0.0, now_s - last.requested_s))
        reason = f": {last.reason}" if last.reason else ""
        line = f"last: {last.kind} of {last.release}, {ago} ago, {outcome}{reason}"
        console.print(Text(line), soft_wrap=True)
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)


def print_sweep(console: Console, found: Step, dry_run: bool, held_by_other: bool) -> None:
    """Each verdict with its evidence, then what was done about it."""
    for verdict in found.verdicts:
        line = Text.assemble(
            swatch(verdict.release), f" {verdict.deployment}: {verdict.decision}: {verdict.reason}"
        )
        console.print(line, soft_wrap=True)
        for key, value in verdict.evidence.items():
            shown = f"{value:.1f}" if isinstance(value, float) else value
            console.print(f"    {key}: {shown}", highlight=False)
    if not found.verdicts:
        console.print("no release is draining")
    if held_by_other:
        console.print("another process runs the loop for this service, and does what is due")
        return
    for action in found.actions:
        if (text := action_text(action)) is not None:
            console.print(f"{'would: ' if dry_run else ''}{text}", highlight=False, soft_wrap=True)


def action_text(action: Action) -> str | None:
    """An action in words; None for what is only a note."""
    if isinstance(action, Annotate | LookAgain):
        return None
    told = {key: value for key, value in asdict(action).items() if key != "because"}
    shown = ", ".join(f"{key}={value}" for key, value in told.items() if value is not None)
    return f"{type(action).__name__}({shown}): {action.because}"


def action_json(action: Action) -> dict[str, Any]:
    """For --json."""
    return {"action": type(action).__name__, **asdict(action)}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """For --json."""
    until_s = verdict.whole_until_s
    return {
        "release": verdict.release,
        "deployment": verdict.deployment,
        "decision": verdict.decision,
        "reason": verdict.reason,
        "evidence": dict(verdict.evidence),
        "pinned": until_s == float("inf"),
    }


def swatch(release: Release) -> Text:
    """The release on its colour, where its name is one."""
    if not _COLOUR.fullmatch(release):
        return Text(release, style="bold")
    red, green, blue = (int(release[at : at + 2], 16) for at in (0, 2, 4))
    # ITU-R BT.601 luma: black letters on light colours, white ones on dark.
    letters = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
    return Text(f" {release} ", style=f"{letters} on #{release}")


def age_text(age_s: float) -> str:
    """The two largest units of a time."""
    left = int(age_s)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _connections(row: Row) -> str:
    if row.connections is None:
        return "unknown" if row.unknown else "0"
    return f"{row.connections}" + (f" + {row.unknown} pods unknown" if row.unknown else "")
