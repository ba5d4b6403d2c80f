"""What rolling updates do beyond one pod at a time from even loads: batches, and deploys that start uneven."""

from __future__ import annotations

import statistics

import polars as pl
import pytest

from deployer.clusters.local.config import Startup
from deployer.draining import DrainSettings
from deployer.fleet import Limits
from deployer.strategies import make
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Immediate
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from sim.latencies import Latencies
from sim.outcome import Outcome
from sim.setup import CrowdKind, FleetSetup, NetworkSetup, Nodes, PlannedDeploy, ServerSetup, Setup
from sim.world import simulate

pytestmark = pytest.mark.known_answer
CUT = pl.col("closed_by").is_in(["server", "pod_gone", "network"]) & pl.col("t_open_s").is_not_null()
USERS = 20_000


def rolled(replicas: int, max_surge: int, deploys: dict[float, str], **changes: object) -> Outcome:
    """New before old; everyone stays, and is back before the next pod goes."""
    given: dict[str, object] = {
        "seed": 7,
        "duration_s": 40.0,
        "fleet": FleetSetup(Startup(1.0, 0.3), nodes=Nodes(8, cpu=64)),
        "behaviour": Behaviour(Fixed(USERS), Forever(), Immediate(), ramp_per_s=10_000, messages_per_min=0),
        "strategy": make("rolling", {"max_surge": max_surge, "max_unavailable": 0}),
        "limits": Limits(replicas),
        "drain": DrainSettings(),
        "server": ServerSetup(linger_s=0.0, backend_logins_per_s=0.0, login_cpu_s=0.0, backlog=100_000),
        "network": NetworkSetup(0.0),
        "latencies": Latencies(handshake_cpu_s=0.0),
        "deploys": tuple(PlannedDeploy(at_s, release) for at_s, release in deploys.items()),
        "crowd": CrowdKind.FAST,
    }
    return simulate(Setup(**{**given, **changes}))  # type: ignore[arg-type]


def forced(outcome: Outcome, since_s: float = 0.0) -> float:
    """Forced reconnects for each client since then."""
    rows = outcome.connections
    assert isinstance(rows, pl.DataFrame)
    return rows.filter(CUT & (pl.col("t_close_s") >= since_s)).height / USERS


@pytest.mark.parametrize(("replicas", "at_a_time"), [(8, 2), (12, 3), (16, 4), (16, 1), (9, 3)])
def test_with_several_pods_at_a_time_it_is_the_batches_that_count(replicas: int, at_a_time: int) -> None:
    """(1 + 1/m)^m − 1 for m batches, where the pods of a batch get ready together."""
    batches = replicas // at_a_time
    together = FleetSetup(Startup(1.0, 0.0), probe_period_s=0.001, nodes=Nodes(8, cpu=64))
    outcome = rolled(replicas, at_a_time, {1.0: "b2c3d4"}, fleet=together)
    assert forced(outcome) == pytest.approx((1 + 1 / batches) ** batches - 1, rel=0.01)


def test_a_deploy_that_starts_uneven_moves_who_sits_where_the_last_one_left_them() -> None:
    """At m = 4 about 1.38, for the youngest pods go first, and these are the emptiest.

    Exactly: of the j-th pod to go, its load xⱼ moves, and a quarter of all that moved before it. Kubernetes
    takes the younger first only where their ages differ by a power of two, so that it is not always 1.31.
    """
    growth, found = 1 + 1 / 4, []
    for seed in range(12):
        outcome = rolled(4, 1, {6.0: "b2c3d4", 24.0: "c3d4e5"}, seed=seed, duration_s=42.0)
        pods = sorted((p for p in outcome.pods if p.release == "b2c3d4"), key=lambda p: p.t_ready_s or 0.0)
        load = {p.pod: growth**4 - growth**k for k, p in enumerate(pods)}
        leaving = sorted(pods, key=lambda p: p.t_terminating_s or 0.0)
        expected = sum(load[p.pod] * growth ** (3 - j) for j, p in enumerate(leaving)) / 4
        assert forced(outcome, 24.0) == pytest.approx(expected, abs=0.03)
        found.append(forced(outcome, 24.0))
    assert statistics.mean(found) == pytest.approx(1.38, rel=0.03)
