"""Session lengths and residual lives against theory."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import integrate, stats

from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.sessions import (
    Empirical,
    Exponential,
    Forever,
    Lognormal,
    Mixture,
    Session,
    Weibull,
)

DRAWS = 4000
LENGTHS = (3.0, 5.0, 5.0, 8.0, 40.0)
CONTINUOUS = {
    "exponential": Exponential(22.0),
    "weibull of typical length": Weibull(22.0, 4.0),
    "weibull with a heavy tail": Weibull(22.0, 0.6),
    "lognormal": Lognormal(30.0, 1.0),
    "mixture": Mixture(((3.0, Exponential(5.0)), (1.0, Weibull(60.0, 4.0)))),
}
ALL = CONTINUOUS | {"empirical": Empirical(LENGTHS)}


def drawn(name: str, session: Session, residual: bool) -> list[float]:
    rng = Random(f"1/{name}")
    return [session.residual(rng) if residual else session.draw(rng) for _ in range(DRAWS)]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_follow_the_survival_function(name: str) -> None:
    session = CONTINUOUS[name]
    found = stats.kstest(drawn(name, session, False), np.vectorize(lambda t: 1 - session.survival(t)))
    assert found.pvalue > 0.01


@pytest.mark.parametrize("name", ALL)
def test_residual_lives_follow_their_survival_function(name: str) -> None:
    session = ALL[name]
    found = stats.kstest(drawn(name, session, True), np.vectorize(lambda t: 1 - session.residual_survival(t)))
    assert found.pvalue > 0.01


@pytest.mark.known_answer
@pytest.mark.parametrize("name", ALL)
def test_the_residual_lifes_density_is_survival_over_the_mean(name: str) -> None:
    session = ALL[name]
    for t_s in (1.0, 4.0, 20.0, 35.0):
        beyond, _ = integrate.quad(
            session.survival, t_s, max(LENGTHS) if name == "empirical" else math.inf, limit=200
        )
        assert session.residual_survival(t_s) == pytest.approx(beyond / session.mean_s, abs=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_means_are_those_of_the_draws(name: str) -> None:
    session = ALL[name]
    for residual, mean_s in ((False, session.mean_s), (True, session.mean_residual_s)):
        found = drawn(name, session, residual)
        error_s = stats.tstd(found) / math.sqrt(DRAWS)
        assert abs(sum(found) / DRAWS - mean_s) < 4 * error_s


@pytest.mark.known_answer
@pytest.mark.parametrize("name", ALL)
def test_the_mean_residual_life_is_half_the_second_moment_over_the_first(name: str) -> None:
    session = ALL[name]
    upper = max(LENGTHS) if name == "empirical" else math.inf
    second, _ = integrate.quad(lambda t: 2 * t * session.survival(t), 0, upper, limit=400)
    assert session.mean_residual_s == pytest.approx(second / (2 * session.mean_s), rel=2e-3)


def test_the_weibull_of_the_quick_scenario_has_its_mean() -> None:
    session = Weibull(22.0, 4.0)
    assert session.scale_s == pytest.approx(24.2718, abs=1e-3)
    found = drawn("quick", session, False)
    assert sum(found) / DRAWS == pytest.approx(22.0, abs=0.4)
    assert (
        session.mean_residual_s < 22.0
    )  # sessions of a typical length: who is online has less than one left


def test_a_lognormal_session_met_at_random_lasts_far_longer_than_a_fresh_one() -> None:
    assert Lognormal(1.0, 1.0).mean_residual_s / Lognormal(1.0, 1.0).mean_s == pytest.approx(1.359, abs=1e-3)
    assert Lognormal(1.0, 1.5).mean_residual_s / Lognormal(1.0, 1.5).mean_s == pytest.approx(4.74, abs=1e-2)


def test_a_lognormal_can_be_given_by_its_mean() -> None:
    assert Lognormal.of_mean(50.0, 1.2).mean_s == pytest.approx(50.0)


def test_forever_never_ends_and_draws_nothing() -> None:
    rng = Random(1)
    before = rng.getstate()
    assert Forever().draw(rng) == Forever().residual(rng) == math.inf
    assert rng.getstate() == before
    assert Forever().survival(1e9) == Forever().residual_survival(1e9) == 1.0


@given(
    name=st.sampled_from(sorted(ALL)),
    sooner=st.floats(0, 200),
    longer=st.floats(0, 200),
    factor=st.floats(0.01, 100),
)
def test_survival_falls_from_one_and_scales_with_time(
    name: str, sooner: float, longer: float, factor: float
) -> None:
    session = ALL[name]
    scaled = session.scaled(factor)
    assert scaled.mean_s == pytest.approx(session.mean_s * factor)
    for survival, same in (
        (session.survival, scaled.survival),
        (session.residual_survival, scaled.residual_survival),
    ):
        assert survival(0.0) == pytest.approx(1.0)
        assert 0.0 <= survival(sooner + longer) <= survival(sooner) + 1e-12 <= 1.0 + 2e-12
        if name != "empirical":  # a step may fall on either side of a rounded time
            assert same(sooner * factor) == pytest.approx(survival(sooner), abs=1e-9)


@pytest.mark.parametrize("session", [*ALL.values(), Forever()])
def test_sessions_survive_a_trip_through_json(session: Session) -> None:
    adapter: TypeAdapter[Session] = TypeAdapter(Session)
    assert adapter.validate_json(adapter.dump_json(session)) == session


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Exponential(0.0), "mean=0.0"),
        (lambda: Exponential(math.inf), "forever"),
        (lambda: Weibull(-1.0, 4.0), "mean=-1.0"),
        (lambda: Weibull(22.0, 0.0), "shape=0.0"),
        (lambda: Lognormal(1.0, 9.0), "sigma=9.0"),
        (lambda: Lognormal(math.nan, 1.0), "median=nan"),
        (lambda: Empirical(()), "no lengths"),
        (lambda: Empirical((1.0, 0.0)), "length=0.0"),
        (lambda: Mixture(()), "no parts"),
        (lambda: Mixture(((0.0, Exponential(1.0)),)), "weight=0.0"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused_with_its_value(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(BadSettingError, match=says):
        make()
