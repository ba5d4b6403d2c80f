"""Real users as a child process, against a small real server that fails in every way."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.attempts import ClosedBy, Failure, How, Reason
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.backoff import Fixed as EverySoOften
from loadgen.behaviour.crowd import Share
from loadgen.behaviour.sessions import Exponential, Forever, Weibull
from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, to_json

SOON = EverySoOften(0.2)


def users(count: int, **more: Any) -> Behaviour:
    settings: dict[str, Any] = {
        "session": Forever(), "reconnect": SOON, "ramp_per_s": 200.0, "messages_per_min": 0.0,
    }  # fmt: skip
    return Behaviour(Fixed(count), **(settings | more))


def test_users_log_in_and_the_log_says_who_served_them(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(20))
    run.all_online()
    last = run.wait_for(lambda event: event["event"] == "progress" and event["online"] == 20)
    assert last["by_release"] == {"abc123": 20}
    assert (last["attempts"], last["reconnects"], last["forced"]) == (20, 0, 0)
    assert last["connecting"] == last["offline"] == 0
    rows = run.stop()
    assert {row.user for row in rows} == {f"u{place}-0" for place in range(20)}
    for row in rows:
        assert row.t_close_s is None
        assert row.closed_by is ClosedBy.RUN_END
        assert (row.release, row.pod, row.reason, row.attempt) == ("abc123", "pod-1", Reason.ARRIVAL, 1)
        assert row.t_open_s is not None
        assert row.t_ready_s is not None
        assert row.t_request_s <= row.t_open_s <= row.t_ready_s


def test_the_ramp_is_even(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(20, ramp_per_s=100.0))
    run.all_online()
    wanted = sorted(row.t_request_s for row in run.stop())
    gaps = [later - sooner for sooner, later in itertools.pairwise(wanted)]
    assert gaps == pytest.approx([0.01] * 19, abs=1e-6)


@pytest.mark.parametrize("how", ["eof", "SIGTERM", "SIGINT"])
def test_every_way_to_stop_is_in_order(how: str, server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(3))
    run.all_online()
    rows = run.stop(how)
    assert [row.closed_by for row in rows] == [ClosedBy.RUN_END] * 3


def test_messages_reach_users_on_another_server(
    chat: Any, server: Any, second_server: Any, load: Callable[..., Any], tmp_path: Path
) -> None:
    run = load(server.port, users(20, messages_per_min=300.0), csv_prefix=str(tmp_path / "locust"))
    run.all_online()
    while chat.crossed < 50:
        time.sleep(0.02)
    crossed = chat.crossed
    time.sleep(1.5)  # Locust writes its statistics once a second
    rows = run.stop()
    assert {(row.release, row.pod) for row in rows} == {("abc123", "pod-1"), ("def456", "pod-2")}
    assert sum(row.messages_sent for row in rows) >= crossed
    assert sum(row.messages_lost for row in rows) == 0
    [received] = [
        int(line.split(",")[2])
        for line in (tmp_path / "locust_stats.csv").read_text().splitlines()
        if line.startswith("XMPP,message,")
    ]
    assert received >= crossed


def test_messages_that_vanish_with_a_cut_are_lost(chat: Any, server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(10, messages_per_min=600.0))
    run.all_online()
    chat.swallow = True
    said = len(chat.said)
    while len(chat.said) < said + 30:
        time.sleep(0.02)
    server.tear()
    chat.swallow = False
    rows = run.until_log(lambda rows: len(rows) >= 10, timeout_s=20)
    assert all(row.closed_by is ClosedBy.NETWORK for row in rows)
    assert all(row.messages_lost <= row.messages_sent for row in rows)
    assert sum(row.messages_lost for row in rows) >= 30
    run.stop()


def test_a_server_that_says_goodbye_is_come_back_to(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(10))
    run.all_online()
    server.shut_out(1012)
    closed = run.until_log(lambda rows: len(rows) == 10)
    for row in closed:
        assert (row.closed_by, row.close_code, row.how) == (ClosedBy.SERVER, 1012, How.CLOSE_FRAME)
        assert row.forced
    run.wait_for(lambda event: event.get("forced") == 10 and event["online"] == 10)
    again = run.stop()[10:]
    lost_s = {row.user: row.t_close_s for row in closed}
    assert len(again) == 10
    for row in again:
        assert (row.reason, row.attempt) == (Reason.RECONNECT, 2)
        assert row.t_request_s == pytest.approx(lost_s[row.user] + 0.2, abs=1e-6)


def test_a_bare_close_frame_is_the_servers_doing_too(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(3))
    run.all_online()
    server.shut_out(1001, farewell=False)
    rows = run.until_log(lambda rows: len(rows) == 3)
    assert {(row.closed_by, row.close_code) for row in rows} == {(ClosedBy.SERVER, 1001)}
    run.stop()


@pytest.mark.parametrize(("reset", "how"), [(True, How.RESET), (False, How.EOF)])
def test_a_cut_without_a_word_is_the_networks(
    reset: bool, how: How, server: Any, load: Callable[..., Any]
) -> None:
    run = load(server.port, users(3))
    run.all_online()
    server.tear(reset)
    rows = run.until_log(lambda rows: len(rows) == 3)
    assert {row.closed_by for row in rows} == {ClosedBy.NETWORK}
    assert {row.close_code for row in rows} == {None}
    if not reset:
        assert {row.how for row in rows} == {how}
    run.stop()


def test_a_closed_port_refuses_and_the_user_comes_back(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(5))
    run.all_online()
    server.stop_listening()
    server.tear()
    rows = run.until_log(lambda rows: sum(row.failure is Failure.REFUSED for row in rows) >= 10)
    refused = [row for row in rows if row.failure is Failure.REFUSED]
    for row in refused:
        assert row.closed_by is ClosedBy.NEVER_OPENED
        assert row.t_open_s is None
        assert row.pod is None
        assert row.t_close_s is not None
        assert row.reason is Reason.RECONNECT
    server.listen_again()
    run.wait_for(lambda event: event.get("online") == 5 and event["reconnects"] >= 15)
    run.stop()


def test_a_frozen_server_times_out_at_the_handshake(load: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        run = load(frozen.getsockname()[1], users(2, connect_timeout_s=0.5))
        rows = run.until_log(lambda rows: len(rows) >= 4)
        for row in rows:
            assert (row.failure, row.how) == (Failure.HANDSHAKE, How.TIMEOUT)
            assert row.closed_by is ClosedBy.NEVER_OPENED
            assert row.t_close_s is not None
            assert row.t_close_s - row.t_request_s >= 0.5
        run.stop()


def test_a_server_without_a_backend_times_out_at_the_login(server: Any, load: Callable[..., Any]) -> None:
    server.mute_login = True
    run = load(server.port, users(2, connect_timeout_s=0.5))
    rows = run.until_log(lambda rows: len(rows) >= 2)
    assert {(row.failure, row.closed_by) for row in rows} == {(Failure.LOGIN, ClosedBy.USER)}
    assert all(row.t_open_s is not None and row.t_ready_s is None for row in rows)
    run.stop()


def test_a_wrong_password_is_a_failed_login_and_who_gives_up_is_replaced(
    server: Any, load: Callable[..., Any]
) -> None:
    run = load(server.port, users(1, reconnect=EverySoOften(0.1, give_up=2)), password="wrong")
    rows = run.until_log(lambda rows: len(rows) >= 4)
    assert [(row.user, row.attempt) for row in rows[:4]] == [
        ("u0-0", 1),
        ("u0-0", 2),
        ("u0-1", 1),
        ("u0-1", 2),
    ]
    assert {row.failure for row in rows} == {Failure.LOGIN}
    warning = run.wait_for(lambda event: event["event"] == "warning")
    assert "not-authorized" in warning["text"]
    run.stop()


def test_sessions_run_from_time_zero(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(10, session=Weibull(0.8, 4)))
    run.all_online()
    time.sleep(0.5)
    assert run.rows() == []
    zero_s = time.time()
    run.order(zero_s=zero_s)
    rows = run.until_log(lambda rows: len(rows) >= 20)
    assert all(row.closed_by is ClosedBy.USER for row in rows)
    followers = {row.user: row.t_request_s for row in rows if row.user.endswith("-1")}
    ends = {row.user: row.t_close_s for row in rows if row.user.endswith("-0")}
    for user, came_s in followers.items():
        assert came_s == ends[user.replace("-1", "-0")] > zero_s
    run.stop()
    assert len(server.farewells) >= 20


def test_arrivals_come_after_time_zero_and_leave_for_good(server: Any, load: Callable[..., Any]) -> None:
    behaviour = Behaviour(Poisson(50.0), Exponential(0.2), messages_per_min=0.0)
    run = load(server.port, behaviour)
    run.all_online()
    run.order(zero_s=time.time())
    rows = run.until_log(lambda rows: len(rows) >= 30)
    assert {row.user.partition("-")[2] for row in rows} == {"0"}
    assert {row.closed_by for row in rows} == {ClosedBy.USER}
    run.stop()


def test_users_answer_pings_of_both_kinds(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(3))
    run.all_online()
    server.ping_all()
    assert server.pongs == 3
    server.tell_all(
        '<iq xmlns="jabber:client" type="get" id="p1" from="chat.local"><ping xmlns="urn:xmpp:ping"/></iq>'
    )
    server.tell_all('<iq xmlns="jabber:client" type="get" id="x1"><query xmlns="nobody:knows"/></iq>')
    while len(server.answers) < 6:
        time.sleep(0.02)
    assert sum('type="result"' in text for text in server.answers) == 3
    assert sum("service-unavailable" in text for text in server.answers) == 3
    run.stop()


def test_a_silent_server_is_asked_and_then_given_up(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(2, keepalive_s=1.0, connect_timeout_s=2.0))
    run.all_online()
    server.mute_login = True
    rows = run.until_log(lambda rows: sum(row.t_ready_s is not None for row in rows) == 2)
    ended = {(row.closed_by, row.how) for row in rows if row.t_ready_s is not None}
    assert ended == {(ClosedBy.NETWORK, How.TIMEOUT)}
    run.stop()


def test_a_load_generator_that_cannot_keep_up_says_so(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(1))
    run.all_online()
    time.sleep(2.5)
    run.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    run.process.send_signal(signal.SIGCONT)
    assert "lags" in run.wait_for(lambda event: event["event"] == "warning")["text"]
    run.stop()


def test_a_share_drives_only_its_places(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(10), share=Share(4, 3, 10))
    run.all_online()
    assert {row.user for row in run.stop()} == {"u4-0", "u5-0", "u6-0"}


def test_an_order_that_is_none_is_answered_with_a_warning(server: Any, load: Callable[..., Any]) -> None:
    run = load(server.port, users(1))
    run.all_online()
    run.order(dance=True)
    assert "dance" in run.wait_for(lambda event: event["event"] == "warning")["text"]
    run.stop()


def test_locust_reports_are_written(server: Any, load: Callable[..., Any], tmp_path: Path) -> None:
    run = load(server.port, users(5), html=str(tmp_path / "report.html"), csv_prefix=str(tmp_path / "locust"))
    run.all_online()
    time.sleep(1.5)
    run.stop()
    assert "login" in (tmp_path / "report.html").read_text()
    stats = (tmp_path / "locust_stats.csv").read_text()
    assert "XMPP,login,5,0" in stats
    assert "WS,connect,5,0" in stats


def run_with(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadgen", str(path)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": "wss://127.0.0.1:1/x"}, "TLS"),
        ({"url": "127.0.0.1:1"}, "no websocket address"),
        ({"connections": "/nowhere/at/all.jsonl"}, "/nowhere/at/all.jsonl"),
        ({"behaviour": {"population": {"count": 100_000_000, "kind": "fixed"}}}, "open files"),
        ({"behaviour": {"connect_timeout_s": -1}}, "connect_timeout=-1"),
        ({"seed": "red"}, "seed"),
    ],
)
def test_a_mistake_in_the_config_is_one_clear_line(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    good = LoadConfig("ws://127.0.0.1:1/x", users(1), seed=1, connections=str(tmp_path / "c.jsonl"))
    path = tmp_path / "load.json"
    path.write_text(json.dumps(json.loads(to_json(good)) | change))
    done = run_with(path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_missing_config_is_one_clear_line(tmp_path: Path) -> None:
    done = run_with(tmp_path / "none.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none.json" in done.stderr


def test_backoff_spreads_retries_as_the_policy_says(load: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    run = load(port, users(1, reconnect=Backoff(0.1, 0.4, "none", give_up=5)))
    rows = run.until_log(lambda rows: len(rows) >= 5)[:5]
    waits = [
        later.t_request_s - sooner.t_close_s
        for sooner, later in itertools.pairwise(rows)
        if sooner.t_close_s is not None
    ]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.4], abs=1e-6)
    run.stop()
