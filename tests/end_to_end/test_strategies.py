"""`tiny` on the embedded cluster under every strategy: what each promises, and what breaks underneath it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scenarios.record import Record, read_record
from tests.end_to_end.conftest import run

pytestmark = pytest.mark.end_to_end

AT_ONCE = 3
"""Runs at the same time: they mostly wait."""
RUNS: dict[str, tuple[str, dict[str, str]]] = {
    "recreate": ("recreate", {}),
    "rolling": ("rolling", {}),
    "graceful": ("graceful", {"strategy.graceful.grace": "60s"}),
    "cut": ("graceful", {"strategy.graceful.grace": "3s", "deploys": "[{at: 2s}]", "duration": "12s"}),
    "bluegreen": ("bluegreen", {}),
    "colors": ("colors", {"strategy.colors.count": "3"}),
    "rainbow": ("rainbow", {}),
    "immutable": ("immutable", {"duration": "24s"}),
    "shrunk and nudged": (
        "rainbow",
        {"strategy.rainbow.shrink": "true", "strategy.rainbow.nudge": "{after: 1s, per_s: 20}"},
    ),
    "rolled back": (
        "immutable",
        {"deploys": "[{at: 2s}, {rollback_at: 5s}]", "users.session": "forever", "duration": "14s"},
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


class Run:
    """A finished run: its summary and, read when needed, its record."""

    def __init__(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self.record: Record = read_record(Path(str(summary["run_dir"])))

    @property
    def deploys(self) -> pl.DataFrame:
        return self.record.deploys.filter(pl.col("kind") != "initial")

    @property
    def outcomes(self) -> list[str | None]:
        return self.deploys["outcome"].to_list()

    def acted(self, kind: str) -> pl.DataFrame:
        return self.record.actions.filter(pl.col("action").str.starts_with(kind))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("strategies")

    def one(name: str) -> Run:
        strategy, settings = RUNS[name]
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return Run(run("tiny", "-s", strategy, "--world", "local", *words, out=folder))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(RUNS, pool.map(one, RUNS), strict=True))


@pytest.mark.parametrize("name", ["graceful", "rainbow", "immutable"])
def test_who_waits_for_the_last_connection_disconnects_nobody(runs, name):
    assert runs[name].summary["forced_reconnects"] == 0
    assert runs[name].outcomes == ["done", "done"]


def test_a_grace_that_ends_too_soon_cuts_who_is_left(runs):
    cut = runs["cut"]
    assert cut.outcomes == ["done"]
    assert 0 < cut.summary["forced_reconnects"] < 20
    old = cut.record.pods.filter(pl.col("release") == cut.record.deploys["release"][0])
    assert (old["t_gone_s"] - old["t_terminating_s"]).max() < 6


def test_recreate_disconnects_everyone_and_serves_nobody_in_between(runs):
    assert runs["recreate"].summary["forced_reconnects_per_client_deploy"] == pytest.approx(1.0, abs=0.15)
    assert runs["recreate"].summary["failed_attempts"] > 0
    assert runs["recreate"].summary["peak_pods"] == 2


def test_rolling_disconnects_some_and_serves_all_the_time(runs):
    assert runs["rolling"].outcomes == ["done", "done"]
    assert runs["rolling"].summary["forced_reconnects"] > 0
    assert runs["rolling"].summary["peak_pods"] > 2


def test_bluegreen_blocks_a_deploy_while_its_slot_drains_and_says_so(runs):
    bluegreen = runs["bluegreen"]
    assert bluegreen.outcomes == ["done", "blocked"]
    assert "still drains" in bluegreen.deploys["reason"][1]
    assert bluegreen.summary["forced_reconnects"] == 0
    assert bluegreen.summary["peak_pods"] == 4


def test_colors_stand_at_full_size_all_the_time_and_disconnect_nobody(runs):
    colors = runs["colors"]
    assert colors.outcomes == ["done", "done"]
    assert colors.summary["forced_reconnects"] == 0
    assert colors.summary["peak_pods"] == 6
    assert colors.summary["mean_live_deployments"] == pytest.approx(3.0)


def test_rainbow_has_one_deployment_for_each_release_and_deletes_it_when_it_has_drained(runs):
    rainbow = runs["rainbow"]
    assert rainbow.record.pods["deployment"].n_unique() == 3
    first = rainbow.deploys.row(0, named=True)
    assert first["t_selected_s"] < first["t_drained_s"] < first["t_deleted_s"]


def test_immutable_tells_each_pod_once_and_lets_it_leave_when_it_is_empty(runs):
    immutable = runs["immutable"]
    assert immutable.acted("NotifyDeselected").height == 2
    assert set(immutable.record.events["kind"]) == {"start", "end"}
    old = immutable.record.pods.filter(pl.col("release") == immutable.record.deploys["release"][0])
    assert old["t_gone_s"].is_not_null().all()
    assert set(old["why"]) <= {"scale-down deploy 1", "deploy 1"}


def test_a_nudge_closes_the_leftovers_and_each_client_moves_once_for_each_deploy(runs):
    nudged = runs["shrunk and nudged"]
    assert nudged.acted("CloseConnections").height == 2
    assert nudged.acted("Scale").height >= 1
    assert 0 < nudged.summary["forced_reconnects_per_client_deploy"] <= 1.05
    assert nudged.summary["deploys_done"] == 2
    assert nudged.record.deploys["t_deleted_s"].drop_nulls().len() == 2


def test_a_rollback_to_a_release_that_still_drains_disconnects_nobody_and_takes_the_hook_back(runs):
    back = runs["rolled back"]
    assert back.outcomes == ["done", "done"]
    assert back.deploys["kind"].to_list() == ["deploy", "rollback"]
    assert back.deploys["release"][1] == back.record.deploys["release"][0]
    assert back.summary["rollback_s"] < 2.0
    assert back.summary["forced_reconnects"] == 0
    assert [("undo=True" in action) for action in back.acted("NotifyDeselected")["action"]][:2] == [
        False,
        True,
    ]


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
