from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.lifecycle import EXIT_MARGIN_S, Lifecycle, OnDeselected, OnSigterm, Pace, Policy, decide

CLOSE = Policy(OnSigterm.CLOSE, linger_s=2, grace_s=30)
HOLD = Policy(OnSigterm.HOLD, linger_s=2, grace_s=30)
PACE = Policy(OnSigterm.PACE, linger_s=2, grace_s=30, per_s=10)


def test_nothing_asked_means_ready_and_listening() -> None:
    decision = decide(CLOSE, Lifecycle(), 5, 100)
    assert (decision.ready, decision.listening, decision.ask, decision.finish) == (True, True, 0, False)
    assert decision.look_again_s is None


@pytest.mark.parametrize("policy", [CLOSE, HOLD, PACE])
def test_sigterm_makes_unready_at_once_and_goes_on_listening_for_linger(policy: Policy) -> None:
    life = Lifecycle().sigterm(policy, 100)
    for now_s in (100, 101.9):
        decision = decide(policy, life, 0, now_s)
        assert (decision.ready, decision.listening, decision.finish) == (False, True, False)
    assert not decide(policy, life, 5, 102).listening


def test_close_finishes_when_linger_is_over_whoever_is_left() -> None:
    life = Lifecycle().sigterm(CLOSE, 100)
    assert decide(CLOSE, life, 5, 100).look_again_s == 102
    assert decide(CLOSE, life, 5, 102).finish


def test_hold_waits_for_the_last_connection() -> None:
    life = Lifecycle().sigterm(HOLD, 100)
    assert not decide(HOLD, life, 1, 120).finish
    assert decide(HOLD, life, 0, 120).finish


@pytest.mark.parametrize("policy", [HOLD, PACE])
def test_just_before_the_grace_ends_all_is_closed(policy: Policy) -> None:
    life = Lifecycle().sigterm(policy, 100)
    end_s = 130 - EXIT_MARGIN_S
    assert not decide(policy, life, 1, end_s - 0.1).finish
    assert decide(policy, life, 1, end_s).finish


def test_a_linger_longer_than_the_grace_is_cut() -> None:
    policy = Policy(OnSigterm.CLOSE, linger_s=60, grace_s=10)
    assert decide(policy, Lifecycle().sigterm(policy, 0), 1, 10 - EXIT_MARGIN_S).finish


@pytest.mark.parametrize("policy", [CLOSE, HOLD, PACE])
def test_a_second_sigterm_changes_nothing(policy: Policy) -> None:
    life = Lifecycle().sigterm(policy, 100)
    assert life.sigterm(policy, 101) == life


def test_deselected_pods_leave_once_empty_and_not_before_linger() -> None:
    life = Lifecycle().deselected(CLOSE, 100)
    early, busy, empty = decide(CLOSE, life, 0, 101), decide(CLOSE, life, 1, 200), decide(CLOSE, life, 0, 102)
    assert [early.finish, busy.finish, empty.finish] == [False, False, True]
    assert early.ready
    assert early.listening


def test_a_rollback_takes_the_hook_back() -> None:
    life = Lifecycle().deselected(CLOSE, 100).selected()
    assert not decide(CLOSE, life, 0, 200).finish


def test_nothing_on_deselected_is_nothing() -> None:
    policy = Policy(on_deselected=OnDeselected.NOTHING)
    assert not decide(policy, Lifecycle().deselected(policy, 100), 0, 1000).finish


def test_a_drain_neither_finishes_nor_makes_unready() -> None:
    life = Lifecycle().drain(5, 100)
    decision = decide(CLOSE, life, 3, 101)
    assert (decision.ready, decision.listening, decision.finish, decision.ask) == (True, True, False, 6)


def test_a_drain_is_over_when_those_it_concerns_are_gone_and_at_rate_0() -> None:
    life = Lifecycle().drain(5, 100)
    assert life.asked(1, left=1).pace is not None
    assert life.asked(1, left=0).pace is None
    assert life.drain(0, 101).pace is None


def test_quit_finishes_now() -> None:
    decision = decide(HOLD, Lifecycle(quit=True), 5, 0)
    assert (decision.finish, decision.cause, decision.ready, decision.listening) == (
        True,
        "quit",
        False,
        False,
    )


@given(
    per_s=st.floats(0.01, 1000),
    looks_s=st.lists(st.floats(0, 100), min_size=1, max_size=50).map(sorted),
)
def test_a_pace_asks_its_rate_however_often_one_looks(per_s: float, looks_s: list[float]) -> None:
    pace = Pace(per_s, since_s=0)
    for now_s in looks_s:
        due = pace.due(now_s)
        pace = Pace(per_s, 0, pace.asked + due)
        assert pace.next_s > now_s - 1e-6
    assert abs(pace.asked - (looks_s[-1] * per_s + 1)) <= 1


@given(
    policy=st.builds(
        Policy,
        st.sampled_from(OnSigterm),
        st.sampled_from(OnDeselected),
        st.floats(0, 60),
        st.floats(0, 60),
        st.floats(0.1, 100),
    ),
    open_connections=st.integers(0, 3),
)
def test_after_sigterm_the_process_always_finishes_within_the_grace(
    policy: Policy, open_connections: int
) -> None:
    life, now_s = Lifecycle().sigterm(policy, 0), 0.0
    for _ in range(100_000):
        decision = decide(policy, life, open_connections, now_s)
        if decision.finish:
            break
        life = life.asked(decision.ask, open_connections)
        assert decision.look_again_s is not None
        assert decision.look_again_s > now_s
        now_s = decision.look_again_s
    assert decision.finish
    assert now_s <= max(0.0, policy.grace_s - EXIT_MARGIN_S)
