"""What is printed when a run or a comparison has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.labels import SECTIONS, best, written
from scenarios.run import Finished


def print_finished(console: Console, finished: Sequence[Finished], page: Path | None = None) -> None:
    """A table with a column for each run, the missed thresholds, and where the pictures are."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("")
    for one in finished:
        table.add_column(f"{one.strategy} ({one.world})", justify="right")
    for title, labels in SECTIONS:
        table.add_row(Text(title, style="bold"))
        for label in labels:
            values = [one.summary.get(label.key) for one in finished]
            winner = best(label, values)
            cells = [
                Text(
                    written(label, value), style="bold green" if value is not None and value == winner else ""
                )
                for value in values
            ]
            table.add_row(f"  {label.text}", *cells)
    console.print(table)
    for one in finished:
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
