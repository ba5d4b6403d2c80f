"""A population spread over processes by Locust's master and workers, against a small real server."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.backoff import Fixed as EverySoOften
from loadgen.behaviour.crowd import Tally
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, LoadError, Team, part_of, to_json
from loadgen.connection_log import attempts_in, read_log
from loadgen.control import CHUNK_BYTES, chunk_of
from loadgen.news import News, Orders, together
from loadgen.reaching import reach_master

USERS = Behaviour(Fixed(11), Forever(), EverySoOften(0.2), ramp_per_s=200.0, messages_per_min=600.0)
TALLY = Tally(
    online=3, connecting=1, offline=2, attempts=9, reconnects=4, forced=5, by_release={"a": 2, "b": 1}
)


@given(st.integers(0, 500), st.integers(1, 20))
def test_the_shares_of_a_population_are_even_and_leave_nobody_out(count: int, workers: int) -> None:
    shares = [part_of(Behaviour(Fixed(count)), index, workers) for index in range(workers)]
    places = [p for share in shares for p in range(share.first_place, share.first_place + share.count)]
    assert places == list(range(count))
    assert max(s.count for s in shares) - min(s.count for s in shares) <= 1


def test_each_worker_takes_every_nth_arrival() -> None:
    shares = [part_of(Behaviour(Poisson(1.0)), index, 3) for index in range(3)]
    assert [(s.first_place, s.count, s.total) for s in shares] == [(0, 1, 3), (1, 1, 3), (2, 1, 3)]


@pytest.mark.parametrize("index", ["-1", "2", "two"])
def test_a_worker_that_the_team_has_not_is_refused_in_one_line(index: str, tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    path.write_bytes(to_json(LoadConfig("ws://127.0.0.1:9/", USERS, 1, "/dev/null", team=Team(2))))
    command = [sys.executable, "-m", "loadgen", str(path), "worker", index]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert index in ended.stderr or "usage" in ended.stderr


def test_a_team_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="workers=0 must be at least 1"):
        Team(0)


def test_what_workers_tell_is_added_up() -> None:
    news = {1: News(Orders(5.0), True, TALLY, ("slow",)), 0: News(Orders(), False, TALLY)}
    state = together(news, 2)
    assert state.tally == Tally(6, 2, 4, 18, 8, 10, {"a": 4, "b": 2})
    assert (state.joined, state.zeroed, state.all_online) == (2, 1, False)
    assert state.warnings == ("worker 1: slow",)


def test_nobody_is_all_online_before_the_last_worker_has_told() -> None:
    news = {0: News(Orders(), True, TALLY)}
    assert not together(news, 2).all_online
    assert together(news, 1).all_online


def test_a_log_is_given_out_whole_in_parts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    content = bytes(range(256)) * (CHUNK_BYTES // 200)
    log.write_bytes(content)
    parts, at = [], 0
    while part := gzip.decompress(chunk_of(log, {"from": str(at)})):
        parts.append(part)
        at += len(part)
    assert b"".join(parts) == content
    assert len(parts) == 2


def test_a_connection_to_the_master_that_leads_nowhere_is_given_up_for_a_new_one() -> None:
    tries: list[tuple[tuple[str, int], float]] = []

    def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
        tries.append((address, timeout_s))
        if len(tries) < 3:
            raise TimeoutError if len(tries) == 1 else ConnectionRefusedError
        return socket.socket()

    reach_master(Team(2, "load-master"), connect=connect)
    assert [address for address, _ in tries] == [("load-master", 5557)] * 3
    assert max(timeout_s for _, timeout_s in tries) <= 2


def test_a_master_that_never_answers_is_told_in_one_line() -> None:
    master = Team(2, "127.0.0.1", Ports(1).numbers[0])
    with pytest.raises(
        LoadError, match=rf"no master answers on 127.0.0.1:{master.port} \(tried for 0.2 s\); see"
    ):
        reach_master(master, within_s=0.2)


class Ports:
    def __init__(self, count: int) -> None:
        with ExitStack() as stack:
            found = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
            for each in found:
                each.bind(("127.0.0.1", 0))
            self.numbers = [each.getsockname()[1] for each in found]


class RunningTeam:
    """A master and two workers as processes of this machine."""

    def __init__(self, config: LoadConfig, folder: Path) -> None:
        locust, self.master, *self.workers = Ports(4).numbers
        self.folder = folder
        self.processes = []
        for index, port in ((None, self.master), *enumerate(self.workers)):
            name = "master" if index is None else f"worker{index}"
            mine = replace(
                config, connections=str(self.log(index or 0)), team=Team(2, "127.0.0.1", locust, port)
            )
            path = folder / f"{name}.json"
            path.write_bytes(to_json(mine))
            role = ["master"] if index is None else ["worker", str(index)]
            self.processes.append(subprocess.Popen([sys.executable, "-m", "loadgen", str(path), *role]))

    def log(self, index: int) -> Path:
        return self.folder / f"connections{index}.jsonl"

    def ask(self, port: int, question: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{question}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def state(self, port: int) -> Any:
        try:
            return json.loads(self.ask(port, "state"))
        except urllib.error.URLError:
            return {}

    def wait(self, port: int, done: Callable[[Any], bool]) -> Any:
        deadline_s = time.monotonic() + 30
        while not done(state := self.state(port)):
            assert time.monotonic() < deadline_s, state
            time.sleep(0.05)
        return state


@pytest.fixture
def team(server: Any, tmp_path: Path) -> Iterator[RunningTeam]:
    config = LoadConfig(f"ws://127.0.0.1:{server.port}/xmpp-websocket", USERS, 7, "", progress_s=0.1)
    running = RunningTeam(config, tmp_path)
    yield running
    for process in running.processes:
        process.kill()
        process.wait()


def test_two_workers_are_one_population(team: RunningTeam, server: Any) -> None:
    state = team.wait(team.master, lambda state: state.get("all_online"))
    assert state["tally"]["online"] == 11
    with pytest.raises(urllib.error.HTTPError, match="400"):  # kept back on the way: somebody gave up on it
        team.ask(team.master, f"zero?at={time.time() - 60}&for_s=1", "POST")
    zero_s = time.time()
    for at_s in (zero_s, zero_s + 1):  # who asks again is told when it is
        assert json.loads(team.ask(team.master, f"zero?at={at_s}", "POST")) == {"zero_s": zero_s}
    team.wait(team.master, lambda state: state["zeroed"] == 2)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        team.ask(team.master, "zero?at=soon", "POST")
    server.shut_out(1012)
    team.wait(team.master, lambda state: state["tally"]["forced"] == 11 and state["all_online"])
    team.ask(team.master, "end", "POST")
    rows = []
    for port in team.workers:
        told = team.wait(port, lambda state: state["ended"])
        lines = gzip.decompress(team.ask(port, "log")).decode().splitlines(keepends=True)
        assert len(lines) == told["rows"]
        rows += attempts_in(lines)
    assert {row.user for row in rows} == {f"u{place}-0" for place in range(11)}
    assert {row.user for row in read_log(team.log(0))} == {f"u{place}-0" for place in range(6)}
    assert sum(row.forced for row in rows) == 11
    assert sum(row.messages_sent for row in rows) > 0
    for process in team.processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in team.processes] == [0, 0, 0]


def test_users_end_by_themselves_when_the_run_is_over(team: RunningTeam) -> None:
    team.wait(team.master, lambda state: state.get("all_online"))
    zero_s = time.time()
    team.ask(team.master, f"zero?at={zero_s}&for_s=1", "POST")
    for index, port in enumerate(team.workers):
        told = team.wait(port, lambda state: state["ended"])
        assert len(list(read_log(team.log(index)))) == told["rows"] == 6 - index


def test_the_others_go_on_without_a_worker_that_died(team: RunningTeam) -> None:
    team.wait(team.master, lambda state: state.get("all_online"))
    team.processes[1].kill()
    team.ask(team.master, f"zero?at={time.time()}", "POST")
    team.wait(team.master, lambda state: state["zeroed"] == 1)
    team.ask(team.master, "end", "POST")
    assert team.wait(team.workers[1], lambda state: state["ended"])["rows"] >= 5
