"""A table of metrics in the terminal, in as many parts as its width takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.labels import SECTIONS

_NAME_WIDTH = 28
"""The least that a metric's name gets where columns stand beside it; longer names go on in a second line."""

_GAP = 2
"""Between two columns."""


@dataclass(frozen=True)
class Column:
    """A run, or several: its head, and a cell for each metric."""

    head: str
    cells: Mapping[str, Text]
    with_the_one_before: bool = False  # never parted from it

    @property
    def width(self) -> int:
        """Of its widest line."""
        texts = (Text(self.head), *self.cells.values())
        return max(line.cell_len for text in texts for line in text.split(allow_blank=True))


def print_metrics(console: Console, columns: Sequence[Column]) -> None:
    """A row for each metric. Columns that would not fit whole beside the others make a table of their own, below."""
    for number, band in enumerate(bands(columns, console.width)):
        if number:
            console.print()
        console.print(_table(band))


def bands(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in order, in parts that fit into the width with the metrics' names; each at least one column."""
    together: list[list[Column]] = []
    for column in columns:
        if column.with_the_one_before and together:
            together[-1].append(column)
        else:
            together.append([column])
    found: list[list[Column]] = []
    for part in together:
        taken = [*found[-1], *part] if found else []
        if taken and _NAME_WIDTH + sum(_GAP + column.width for column in taken) <= width:
            found[-1] = taken
        else:
            found.append(part)
    return found


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("", min_width=_NAME_WIDTH)
    for column in columns:
        table.add_column(column.head, justify="right")
    for title, labels in SECTIONS:
        table.add_row(Text(title, style="bold"))
        for label in labels:
            table.add_row(f"  {label.text}", *(column.cells[label.key] for column in columns))
    return table
