"""Pictures and numbers as files."""

import json
from pathlib import Path

import polars as pl
import pytest

from scenarios.compare import compare_runs
from scenarios.errors import UserMistake
from scenarios.record import json_text, write_record
from scenarios.report.files import write_run_figures
from scenarios.report.timeline import connections_by_release

PICTURES = {"connections", "reconnects", "pods", "way-back"}


def names_in(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in folder.iterdir():
        found.setdefault(path.suffix, set()).add(path.stem)
    return found


def test_a_run_s_figures_are_all_there_with_their_numbers(tiny, summary_of, tmp_path):
    record = tiny("rolling")
    summary = summary_of(record)
    folder = write_run_figures(tmp_path, record, summary)
    found = names_in(folder)
    assert found[".png"] == found[".svg"] == PICTURES
    assert found[".csv"] == PICTURES | {"pod-hours", "deploys", "summary"}
    assert (folder / "pods.png").read_bytes().startswith(b"\x89PNG")

    drawn = pl.read_csv(folder / "connections.csv", schema_overrides={"release": pl.String()})
    stack = connections_by_release(record)
    assert drawn["open_connections"].sum() == stack.counts.sum()
    assert drawn["release"].unique().sort().to_list() == sorted(stack.names)
    reconnects = pl.read_csv(folder / "reconnects.csv")
    assert reconnects["reconnects"].max() == summary["peak_reconnects_per_s"]
    hours = pl.read_csv(folder / "pod-hours.csv")
    assert hours["pod_hours"].sum() == pytest.approx(summary["pod_hours"])
    told = dict(pl.read_csv(folder / "summary.csv").iter_rows())
    assert told == {key: None if value is None else pytest.approx(value) for key, value in summary.items()}


def test_figures_made_again_replace_the_old_ones(tiny, summary_of, tmp_path):
    record = tiny("rainbow")
    folder = write_run_figures(tmp_path, record, summary_of(record))
    (folder / "stale.csv").write_text("old")
    write_run_figures(tmp_path, record, summary_of(record))
    assert not (folder / "stale.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_a_folder_that_is_not_there_is_the_user_s_mistake(tiny, summary_of, tmp_path):
    record = tiny("rainbow")
    with pytest.raises(UserMistake, match="cannot write"):
        write_run_figures(tmp_path / "nowhere", record, summary_of(record))


def test_a_comparison_writes_its_page_and_its_numbers(tiny, summary_of, tmp_path):
    folders = []
    for number, (strategy, seed) in enumerate([("rolling", 7), ("rolling", 8), ("rainbow", 7)]):
        record = tiny(strategy, seed=seed)
        files = {"summary.json": json_text(summary_of(record))}
        run = {key: value for key, value in record.run.items() if key != "schema"}
        write_record(tmp_path / str(number), run, record.tables, files)
        folders.append(tmp_path / str(number))
    first = compare_runs(folders, tmp_path / "out", figures=True)
    second = compare_runs(folders, tmp_path / "out")
    assert first != second
    assert first.read_bytes() == second.read_bytes()

    found = names_in(first.with_suffix(""))
    assert found[".png"] == found[".svg"] == PICTURES | {"frontier"}
    metrics = pl.read_csv(first.with_suffix("") / "metrics.csv")
    row = metrics.filter((pl.col("metric") == "pod_hours") & (pl.col("runs") == "rolling")).row(0, named=True)
    hours = [json.loads((folder / "summary.json").read_text())["pod_hours"] for folder in folders[:2]]
    assert row["n"] == 2
    assert row["mean"] == pytest.approx(sum(hours) / 2)
    assert row["mean_low"] <= row["mean"] <= row["mean_high"]
    frontier = pl.read_csv(first.with_suffix("") / "frontier.csv")
    assert set(frontier["runs"]) == {"rolling", "rainbow"}
