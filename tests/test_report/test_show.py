"""What the terminal says of finished runs: the same columns as the page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from scenarios.metrics import summary_json
from scenarios.record import write_record
from scenarios.run import Finished, read_finished
from scenarios.show import print_finished


@pytest.fixture
def kept(tiny, summary_of, tmp_path):
    """kept(strategy, seed): a finished run in a folder."""

    def keep(strategy: str, seed: int) -> Finished:
        record = tiny(strategy, seed=seed)
        folder: Path = tmp_path / f"{strategy}-{seed}"
        run = {key: value for key, value in record.run.items() if key != "schema"}
        write_record(folder, run, record.tables, {"summary.json": summary_json(summary_of(record))})
        return read_finished(folder)

    return keep


def printed(finished: list[Finished]) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    print_finished(console, finished, Path("side.html"))
    return console.export_text()


def test_runs_that_differ_by_their_seed_are_one_column_with_the_mean_and_its_interval(kept):
    finished = [kept("rolling", 7), kept("rainbow", 7), kept("rolling", 8)]
    lines = printed(finished).splitlines()
    assert [" ".join(lines[n].split()) for n in (0, 1)] == ["rolling (sim)", "mean of 2 rainbow (sim)"]
    forced = next(n for n, line in enumerate(lines) if line.startswith("  forced reconnects"))
    mean = sum(one.summary["forced_reconnects"] for one in finished if one.strategy == "rolling") / 2
    assert lines[forced].split()[2:] == [f"{mean:.1f}", "0"]
    assert "…" in lines[forced + 1]
    assert sum(line.endswith("report.html") for line in lines) == 3
    assert "side by side: side.html" in lines


def test_single_runs_are_whole_numbers_without_intervals(kept):
    lines = printed([kept("rolling", 7), kept("rainbow", 7)]).splitlines()
    assert "mean of" not in "".join(lines)
    requested = next(line for line in lines if line.startswith("  deploys requested"))
    assert requested.split()[2:] == ["2", "2"]
