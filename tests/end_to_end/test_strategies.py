"""`tiny` on the embedded cluster under every strategy: what each promises, and what breaks underneath it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.conftest import run
from tests.end_to_end.promises import PROMISES, Run

pytestmark = pytest.mark.end_to_end

RUNS: dict[str, tuple[str, Mapping[str, str]]] = {
    **{name: (promise.strategy, promise.settings) for name, promise in PROMISES.items()},
    "cut": ("graceful", {"strategy.graceful.grace": "3s", "deploys": "[{at: 2s}]", "duration": "12s"}),
    "shrunk and nudged": (
        "rainbow",
        {"strategy.rainbow.shrink": "true", "strategy.rainbow.nudge": "{after: 1s, per_s: 20}"},
    ),
    "never ready": (
        "rolling",
        {
            "deploys": "[{at: 2s, bad: never_ready}]",
            "strategy.progress_deadline": "6s",
            "strategy.rolling.max_unavailable": "0",
        },
    ),
    "crashing": (
        "rainbow",
        {
            "deploys": "[{at: 2s, bad: crashes_after_switch}]",
            "strategy.rainbow.auto_rollback": "2",
            "drain.keep_warm": "60s",
        },
    ),
    "zombies": (
        "rainbow",
        {
            "deploys": "[{at: 4s}]",
            "users.vanish": "50%",
            "server.ping_interval": "500ms",
            "drain.discount_silent": "true",
            "duration": "24s",
        },
    ),
    "faults": (
        "rainbow",
        {
            "deploys": "[{at: 2s}]",
            "faults": "[{at: 1500ms, api_down: 3s}, {at: 10s, node_loss: node-1, duration: 3s}, "
            "{at: 16s, backend_down: 2s}]",
            "duration": "26s",
        },
    ),
}


class Runs:
    """Each run once it is asked for: the tests are spread over processes, and each needs one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Run:
        strategy, settings = RUNS[name]
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return Run(run("tiny", "-s", strategy, "--world", "local", *words, out=self._folder))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.mark.parametrize("name", PROMISES)
def test_a_strategy_keeps_its_promise(runs, name):
    PROMISES[name].kept(runs[name])


def test_a_grace_that_ends_too_soon_cuts_who_is_left(runs):
    cut = runs["cut"]
    assert cut.outcomes == ["done"]
    assert 0 < cut.summary["forced_reconnects"] < 20
    old = cut.record.pods.filter(pl.col("release") == cut.record.deploys["release"][0])
    assert (old["t_gone_s"] - old["t_terminating_s"]).max() < 6


def test_a_nudge_closes_the_leftovers_and_each_client_moves_once_for_each_deploy(runs):
    nudged = runs["shrunk and nudged"]
    assert nudged.acted("CloseConnections").height == 2
    assert nudged.acted("Scale").height >= 1
    assert 0 < nudged.summary["forced_reconnects_per_client_deploy"] <= 1.05
    assert nudged.summary["deploys_done"] == 2
    assert nudged.record.deploys["t_deleted_s"].drop_nulls().len() == 2


def test_a_release_that_never_gets_ready_fails_with_a_reason_and_disconnects_nobody(runs):
    failed = runs["never ready"]
    assert failed.outcomes == ["failed"]
    assert "no progress for 6 s" in failed.deploys["reason"][0]
    assert failed.summary["forced_reconnects"] == 0


def test_a_release_that_crashes_after_the_switch_is_rolled_back_by_itself(runs):
    crashing = runs["crashing"]
    assert crashing.deploys["kind"].to_list() == ["deploy", "rollback"]
    assert crashing.outcomes == ["done", "done"]
    assert crashing.deploys["release"][1] == crashing.record.deploys["release"][0]
    assert crashing.summary["forced_reconnects"] > 0
    assert "server_died" in set(crashing.record.events["kind"])


def test_zombies_do_not_keep_a_release_alive_where_they_do_not_count(runs):
    zombies = runs["zombies"]
    (row,) = zombies.deploys.iter_rows(named=True)
    assert row["t_drained_s"] is not None
    drained = zombies.record.verdicts.filter(pl.col("decision") == "drained")
    evidence = json.loads(drained["evidence"][0])
    assert evidence["silent"] == evidence["open"] > 0
    assert "silent, not counted" in drained["reason"][0]
    assert zombies.summary["forced_reconnects"] == 0


def test_faults_of_api_nodes_and_backend_are_injected_lived_through_and_recorded(runs):
    faults = runs["faults"]
    events = faults.record.events
    assert events["kind"].to_list() == [
        "start",
        "api_down",
        "node_loss",
        "backend_down",
        "backend_started",
        "end",
    ]
    assert events.filter(pl.col("kind") == "node_loss")["target"].to_list() == ["node-1"]
    (row,) = faults.deploys.iter_rows(named=True)
    assert row["outcome"] == "done"
    assert row["t_requested_s"] > 4.0  # the API server was away when it was first asked
    lost = faults.record.connections.filter(pl.col("closed_by").is_in(["server", "network", "pod_gone"]))
    assert lost["t_close_s"].min() >= 15.5  # nobody is cut but by the backend's end
    assert faults.record.samples.filter(pl.col("t_s") > 24)["open_connections"].sum() > 0
