"""Who waits in a backlog when its listener closes is reset, and is nobody's connection afterwards."""

from __future__ import annotations

import pytest
import simpy

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Fixed as Every
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams
from sim.clock import EPOCH_S
from sim.fast.crowd import FastCrowd
from sim.latencies import Latencies
from sim.oracle import Oracle
from sim.setup import ServerSetup

USERS = 6
LATENCIES = Latencies(handshake_cpu_s=0.0004)
"""SYNs come after 1 ms; the first is accepted after 1.4 ms, the last after 3.4 ms."""
BEHAVIOUR = Behaviour(Fixed(USERS), Forever(), Every(60.0), ramp_per_s=1e9, messages_per_min=0)


def oracle(env):
    return Oracle(env, BEHAVIOUR, ServerSetup(), LATENCIES, Streams(1))


def fast(env):
    return FastCrowd(env, BEHAVIOUR, ServerSetup(), LATENCIES, 1, 100.0)


def closed_after(closes_s, crowd_of):
    """A listener that all users come to at once closes so soon; connections on the pod afterwards."""
    env = simpy.Environment(initial_time=EPOCH_S)
    crowd = crowd_of(env)
    crowd.listen("a", "b2c3d4", lambda: None)
    crowd.route(("a",))
    crowd.start()
    env.run(until=EPOCH_S + closes_s)
    crowd.stop_listening("a")
    env.run(until=EPOCH_S + 1.0)
    return crowd.count("a").open


@pytest.mark.parametrize("crowd_of", [oracle, fast])
@pytest.mark.parametrize(("closes_s", "accepted"), [(0.0012, 0), (0.0016, 1), (0.0024, 3), (0.0036, 6)])
def test_only_who_was_accepted_by_then_is_counted(crowd_of, closes_s, accepted):
    assert closed_after(closes_s, crowd_of) == accepted
