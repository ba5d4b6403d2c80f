"""Whole runs on a kind cluster, started as a person starts them, and what must not outlive them."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import polars as pl
import pytest

from scenarios.record import read_record
from scenarios.worlds.leftovers import remove_left
from tests.end_to_end.conftest import finish, processes_of, start, wait_until
from tests.end_to_end.conftest import run as run_program
from tests.test_kind.helpers import namespaces_of

pytestmark = [pytest.mark.cluster, pytest.mark.end_to_end]


def run(*arguments, out):
    """A run's summary; it repeats itself once where a pod took unusually long to start."""
    return run_program(*arguments, "--world", "kind", out=out)


def test_rainbow_reconnects_nobody(on_kind, tmp_path):
    summary = run("quick", "--strategy", "rainbow", out=tmp_path)
    assert summary["deploys_done"] == 3
    assert summary["forced_reconnects"] == 0
    assert summary["failed_attempts"] == 0
    assert namespaces_of(on_kind, tmp_path) == []


@pytest.mark.long
def test_recreate_reconnects_everybody_once(on_kind, tmp_path):
    summary = run("quick", "--strategy", "recreate", out=tmp_path)
    assert 0.99 <= summary["forced_reconnects_per_client_deploy"] <= 1.10


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [((), 0.95, 1.4), (("users.session=forever", "users.reconnect=immediate"), 1.1, 1.7)],
)
def test_rolling_reconnects_some_more_than_once(on_kind, tmp_path, settings, least, most):
    changed = [word for setting in settings for word in ("--set", setting)]
    summary = run("quick", "--strategy", "rolling", *changed, out=tmp_path)
    assert least <= summary["forced_reconnects_per_client_deploy"] <= most


@pytest.mark.parametrize("fault", ["{at: 4s, kill_pod: random}", "{at: 4s, deployer_killed: 2s}"])
def test_deploys_go_on_through_a_fault(on_kind, tmp_path, fault):
    summary = run("tiny", "--set", f"faults=[{fault}]", out=tmp_path)
    assert summary["deploys_done"] == 2


def test_a_bad_release_fails_with_its_reason_and_the_old_one_serves_on(on_kind, tmp_path):
    bad = ("--set", "deploys=[{at: 2s, bad: crashes}]", "--set", "strategy.progress_deadline=10s")
    summary = run("tiny", *bad, out=tmp_path)
    assert summary["deploys_failed"] == 1
    assert summary["forced_reconnects"] == 0
    deploys = pl.read_parquet(f"{summary['run_dir']}/deploys.parquet")
    assert "CrashLoopBackOff" in deploys.filter(pl.col("deploy") == 1)["reason"].item()


@pytest.mark.parametrize(
    "after_s",
    [1.0, pytest.param(3.0, marks=pytest.mark.long), 5.0, pytest.param(9.0, marks=pytest.mark.long), 15.0],
)
def test_ctrl_c_at_any_moment_leaves_nothing(on_kind, tmp_path, after_s):
    process = start("run", "tiny", "--strategy", "rainbow", "--world", "kind", "--json", out=tmp_path)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    assert "Traceback" not in err
    assert namespaces_of(on_kind, tmp_path) == []
    assert processes_of(tmp_path) == []


def test_what_a_killed_run_leaves_is_cleaned_up(on_kind, tmp_path):
    settings = ("--set", "server.on_sigterm=hold", "--set", "strategy.rolling={grace: 1h}")
    settings += ("--set", "duration=300s")
    process = start("run", "tiny", "--strategy", "rolling", *settings, "--world", "kind", out=tmp_path)
    try:
        wait_until(lambda: namespaces_of(on_kind, tmp_path))
        time.sleep(8.0)
        (name,) = namespaces_of(on_kind, tmp_path)
        assert not any(name in line for line in remove_left(tmp_path, on_kind.name))  # it still goes on
    finally:
        process.kill()
        process.communicate()
    assert any(name in line for line in remove_left(tmp_path, on_kind.name))
    assert namespaces_of(on_kind, tmp_path) == []


@pytest.mark.long
def test_a_worker_node_that_freezes_for_a_minute_mid_deploy_costs_nobody_on_the_others(on_kind, tmp_path):
    settings = ("--set", "deploys=[{at: 6s}]", "--set", "duration=110s")
    settings += ("--set", "faults=[{at: 6500ms, node_loss: random, duration: 60s}]")
    summary = run("quick", "--strategy", "rainbow", *settings, out=tmp_path)
    assert summary["deploys_done"] == 1
    record = read_record(Path(summary["run_dir"]))
    lost = record.events.filter(pl.col("kind") == "node_loss")["target"].item()
    assert "node_back" in set(record.events["kind"])
    cut = record.connections.filter(pl.col("closed_by").is_in(["server", "network", "pod_gone"]))
    there = record.pods.filter(pl.col("node") == lost)["pod"]
    assert there.len() > 0
    assert set(cut["pod"]) <= set(
        there
    )  # perhaps nobody: most sessions end before a client asks for a sign of life
