"""The numbers that are known beforehand, from the spec through the simulation to the summary."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from loadgen.behaviour.sessions import Weibull
from scenarios.metrics import summarise
from scenarios.notes import mean_pods, notes_of
from scenarios.record import Record, record_of
from scenarios.replicate import spread_of
from scenarios.run import simulated
from scenarios.spec import Spec, spec_of

pytestmark = pytest.mark.known_answer
HOUR_S = 3600.0
SEEDS = range(30)


def spec(duration: str, deploys: object, **changes: object) -> Spec:
    """Sixteen pods of 2 GB and one CPU; few users, for pods are what is asked about."""
    given: dict[str, object] = {
        "name": "known",
        "duration": duration,
        "fleet": {"replicas": 16, "nodes": {"count": 10, "cpu": 16, "memory": "64Gi"}},
        "users": {"count": 4, "session": "forever", "messages_per_min": 0},
        "deploys": deploys,
        "drain": {"policy": {"after": "48h"}},
    }
    return spec_of({**given, **changes})


def record_from(scenario: Spec, strategy: str) -> Record:
    run = {"spec": scenario.data(), "strategy": strategy, "world": "sim", "seed": scenario.seed}
    return record_of(run, simulated(scenario, strategy)[0])


def summary_of(scenario: Spec, strategy: str) -> Mapping[str, Any]:
    return summarise(record_from(scenario, strategy))


def outcomes(scenario: Spec, strategy: str) -> list[str]:
    deploys = record_from(scenario, strategy).deploys.filter(pl.col("kind") == "deploy")
    return deploys["outcome"].to_list()


@pytest.mark.parametrize(
    ("duration", "deploys"),
    [("2h", []), ("2h", [{"at": "1h"}]), ("7d", {"every": "6h", "count": 27})],
    ids=["none", "one", "four a day"],
)
def test_eight_colours_of_sixteen_are_128_pods_256_gib_and_128_cpus_whatever_the_deploy_rate(
    duration, deploys
):
    scenario = spec(duration, deploys)
    summary = summary_of(scenario, "colors")
    assert summary["peak_pods"] == 128
    # a slot that is taken is empty for the seconds in which its pods are replaced
    assert mean_pods(scenario, summary) == pytest.approx(128, rel=1e-3)
    assert summary["peak_pods"] * scenario.fleet.pod.memory == 256 * 2**30
    assert summary["peak_pods"] * scenario.fleet.pod.cpu == 128


@pytest.mark.parametrize(("every", "blocked"), [("24h1m", 0), ("23h59m", 4)])
def test_two_colours_that_drain_for_a_day_take_one_deploy_a_day_and_block_what_is_more(every, blocked):
    scenario = spec("9d", {"every": every, "count": 8}, drain={"policy": {"after": "24h"}})
    found = outcomes(scenario, "bluegreen")
    assert found.count("blocked") == blocked
    assert found.count("done") == 8 - blocked


def test_two_colours_whose_deploys_wait_get_one_done_a_day_however_many_are_asked_for():
    strategy = {"bluegreen": {"when_busy": "wait"}}
    scenario = spec(
        "10d", {"every": "6h", "count": 39}, drain={"policy": {"after": "24h"}}, strategy=strategy
    )
    found = outcomes(scenario, "bluegreen")
    assert 9 <= found.count("done") <= 10
    assert found.count("superseded") >= 27


@pytest.mark.parametrize(("after", "blocks"), [("41h59m", False), ("42h1m", True)])
def test_eight_colours_every_six_hours_leave_a_drain_window_of_42_hours(after, blocks):
    scenario = spec("5d", {"every": "6h", "count": 18}, drain={"policy": {"after": after}})
    assert ("blocked" in outcomes(scenario, "colors")) == blocks


def test_eight_colours_block_the_eighth_deploy_in_one_drain_window():
    scenario = spec("3d", {"every": "6h", "count": 8})
    record = record_from(scenario, "colors")
    deploys = record.deploys.filter(pl.col("kind") == "deploy")
    assert deploys["outcome"].to_list() == ["done"] * 7 + ["blocked"]
    assert deploys["reason"][7] == "chat-slot-0, deselected longest ago, still drains"


def test_rainbow_at_four_deploys_a_day_has_144_pods_more_than_eight_colours_and_its_report_says_so():
    scenario = spec("7d", {"every": "6h", "count": 27}, warm_up="3d")
    summary = summary_of(scenario, "rainbow")
    assert summary["mean_live_deployments"] == pytest.approx(9, rel=2e-3)
    assert mean_pods(scenario, summary) == pytest.approx(144, rel=2e-3)
    assert summary["peak_pods"] == 160
    (note,) = notes_of(scenario, "rainbow", summary)
    assert "144.0 pods on average (peak 160), more than the 128 of 8 fixed colours" in note
    assert notes_of(scenario, "colors", summary) == []


def test_rainbow_at_one_deploy_a_week_has_20_6_pods():
    scenario = spec("35d", {"every": "7d", "count": 4}, warm_up="7d")
    summary = summary_of(scenario, "rainbow")
    assert mean_pods(scenario, summary) == pytest.approx(16 * (1 + 2 / 7), rel=2e-3)
    assert "8 fixed colours are 128 pods" in notes_of(scenario, "rainbow", summary)[0]


def quick(seed: int, **changes: object) -> Spec:
    given: dict[str, object] = {
        "name": "quick",
        "seed": seed,
        "duration": "40s",
        "fleet": {"replicas": 4, "startup": {"lognormal": {"median": "1s", "sigma": 0.1}}},
        "users": {"count": 200, "session": "forever", "reconnect": "immediate", "messages_per_min": 0},
        "deploys": [{"at": "2s"}],
        "drain": {"hold": "2s", "check_every": "1s"},
    }
    return spec_of({**given, **changes})


def test_rolling_in_four_batches_forces_each_client_as_often_as_theory_says():
    """(1 + 1/m)^m − 1 with m = 4: new before old, everyone back before the next pod goes."""
    ideal = {"server": {"linger": "0s"}, "network": {"sync_period": "0s"}}
    rolling = {"rolling": {"max_surge": 1, "max_unavailable": 0}}
    found = [
        summary_of(quick(seed, **ideal, strategy=rolling), "rolling")["forced_reconnects_per_client_deploy"]
        for seed in SEEDS
    ]
    spread = spread_of(found, 0.99)
    assert spread is not None
    assert spread.mean_low <= (1 + 1 / 4) ** 4 - 1 <= spread.mean_high


@pytest.mark.parametrize(
    ("strategy", "drain"), [("recreate", {"hold": "2s"}), ("rainbow", {"policy": {"after": "5s"}})]
)
def test_recreate_and_a_rainbow_that_is_cut_off_move_each_client_at_most_once(strategy, drain):
    for seed in range(5):
        summary = summary_of(quick(seed, drain=drain), strategy)
        assert summary["forced_reconnects_per_client_deploy"] == pytest.approx(1.0)
        assert summary["hit_more_than_once_ratio"] == 0


def drained_s(scenario: Spec) -> float:
    (row,) = (
        row
        for row in record_from(scenario, "rainbow").deploys.iter_rows(named=True)
        if row["kind"] == "deploy"
    )
    return float(row["t_drained_s"] - row["t_selected_s"])


def test_exponential_sessions_have_all_left_after_mu_times_the_harmonic_number():
    """The maximum of N exponentials: μ·H_N; the hold and half a look come on top."""
    mean_s, count, hold_s, check_s = 60.0, 200, 2.0, 1.0
    users = {"count": count, "session": {"exponential": {"mean": "60s"}}, "messages_per_min": 0}
    last = [drained_s(quick(seed, users=users, duration="20m", crowd="fast")) for seed in SEEDS]
    waits = [drain_s - hold_s - check_s / 2 for drain_s in last]
    harmonic = math.fsum(1 / k for k in range(1, count + 1))
    spread = spread_of(waits, 0.99)
    assert spread is not None
    assert spread.mean_low <= mean_s * harmonic <= spread.mean_high


def test_an_old_release_burns_down_by_the_residual_life_not_by_the_sessions_own():
    """n·S_residual(t): who is met at a switch has a longer session than one who arrives (inspection paradox)."""
    session, count = Weibull(60.0, 0.7), 300
    users = {"count": count, "session": {"weibull": {"mean": "60s", "shape": 0.7}}, "messages_per_min": 0}
    left: dict[int, list[float]] = {t_s: [] for t_s in (20, 60, 150)}
    for seed in SEEDS:
        record = record_from(quick(seed, users=users, duration="2m45s"), "rainbow")
        selected_s = record.deploys["t_selected_s"][1]
        old = record.connections.filter(
            (pl.col("release") == record.deploys["release"][0])
            & (pl.col("t_open_s") <= selected_s)
            & (pl.col("t_close_s").is_null() | (pl.col("t_close_s") > selected_s))
        )
        for t_s, found in left.items():
            still = old.filter(pl.col("t_close_s").is_null() | (pl.col("t_close_s") > selected_s + t_s))
            found.append(still.height / old.height)
    for t_s, found in left.items():
        spread = spread_of(found, 0.99)
        assert spread is not None
        assert spread.mean_low <= _residual(session, t_s) <= spread.mean_high, t_s
        assert statistics.mean(found) > session.survival(t_s)


def _residual(session: Weibull, t_s: float) -> float:
    """P(residual life > t) = ∫ₜ^∞ S / mean, by Simpson's rule over what is left of 1."""
    steps = 2000
    width = t_s / steps
    weights = [1, *([4, 2] * (steps // 2))[: steps - 1], 1]
    area = math.fsum(w * session.survival(k * width) for k, w in enumerate(weights)) * width / 3
    return 1 - area / session.mean_s
