"""When a client's TCP knocks again at a full backlog: as the kernel's documentation says, and as this kernel does."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Fixed as Every
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams
from sim.clock import EPOCH_S
from sim.fast.crowd import FastCrowd
from sim.latencies import Latencies, syn_again_s
from sim.oracle import Oracle
from sim.setup import ServerSetup

LINEAR = Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")
RETRANSMITS = 2
"""Where struct tcp_info has how many of the present SYN there were, a byte."""


def sent_again_s(count, first_s=1.0, **kernel):
    """When the first so many SYNs after the first one are sent, since that."""
    times = [0.0]
    while len(times) <= count:
        times.append(times[-1] + syn_again_s(times[-1], first_s, **kernel))
    return times[1:]


@pytest.mark.parametrize(
    ("kernel", "gaps_s"),
    [({}, [1, 1, 1, 1, 1, 2, 4, 8]), ({"linear": 0}, [1, 2, 4, 8, 16]), ({"linear": 1}, [1, 1, 2, 4])],
)
def test_gaps_are_equal_at_first_and_then_double(kernel, gaps_s):
    assert sent_again_s(len(gaps_s), **kernel) == list(itertools.accumulate(gaps_s))


def test_the_last_of_ten_comes_when_the_kernel_s_documentation_says():
    """ip-sysctl, tcp_syn_retries: 6 of them and 4 linear ones end at 67 s, and the attempt at 131 s."""
    last_s = sent_again_s(10)[-1]
    assert (last_s, last_s + syn_again_s(last_s, 1.0)) == (67.0, 131.0)


@given(st.floats(0.01, 10.0), st.integers(0, 6))
def test_no_gap_is_shorter_than_the_one_before(first_s, linear):
    times = [0.0, *sent_again_s(12, first_s, linear=linear)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(gaps))
    assert gaps[0] == pytest.approx(first_s)


BEHAVIOUR = Behaviour(
    Fixed(2), Forever(), Every(1.0), ramp_per_s=1e9, connect_timeout_s=90.0, messages_per_min=0
)
ONE_WAITS = ServerSetup(backlog=1, handshake_timeout_s=90.0)


def oracle(env):
    return Oracle(env, BEHAVIOUR, ONE_WAITS, Latencies(), Streams(1))


def fast(env):
    return FastCrowd(env, BEHAVIOUR, ONE_WAITS, Latencies(), 1, 100.0)


@pytest.mark.parametrize("crowd_of", [oracle, fast])
@pytest.mark.parametrize(("full_until_s", "second_s"), [(0.5, 1), (1.5, 2), (4.5, 5), (5.5, 7), (20, 35)])
def test_the_second_of_two_users_gets_in_at_the_next_syn_after_the_backlog_was_full(
    crowd_of, full_until_s, second_s
):
    """The pod stands still until then: the first user waits in a backlog of one, the second's SYNs are lost."""
    env = simpy.Environment(initial_time=EPOCH_S)
    crowd = crowd_of(env)
    crowd.listen("a", "b2c3d4", lambda: None)
    crowd.route(("a",))
    crowd.freeze("a", EPOCH_S + full_until_s)
    crowd.start()
    found = []
    for at_s in (full_until_s + 0.01, second_s - 0.01, second_s + 0.01):
        env.run(until=EPOCH_S + at_s)
        found.append(crowd.count("a").open)
    assert found == [1, 1, 2]


@pytest.mark.skipif(not LINEAR.parent.is_dir(), reason="not Linux")
def test_this_kernel_drops_syns_at_a_full_backlog_and_sends_them_again_so():
    """The third comes 3 s after the first since Linux 6.5, and 7 s before it."""
    expected_s = sent_again_s(3, linear=int(LINEAR.read_text()) if LINEAR.exists() else 0)[-1]
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as one_more:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=1.0):  # Linux lets one more wait than the backlog says
            one_more.setblocking(False)
            begin_s = time.monotonic()
            one_more.connect_ex(address)
            while one_more.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[RETRANSMITS] < 3:
                assert time.monotonic() - begin_s < expected_s + 2.0
                time.sleep(0.02)
            assert time.monotonic() - begin_s > expected_s - 0.1
