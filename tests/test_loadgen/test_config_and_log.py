"""The load's config file, its limits, and the connection log."""

from __future__ import annotations

import math
import resource
from pathlib import Path

import pytest

from loadgen.behaviour.arrivals import Diurnal, Fixed, Poisson, Trace
from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How, Reason
from loadgen.behaviour.backoff import PRESETS
from loadgen.behaviour.crowd import Share
from loadgen.behaviour.sessions import Exponential, Forever, Weibull
from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, LoadError, expected_users, read_config, reserve_files, to_json
from loadgen.connection_log import ConnectionLog, read_log

ROW = Attempt(
    "u1-0", 2, Reason.RECONNECT, 1795427020.7284167, 0.1 + 0.2, None, math.pi, "abc123", "p", ClosedBy.SERVER,
    Failure.LOGIN, 1012, 3, 1, How.CLOSE_FRAME,
)  # fmt: skip


def test_rows_come_back_from_the_log_exactly(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    with ConnectionLog(path) as log:
        log.write(ROW)
    with ConnectionLog(path) as log:  # appends
        log.write(ROW)
    assert list(read_log(path)) == [ROW, ROW]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    with ConnectionLog(path) as log:
        log.write(ROW)
        log.write(ROW)
    path.write_bytes(path.read_bytes()[:-10])
    assert list(read_log(path)) == [ROW]


def test_what_was_flushed_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    log = ConnectionLog(path)
    log.write(ROW)
    assert path.read_bytes() == b""
    log.flush()
    assert list(read_log(path)) == [ROW]
    log.close()


@pytest.mark.parametrize("share", [None, Share(4, 3, 10)])
def test_a_config_comes_back_from_its_file(share: Share | None, tmp_path: Path) -> None:
    behaviour = Behaviour(Fixed(10), Weibull(22.0, 4.0), PRESETS["converse"])
    config = LoadConfig("ws://127.0.0.1:5280/xmpp-websocket", behaviour, 7, "c.jsonl", share)
    path = tmp_path / "load.json"
    path.write_bytes(to_json(config))
    assert read_config(path) == config


def test_expected_users_follow_littles_law() -> None:
    assert expected_users(Behaviour(Fixed(300))) == 300
    assert expected_users(Behaviour(Fixed(300)), Share(0, 100, 300)) == 100
    assert expected_users(Behaviour(Poisson(5.0), Exponential(60.0))) == 300
    assert expected_users(Behaviour(Poisson(5.0), Exponential(60.0)), Share(0, 1, 3)) == 100
    assert expected_users(Behaviour(Diurnal(5.0, 0.5), Exponential(60.0))) == 450
    assert expected_users(Behaviour(Trace((1.0, 2.0)), Forever())) == 2


@pytest.fixture
def few_files() -> object:
    """A low soft limit, as a shell's default."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    yield limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_soft_limit_of_open_files_is_raised_to_what_is_needed(few_files: int) -> None:
    reserve_files(500)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1024
    reserve_files(2000)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 2200


def test_a_hard_limit_that_is_too_low_is_one_line_with_the_way_out(few_files: int) -> None:
    if few_files == resource.RLIM_INFINITY:
        pytest.skip("no hard limit here")
    with pytest.raises(
        LoadError, match=rf"need {few_files + 1} open files.*the limit is {few_files}.*ulimit"
    ) as found:
        reserve_files(few_files + 1 - 200)
    assert "\n" not in str(found.value)
    assert f"at most {few_files - 200} users" in str(found.value)
