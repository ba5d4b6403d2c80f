"""Sweeps: one table whatever the number of processes, and mistakes told before anything runs."""

import itertools
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import polars as pl
import pytest

from scenarios import batch
from scenarios.batch import simulate_all
from scenarios.cli import main
from scenarios.errors import Exit, OutOfReach, UserMistake
from scenarios.replicate import Replications, replicate_all
from scenarios.run import Options
from scenarios.vary import Varied, varied, vary, write_table

TINY = ("duration=12s", "deploys=[{at: 2s}]")
QUIET = Options(quiet=True)


def test_commas_in_brackets_and_quotes_do_not_separate():
    assert varied("a.b=1, 2,{x: [1, 2]},'c,d'") == Varied("a.b", ("1", "2", "{x: [1, 2]}", "'c,d'"))


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,,2", "a=1,1"])
def test_what_cannot_be_read_is_told_in_a_line(text):
    with pytest.raises(UserMistake, match="--vary"):
        varied(text)


def test_every_combination_is_a_row_in_the_order_given():
    table = vary(
        "tiny",
        ["rainbow", "recreate"],
        [Varied("users.count", ("5", "10")), Varied("fleet.replicas", ("1", "2"))],
        Options(settings=TINY, quiet=True),
        seeds=2,
        jobs=1,
    ).rows
    assert table.height == 2 * 2 * 2 * 2
    assert table.select("users.count", "fleet.replicas", "strategy", "seed").rows()[:5] == [
        ("5", "1", "rainbow", 7),
        ("5", "1", "rainbow", 8),
        ("5", "1", "recreate", 7),
        ("5", "1", "recreate", 8),
        ("5", "2", "rainbow", 7),
    ]
    by_strategy = table.group_by("strategy").agg(pl.col("forced_reconnects").sum()).sort("strategy")
    assert by_strategy["forced_reconnects"][0] == 0
    assert by_strategy["forced_reconnects"][1] > 0


def test_any_number_of_processes_writes_the_same_bytes(tmp_path):
    over = [Varied("users.count", ("5", "10"))]
    for jobs in (1, 2):
        found = vary("tiny", ["recreate"], over, Options(settings=TINY, quiet=True), seeds=2, jobs=jobs)
        write_table(found.rows, tmp_path / f"{jobs}.parquet")
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


@pytest.mark.parametrize(
    ("over", "wrong"),
    [
        ([Varied("users.cuont", ("5",))], "users.cuont"),
        ([Varied("users.count", ("5", "many"))], "many"),
        ([Varied("seed", ("1", "2"))], "--seeds"),
        ([Varied("strategy", ("rolling",))], "--strategy, which"),
        ([Varied("pod_hours", ("1",))], "another key"),
        ([Varied("users.count", ("5",)), Varied("users.count", ("6",))], "twice"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(over, wrong):
    with pytest.raises(UserMistake, match=wrong):
        vary("tiny", ["rainbow"], over, Options(settings=TINY, quiet=True))


def interrupt_after(runs, monkeypatch):
    whole = simulate_all

    def interrupted(*args):
        yield from itertools.islice(whole(*args), runs)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(batch, "simulate_all", interrupted)


def test_an_interrupted_sweep_keeps_the_rows_that_are_finished(monkeypatch):
    interrupt_after(3, monkeypatch)
    over = [Varied("users.count", ("5", "10"))]
    found = vary("tiny", ["recreate"], over, Options(settings=TINY, quiet=True), seeds=3, jobs=1)
    assert found.asked == 6
    assert found.rows.select("users.count", "seed").rows() == [("5", 7), ("5", 8), ("5", 9)]


def test_a_scheduler_that_does_not_answer_is_out_of_reach(monkeypatch):
    pytest.importorskip("distributed", reason="the optional extra dask is not installed")
    monkeypatch.setattr(batch, "DASK_ANSWERS_S", 0.1)
    with pytest.raises(OutOfReach, match=r"127\.0\.0\.1:1: no Dask scheduler"):
        vary("tiny", ["recreate"], [Varied("users.count", ("5",))], QUIET, dask="127.0.0.1:1")


def test_an_address_without_a_port_is_a_mistake():
    pytest.importorskip("distributed", reason="the optional extra dask is not installed")
    with pytest.raises(UserMistake, match="HOST:PORT"):
        vary("tiny", ["recreate"], [Varied("users.count", ("5",))], QUIET, dask="somewhere")


def test_without_dask_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserMistake, match=r"drainbow\[dask\]"):
        vary("tiny", ["recreate"], [Varied("users.count", ("5",))], QUIET, dask="127.0.0.1:1")


@pytest.fixture
def scheduler(tmp_path):
    """The address of a Dask scheduler with two workers, each a process."""
    pytest.importorskip("distributed", reason="the optional extra dask is not installed")
    where = tmp_path / "scheduler.json"
    own = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(where)]
    with ExitStack() as stack, (tmp_path / "log").open("w") as log:
        for command in (
            ["scheduler", "--port", "0"],
            ["worker", "--nworkers", "2", "--nthreads", "1", "--local-directory", str(tmp_path)],
        ):
            argv = [sys.executable, "-m", "dask", *command, *own]
            process = stack.enter_context(subprocess.Popen(argv, stdout=log, stderr=log))
            stack.callback(process.terminate)
            while not where.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
        yield json.loads(where.read_text())["address"]


@pytest.mark.end_to_end
def test_a_dask_cluster_writes_the_same_bytes(tmp_path, scheduler):
    over = [Varied("users.count", ("5", "10"))]
    for name, where in (("here", {"jobs": 2}), ("there", {"dask": scheduler})):
        found = vary("tiny", ["recreate"], over, Options(settings=TINY, quiet=True), seeds=2, **where)
        assert found.rows.height == 4
        write_table(found.rows, tmp_path / name)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_differences_are_taken_seed_by_seed():
    one = Replications(tuple({"cost": value} for value in (1.0, 5.0, 9.0)))
    two = Replications(tuple({"cost": value} for value in (2.0, 6.0, 10.0)))
    spread = two.difference(one, "cost")
    assert (spread.mean, spread.mean_low, spread.mean_high) == (1.0, 1.0, 1.0)


def test_strategies_share_their_seeds():
    found = replicate_all("tiny", ["rainbow", "recreate"], Options(settings=TINY, quiet=True), 2, 1)
    assert [len(one.summaries) for one in found.values()] == [2, 2]
    assert [one.summaries[0]["forced_reconnects"] > 0 for one in found.values()] == [False, True]
    assert found["recreate"].difference(found["rainbow"], "forced_reconnects").mean > 0


def test_interrupted_seeds_are_those_that_every_strategy_has(monkeypatch):
    options = Options(settings=TINY, quiet=True)
    interrupt_after(5, monkeypatch)
    found = replicate_all("tiny", ["rainbow", "recreate"], options, 4, 1)
    assert [len(one.summaries) for one in found.values()] == [2, 2]


def test_interrupted_seeds_are_printed_and_said(tmp_path, monkeypatch, capsys):
    simulate = ["simulate", "tiny", "--seeds", "4", "--jobs", "1", "--json", "--out", str(tmp_path)]
    simulate += [word for setting in TINY for word in ("--set", setting)]
    interrupt_after(2, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(simulate)
    printed = capsys.readouterr()
    assert ended.value.code == Exit.INTERRUPTED
    assert json.loads(printed.out)["seeds"] == 2
    assert "the first 2 of 4 seeds" in printed.err
