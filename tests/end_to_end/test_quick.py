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
from tests.end_to_end.conftest import run

pytestmark = pytest.mark.end_to_end

PREDICTION = 0.999
"""How sure a single real run lies among simulated ones; once in a thousand runs of this suite it may not."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The three strategies, two at a time, with the moments at which one starts pods between the other's."""
    folder = tmp_path_factory.mktemp("quick")

    def one(strategy: str, wait_s: float) -> dict[str, object]:
        time.sleep(wait_s)
        return run("quick", "-s", strategy, "--world", "local", out=folder)

    with ThreadPoolExecutor(2) as pool:
        strategies = {"rolling": 0.0, "rainbow": 9.0}
        found = dict(zip(strategies, pool.map(one, strategies, strategies.values()), strict=True))
    return {**found, "recreate": one("recreate", 0.0)}


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


def test_recreate_disconnects_everyone_once_in_each_deploy(runs):
    assert 0.99 <= runs["recreate"]["forced_reconnects_per_client_deploy"] <= 1.05


def measured_startup_s(folder: Path) -> float:
    """The median start of a run's new pods: from created to ready, less the half period that a probe waits."""
    pods = read_record(folder).pods.filter(pl.col("t_created_s") > 0)
    return max(1.0, float((pods["t_ready_s"] - pods["t_created_s"]).median()) - 0.5)


def test_rolling_lies_where_the_simulation_says_a_run_lies(runs):
    """Given the starts that were measured: on a busy machine pods start later, and less of the linger overlaps."""
    startup_s = measured_startup_s(Path(runs["rolling"]["run_dir"]))
    as_measured = (f"fleet.startup={{lognormal: {{median: {startup_s:.3f}s, sigma: 0.3}}}}",)
    simulated = replicate("quick", "rolling", Options(quiet=True, settings=as_measured), seeds=30)
    for metric in ("forced_reconnects_per_client_deploy", "pod_hours"):
        spread = simulated.spread(metric, PREDICTION)
        assert spread is not None
        assert spread.one_low <= runs["rolling"][metric] <= spread.one_high, metric


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
