"""Closed forms that every build of the model must reproduce."""

import statistics

import pytest

from deployer.fleet import Limits
from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.attempts import ClosedBy
from loadgen.behaviour.backoff import Immediate
from loadgen.behaviour.sessions import Exponential, Forever, Lognormal
from loadgen.behaviour.settings import Behaviour
from sim.latencies import Latencies
from sim.outcome import Outcome
from sim.setup import FleetSetup, NetworkSetup, Nodes, PlannedDeploy, ServerSetup
from sim.world import simulate

pytestmark = pytest.mark.known_answer


def rolled_once(setup_of, seed, replicas, users, linger_s=0.0, sync_period_s=0.0, startup_s=1.0) -> Outcome:
    """One deploy, one pod at a time, new before old; everyone stays, and comes back at once."""
    return simulate(
        setup_of(
            "rolling",
            {"max_surge": 1, "max_unavailable": 0},
            seed=seed,
            duration_s=10.0 + 3.0 * replicas,
            fleet=FleetSetup(startup=Lognormal(startup_s, 0.1), nodes=Nodes(3, cpu=64)),
            behaviour=Behaviour(Fixed(users), Forever(), Immediate(), ramp_per_s=400, messages_per_min=0),
            limits=Limits(replicas),
            deploys=(PlannedDeploy(1.0, "b2c3d4"),),
            server=ServerSetup(linger_s=linger_s),
            network=NetworkSetup(sync_period_s),
        )
    )


def forced(outcome):
    return sum(row.forced for row in outcome.connections)


def test_rolling_forces_each_client_to_reconnect_as_often_as_the_batches_say(setup_of):
    """(1 + 1/m)^m − 1 for m batches of new before old: 1.4414 for 4."""
    replicas, users = 4, 200
    per_client = [forced(rolled_once(setup_of, seed, replicas, users)) / users for seed in range(30)]
    assert statistics.mean(per_client) == pytest.approx(1.4414, rel=0.015)


def test_rolling_sixteen_pods_loads_the_first_new_one_most_and_the_last_one_hardly(setup_of):
    """The k-th of m new pods ends with (1 + 1/m)^m − (1 + 1/m)^(k−1) times the mean load."""
    replicas, users = 16, 800
    ends, per_client = [], []
    for seed in range(8):
        outcome = rolled_once(setup_of, seed, replicas, users)
        per_client.append(forced(outcome) / users)
        new = sorted((p for p in outcome.pods if p.release == "b2c3d4"), key=lambda p: p.t_ready_s)
        held = [row.pod for row in outcome.connections if row.closed_by is ClosedBy.RUN_END]
        ends.append([held.count(pod.pod) * replicas / users for pod in (new[0], new[-1])])
    first, last = (statistics.mean(column) for column in zip(*ends, strict=True))
    assert statistics.mean(per_client) == pytest.approx(1.638, rel=0.03)
    assert first == pytest.approx(1.638, rel=0.1)
    assert last == pytest.approx(0.155, abs=0.06)


def test_terminations_that_overlap_spare_clients_a_second_move(setup_of):
    """Where linger outlasts a pod's start, the displaced avoid the pods that go next."""
    per_client = [forced(rolled_once(setup_of, seed, 4, 200, linger_s=2.0)) / 200 for seed in range(5)]
    assert 1.1 < statistics.mean(per_client) < 1.3


def test_routing_that_lags_piles_clients_onto_old_pods(setup_of):
    per_client = [forced(rolled_once(setup_of, seed, 4, 200, sync_period_s=1.0)) / 200 for seed in range(5)]
    assert statistics.mean(per_client) > 1.5


def test_recreate_moves_each_client_once_a_deploy(setup_of):
    outcome = simulate(
        setup_of("recreate", behaviour=Behaviour(Fixed(100), Forever(), Immediate(), messages_per_min=0))
    )
    assert forced(outcome) == 3 * 100


def test_connections_obey_littles_law(setup_of):
    """Mean open connections = rate of logins × mean time connected."""
    per_s, mean_s, duration_s, warm_s = 20.0, 10.0, 260.0, 60.0
    outcome = simulate(
        setup_of(
            duration_s=duration_s,
            deploys=(),
            behaviour=Behaviour(Poisson(per_s), Exponential(mean_s), messages_per_min=0),
        )
    )
    within = [row for row in outcome.connections if row.t_open_s is not None]
    spans = [(max(r.t_open_s, warm_s), duration_s if r.t_close_s is None else r.t_close_s) for r in within]
    mean_open = sum(max(end - start, 0.0) for start, end in spans) / (duration_s - warm_s)
    assert mean_open == pytest.approx(per_s * mean_s, rel=0.08)
    sampled = [sum(s.open_connections for s in outcome.samples if s.t_s == t) for t in range(60, 260)]
    assert statistics.mean(sampled) == pytest.approx(mean_open, rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_logins_wait_for_the_backend_as_in_an_m_d_1_queue(setup_of, load):
    """Mean wait ρD/2(1 − ρ) before a service of D (Pollaczek–Khinchine)."""
    work_s = 0.02
    outcome = simulate(
        setup_of(
            duration_s=150.0,
            deploys=(),
            limits=Limits(1),
            server=ServerSetup(login_cpu_s=0.0, backend_logins_per_s=1 / work_s),
            latencies=Latencies(handshake_cpu_s=0.0),
            behaviour=Behaviour(Poisson(load / work_s), Exponential(1.0), messages_per_min=0),
        )
    )
    taken = [row.t_ready_s - row.t_open_s for row in outcome.connections if row.t_ready_s is not None]
    waited_s = statistics.mean(taken) - min(taken)
    assert waited_s == pytest.approx(load * work_s / (2 * (1 - load)), rel=0.15)
