"""The source's numbers, and what textbooks say of burn-downs, queues and rolling updates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from loadgen.behaviour.backoff import Backoff, Fixed, Immediate
from loadgen.behaviour.sessions import Empirical, Exponential, Forever, Lognormal, Weibull
from scenarios.plan import LIMITS, Burndown, Nodes, Service, estimate, left_after, plan, service_of, when_left
from scenarios.plan.burndown import ResidualSurvival, drain_of
from scenarios.plan.estimate import STRATEGIES
from scenarios.plan.rolling import roll
from scenarios.plan.storm import busiest_second, first_second_ratio, storm
from scenarios.spec import load

pytestmark = pytest.mark.known_answer
HOUR_S = 3600.0
OLARK = Service(
    connections=5000,
    session=Exponential(5.21 * HOUR_S),
    deploys_per_day=4,
    replicas=16,
    nodes=Nodes(10),
    startup_s=2.0,
    drain_s=48 * HOUR_S,
    deadline_s=72 * HOUR_S,
    few=5,
)


def harmonic(n: int) -> float:
    return math.fsum(1 / k for k in range(1, n + 1))


@pytest.mark.parametrize("per_day", [1 / 7, 1, 4, 12])
def test_eight_colours_are_128_pods_whatever_the_deploy_rate(per_day: float) -> None:
    colors = estimate(replace(OLARK, deploys_per_day=per_day), "colors")
    assert (colors.pods_mean, colors.pods_peak) == (128, 128)
    assert colors.memory_peak_bytes == 256 * 2**30
    assert colors.cpu_peak == 128


def test_two_colours_with_a_day_of_drain_allow_one_deploy_a_day() -> None:
    bluegreen = estimate(replace(OLARK, drain_s=24 * HOUR_S), "bluegreen")
    assert bluegreen.max_deploys_per_day == pytest.approx(1.0)
    assert bluegreen.pods_peak == 32
    assert not bluegreen.keeps_up
    assert estimate(replace(OLARK, drain_s=24 * HOUR_S, deploys_per_day=1), "bluegreen").keeps_up


@pytest.mark.parametrize(
    ("colors", "drain_h", "enough"), [(8, 42, True), (8, 48, False), (9, 48, True), (5, 24, True)]
)
def test_colours_keep_up_where_their_window_is_as_long_as_the_drain(
    colors: int, drain_h: int, enough: bool
) -> None:
    service = replace(OLARK, colors=colors, drain_s=drain_h * HOUR_S)
    found = estimate(service, "colors")
    assert found.keeps_up is enough
    assert found.max_deploys_per_day == pytest.approx((colors - 1) * 24 / drain_h)


def test_rainbow_at_four_a_day_and_48_hours_takes_more_than_eight_colours() -> None:
    rainbow = estimate(OLARK, "rainbow after")
    assert rainbow.live_mean == pytest.approx(9)
    assert rainbow.pods_mean == pytest.approx(144, abs=0.01)
    assert rainbow.pods_peak == 160
    assert rainbow.fits


@pytest.mark.parametrize(
    ("per_day", "drain_h", "pods"), [(4, 24, 80), (1, 48, 48), (1 / 7, 48, 16 * (1 + 2 / 7))]
)
def test_rainbow_pods_follow_littles_law(per_day: float, drain_h: int, pods: float) -> None:
    service = replace(OLARK, deploys_per_day=per_day, drain_s=drain_h * HOUR_S)
    assert estimate(service, "rainbow after").pods_mean == pytest.approx(pods, abs=0.01)


def test_nodes_for_ten_releases_allow_what_ten_colours_do() -> None:
    rainbow = estimate(OLARK, "rainbow after")
    assert rainbow.max_deploys_per_day == pytest.approx(9 * 24 / 48, rel=0.002)
    assert rainbow.bound_by == "nodes"


def test_shrink_saves_what_empties_before_the_time_is_over() -> None:
    """Each pod stays for mu·H_n on average, n its users, and not for 48 hours."""
    saved = estimate(OLARK, "rainbow after").pods_mean - estimate(OLARK, "rainbow after, shrink").pods_mean
    on_a_pod = 5000 * (1 - math.exp(-6 / 5.21)) / 16
    assert saved == pytest.approx(16 * 4 * (48 - 5.21 * harmonic(round(on_a_pod))) / 24, rel=0.02)


@pytest.mark.parametrize("m", [0, 5, 50])
def test_exponential_burn_down_takes_mu_times_the_harmonic_sum(m: int) -> None:
    rare = Burndown.of(replace(OLARK, deploys_per_day=0.01), 40 * 5.21 * HOUR_S)
    assert rare.mean_s(m) == pytest.approx(5.21 * HOUR_S * (harmonic(5000) - harmonic(m)), rel=2e-3)


def test_the_last_of_5000_leaves_after_47_hours() -> None:
    assert Burndown.of(replace(OLARK, deploys_per_day=0.01), 400 * HOUR_S).mean_s() / HOUR_S == pytest.approx(
        47.4, abs=0.2
    )


@given(
    st.sampled_from(
        [
            Exponential(100.0),
            Weibull(100.0, 4.0),
            Weibull(100.0, 0.5),
            Lognormal(60.0, 1.0),
            Empirical((5.0, 50.0, 300.0)),
        ]
    ),
    st.floats(0, 2000),
)
def test_residual_survival_is_the_sessions_own(session: Exponential, t_s: float) -> None:
    assert float(ResidualSurvival(session)(t_s)) == pytest.approx(session.residual_survival(t_s), abs=2e-4)


@given(st.floats(0.1, 50), st.floats(10, 5000))
def test_connections_on_all_live_releases_add_up_to_all(per_day: float, mean_s: float) -> None:
    """Cut connections come back, so none is lost between releases."""
    service = Service(1000, Exponential(mean_s), deploys_per_day=per_day * 24, drain_s=3 * HOUR_S)
    burn = Burndown.of(service, 3 * HOUR_S)
    old = np.arange(0, math.floor(burn.cut_s / burn.spacing_s) + 1) * burn.spacing_s
    assert float(burn.open_ratio(old).sum()) == pytest.approx(1.0, abs=2e-3)


def test_users_who_never_leave_are_cut_once_in_as_many_deploys_as_drain_at_a_time() -> None:
    service = Service(1000, Forever(), deploys_per_day=4, drain_s=48 * HOUR_S)
    assert estimate(service, "rainbow after").forced_per_user_deploy == pytest.approx(1 / 9)
    assert estimate(replace(service, drain_s=1.0), "rainbow after").forced_per_user_deploy == pytest.approx(1)


@pytest.mark.parametrize("m", [1, 2, 4, 16])
def test_rolling_in_m_batches_cuts_each_user_so_often(m: int) -> None:
    rolled = roll(16, 16 // m, 0)
    assert rolled.hits == pytest.approx((1 + 1 / m) ** m - 1)
    assert rolled.batches == m


def test_rolling_leaves_the_first_pod_full_and_the_last_one_nearly_empty() -> None:
    loads = roll(16, 1, 0).loads
    assert loads[0] == pytest.approx(1.638, abs=5e-4)
    assert loads[-1] == pytest.approx(0.155, abs=5e-4)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_roll_out_loses_no_connection(replicas: int, surge: int, unavailable: int) -> None:
    unavailable = min(unavailable, replicas)
    if surge == unavailable == 0:
        return
    rolled = roll(replicas, surge, unavailable)
    assert sum(rolled.loads) == pytest.approx(replicas)
    assert 1 <= rolled.hits + 1e-9 <= math.e


def test_an_old_release_burns_down_by_the_residual_life() -> None:
    rare = replace(OLARK, deploys_per_day=0.01)
    assert left_after(rare, 24 * HOUR_S) == pytest.approx(5000 * math.exp(-24 / 5.21), rel=1e-3)


def test_measured_sessions_give_a_wider_interval_than_their_law() -> None:
    law = Exponential(600.0)
    few = Empirical(tuple(-600 * math.log(1 - (k + 0.5) / 40) for k in range(40)))
    known, measured = (when_left(Service(500, session, deploys_per_day=24), 5) for session in (law, few))
    assert measured.low_s < known.median_s < measured.high_s
    assert measured.high_s - measured.low_s > known.high_s - known.low_s


def test_a_drain_time_that_is_not_given_is_a_round_one_that_empties_most() -> None:
    assert drain_of(replace(OLARK, drain_s=None)) == 48 * HOUR_S


def test_full_jitter_spreads_and_no_jitter_does_not() -> None:
    assert first_second_ratio(Backoff(base_s=10.0)) == pytest.approx(0.1)
    assert first_second_ratio(Backoff(base_s=10.0, jitter="equal")) == pytest.approx(0.2)
    assert first_second_ratio(Backoff(base_s=10.0, jitter="none")) == 1
    assert first_second_ratio(Fixed(10.0)) == 1


def test_retries_add_to_the_storm_where_nobody_answers() -> None:
    """Full jitter: 1 + 1/4 + 1/48 + … attempts in the first second; at once and then every 100 ms: ten."""
    assert busiest_second(Backoff(base_s=1.0), 5.0) == pytest.approx(1.2712, abs=0.04)
    assert busiest_second(Immediate(), 5.0) == pytest.approx(10, abs=1)


def test_logins_stand_queue_or_overload() -> None:
    service = Service(3600, Exponential(3600.0), logins_per_s=101)  # one ordinary login a second
    assert storm(service, 50).verdict == "stands"
    assert storm(service, 500).verdict == "queues"
    assert storm(service, 500).queue_s == pytest.approx(5.0)
    assert storm(service, 3600).verdict == "overloads"
    assert storm(replace(service, logins_per_s=1), 1).queue_s == math.inf


@pytest.mark.parametrize("name", LIMITS)
def test_a_vendors_limit_cuts_the_drains_that_it_hits(name: str) -> None:
    for strategy in ("rolling", "graceful", "colors", "rainbow few"):
        before, after = (estimate(replace(OLARK, limit=limit), strategy) for limit in (None, LIMITS[name]))
        hit = strategy.split()[0] in LIMITS[name].hits
        assert (after.forced_per_user_deploy > before.forced_per_user_deploy + 0.01) is hit, strategy


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    "session", [Exponential(600.0), Lognormal(300.0, 1.5), Forever(), Weibull(600.0, 4.0)]
)
def test_every_strategy_has_finite_pods_and_no_negative_number(name: str, session: Exponential) -> None:
    one = estimate(Service(300, session, deploys_per_day=30, nodes=Nodes(20)), name)
    assert one.pods_mean >= 3.9
    assert one.pods_mean <= one.pods_peak + 1
    assert 0 <= one.forced_per_user_deploy <= 2
    assert one.max_deploys_per_day >= 0


def test_the_olark_scenario_is_recommended_what_costs_least_and_cuts_few() -> None:
    found = plan(service_of(load("olark")))
    assert found.drain_s == 48 * HOUR_S
    assert "ingress-nginx" in " ".join(found.warnings)
    assert found.recommended.name == "rainbow few, shrink"
    assert found.recommended.fits
    assert found.recommended.keeps_up
    assert {one.name for _, one in found.alternatives} >= {"recreate"}


def test_the_deploy_rate_found_is_the_highest_that_fits() -> None:
    for name in ("rainbow few", "immutable", "rainbow after, shrink"):
        most = estimate(OLARK, name).max_deploys_per_day
        assert estimate(replace(OLARK, deploys_per_day=most * 0.999), name).fits
        assert not estimate(replace(OLARK, deploys_per_day=most * 1.02), name).fits


def test_the_sensitivity_table_names_what_moves_most_first() -> None:
    moved = plan(OLARK).moved
    sizes = [one.size for one in moved]
    assert sizes == sorted(sizes, reverse=True)
    by_name = {one.assumption: one for one in moved}
    price = by_name["price of a pod"]
    assert price.low is not None
    assert price.high is not None
    assert price.high.dollars_per_month == pytest.approx(4 * price.low.dollars_per_month)


def test_releases_that_nobody_is_on_any_more_cost_no_work() -> None:
    """Thousands of deploys a day with a deadline of days: all but the newest few old releases are empty."""
    looked_at = 0

    class Counting(ResidualSurvival):
        def __call__(self, t_s: ArrayLike) -> np.ndarray:
            nonlocal looked_at
            looked_at += np.size(t_s)
            return super().__call__(t_s)

    session = Weibull(22.0, 4.0)
    ages = np.arange(1.0, 10_000.0) * 18.0
    found = Burndown(300, 4, Counting(session), 18.0, 48 * HOUR_S).open_ratio(ages)
    assert looked_at < 2 * len(ages)
    assert found[0] == pytest.approx(
        session.residual_survival(18.0) - session.residual_survival(36.0), rel=1e-3
    )
    assert found[100:].max() == 0.0
