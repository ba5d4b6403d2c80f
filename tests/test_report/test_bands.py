"""A table that is too wide for the terminal goes on below, and no cell is broken."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from scenarios.bands import Column, bands, print_metrics
from scenarios.labels import SECTIONS

KEYS = [label.key for _, labels in SECTIONS for label in labels]


def column(head: str, cell: str, with_the_one_before: bool = False) -> Column:
    return Column(head, dict.fromkeys(KEYS, Text(cell)), with_the_one_before)


def test_seven_strategies_on_eighty_columns_keep_their_names_and_numbers_whole() -> None:
    columns = [column(f"strategy-{n} (sim)", f"1,234.{n}\n1,000.1 … 2,000.2") for n in range(7)]
    console = Console(width=80, file=(out := io.StringIO()))
    print_metrics(console, columns)
    lines = out.getvalue().splitlines()
    assert all(f"strategy-{n} (sim)" in out.getvalue() for n in range(7))
    assert max(len(line) for line in lines) <= 80
    forced = [line.split() for line in lines if line.startswith("  forced reconnects")]
    assert [cell for row in forced for cell in row[2:]] == [f"1,234.{n}" for n in range(7)]


def test_what_fits_is_one_table() -> None:
    assert len(bands([column(name, "992") for name in ("recreate", "rolling", "rainbow")], 80)) == 1


def test_a_difference_stays_beside_the_mean_that_it_is_of() -> None:
    pairs = [column("first", "1.0")]
    for n in range(4):
        pairs += [column(f"other-{n}", "2.0"), column("− first, 95 %", "−1,850.1 … −1,670.9", True)]
    for band in bands(pairs, 80)[1:]:
        assert [one.with_the_one_before for one in band] == [False, True] * (len(band) // 2)


def test_one_column_that_is_wider_than_the_terminal_is_a_part_of_its_own() -> None:
    assert [len(band) for band in bands([column("a", "1"), column("b" * 200, "1")], 80)] == [1, 1]
