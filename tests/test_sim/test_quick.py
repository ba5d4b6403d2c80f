"""The scenario `quick` under every strategy."""

import functools
from collections import defaultdict
from itertools import pairwise

import pytest

from deployer.fleet import Outcome
from deployer.strategies import STRATEGIES
from loadgen.behaviour.attempts import ClosedBy
from sim.world import simulate


@pytest.fixture(scope="module")
def played(setup_of):
    """The run of `quick` under a strategy, simulated once for all tests that only look at it."""
    return functools.cache(lambda strategy: simulate(setup_of(strategy)))


def test_rainbow_cuts_nobody_and_lets_every_old_release_go(played):
    outcome = played("rainbow")
    assert not any(row.forced for row in outcome.connections)
    deploys = outcome.deploys[1:]
    assert [d.outcome for d in deploys] == [Outcome.DONE] * 3
    assert all(d.t_selected_s < d.t_drained_s < d.t_deleted_s for d in deploys)
    first, second = deploys[0], deploys[1]
    assert second.t_selected_s < first.t_drained_s, "two releases drain at once"


def test_bluegreen_is_blocked_while_the_other_slot_drains(played):
    outcome = played("bluegreen")
    assert not any(row.forced for row in outcome.connections)
    assert Outcome.BLOCKED in [d.outcome for d in outcome.deploys]


def test_colors_keeps_all_slots_at_full_size(setup_of):
    outcome = simulate(setup_of("colors", {"count": 4}))
    assert sum(pod.t_created_s < 0 for pod in outcome.pods) == 4 * 4
    assert [d.outcome for d in outcome.deploys] == [Outcome.DONE] * 4


def test_graceful_holds_until_the_last_session_has_ended(setup_of):
    """Lossless, for the grace exceeds the longest session."""
    outcome = simulate(setup_of("graceful", {"grace": 3600.0}))
    assert not any(row.forced for row in outcome.connections)
    ends = [pod.t_gone_s - pod.t_terminating_s for pod in outcome.pods if pod.t_gone_s is not None]
    assert len(ends) == 12
    assert max(ends) > 20.0


def test_a_grace_that_someone_cuts_loses_connections_without_a_word(setup_of):
    outcome = simulate(setup_of("graceful", {"grace": 3600.0, "grace_cut": 5.0}))
    lost = [row for row in outcome.connections if row.forced]
    assert {row.closed_by for row in lost} == {ClosedBy.POD_GONE}
    assert all(pod.t_gone_s - pod.t_terminating_s < 6.0 for pod in outcome.pods if pod.t_gone_s is not None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_attempt_is_well_formed_and_no_user_has_two_connections(played, strategy):
    outcome = played(strategy)
    by_user = defaultdict(list)
    for row in outcome.connections:
        times = [t for t in (row.t_request_s, row.t_open_s, row.t_ready_s, row.t_close_s) if t is not None]
        assert times == sorted(times)
        assert (row.t_ready_s is None) or (row.t_open_s is not None)
        assert (row.t_close_s is None) == (row.closed_by is ClosedBy.RUN_END)
        assert (row.pod is None) == (row.release is None) == (row.t_open_s is None)
        assert 0 <= row.messages_lost <= row.messages_sent
        by_user[row.user].append(row)
    for rows in by_user.values():
        assert [row.attempt for row in rows] == list(range(1, len(rows) + 1))
        assert all(a.t_close_s is not None and a.t_close_s <= b.t_request_s for a, b in pairwise(rows))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_connections_lie_within_the_life_of_their_pod(played, strategy):
    outcome = played(strategy)
    pods = {pod.pod: pod for pod in outcome.pods}
    assert len(pods) == len(outcome.pods)
    for row in outcome.connections:
        if row.pod is not None:
            pod = pods[row.pod]
            assert pod.release == row.release
            assert pod.t_ready_s <= row.t_open_s
            if pod.t_gone_s is not None:
                assert row.t_close_s is not None
                assert row.t_close_s <= pod.t_gone_s
    for pod in outcome.pods:
        moments = (pod.t_created_s, pod.t_scheduled_s, pod.t_ready_s, pod.t_terminating_s, pod.t_gone_s)
        known = [t for t in moments if t is not None]
        assert known == sorted(known)
        assert (pod.why is None) == (pod.t_terminating_s is None)


def test_the_population_is_online_at_time_zero_and_constant(played):
    outcome = played("rainbow")
    assert all(
        sum(s.open_connections for s in outcome.samples if s.t_s == t) == pytest.approx(300, abs=5)
        for t in range(95)
    )
    ramp = [row for row in outcome.connections if row.t_request_s < 0]
    assert len(ramp) == 300
    assert all(row.t_ready_s <= 0 for row in ramp)
    assert all(row.t_close_s is None or row.t_close_s > 0 for row in ramp)


def test_samples_are_what_the_connections_say(played):
    outcome = played("rolling")
    for t in (5, 30, 60):
        for sample in (s for s in outcome.samples if s.t_s == t):
            held = [
                row
                for row in outcome.connections
                if row.pod == sample.pod
                and row.t_open_s <= t
                and (row.t_close_s is None or t < row.t_close_s)
            ]
            assert sample.open_connections == pytest.approx(len(held), abs=2)
