"""`quick` on the embedded cluster: what the project promises of it, measured on real users and real pods."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from scenarios.record import read_record
from scenarios.replicate import replicate
from scenarios.run import Options
from scenarios.validate import validate_record
from tests.end_to_end.conftest import run

pytestmark = pytest.mark.end_to_end

UNHURRIED = ("forced_reconnects_per_client_deploy", "pod_hours", "peak_pods", "deploys_done", "drain_s_p50")
"""Metrics that a machine busy with other things does not shift, once pods start in the simulation as they did."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Two strategies at a time, with the moments at which one starts pods between the other's."""
    folder = tmp_path_factory.mktemp("quick")

    def one(strategy: str, wait_s: float) -> dict[str, object]:
        time.sleep(wait_s)
        return run("quick", "-s", strategy, "--world", "local", out=folder)

    with ThreadPoolExecutor(2) as pool:
        strategies = {"rolling": 0.0, "rainbow": 9.0}
        return dict(zip(strategies, pool.map(one, strategies, strategies.values()), strict=True))


def test_rainbow_disconnects_nobody(runs):
    assert runs["rainbow"]["forced_reconnects"] == 0
    assert runs["rainbow"]["deploys_done"] == 3


def test_old_releases_burn_down_and_are_gone_before_the_end_two_of_them_draining_at_once(runs):
    record = read_record(Path(str(runs["rainbow"]["run_dir"])))
    deploys = record.deploys.filter(pl.col("kind") != "initial")
    assert deploys["t_deleted_s"].max() < 95
    for drained_s, deleted_s in deploys.select("t_drained_s", "t_deleted_s").iter_rows():
        assert drained_s < deleted_s
    drains = list(deploys.select("t_selected_s", "t_drained_s").iter_rows())
    assert any(later_selected < drained for (_, drained), (later_selected, _) in itertools.pairwise(drains))


@pytest.mark.long  # `tiny` says the same of one deploy in every change
def test_recreate_disconnects_everyone_once_in_each_deploy(tmp_path):
    summary = run("quick", "-s", "recreate", "--world", "local", out=tmp_path)
    assert 0.99 <= summary["forced_reconnects_per_client_deploy"] <= 1.05


def test_rolling_lies_where_the_simulation_says_a_run_lies(runs):
    """Given the starts that were measured: on a busy machine pods start later, and less of the linger overlaps."""
    folder = Path(str(runs["rolling"]["run_dir"]))
    found = validate_record(folder, read_record(folder), runs["rolling"], seeds=30)
    held = {row.metric: row for row in found.held}
    for metric in UNHURRIED:
        assert held[metric].inside, held[metric]


def test_messages_between_users_on_different_pods_arrive(runs):
    """Everything that was sent is accounted for as received or lost, and without cuts nothing is lost."""
    record = read_record(Path(str(runs["rainbow"]["run_dir"])))
    assert record.connections["messages_sent"].sum() > 500
    assert runs["rainbow"]["messages_lost"] == 0


def test_summaries_have_the_same_keys_as_simulated_ones(runs):
    simulated = replicate("tiny", "rainbow", Options(quiet=True), seeds=1, jobs=1).summaries[0]
    for summary in runs.values():
        assert [key for key in summary if key != "run_dir"] == list(simulated)


def test_one_roll_out_of_four_batches_reconnects_clients_as_often_as_theory_says(tmp_path):
    """(1 + 1/m)^m − 1 with m = 4: new before old, everyone back before the next pod goes."""
    ideal = {
        "deploys": "[{at: 6s}]",
        "duration": "30s",
        "users.session": "forever",
        "users.reconnect": "immediate",
        "server.linger": "0s",
        "network.sync_period": "0s",
    }
    settings = [word for key, value in ideal.items() for word in ("--set", f"{key}={value}")]
    summary = run("quick", "-s", "rolling", "--world", "local", *settings, out=tmp_path)
    assert summary["forced_reconnects_per_client_deploy"] == pytest.approx(1.4414, rel=0.10)
