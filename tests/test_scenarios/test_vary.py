"""Sweeps: one table whatever the number of processes, and mistakes told before anything runs."""

import polars as pl
import pytest

from scenarios.errors import UserMistake
from scenarios.replicate import Replications, replicate_all
from scenarios.run import Options
from scenarios.vary import Varied, varied, vary, write_table

TINY = ("duration=12s", "deploys=[{at: 2s}]")


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
    )
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
        table = vary("tiny", ["recreate"], over, Options(settings=TINY, quiet=True), seeds=2, jobs=jobs)
        write_table(table, tmp_path / f"{jobs}.parquet")
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


@pytest.mark.parametrize(
    ("over", "wrong"),
    [
        ([Varied("users.cuont", ("5",))], "users.cuont"),
        ([Varied("users.count", ("5", "many"))], "many"),
        ([Varied("seed", ("1", "2"))], "--seeds"),
        ([Varied("users.count", ("5",)), Varied("users.count", ("6",))], "twice"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(over, wrong):
    with pytest.raises(UserMistake, match=wrong):
        vary("tiny", ["rainbow"], over, Options(settings=TINY, quiet=True))


def test_differences_are_taken_seed_by_seed():
    one = Replications(tuple({"cost": value} for value in (1.0, 5.0, 9.0)))
    two = Replications(tuple({"cost": value} for value in (2.0, 6.0, 10.0)))
    spread = two.difference(one, "cost")
    assert (spread.mean, spread.mean_low, spread.mean_high) == (1.0, 1.0, 1.0)


def test_strategies_share_their_seeds():
    found = replicate_all("tiny", ["rainbow", "recreate"], Options(settings=TINY, quiet=True), 2, 1)
    assert [len(one.summaries) for one in found.values()] == [2, 2]
    assert found["recreate"].difference(found["rainbow"], "forced_reconnects").mean > 0
