"""Running scenarios in memory and into folders; simulated, so that it takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.errors import Exit, UserMistake
from scenarios.record import TABLES, read_record
from scenarios.run import Options, read_finished, remake, run_scenario
from scenarios.thresholds import METRICS

TABLE_FILES = [f"{name}.parquet" for name in TABLES]


def run(tmp_path: Path, strategy: str = "rainbow", **options: object):
    return run_scenario("tiny", strategy, "sim", Options(out=tmp_path, quiet=True, **options))  # type: ignore[arg-type]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in [*TABLE_FILES, "summary.json"]}


def test_a_run_folder_holds_the_record_the_summary_and_a_page_that_needs_nothing_else(tmp_path):
    finished = run(tmp_path)
    assert finished.folder.parent == tmp_path
    assert finished.folder.name.endswith("-tiny-rainbow-sim")
    assert {path.name for path in finished.folder.iterdir()} >= {
        *TABLE_FILES,
        "run.json",
        "summary.json",
        "report.html",
    }
    page = (finished.folder / "report.html").read_text()
    assert "src=" not in page
    assert "<link" not in page
    assert "<svg" in page


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    assert bytes_of(run(tmp_path, "rolling").folder) == bytes_of(run(tmp_path, "rolling").folder)


def test_another_seed_writes_others(tmp_path):
    one, other = (bytes_of(run(tmp_path, "rolling", seed=seed).folder) for seed in (7, 8))
    assert one != other


def test_a_seed_has_the_same_colours_under_every_strategy(tmp_path):
    releases = {
        strategy: read_record(run(tmp_path, strategy).folder).deploys["release"].to_list()
        for strategy in ("recreate", "rolling", "rainbow")
    }
    assert len({tuple(found) for found in releases.values()}) == 1


def test_the_summary_has_every_metric_and_nothing_else(tmp_path):
    finished = run(tmp_path)
    assert list(json.loads((finished.folder / "summary.json").read_text())) == list(METRICS)


def test_rainbow_disconnects_nobody_and_recreate_everyone(tmp_path):
    assert run(tmp_path, "rainbow").summary["forced_reconnects"] == 0
    assert run(tmp_path, "recreate").summary["forced_reconnects_per_client_deploy"] == pytest.approx(
        1.0, abs=0.06
    )


def test_a_missed_threshold_is_told_and_makes_the_exit_code_3(tmp_path):
    bound = ("thresholds={forced_reconnects: {max: 0}}",)
    kept = run(tmp_path, "rainbow", settings=bound)
    assert (kept.exit_code, kept.missed) == (Exit.DONE, ())
    missed = run(tmp_path, "recreate", settings=bound)
    assert missed.exit_code == Exit.THRESHOLD_MISSED
    assert "forced_reconnects" in missed.missed[0]


def test_a_record_of_series_only_still_gives_a_report_and_nulls_what_it_cannot_know(tmp_path):
    finished = run(tmp_path, "rolling", settings=("record=series",))
    assert finished.summary["reconnect_s_p50"] is None
    assert (
        finished.summary["peak_reconnects_per_s"] == run(tmp_path, "rolling").summary["peak_reconnects_per_s"]
    )


def test_report_makes_the_same_summary_again_from_the_tables_alone(tmp_path):
    finished = run(tmp_path, "rolling")
    before = bytes_of(finished.folder)
    page = (finished.folder / "report.html").read_bytes()
    (finished.folder / "summary.json").unlink()
    (finished.folder / "report.html").unlink()
    remake(finished.folder)
    assert bytes_of(finished.folder) == before
    assert (finished.folder / "report.html").read_bytes() == page
    assert read_finished(finished.folder) == finished


def test_a_mistake_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserMistake, match="user"):
        run(tmp_path, settings=("users.cuont=5",))
    assert list(tmp_path.iterdir()) == []
