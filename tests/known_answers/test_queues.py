"""The login queue against queueing theory."""

from __future__ import annotations

import math
from random import Random

import pytest

from sim.pods import Fifo

pytestmark = pytest.mark.known_answer


def erlang_c(servers: int, offered: float) -> float:
    """The chance that a customer of M/M/c waits (Erlang, 1917), by the recursion of Erlang's B formula."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def test_the_formula_is_erlangs() -> None:
    """A tabulated value, the case of one server, and the sum that the recursion stands for."""
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    servers, offered = 5, 3.5
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    assert erlang_c(servers, offered) == pytest.approx(
        last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    )


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (2, 0.6), (4, 0.8), (8, 0.9)])
def test_workers_that_take_turns_make_logins_wait_as_in_an_m_m_c_queue(servers: int, load: float) -> None:
    """The share that waits is Erlang's C, its mean wait C·E[S]/(c − a), with logins of exponential work.

    Each login goes to the worker that is free first. Logins of equal work on one worker are the M/D/1 queue
    of whole simulated runs.
    """
    rng, work_s, offered = Random(f"{servers}/{load}"), 0.02, servers * load
    workers = [Fifo() for _ in range(servers)]
    now_s, waits = 0.0, []
    for _ in range(200_000):
        now_s += rng.expovariate(offered / work_s)
        own_s = rng.expovariate(1 / work_s)
        first = min(workers, key=lambda worker: worker.free_s)
        waits.append(first.serve(now_s, own_s) - own_s - now_s)
    chance = erlang_c(servers, offered)
    assert sum(wait > 1e-9 for wait in waits) / len(waits) == pytest.approx(chance, rel=0.03)
    assert math.fsum(waits) / len(waits) == pytest.approx(chance * work_s / (servers - offered), rel=0.06)
