"""The small pure parts: deadlines, limiter, counters, options, metrics."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from chatserver.burn import burn_cpu
from chatserver.lifecycle import OnSigterm
from chatserver.metrics import BOUNDS_S, Counts, Snapshot, render
from chatserver.options import Address, duration_s, parse
from chatserver.wheel import Wheel
from chatserver.xmlstream import StreamError
from chatserver.xmppd.login_queue import LoginQueue
from chatserver.xmppd.resumption import ASK_EVERY, UNACKNOWLEDGED_LIMIT, Counters


@given(deadlines=st.dictionaries(st.integers(), st.floats(0, 100)), now_s=st.floats(0, 100))
def test_a_wheel_hands_out_what_is_due_never_early_and_at_most_a_tick_late(
    deadlines: dict[int, float], now_s: float
) -> None:
    wheel: Wheel[int] = Wheel(tick_s=0.25)
    for item, due_s in deadlines.items():
        wheel.set(item, due_s)
    due = set(wheel.due(now_s))
    assert all(deadlines[item] <= now_s for item in due)
    assert all(due_s > now_s - 0.25 for item, due_s in deadlines.items() if item not in due)
    assert len(wheel) == len(deadlines) - len(due)


def test_a_wheel_keeps_one_deadline_an_item() -> None:
    wheel: Wheel[str] = Wheel(1)
    wheel.set("a", 1)
    wheel.set("a", 5)
    wheel.set("b", 1)
    wheel.drop("b")
    assert wheel.due(2) == []
    assert wheel.due(5) == ["a"]
    assert len(wheel) == 0


def test_without_a_limit_nobody_waits() -> None:
    queue: LoginQueue[int] = LoginQueue(0)
    for login in range(5):
        queue.enter(login, 0)
    assert queue.due(0) == [0, 1, 2, 3, 4]
    assert queue.next_s is None


def test_logins_wait_their_turn_first_come_first_served() -> None:
    queue: LoginQueue[int] = LoginQueue(10)
    for login in range(5):
        queue.enter(login, 0)
    assert queue.due(0) == [0]
    assert queue.next_s == pytest.approx(0.1)
    assert queue.due(0.25) == [1, 2]


def test_who_gives_up_takes_no_token() -> None:
    queue: LoginQueue[str] = LoginQueue(1)
    for login in "abc":
        queue.enter(login, 0)
    queue.leave("a")
    queue.leave("nobody")
    assert queue.due(0) == ["b"]
    assert queue.due(1) == ["c"]


def test_an_idle_while_saves_up_no_tokens() -> None:
    queue: LoginQueue[int] = LoginQueue(1)
    queue.enter(0, 0)
    assert queue.due(0) == [0]
    for login in (1, 2):
        queue.enter(login, 100)
    assert queue.due(100) == [1]


@given(looks_s=st.lists(st.floats(0, 50), min_size=1).map(sorted), per_s=st.floats(0.5, 50))
def test_a_late_look_does_not_slow_the_rate_down(looks_s: list[float], per_s: float) -> None:
    queue: LoginQueue[int] = LoginQueue(per_s)
    for login in range(5000):
        queue.enter(login, 0)
    admitted = sum(len(queue.due(now_s)) for now_s in looks_s)
    assert abs(admitted - (looks_s[-1] * per_s + 1)) <= 1 + 1e-6 * admitted


def test_counters_forget_what_was_acknowledged_and_keep_the_rest() -> None:
    counters: Counters[int] = Counters()
    asks = [counters.sent(stanza) for stanza in range(ASK_EVERY)]
    assert asks == [False] * (ASK_EVERY - 1) + [True]
    counters.acknowledge(3)
    counters.acknowledge(2)  # below an earlier count: no effect
    assert counters.unacknowledged == (3, 4)
    with pytest.raises(StreamError):
        counters.acknowledge(6)


def test_counters_wrap_as_the_extension_says() -> None:
    counters: Counters[int] = Counters()
    counters.handled = 2**32 - 1
    counters.count_handled()
    assert counters.handled == 0


def test_a_client_that_never_acknowledges_is_stopped() -> None:
    counters: Counters[int] = Counters()
    for stanza in range(UNACKNOWLEDGED_LIMIT):
        counters.sent(stanza)
    with pytest.raises(StreamError):
        counters.sent(UNACKNOWLEDGED_LIMIT)


def test_flags_beat_the_environment_which_beats_defaults() -> None:
    environment = {"CHAT_LINGER": "7s", "CHAT_GRACE": "9s", "CHAT_PORT": "tcp://10.0.0.1:5280"}
    options = parse(["gateway", "--linger=1500ms", "--on-sigterm=hold", "--release=A1B2C3D4"], environment)
    assert (options.policy.linger_s, options.policy.grace_s, options.policy.on_sigterm) == (
        1.5,
        9,
        OnSigterm.HOLD,
    )
    assert (options.release, options.listen) == ("a1b2c3", Address("127.0.0.1", 5280))


def test_all_talks_to_its_own_server() -> None:
    assert parse(["all", "--xmpp=127.0.0.9:1234"], {}).backend == Address("127.0.0.9", 1234)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["gateway", "--linger=soon"], {}, "--linger='soon'"),
        (["gateway", "--release=main"], {}, "git SHA"),
        (["gateway", "--listen=5280"], {}, "HOST:PORT"),
        (["gateway", "--on-sigterm=panic"], {}, "close, hold, pace"),
        (["gateway", "--backlog=0"], {}, "at least 1"),
        (["gateway", "--per-s=0"], {}, "more than 0"),
        (["gateway", "--ping-interval=0s"], {}, "more than 0"),
        (["gateway"], {"CHAT_RELEASE": "x"}, "CHAT_RELEASE='x'"),
        (["xmppd", "--logins-per-s=-1"], {}, "0 or more"),
        (["teapot"], {}, "teapot"),
        ([], {}, "gateway|xmppd|all"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_code_2(
    arguments: list[str], environment: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        parse(arguments, environment)
    assert exited.value.code == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("2ms", 0.002), ("90s", 90), ("1.5m", 90), ("24h", 86400), ("3", 3)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_histograms_count_every_age_in_its_bucket(ages_s: list[float]) -> None:
    body, _ = render(Counts(), Snapshot(len(ages_s), 0, ages_s, ready=True))
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    samples = families["chat_connection_age_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
    assert all(buckets[str(bound)] == sum(age_s <= bound for age_s in ages_s) for bound in BOUNDS_S)
    assert buckets["+Inf"] == len(ages_s)
    assert families["chat_open_connections"].samples[0].value == len(ages_s)


def test_burning_uses_cpu_time() -> None:
    before_s = time.thread_time()
    burn_cpu(0.005)
    assert time.thread_time() - before_s >= 0.005


def test_the_image_installs_what_the_project_is_tested_with() -> None:
    root = Path(__file__).parents[2]
    wanted = (root / "chatserver" / "requirements.txt").read_text().splitlines()
    assert set(wanted) <= set((root / "constraints.txt").read_text().splitlines())
