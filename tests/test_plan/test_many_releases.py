"""Thousands of old releases at a time: the plan's numbers stay right, and its work stays small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, poisson

from loadgen.behaviour.sessions import Lognormal
from scenarios.plan import burndown, drains
from scenarios.plan.drains import Drains
from scenarios.plan.service import Service

HEAVY = Lognormal(400.0, 2.5)


def old_releases(per_day: float, shrink: bool, m: int | None, cut_s: float = 24 * 3600.0) -> Drains:
    service = Service(connections=20_000, session=HEAVY, deploys_per_day=per_day)
    return Drains(service, "rainbow", cut_s, m, shrink, floor=1)


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("m", [0, None])
def test_a_few_that_stand_for_all_give_the_peak_that_all_give(
    shrink: bool, m: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = old_releases(8_000, shrink, m).peak(4)
    monkeypatch.setattr(drains, "_EXACT", 10_000)
    assert found == pytest.approx(old_releases(8_000, shrink, m).peak(4), rel=2e-3)


@pytest.mark.parametrize("per_day", [80_000, 86_400])
@pytest.mark.parametrize("years", [0.005, 10])
def test_work_does_not_grow_with_the_deploys_of_a_day(
    per_day: float, years: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    survival = burndown.ResidualSurvival.__call__

    def counted(self: burndown.ResidualSurvival, t_s: object) -> object:
        nonlocal asked
        asked += np.asarray(t_s).size
        return survival(self, t_s)  # type: ignore[arg-type]

    monkeypatch.setattr(burndown.ResidualSurvival, "__call__", counted)
    for shrink in (False, True):
        assert old_releases(per_day, shrink, 0, years * 365 * 86_400.0).peak(4) > 1000
    assert asked < 3_000_000


@pytest.mark.parametrize("chance", [1e-8, 1e-5, 5e-4, 0.003, 0.3, 0.9, 0.9995, 0.99999, 1 - 1e-8])
def test_a_sum_of_many_coins_has_the_binomials_quantile(chance: float) -> None:
    coins = 50_000
    found = drains._quantile_of_sum(np.full(5, chance), np.full(5, coins / 5))
    assert found == binom.ppf(0.99, coins, chance)


def test_a_sum_of_unlike_rare_coins_is_poisson() -> None:
    chances = np.geomspace(1e-6, 1e-4, 1000)
    found = drains._quantile_of_sum(chances, np.full(1000, 300.0))
    assert found == poisson.ppf(0.99, 300 * chances.sum())


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 5000, 160_000, 400_000_000])
def test_those_that_stand_for_all_count_as_many(count: int) -> None:
    numbers, stood_for = drains._thinned(count)
    assert stood_for.sum() == count
    assert len(numbers) <= 2048
    assert float(numbers @ stood_for) == pytest.approx(count * (count + 1) / 2)
