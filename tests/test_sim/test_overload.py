"""Backlog and timeouts under a storm."""

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Failure
from loadgen.behaviour.backoff import Immediate
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from sim.setup import PlannedDeploy, ServerSetup
from sim.world import simulate


def stormed(setup_of, **server):
    """All 300 users come back at once to pods that need 50 ms a login."""
    return simulate(
        setup_of(
            "recreate",
            duration_s=60.0,
            behaviour=Behaviour(
                Fixed(300), Forever(), Immediate(), ramp_per_s=20.0, connect_timeout_s=3.0, messages_per_min=0
            ),
            deploys=(PlannedDeploy(5.0, "b2c3d4"),),
            server=ServerSetup(login_cpu_s=0.05, **server),
        )
    )


def failures(outcome, failure):
    return sum(row.failure is failure for row in outcome.connections)


def test_a_full_backlog_lets_syns_wait_for_their_retry(setup_of):
    """1 and 2 s after the first SYN; what comes after 3 s is too late for a timeout of 3 s."""
    outcome = stormed(setup_of, backlog=2)
    assert failures(outcome, Failure.CONNECT_TIMEOUT) > 0
    timed_out = [r for r in outcome.connections if r.failure is Failure.CONNECT_TIMEOUT]
    assert all(abs(row.t_close_s - row.t_request_s - 3.0) < 1e-3 for row in timed_out)


def test_a_wide_backlog_turns_connect_timeouts_into_login_timeouts(setup_of):
    outcome = stormed(setup_of, backlog=1000)
    assert failures(outcome, Failure.CONNECT_TIMEOUT) == 0
    assert failures(outcome, Failure.LOGIN) + failures(outcome, Failure.HANDSHAKE) > 0
