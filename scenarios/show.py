"""What is printed when a run or a comparison has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from scenarios.bands import Column, print_metrics
from scenarios.labels import SECTIONS, best, bounds, written
from scenarios.notes import doubts_of, vain_faults
from scenarios.record import read_record
from scenarios.report.groups import Group, grouped
from scenarios.run import Finished
from scenarios.spec import spec_of


def print_finished(console: Console, finished: Sequence[Finished], page: Path | None = None) -> None:
    """A table with a column for each group of equal runs, the missed thresholds, and where the pictures are.

    Runs that differ by their seed alone are one column, as on the page: the mean, and below it its 95 %
    interval.
    """
    records = [read_record(one.folder) for one in finished]
    groups = grouped(records, [one.summary for one in finished], [str(one.folder) for one in finished])
    print_metrics(console, [_column(group, groups) for group in groups])
    for one, record in zip(finished, records, strict=True):
        faults = vain_faults(spec_of(record.run["spec"], "run.json"), record.tables["pods"])
        for line in [*doubts_of(record.run, one.summary), *faults]:
            console.print(Text(f"{one.strategy}: {line}", style="bold yellow"), soft_wrap=True)
        for line in one.missed:
            console.print(Text(f"threshold missed: {line}", style="bold red"), soft_wrap=True)
        if one.interrupted:
            text = f"interrupted: {one.folder} has what was measured until then"
            console.print(Text(text, style="bold yellow"), soft_wrap=True)
    console.print()
    for one in finished:
        console.print(Text(f"{one.strategy}: {one.folder}/report.html"), soft_wrap=True)
    if page is not None:
        console.print(Text(f"side by side: {page}"), soft_wrap=True)


def _column(group: Group, groups: Sequence[Group]) -> Column:
    named = group.name if group.world in group.name else f"{group.name} ({group.world})"
    cells = {}
    for _, labels in SECTIONS:
        for label in labels:
            mean = group.mean(label.key)
            winner = best(label, [each.mean(label.key) for each in groups])
            wins = mean is not None and written(label, mean) == winner
            cell = Text(written(label, mean, several=group.runs > 1), style="bold green" if wins else "")
            spread = group.spread(label.key)
            interval = "" if spread is None else bounds(label, spread.mean_low, spread.mean_high)
            if interval:
                cell.append(f"\n{interval}", style="dim not bold")
            cells[label.key] = cell
    return Column(named if group.runs == 1 else f"{named}\nmean of {group.runs}", cells)
