"""A deployer that a fault killed, or that died by itself, is started again."""

from __future__ import annotations

import time

import pytest

from deployer.process import Config
from scenarios.worlds.supervision import RESTART_S, Deployer
from tests.end_to_end.conftest import wait_until


@pytest.fixture
def deployer(tmp_path):
    """One that looks for a cluster that is not there."""
    made = Deployer(tmp_path, {"MARK": "x"})
    made.start(Config(socket=tmp_path / "none.sock", strategy="rainbow", journal=tmp_path / "deployer.jsonl"))
    yield made
    made.stop()


def kinds(events):
    return [event.kind for event in events]


def test_while_it_runs_there_is_nothing_to_say(deployer):
    assert deployer.supervise(time.time()) == []


def test_one_that_a_fault_killed_is_away_until_the_fault_is_over(deployer):
    deployer.kill(100.0)
    assert deployer.supervise(99.9) == []
    assert kinds(deployer.supervise(100.0)) == ["deployer_started"]
    assert deployer.supervise(100.1) == []


def test_one_that_died_by_itself_is_noted_and_started_again_after_a_while(tmp_path):
    made = Deployer(tmp_path, {})
    made.start(Config(tmp_path / "none.sock", "no-such-strategy", tmp_path / "deployer.jsonl"))
    try:
        told = []
        wait_until(lambda: told.extend(made.supervise(100.0)) or told)
        assert kinds(told) == ["deployer_died"]
        assert made.supervise(100.0 + RESTART_S - 0.1) == []
        assert kinds(made.supervise(100.0 + RESTART_S)) == ["deployer_started"]
    finally:
        made.stop()


def test_one_that_was_never_started_can_be_stopped(tmp_path):
    Deployer(tmp_path, {}).stop()
