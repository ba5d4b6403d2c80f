"""Which crowd simulates the users of a run, and why."""

from __future__ import annotations

import simpy

from loadgen.behaviour.arrivals import Fixed, Trace
from loadgen.behaviour.streams import Streams
from sim.crowd import Crowd
from sim.oracle import Oracle
from sim.setup import CrowdKind, Setup

FEW_USERS = 2_000
FEW_LIVES = 20_000
FEW_MESSAGES = 200_000
"""The oracle takes a tenth of a millisecond or more for a user's life, and for a message."""


def choose(setup: Setup) -> tuple[CrowdKind, str]:
    """The oracle or the fast crowd, with a sentence that says why.

    By itself it is the oracle for few users with few messages: it knows messages, and needs no compiled code.
    Else the fast crowd. How much is recorded does not matter: it changes nothing that happens.
    """
    if setup.oracle_only:
        return CrowdKind.ORACLE, f"crowd: oracle, which alone knows {setup.oracle_only[0]}"
    if setup.crowd is not CrowdKind.AUTO:
        return setup.crowd, f"crowd: {setup.crowd.value}, as asked"
    behaviour = setup.behaviour
    population, mean_s = behaviour.population, behaviour.session.mean_s
    if isinstance(population, Fixed):
        online: float = population.count
        lives = population.count * (1 + setup.duration_s / mean_s)
    elif isinstance(population, Trace):
        lives = len(population.times_s)
        online = lives * min(mean_s / setup.duration_s, 1.0)
    else:
        lives = population.per_s * setup.duration_s
        online = population.per_s * min(mean_s, setup.duration_s)
    messages = online * setup.duration_s * behaviour.messages_per_min / 60
    few = online <= FEW_USERS and lives <= FEW_LIVES and messages <= FEW_MESSAGES
    if few:
        return CrowdKind.ORACLE, f"crowd: oracle, for about {lives:,.0f} users' lives"
    unsaid = "; messages are not simulated" if behaviour.messages_per_min else ""
    return CrowdKind.FAST, f"crowd: fast, for about {lives:,.0f} users' lives{unsaid}"


def make(kind: CrowdKind, setup: Setup, env: simpy.Environment, streams: Streams) -> Crowd:
    """That crowd."""
    if kind is CrowdKind.ORACLE:
        throttled = setup.network.no_endpoints
        return Oracle(env, setup.behaviour, setup.server, setup.latencies, streams, throttled)
    from sim.fast.crowd import FastCrowd  # numba takes a second to import

    return FastCrowd(
        env, setup.behaviour, setup.server, setup.latencies, setup.seed, setup.duration_s, setup.level.value
    )
