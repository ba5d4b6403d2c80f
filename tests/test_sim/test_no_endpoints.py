"""What new connections meet where no pod is: refused one and all, or throttled as Linux does it."""

from __future__ import annotations

from random import Random

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from deployer.clusters.controlplane.endpoints import Endpoints
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Failure
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.backoff import Fixed as Every
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams
from sim import choice
from sim.latencies import Latencies
from sim.network import NOWHERE, Answer, Door, Refusals, ServiceProxy
from sim.oracle import Oracle
from sim.setup import CrowdKind, NetworkSetup, PlannedDeploy, ServerSetup, SetupError, Throttled
from sim.world import simulate

THROTTLED = NetworkSetup(no_endpoints=Throttled())
ONE_WAY_S = Latencies().one_way_s


def test_six_are_refused_at_once_and_then_one_a_second():
    refusals = Refusals(Throttled())
    assert [refusals.take(10.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert [refusals.take(at_s) for at_s in (10.9, 11.0, 11.9, 12.0)] == [False, True, False, True]


def test_a_pause_saves_up_no_more_than_the_burst():
    refusals = Refusals(Throttled(per_s=2.0, burst=3.0))
    assert sum(refusals.take(0.0) for _ in range(9)) == 3
    assert sum(refusals.take(1000.0) for _ in range(9)) == 3


@given(st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60), st.floats(0.1, 10.0), st.integers(1, 9))
def test_no_more_are_refused_than_the_burst_and_the_rate_allow(gaps_s, per_s, burst):
    refusals, now_s, refused = Refusals(Throttled(per_s, burst)), 0.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        refused += refusals.take(now_s)
    assert refused <= burst + now_s * per_s + 1e-6


def test_an_address_that_is_gone_leads_nowhere_for_as_long_as_it_is_in_the_table():
    env, log = simpy.Environment(), []
    proxy = ServiceProxy(env, 0.0, 0.0, log.append)
    proxy.changed(Endpoints(ready=("a", "b")))
    proxy.address_gone("a")
    proxy.changed(Endpoints(ready=("b",)))
    proxy.address_gone("c")
    assert log == [("a", "b"), (NOWHERE, "b"), ("b",)]
    door = Door(Random(1), None)
    door.backends = (NOWHERE,)
    assert door.knock(0.0) is Answer.LOST


def crowd_without_pods(users, timeout_s=10.0, throttled=THROTTLED.no_endpoints):
    """Users who all want in at 0 s where no pod is, and again a minute after each failure."""
    env = simpy.Environment()
    behaviour = Behaviour(
        Fixed(users), Forever(), Every(60.0), ramp_per_s=1e9, connect_timeout_s=timeout_s, messages_per_min=0
    )
    oracle = Oracle(env, behaviour, ServerSetup(), Latencies(), Streams(1), throttled)
    oracle.start()
    return env, oracle


def ends(oracle):
    """When and how each attempt ended that has."""
    rows = [row for row in oracle.end().connections if row.failure is not None]
    return [
        (round(row.t_close_s - ONE_WAY_S, 2), row.failure) for row in sorted(rows, key=lambda r: r.t_close_s)
    ]


def test_who_is_not_refused_hangs_and_is_refused_at_a_retransmission_or_times_out():
    env, oracle = crowd_without_pods(20)
    env.run(until=20.0)
    refused = [at_s for at_s, failure in ends(oracle) if failure is Failure.REFUSED]
    assert refused == [0.0] * 6 + [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 7.0]
    timed_out = [at_s for at_s, failure in ends(oracle) if failure is Failure.CONNECT_TIMEOUT]
    assert timed_out == [10.0] * 7


def test_a_retransmission_that_meets_an_endpoint_connects():
    env, oracle = crowd_without_pods(9)
    env.run(until=1.5)
    oracle.listen("a", "b2c3d4", lambda: None)
    oracle.route(("a",))
    env.run(until=1.9)
    assert oracle.count("a").open == 0
    env.run(until=2.1)
    assert oracle.count("a").open == 2


def test_who_was_sent_to_an_address_that_is_gone_times_out_though_pods_are_there_again():
    env, oracle = crowd_without_pods(3)
    oracle.route((NOWHERE,))
    env.run(until=0.5)
    oracle.listen("a", "b2c3d4", lambda: None)
    oracle.route(("a",))
    env.run(until=11.0)
    assert ends(oracle) == [(10.0, Failure.CONNECT_TIMEOUT)] * 3


def test_nobody_hangs_where_the_service_refuses():
    env, oracle = crowd_without_pods(20, throttled=None)
    env.run(until=1.0)
    assert ends(oracle) == [(0.0, Failure.REFUSED)] * 20


def recreated(setup_of, **changes):
    behaviour = Behaviour(Fixed(150), Forever(), Backoff(), messages_per_min=0)
    given = {"duration_s": 40.0, "behaviour": behaviour, "deploys": (PlannedDeploy(5.0, "b2c3d4"),)}
    return simulate(setup_of("recreate", **{**given, **changes}))


def test_recreate_brings_users_back_later_and_in_a_lower_peak_where_refusals_are_throttled(setup_of):
    refused, throttled = recreated(setup_of), recreated(setup_of, network=THROTTLED)

    def tries(outcome):
        return [row for row in outcome.connections if row.t_request_s > 5.0]

    def back_s(outcome):
        return sorted(row.t_ready_s for row in tries(outcome) if row.t_ready_s is not None)

    def peak(outcome):
        seconds = [int(row.t_request_s) for row in tries(outcome)]
        return max(sum(first <= second < first + 10 for second in seconds) for first in range(40))

    assert len(back_s(refused)) == len(back_s(throttled)) == 150
    assert back_s(throttled)[75] > back_s(refused)[75] + 2.0
    assert peak(throttled) < 0.8 * peak(refused)


def test_only_the_oracle_is_asked_where_refusals_are_throttled(setup_of):
    kind, note = choice.choose(setup_of(network=THROTTLED))
    assert kind is CrowdKind.ORACLE
    assert "network.no_endpoints: throttled" in note


def test_the_fast_crowd_is_refused_where_it_is_asked_for_with_throttled_refusals(setup_of):
    with pytest.raises(SetupError) as refused:
        setup_of(network=THROTTLED, crowd=CrowdKind.FAST)
    assert str(refused.value) == (
        "crowd: fast does not know network.no_endpoints: throttled; "
        "set crowd: auto or oracle, or network.no_endpoints: refuse"
    )


def test_a_burst_below_one_refusal_is_refused(setup_of):
    with pytest.raises(SetupError, match=r"no_endpoints.burst=0.5 must be at least 1"):
        setup_of(network=NetworkSetup(no_endpoints=Throttled(burst=0.5)))
