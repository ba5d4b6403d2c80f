"""The one clock of a run."""

import simpy
from hypothesis import given
from hypothesis import strategies as st

from sim.clock import EPOCH_S, Call, until


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_a_moment_is_reached_and_not_just_missed(start_s, ahead_s):
    env = simpy.Environment(initial_time=EPOCH_S + start_s)
    at_s = env.now + ahead_s
    seen = []
    Call(env, until(env, at_s), lambda: seen.append(env.now))
    env.run()
    assert at_s <= seen[0] <= at_s + 1e-6


def test_calls_of_one_moment_come_in_the_order_of_their_making():
    env, log = simpy.Environment(), []
    for name in "abc":
        Call(env, 1.0, lambda name=name: log.append(name))
    Call(env, 0.5, lambda: log.append("first"))
    env.run()
    assert log == ["first", "a", "b", "c"]


def test_a_cancelled_call_never_comes():
    env, log = simpy.Environment(), []
    call = Call(env, 1.0, lambda: log.append("late"))
    call.cancel()
    env.run()
    assert log == []
