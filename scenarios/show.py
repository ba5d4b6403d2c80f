"""What is printed when a run or a comparison has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.labels import SECTIONS, best, bounds, written
from scenarios.notes import doubts_of
from scenarios.record import read_record
from scenarios.report.groups import Group, grouped
from scenarios.run import Finished


def print_finished(console: Console, finished: Sequence[Finished], page: Path | None = None) -> None:
    """A table with a column for each group of equal runs, the missed thresholds, and where the pictures are.

    Runs that differ by their seed alone are one column, as on the page: the mean, and below it its 95 %
    interval.
    """
    records = [read_record(one.folder) for one in finished]
    groups = grouped(records, [one.summary for one in finished], [str(one.folder) for one in finished])
    console.print(_table(groups))
    for one, record in zip(finished, records, strict=True):
        for line in doubts_of(record.run, one.summary):
            console.print(Text(f"{one.strategy}: {line}", style="bold yellow"), soft_wrap=True)
        for line in one.missed:
            console.print(Text(f"threshold missed: {line}", style="bold red"))
        if one.interrupted:
            console.print(
                Text(f"interrupted: {one.folder} has what was measured until then", style="bold yellow")
            )
    console.print()
    for one in finished:
        console.print(Text(f"{one.strategy}: {one.folder}/report.html"), soft_wrap=True)
    if page is not None:
        console.print(Text(f"side by side: {page}"), soft_wrap=True)


def _table(groups: Sequence[Group]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("")
    for group in groups:
        named = group.name if group.world in group.name else f"{group.name} ({group.world})"
        table.add_column(named if group.runs == 1 else f"{named}\nmean of {group.runs}", justify="right")
    for title, labels in SECTIONS:
        table.add_row(Text(title, style="bold"))
        for label in labels:
            means = [group.mean(label.key) for group in groups]
            winner = best(label, means)
            cells = []
            for group, mean in zip(groups, means, strict=True):
                cell = Text(
                    written(label, mean, several=group.runs > 1),
                    style="bold green" if mean is not None and written(label, mean) == winner else "",
                )
                spread = group.spread(label.key)
                interval = "" if spread is None else bounds(label, spread.mean_low, spread.mean_high)
                if interval:
                    cell.append(f"\n{interval}", style="dim not bold")
                cells.append(cell)
            table.add_row(f"  {label.text}", *cells)
    return table
