"""A run in which a node failed to start a pod in time is repeated once, and both records say so."""

from __future__ import annotations

import json

import polars as pl
import pytest

from scenarios import run as runs
from scenarios.repeat import slow_start
from scenarios.run import Options, run_scenario
from scenarios.spec import load
from scenarios.worlds import Where


def pods(*rows):
    columns = ("pod", "release", "t_created_s", "t_ready_s")
    schema = dict(zip(columns, (pl.String, pl.String, pl.Float64, pl.Float64), strict=True))
    return pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows], schema=schema)


def test_the_slowest_start_over_ten_seconds_is_found():
    found = slow_start(
        pods(("a", "r", 1.0, 3.0), ("b", "r", 1.0, 12.0), ("c", "r", 1.0, 15.5), ("d", "r", 1.0, None)),
        load("tiny"),
    )
    assert found is not None
    assert (found.pod, found.took_s) == ("c", 14.5)


def test_a_start_of_ten_seconds_is_not_slow():
    assert slow_start(pods(("a", "r", 1.0, 11.0)), load("tiny")) is None


def test_who_was_ready_before_time_zero_is_in_no_metric():
    assert slow_start(pods(("a", "r", -30.0, -0.1)), load("tiny")) is None
    assert slow_start(pods(("a", "r", -30.0, 0.1)), load("tiny")) is not None


def test_a_bad_release_may_take_as_long_as_it_likes():
    spec = load("tiny", ["deploys=[{at: 2s, bad: never_ready}]"])
    bad = spec.planned_deploys()[0].release
    assert slow_start(pods(("a", bad, 2.0, 15.0)), spec) is None
    assert slow_start(pods(("a", "other", 2.0, 15.0)), spec) is not None


@pytest.mark.parametrize(
    ("fault", "created_s", "excused"),
    [
        ("backend_down: 1s", 3.0, True),
        ("backend_down: 1s", 14.0, True),
        ("backend_down: 1s", 16.0, False),
        ("kill_pod: random", 3.0, False),
        ("deployer_killed: 1s", 3.0, False),
    ],
)
def test_a_fault_that_holds_pods_up_excuses_the_starts_that_it_or_its_aftermath_fell_into(
    fault, created_s, excused
):
    spec = load("tiny", [f"faults=[{{at: 4s, {fault}}}]"])
    assert (slow_start(pods(("a", "r", created_s, created_s + 11.0)), spec) is None) == excused


@pytest.fixture
def on_slow_nodes(monkeypatch):
    """The world `kind` as a simulation in which the last pod takes as long as the next figure says."""
    takes_s = []

    def lived(spec, strategy, *_):
        tables, _ = runs.simulated(spec, strategy)
        late = pl.col("t_created_s") == pl.col("t_created_s").max()
        slow_s = pl.when(late).then(pl.col("t_created_s") + takes_s.pop(0)).otherwise(pl.col("t_ready_s"))
        pods = tables["pods"].with_columns(t_ready_s=slow_s)
        return runs._Lived({**tables, "pods": pods}, versions={"kubernetes": "v9"})

    monkeypatch.setattr(runs, "_lived", lived)
    return takes_s


def run_of(out, **options):
    finished = run_scenario("tiny", "rainbow", "kind", Options(out=out, **options))
    folders = sorted(
        out.iterdir(), key=lambda folder: json.loads((folder / "run.json").read_text())["started_s"]
    )
    return finished, [(folder, json.loads((folder / "run.json").read_text())) for folder in folders]


def test_it_is_repeated_once_and_both_records_and_the_screen_say_so(on_slow_nodes, tmp_path, capsys):
    on_slow_nodes += [14.5, 1.0]
    finished, ((first, told), (second, told_again)) = run_of(tmp_path)
    assert finished.folder == second
    assert "took 14.5 s to start" in told["notes"][-1]
    assert "the run is repeated" in told["notes"][-1]
    assert f"repeats {first.name}" in told_again["notes"][-1]
    said = capsys.readouterr().err
    assert "took 14.5 s to start: the run is repeated once" in said
    assert str(first) in said.replace("\n", "")
    assert told["versions"]["kubernetes"] == "v9"


def test_a_repetition_that_is_slow_too_counts_and_says_so(on_slow_nodes, tmp_path):
    on_slow_nodes += [14.5, 11.5]
    finished, (_, (second, told)) = run_of(tmp_path, quiet=True)
    assert finished.folder == second
    assert "took 11.5 s to start again" in told["notes"][-1]


def test_a_run_whose_pods_start_in_time_is_one_run_with_nothing_to_say(on_slow_nodes, tmp_path):
    on_slow_nodes += [9.0]
    _, ((_, told),) = run_of(tmp_path, quiet=True)
    assert not any("start" in note for note in told["notes"])


def test_it_is_not_repeated_where_that_was_not_wanted_and_says_so(on_slow_nodes, tmp_path):
    on_slow_nodes += [14.5]
    _, ((_, told),) = run_of(tmp_path, quiet=True, repeat=False)
    assert "was not repeated" in told["notes"][-1]
    assert "--no-repeat" in told["command"]


def test_the_command_in_the_record_names_cluster_and_images(on_slow_nodes, tmp_path):
    on_slow_nodes += [1.0]
    where = Where(image="chat:1", kind_image="node:1", load_workers=2, load_image="load:1")
    _, ((_, told),) = run_of(tmp_path, quiet=True, where=where)
    words = "--load-workers 2 --image chat:1 --kind-image node:1 --load-image load:1"
    assert told["command"].endswith(words)
