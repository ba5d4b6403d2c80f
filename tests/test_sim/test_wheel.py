"""The wheel of users' timers."""

import math

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from sim.fast.queues import packed, pop, serial_of, top_s
from sim.fast.rooms import first_store
from sim.fast.store import at, timers
from sim.fast.wheel import later, timer_s, turn
from sim.latencies import Latencies
from sim.setup import ServerSetup

MOST = 400
delays = st.lists(
    st.sampled_from([0.0, 1e-3, 0.3, 63.99, 64.0]) | st.floats(0.0, 400.0), min_size=1, max_size=MOST
)


@numba.njit
def _come(address, first_s, again_s):
    """What comes when, each a second time after its own delay."""
    w, n = at(address), len(first_s)
    times, numbers = np.empty(2 * n), np.empty(2 * n, np.int64)
    for i in range(n):
        later(w, first_s[i], packed(0, 0, i))
    come = 0
    while timer_s(w) < math.inf:
        now_s = timer_s(w)
        if top_s(timers(w)) > now_s:
            turn(w)
            continue
        number = serial_of(pop(timers(w)))
        times[come], numbers[come] = now_s, number
        come += 1
        if number < n:
            later(w, now_s + again_s[number], packed(0, 0, number + n))
    return times[:come], numbers[:come]


@settings(max_examples=100, deadline=None)
@given(delays, st.randoms(use_true_random=False))
def test_timers_come_at_their_times_and_of_one_time_in_the_order_of_setting(first, chance):
    again = [chance.choice(first) for _ in first]
    users = Behaviour(Fixed(1), Forever())
    store = first_store(users, ServerSetup(), Latencies(), 7, 1, "series")
    times, numbers = _come(store.address, np.array(first), np.array(again))
    due = dict(enumerate(first))
    due |= {i + len(first): first[i] + again[i] for i in range(len(first))}
    assert sorted(numbers) == sorted(due)
    assert times.tolist() == sorted(due.values())
    assert [due[number] for number in numbers] == times.tolist()
    at_first = [number for number in numbers if number < len(first)]
    assert at_first == sorted(range(len(first)), key=first.__getitem__)
