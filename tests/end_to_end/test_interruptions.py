"""Ctrl-C, kills and mistakes: nothing is left running, and what was measured is kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import polars as pl
import pytest

from scenarios.record import read_record
from tests.end_to_end.conftest import finish, processes_of, run, start, wait_for_phase, wait_until

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize(
    ("phase", "wait_s", "keeps"),
    [
        ("starting", 0.0, False),
        ("waiting for the first release", 0.3, False),
        ("come online", 0.2, True),
        ("measuring", 4.0, True),
    ],
)
def test_ctrl_c_leaves_no_process_and_a_record_of_what_was_measured(phase, wait_s, keeps, out):
    process = start("run", "tiny", "-s", "rainbow", "--world", "local", out=out)
    wait_for_phase(process, phase)
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process, 60.0)
    assert code == 130, err
    assert "Traceback" not in err
    wait_until(lambda: not processes_of(out), 10.0)
    folders = [path for path in out.iterdir() if not path.name.startswith("compare")]
    assert len(folders) == (1 if keeps else 0)
    if keeps:
        record = read_record(folders[0])
        assert record.run["interrupted"]
        assert (folders[0] / "report.html").exists()
        assert record.connections.height > 0 or phase != "measuring"


def test_ctrl_c_twice_ends_in_order_all_the_same(out):
    process = start("run", "tiny", "-s", "rainbow", "--world", "local", out=out)
    wait_for_phase(process, "measuring")
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process, 60.0)
    assert code == 130, err
    assert len([path for path in out.iterdir() if (path / "run.json").exists()]) == 1


def test_a_killed_runner_takes_everything_with_it_and_clean_removes_its_folder(out):
    process = start("run", "tiny", "-s", "rainbow", "--world", "local", out=out)
    wait_for_phase(process, "measuring")
    assert len(processes_of(out)) >= 5
    process.kill()
    finish(process)
    wait_until(lambda: not processes_of(out), 20.0)
    assert any(path.name.endswith(".partial") for path in out.iterdir())
    code, _, _ = finish(start("clean", out=out))
    assert code == 0
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("fault", ["killed by the scenario", "killed from outside"])
def test_a_deployer_killed_mid_deploy_finishes_the_deploy_all_the_same(fault, out):
    """It dies a moment after the first deploy was asked for, while its pods start."""
    arguments = ["run", "tiny", "-s", "rainbow", "--world", "local"]
    if fault == "killed by the scenario":
        summary = run(*arguments[1:], "--set", "faults=[{at: 2200ms, deployer_killed: true}]", out=out)
        assert summary["deploys_done"] == 2
        assert summary["forced_reconnects"] == 0
        events = read_record(str(summary["run_dir"])).events
        assert {"deployer_killed", "deployer_started"} <= set(events["kind"])
        return
    process = start(*arguments, out=out)
    wait_for_phase(process, "deploy 1")
    deployers = [p for p in processes_of(out) if p.cmdline()[1:3] == ["-m", "deployer"]]
    assert len(deployers) == 1
    os.kill(deployers[0].pid, signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 0, err
    (folder,) = (path for path in out.iterdir() if (path / "run.json").exists())
    record = read_record(folder)
    assert record.deploys.filter(pl.col("kind") == "deploy")["outcome"].to_list() == ["done", "done"]
    assert {"deployer_died", "deployer_started"} <= set(record.events["kind"])


def test_a_killed_pod_costs_its_users_a_reconnect_that_counts_to_no_deploy(out):
    settings = ["--set", "deploys=[]", "--set", "duration=8s", "--set", "faults=[{at: 3s, kill_pod: random}]"]
    summary = run("tiny", "-s", "rainbow", "--world", "local", *settings, out=out)
    assert 1 <= summary["forced_reconnects"] <= 20
    assert summary["forced_reconnects_per_client_deploy"] is None
    closed = read_record(str(summary["run_dir"])).connections
    assert "pod_gone" in set(closed["closed_by"])


def test_a_busy_port_is_told_in_one_line_before_anything_starts(out):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = finish(start("run", "tiny", "--world", "local", "--port", str(port), "-q", out=out))
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert str(port) in err


def test_too_few_file_descriptors_are_told_in_one_line_before_anything_starts(out):
    command = f"ulimit -n 500; exec {sys.executable} -m scenarios run quick --world local -q --out {out}"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert len(told.stderr.strip().splitlines()) == 1
    assert "ulimit -Hn" in told.stderr
    assert list(out.iterdir()) == []
