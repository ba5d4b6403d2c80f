"""The same known answers from the fast crowd, at sizes at which chance hardly matters."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from deployer.draining import DrainSettings, Empty
from deployer.fleet import Limits
from deployer.strategies import make
from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.backoff import Immediate
from loadgen.behaviour.sessions import Exponential, Forever, Lognormal, Session, Weibull
from loadgen.behaviour.settings import Behaviour
from scenarios.run import simulated
from scenarios.spec import load
from sim.latencies import Latencies
from sim.setup import CrowdKind, FleetSetup, NetworkSetup, Nodes, PlannedDeploy, ServerSetup, Setup
from sim.world import simulate

pytestmark = pytest.mark.known_answer
CUT = pl.col("closed_by").is_in(["server", "pod_gone", "network"]) & pl.col("t_open_s").is_not_null()


def run(name: str, duration_s: float, **changes: object) -> pl.DataFrame:
    """Table `connections`."""
    given: dict[str, object] = {
        "seed": 7,
        "fleet": FleetSetup(startup=Lognormal(1.0, 0.1), nodes=Nodes(8, cpu=64)),
        "strategy": make(name, {}),
        "limits": Limits(4),
        "drain": DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0),
        "server": ServerSetup(backend_logins_per_s=0.0, login_cpu_s=0.0),
        "crowd": CrowdKind.FAST,
    }
    outcome = simulate(Setup(**{**given, "duration_s": duration_s, **changes}))  # type: ignore[arg-type]
    assert isinstance(outcome.connections, pl.DataFrame)
    return outcome.connections


@pytest.mark.parametrize("replicas", [2, 4, 16])
def test_rolling_one_pod_at_a_time_forces_reconnects_as_compound_interest(replicas):
    """(1 + 1/m)^m − 1 for each client; the k-th new pod ends with (1 + 1/m)^m − (1 + 1/m)^(k−1) of the mean."""
    users = 40_000
    rows = run(
        "rolling",
        10.0 + 4.0 * replicas,
        strategy=make("rolling", {"max_surge": 1, "max_unavailable": 0}),
        behaviour=Behaviour(Fixed(users), Forever(), Immediate(), ramp_per_s=10_000, messages_per_min=0),
        limits=Limits(replicas),
        deploys=(PlannedDeploy(1.0, "b2c3d4"),),
        server=ServerSetup(linger_s=0.0, backend_logins_per_s=0.0, login_cpu_s=0.0, backlog=100_000),
        network=NetworkSetup(0.0),
        latencies=Latencies(handshake_cpu_s=0.0),
    )
    growth = 1 + 1 / replicas
    assert rows.filter(CUT).height / users == pytest.approx(growth**replicas - 1, rel=0.01)
    held = rows.filter(pl.col("closed_by") == "run_end").group_by("pod").len()
    shares = np.sort(held["len"].to_numpy()) * replicas / users
    expected = np.sort([growth**replicas - growth ** (k - 1) for k in range(1, replicas + 1)])
    assert shares == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("session", [Exponential(600.0), Weibull(600.0, 4.0), Lognormal(200.0, 1.0)])
def test_after_a_switch_an_old_release_burns_down_by_the_residual_life(session: Session):
    users, at_s = 20_000, 30.0
    rows = run(
        "rainbow",
        900.0,
        behaviour=Behaviour(Fixed(users), session, ramp_per_s=2000, messages_per_min=0),
        deploys=(PlannedDeploy(at_s, "b2c3d4"),),
    )
    switched_s = rows.filter(pl.col("release") == "b2c3d4")["t_request_s"].min()
    old = rows.filter((pl.col("release") == "a1b2c3") & (pl.col("t_open_s") <= switched_s))
    closed_s = old["t_close_s"].fill_null(math.inf).to_numpy()
    there = int((closed_s > switched_s).sum())
    assert there == pytest.approx(users, rel=0.01)
    for after_s in (60.0, 200.0, 500.0, 800.0):
        expected = session.residual_survival(after_s)
        left = int((closed_s > switched_s + after_s).sum()) / there
        assert left == pytest.approx(expected, abs=4 * math.sqrt(expected / users) + 0.002)


def test_connections_obey_littles_law():
    rows = run("rainbow", 4000.0, behaviour=Behaviour(Poisson(30.0), Exponential(100.0), messages_per_min=0))
    warm_s, end_s = 600.0, 4000.0
    opened = rows.filter(pl.col("t_open_s").is_not_null())
    span = pl.min_horizontal(pl.col("t_close_s").fill_null(end_s), end_s) - pl.max_horizontal(
        "t_open_s", warm_s
    )
    mean_open = opened.select(span.clip(lower_bound=0.0).sum()).item() / (end_s - warm_s)
    assert mean_open == pytest.approx(30.0 * 100.0, rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("queue", ["backend", "cpu"])
def test_logins_wait_as_in_an_m_d_1_queue(queue: str, load: float):
    """Mean wait ρD/2(1 − ρ) before a service of D (Pollaczek–Khinchine).

    On the CPU it is the wait for the handshake: the login after it comes back to the same queue.
    """
    work_s = 0.02
    rows = run(
        "rainbow",
        6000.0,
        limits=Limits(1),
        latencies=Latencies(handshake_cpu_s=work_s if queue == "cpu" else 0.0),
        server=ServerSetup(login_cpu_s=0.0, backend_logins_per_s=1 / work_s if queue == "backend" else 0.0),
        behaviour=Behaviour(
            Poisson(load / work_s), Exponential(300.0), connect_timeout_s=60.0, messages_per_min=0
        ),
    )
    taken = (
        rows["t_ready_s"] - rows["t_open_s"] if queue == "backend" else rows["t_open_s"] - rows["t_request_s"]
    )
    waited_s = float(taken.mean()) - float(taken.min())  # type: ignore[arg-type]
    assert waited_s == pytest.approx(load * work_s / (2 * (1 - load)), rel=0.06)


def test_grace_longer_than_every_session_loses_nobody():
    rows = run(
        "graceful",
        300.0,
        strategy=make("graceful", {"grace": 400.0}),
        behaviour=Behaviour(Fixed(5000), Weibull(30.0, 4.0), ramp_per_s=1000, messages_per_min=0),
        deploys=(PlannedDeploy(5.0, "b2c3d4"), PlannedDeploy(80.0, "c3d4e5")),
    )
    assert rows.filter(CUT).is_empty()
    assert rows.height > 40_000


def online_at(t_s: float, *settings: str) -> float:
    """Share of the users of `metastable` who are logged in at a moment."""
    rows = simulated(load("metastable", settings), "rolling")[0]["connections"]
    there = (pl.col("t_ready_s") <= t_s) & (pl.col("t_close_s").fill_null(math.inf) > t_s)
    return rows.filter(there).height / 2400


def test_a_collapse_outlasts_its_cause():
    """The deploy is over after seconds; capacity would have everyone back 24 s later."""
    assert online_at(4.0) == 1.0
    assert online_at(115.0) < 0.4


@pytest.mark.parametrize(
    "setting",
    [
        "users.reconnect={exponential: {jitter: full, base: 1s, cap: 60s}}",
        "users.connect_timeout=30s",
        "server.backlog=64",
        "server.login_cpu=10ms",
        "fleet.replicas=4",
    ],
)
def test_one_setting_ends_the_collapse(setting):
    assert online_at(115.0, setting) > 0.98
