"""The deployer as a process: on a real local cluster, killed, started again and ended."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployer.clusters.controlplane.objects import RejectedError, Timing
from deployer.clusters.local.client import start
from deployer.clusters.local.config import Config as ClusterConfig
from deployer.clusters.local.config import PodSpec, Probe, Startup
from deployer.draining import After, DrainSettings, Empty, Few, Manual
from deployer.fleet import Kind, Limits, Outcome
from deployer.journal import read_journal
from deployer.process import Config, ConfigError, main, read
from deployer.strategies import make

STANDIN = Path(__file__).parents[1] / "test_local" / "standin.py"
COMMAND = (
    sys.executable,
    *("-S", str(STANDIN)),
    *("--pod", "{pod}", "--release", "{release}", "--address", "{address}"),
    *("--gateway-port", "{gateway_port}", "--admin-port", "{admin_port}"),
)
PATIENCE_S = 60.0


def eventually(what):
    end_s = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end_s, f"still {found!r} after {PATIENCE_S:g} s"
        time.sleep(0.05)
    return found


@pytest.fixture
def cluster(tmp_path):
    """A local cluster of stand-in servers for rainbow."""
    running = start(
        ClusterConfig(
            run_dir=tmp_path / "cluster",
            app="chat",
            limits=Limits(replicas=1),
            shape=make("rainbow").shape,
            selects_release=True,
            pod=PodSpec(COMMAND, gateway_port=15281, admin_port=19091),
            startup=Startup(0.0),
            readiness=Probe("/readyz", 0.1, timeout_s=5.0),
            sync_period_s=0.0,
            timing=Timing(0.01, 0.05, 0.0),
        )
    )
    yield running.cluster
    running.stop()


@pytest.fixture
def deployer(cluster, tmp_path):
    """Starts deployers on that cluster, one after the other."""
    started = []
    drain = DrainSettings(policy=After(0.5), check_every_s=0.5)
    config = Config(
        Path(cluster.path), "rainbow", tmp_path / "journal.jsonl", {"progress_deadline": 60}, drain
    )
    (tmp_path / "deployer.json").write_bytes(config.to_json())

    def begin():
        command = [sys.executable, "-m", "deployer", str(tmp_path / "deployer.json")]
        with (tmp_path / "deployer.log").open("a") as log:
            started.append(subprocess.Popen(command, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def outcomes(cluster):
    return [r.outcome for r in cluster.observe().requests]


def test_a_killed_deployer_is_replaced_in_the_middle_of_a_deploy_and_ends_cleanly_on_sigterm(
    cluster, deployer, tmp_path
):
    first = deployer()
    cluster.request("aaaaaa", Kind.INITIAL)
    eventually(lambda: outcomes(cluster) == [Outcome.DONE])
    cluster.request("bbbbbb", Kind.DEPLOY)
    eventually(lambda: "chat-bbbbbb" in cluster.observe().deployments)
    first.kill()
    first.wait()
    second = deployer()
    eventually(lambda: outcomes(cluster) == [Outcome.DONE, Outcome.DONE])
    eventually(lambda: list(cluster.observe().deployments) == ["chat-bbbbbb"])
    second.send_signal(signal.SIGTERM)
    assert second.wait(PATIENCE_S) == 0
    assert (tmp_path / "deployer.log").read_text() == ""
    # The first may have been killed between a write and its line in the journal.
    written = [(e["action"], e["fields"]) for e in read_journal(tmp_path / "journal.jsonl") if "action" in e]
    created = [fields["name"] for action, fields in written if action == "CreateDeployment"]
    assert created in (["chat-aaaaaa", "chat-bbbbbb"], ["chat-aaaaaa"])
    assert ("DeleteDeployment", {"deployment": "chat-aaaaaa"}) in written


def test_a_deployer_waits_for_a_cluster_that_is_not_there(tmp_path):
    config = Config(tmp_path / "no-socket", "rolling", tmp_path / "journal.jsonl")
    (tmp_path / "deployer.json").write_bytes(config.to_json())
    command = [sys.executable, "-m", "deployer", str(tmp_path / "deployer.json")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: (tmp_path / "journal.jsonl").exists())
        time.sleep(0.8)
        assert process.poll() is None
    finally:
        process.terminate()
        said = process.communicate()[1]
    assert process.returncode == 0
    (line,) = said.splitlines()  # one, however often it has tried
    assert "no-socket: connect" in line
    assert line.endswith("trying again until it answers")


@pytest.mark.parametrize("policy", [Manual(), Empty(), After(3.5), Few(count=5), Few(share=0.01)])
def test_a_configuration_survives_its_file(tmp_path, policy):
    config = Config(
        tmp_path / "socket",
        "colors",
        tmp_path / "journal",
        {"count": 3},
        DrainSettings(policy=policy, hold_s=9),
    )
    (tmp_path / "c.json").write_bytes(config.to_json())
    assert read(tmp_path / "c.json") == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "rainbw"}, "did you mean 'rainbow'?"),
        ({"settings": {"srink": True}}, "did you mean 'shrink'?"),
        ({"drain": {"hold_s": 0}}, "hold_s=0.0 must be at least 2"),
        ({"sockets": "x"}, "sockets"),
        ({"journal": "/nowhere/journal"}, "/nowhere/journal"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line_and_exit_code_2(tmp_path, capsys, change, words):
    config = {"socket": "s", "strategy": "rainbow", "journal": str(tmp_path / "j"), **change}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert main([str(tmp_path / "c.json")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_configuration_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.json")


def test_without_a_configuration_it_says_how_it_is_called(capsys):
    assert main([]) == 2
    assert "python -m deployer CONFIG" in capsys.readouterr().err


def test_what_a_cluster_refuses_for_good_is_one_line(tmp_path, monkeypatch, capsys):
    """As where someone has deleted the Service: no traceback in the log of a run."""

    class Refusing:
        def watch(self, version, timeout_s):
            raise RejectedError("cluster mine: namespace x has no Service chat")

        def close(self):
            pass

    monkeypatch.setattr("deployer.process._cluster", lambda config: Refusing())
    config = Config(tmp_path / "socket", "rolling", tmp_path / "journal.jsonl")
    (tmp_path / "deployer.json").write_bytes(config.to_json())
    assert main([str(tmp_path / "deployer.json")]) == 2
    assert capsys.readouterr().err == "deployer: cluster mine: namespace x has no Service chat\n"
