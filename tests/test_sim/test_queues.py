"""The queues that logins stand in."""

import simpy
from hypothesis import given
from hypothesis import strategies as st

from sim.pods import Fifo, Limiter

gaps = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30)


@given(gaps, st.floats(0.0, 3.0))
def test_a_worker_serves_in_order_and_never_rests_while_one_waits(gaps_s, work_s):
    """Against the same queue as a SimPy resource."""
    env, arrivals_s = simpy.Environment(), []
    worker, expected_s = simpy.Resource(env), []

    def customer(arrival_s):
        yield env.timeout(arrival_s)
        with worker.request() as turn:
            yield turn
            yield env.timeout(work_s)
            expected_s.append(env.now)

    now_s = 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        arrivals_s.append(now_s)
        env.process(customer(now_s))
    env.run()
    fifo = Fifo()
    found_s = [fifo.serve(arrival_s, work_s) for arrival_s in arrivals_s]
    assert all(abs(a - b) < 1e-9 for a, b in zip(found_s, expected_s, strict=True))


def served(per_s, arrivals_s, leaving=()):
    """Who is served when; those in `leaving` leave the queue at 0.5 s."""
    env, log = simpy.Environment(), []
    limiter = Limiter(
        env, per_s, lambda n: not (n in leaving and env.now > 0.5), lambda n: log.append((n, env.now))
    )

    def comes():
        for number, at_s in enumerate(arrivals_s):
            yield env.timeout(at_s - env.now)
            limiter.enter(number)

    env.process(comes())
    env.run()
    return log


def test_the_limiter_spaces_turns_and_saves_none_up():
    assert served(1.0, [0, 0, 0, 10, 10]) == [(0, 0), (1, 1), (2, 2), (3, 10), (4, 11)]


def test_who_has_left_the_limiters_queue_takes_no_turn():
    assert served(1.0, [0, 0, 0, 0], leaving={1, 2}) == [(0, 0), (3, 1)]


def test_a_limit_of_zero_is_none():
    assert served(0, [1, 1, 1]) == [(0, 1), (1, 1), (2, 1)]
