"""Whole runs on a kind cluster whose users are pods of the cluster too."""

from __future__ import annotations

from contextlib import closing

import polars as pl
import pytest

from scenarios.record import read_record
from scenarios.worlds.load_logs import load_pods
from tests.end_to_end.conftest import finish, run, start, wait_for_phase
from tests.test_kind.helpers import namespaces_of

pytestmark = [pytest.mark.cluster, pytest.mark.end_to_end]

TWO = ("--world", "kind", "--load-workers", "2")


def connections(summary):
    return pl.read_parquet(f"{summary['run_dir']}/connections.parquet")


def places(frame):
    return set(frame["user"].str.split("-").list.first())


def test_users_on_two_workers_are_those_that_the_seed_gives(on_kind, tmp_path):
    summary = run("tiny", "--strategy", "rainbow", *TWO, out=tmp_path)
    simulated = run("tiny", "--strategy", "rainbow", "--world", "sim", out=tmp_path)
    assert (summary["deploys_done"], summary["forced_reconnects"], summary["failed_attempts"]) == (2, 0, 0)
    rows, expected = connections(summary), connections(simulated)
    assert places(rows) == {f"u{place}" for place in range(20)}
    # whoever ends in the very last moments may have come back in one world only
    assert len(set(rows["user"]) ^ set(expected["user"])) <= 2
    assert len(rows.filter(pl.col("t_close_s").is_null())) == 20
    assert rows["messages_sent"].sum() > 0
    assert rows["messages_lost"].sum() == 0


@pytest.mark.long
def test_recreate_does_to_users_on_workers_what_it_does_to_those_on_this_machine(on_kind, tmp_path):
    on_workers = run("quick", "--strategy", "recreate", *TWO, out=tmp_path)
    here = run("quick", "--strategy", "recreate", "--world", "kind", out=tmp_path)
    for summary in (on_workers, here):
        assert 0.99 <= summary["forced_reconnects_per_client_deploy"] <= 1.10
    ours, theirs = connections(on_workers), connections(here)
    assert places(ours) == places(theirs)
    assert len(set(ours["user"])) == pytest.approx(len(set(theirs["user"])), rel=0.02)
    # how often who is shut out tries again hangs on how long the pods took to start
    assert len(ours) == pytest.approx(len(theirs), rel=0.35)


@pytest.mark.long
def test_a_run_goes_on_without_a_worker_that_died_and_says_so(on_kind, tmp_path):
    process = start("run", "tiny", "--set", "duration=40s", *TWO, "--no-repeat", out=tmp_path)
    with closing(on_kind.connect()) as api:
        wait_for_phase(process, "measuring")
        (namespace,) = namespaces_of(on_kind, tmp_path)
        pods = f"/api/v1/namespaces/{namespace}/pods"
        (worker,) = (pod.name for pod in load_pods(api.call("GET", pods)["items"]) if pod.index == 1)
        api.call("DELETE", f"{pods}/{worker}", {"gracePeriodSeconds": 0})
    code, _, err = finish(process)
    assert code == 0, err
    (folder,) = (path for path in tmp_path.iterdir() if (path / "run.json").exists())
    record = read_record(folder)
    assert places(record.connections) == {f"u{place}" for place in range(10)}
    assert "load_worker_died" in set(record.events["kind"])
    notes = " ".join(record.run["notes"])
    assert "Load worker 1 ended early" in notes
    assert "places 10 to 19" in notes
