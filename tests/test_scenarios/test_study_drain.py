"""The drain study: what is on the frontier, what is chosen, and a page whose every number comes from its cells."""

from __future__ import annotations

from itertools import product

import pytest

from scenarios.report.drain_page import page_of, picture_of
from scenarios.run import run_in_memory
from scenarios.study_drain import (
    FAMILIES,
    POLICIES,
    RATES,
    Cell,
    chosen,
    frontier,
    measured,
    spec_for,
    standings,
)


def cell(policy: str, forced: float, pods: float, family: str = "regular", rate: str = "1 a day") -> Cell:
    return Cell(policy, family, rate, forced, pods, pods / 2, 1.0, 2.0, 16)


def test_the_frontier_has_what_nothing_beats_in_both_cheapest_first():
    cells = [cell("a", 0.5, 1), cell("b", 0.6, 2), cell("c", 0.1, 3), cell("d", 0.1, 4), cell("e", 0.0, 9)]
    assert [c.policy for c in frontier(cells)] == ["a", "c", "e"]


def test_chosen_is_the_cheapest_on_average_of_those_that_are_tolerable_everywhere():
    cells = [
        cell("cheap", 0.0, 1), cell("cheap", 0.5, 1, "heavy"),
        cell("good", 0.01, 4), cell("good", 0.002, 8, "heavy"),
        cell("dear", 0.0, 20), cell("dear", 0.0, 20, "heavy"),
    ]  # fmt: skip
    found = standings(cells)
    assert [(s.policy, s.worst_ratio, s.mean_pod_h, s.worst_pod_h) for s in found] == [
        ("cheap", 0.5, 1, 1), ("good", 0.01, 6, 8), ("dear", 0.0, 20, 20),
    ]  # fmt: skip
    picks = {tolerated: chosen(found, tolerated) for tolerated in (0.0, 0.01, 1.0)}
    assert {k: s and s.policy for k, s in picks.items()} == {0.0: "dear", 0.01: "good", 1.0: "cheap"}
    assert chosen(found[:1], 0.1) is None


def test_every_cell_is_a_sound_scenario_with_its_own_policy():
    specs = [spec_for(*one) for one in product(POLICIES, FAMILIES, RATES)]
    assert len({str(spec.data()) for spec in specs}) == len(specs)


def test_the_page_names_the_choice_its_price_and_what_speaks_against_it():
    made = []
    for n, policy in enumerate(POLICIES):
        made += [cell(policy.name, 0.1 / 2**n, 10.0 + n, f, r) for f in FAMILIES for r in RATES]
    page = page_of(made)
    best = chosen(standings(made), 0.01)
    assert best is not None
    assert f"**`{best.policy}`.**" in page
    assert "## The case against it" in page
    assert page.count("\n| `few 1%` |") == 1 + len(RATES)
    assert picture_of(made).startswith(b"\x89PNG")


def test_whom_the_deadline_cuts_anyway_counts_against_no_policy():
    cells = [
        cell("empty", 0.02, 9, "heavy"), cell("few", 0.025, 5, "heavy"),
        cell("empty", 0.0, 4), cell("few", 0.01, 2),
    ]  # fmt: skip
    found = {one.policy: one for one in standings(cells)}
    assert (found["empty"].own_ratio, found["empty"].worst_ratio) == (0.0, 0.02)
    assert (found["few"].own_ratio, found["few"].worst_ratio) == (0.01, 0.025)
    best = chosen(found.values(), 0.01)
    assert best is not None
    assert best.policy == "few"


@pytest.mark.parametrize("number", [0, 4])
def test_a_small_cell_has_the_numbers_of_its_run(number, monkeypatch):
    monkeypatch.setattr("scenarios.study_drain.USERS", 40)
    which = (POLICIES[number], "regular", "1 a day")
    found = measured(*which, run_in_memory(spec_for(*which), "rainbow"))
    if POLICIES[number].name == "empty":
        assert found.forced_ratio == 0
    else:
        assert 0 < found.forced_ratio < 1
        assert found.surplus_pod_h == pytest.approx(2 * 8, rel=0.02)  # eight pods for two hours
    assert 0 < found.draining_pod_h <= found.surplus_pod_h
