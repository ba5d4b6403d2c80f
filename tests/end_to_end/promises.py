"""What each strategy promises under `tiny`: one table of runs and expectations, held in every real world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scenarios.record import Record, read_record


class Run:
    """A finished run: its summary and its record."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary
        self.record: Record = read_record(Path(str(summary["run_dir"])))

    @property
    def deploys(self) -> pl.DataFrame:
        return self.record.deploys.filter(pl.col("kind") != "initial")

    @property
    def outcomes(self) -> list[str | None]:
        return self.deploys["outcome"].to_list()

    @property
    def first(self) -> str:
        """The initial release."""
        release: str = self.record.deploys["release"][0]
        return release

    def acted(self, kind: str) -> pl.DataFrame:
        return self.record.actions.filter(pl.col("action").str.starts_with(kind))


@dataclass(frozen=True)
class Promise:
    """A run of `tiny` and what must hold of it."""

    strategy: str
    kept: Callable[[Run], None]
    settings: Mapping[str, str] = field(default_factory=dict)

    def words(self) -> Iterator[str]:
        """For the command line."""
        yield from ("tiny", "--strategy", self.strategy)
        for key, value in self.settings.items():
            yield from ("--set", f"{key}={value}")


def recreate_disconnects_everyone_and_serves_nobody_in_between(run: Run) -> None:
    assert run.outcomes == ["done"]
    assert run.summary["forced_reconnects_per_client_deploy"] == pytest.approx(1.0, abs=0.15)
    assert run.summary["failed_attempts"] > 0
    old, new = (run.record.pods.filter(pl.col("release") == name) for name in run.record.deploys["release"])
    assert old["t_terminating_s"].max() < new["t_created_s"].min()


def rolling_disconnects_some_and_serves_all_the_time(run: Run) -> None:
    assert run.outcomes == ["done", "done"]
    assert run.summary["forced_reconnects"] > 0
    assert run.summary["peak_pods"] > 2


def disconnects_nobody(run: Run) -> None:
    assert run.outcomes == ["done", "done"]
    assert run.summary["forced_reconnects"] == 0


def bluegreen_blocks_a_deploy_while_its_slot_drains_and_says_so(run: Run) -> None:
    assert run.outcomes == ["done", "blocked"]
    assert "still drains" in run.deploys["reason"][1]
    assert run.summary["forced_reconnects"] == 0
    assert run.summary["peak_pods"] == 4


def colors_stand_at_full_size_all_the_time_and_disconnect_nobody(run: Run) -> None:
    disconnects_nobody(run)
    assert run.summary["mean_live_deployments"] == pytest.approx(3.0)
    assert run.record.pods["deployment"].n_unique() == 3
    slots = run.record.pods.filter(pl.col("t_created_s") < 0)
    assert slots.height == 6


def colors_block_the_deploy_that_comes_back_to_a_slot_that_drains(run: Run) -> None:
    assert run.outcomes == ["done", "done", "blocked"]
    assert "still drains" in run.deploys["reason"][2]
    assert run.summary["forced_reconnects"] == 0


def rainbow_has_a_deployment_for_each_release_and_deletes_it_when_it_has_drained(run: Run) -> None:
    disconnects_nobody(run)
    assert run.record.pods["deployment"].n_unique() == 3
    first = run.deploys.row(0, named=True)
    assert first["t_selected_s"] < first["t_drained_s"] < first["t_deleted_s"]


def immutable_tells_each_pod_once_and_lets_it_leave_when_it_is_empty(run: Run) -> None:
    disconnects_nobody(run)
    assert run.acted("NotifyDeselected").height == 2
    assert set(run.record.events["kind"]) == {"start", "end"}
    old = run.record.pods.filter(pl.col("release") == run.first)
    assert old["t_gone_s"].is_not_null().all()
    assert set(old["why"]) <= {"scale-down deploy 1", "deploy 1"}


def immutable_reaches_its_pods(run: Run) -> None:
    """Nobody else would ask these users to leave, who stay for ever: the pods have heard the hook."""
    assert run.outcomes == ["done"]
    (told,) = run.acted("NotifyDeselected")["action"]
    assert run.acted("CloseConnections").is_empty()
    asked = run.record.connections.filter(
        (pl.col("release") == run.first) & (pl.col("closed_by") == "server")
    )
    assert set(asked["close_code"]) == {1012}
    assert asked.height == 20
    assert set(asked["pod"]) == set(run.record.pods.filter(pl.col("release") == run.first)["pod"])
    assert all(pod in told for pod in set(asked["pod"]))
    assert run.deploys["t_drained_s"][0] is not None


def a_rollback_to_a_release_that_still_drains_disconnects_nobody_and_takes_the_hook_back(run: Run) -> None:
    disconnects_nobody(run)
    assert run.deploys["kind"].to_list() == ["deploy", "rollback"]
    assert run.deploys["release"][1] == run.first
    assert run.summary["rollback_s"] < 2.0
    told = run.acted("NotifyDeselected")["action"]
    assert [("undo=True" in action) for action in told][:2] == [False, True]


def what_is_known_is_kept_where_the_cluster_is_away_at_the_end(run: Run) -> None:
    assert run.record.deploys["deploy"].to_list() == [0, 1]
    assert run.outcomes in (["done"], [None])  # None: under way, as far as anyone saw
    assert run.record.pods["release"].n_unique() == 2
    assert [note for note in run.record.run["notes"] if "of 20 s never came about" in note]


PROMISES: Mapping[str, Promise] = {
    "recreate": Promise(
        "recreate",
        recreate_disconnects_everyone_and_serves_nobody_in_between,
        # slow to come back: pods are told some moments apart, and nobody is to be cut by the last one again
        {
            "deploys": "[{at: 2s}]",
            "users.reconnect": "{exponential: {jitter: full, base: 2s, cap: 5s, give_up: 20}}",
        },
    ),
    "rolling": Promise("rolling", rolling_disconnects_some_and_serves_all_the_time),
    "graceful": Promise("graceful", disconnects_nobody, {"strategy.graceful.grace": "60s"}),
    "bluegreen": Promise("bluegreen", bluegreen_blocks_a_deploy_while_its_slot_drains_and_says_so),
    "colors": Promise(
        "colors",
        colors_stand_at_full_size_all_the_time_and_disconnect_nobody,
        {"strategy.colors.count": "3"},
    ),
    "colors that come round": Promise(
        "colors",
        colors_block_the_deploy_that_comes_back_to_a_slot_that_drains,
        {
            "strategy.colors.count": "3",
            "deploys": "[{at: 2s}, {at: 9s}, {at: 16s}]",
            "users.session": "forever",
        },
    ),
    "rainbow": Promise(
        "rainbow", rainbow_has_a_deployment_for_each_release_and_deletes_it_when_it_has_drained
    ),
    "rainbow without an API server": Promise(
        "rainbow",
        what_is_known_is_kept_where_the_cluster_is_away_at_the_end,
        {
            "deploys": "[{at: 2s}, {at: 20s}]",
            "faults": "[{at: 5s, api_down: 60s}]",
            "duration": "26s",
        },
    ),
    "immutable": Promise(
        "immutable", immutable_tells_each_pod_once_and_lets_it_leave_when_it_is_empty, {"duration": "24s"}
    ),
    "immutable with pods that pace": Promise(
        "immutable",
        immutable_reaches_its_pods,
        {
            "server.on_deselected": "pace",
            "server.pace_per_s": "10",
            "users.session": "forever",
            "deploys": "[{at: 2s}]",
        },
    ),
    "immutable rolled back": Promise(
        "immutable",
        a_rollback_to_a_release_that_still_drains_disconnects_nobody_and_takes_the_hook_back,
        {"deploys": "[{at: 2s}, {rollback_at: 8s}]", "users.session": "forever", "duration": "16s"},
    ),
}
"""By name; every strategy has at least one."""
