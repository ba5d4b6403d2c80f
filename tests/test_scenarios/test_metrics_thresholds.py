"""Bounds on metrics: kept, missed, or impossible to tell."""

from __future__ import annotations

from scenarios.labels import LABELS
from scenarios.spec import spec_of
from scenarios.thresholds import METRICS, missed


def test_every_metric_has_a_label_and_a_meaning() -> None:
    assert set(LABELS) == set(METRICS)
    assert all(METRICS.values())


def test_a_bound_that_is_kept_says_nothing() -> None:
    assert (
        missed({"cost": 2.0, "gave_up": 0}, {"cost": {"max": 2.0, "min": 2.0}, "gave_up": {"max": 0}}) == []
    )


def test_each_missed_bound_is_one_line() -> None:
    lines = missed({"cost": 2.5, "gave_up": 0}, {"cost": {"max": 2.0}, "gave_up": {"min": 1}})
    assert lines == ["cost is 2.5, its max is 2", "gave_up is 0, its min is 1"]


def test_what_was_not_measured_was_not_met() -> None:
    lines = missed({"gave_up": None}, {"gave_up": {"max": 0}})
    assert lines == ["gave_up cannot be told from this run; its max is 0"]


def test_a_specs_own_thresholds_can_be_asked_directly() -> None:
    data = {"name": "x", "duration": "10s", "users": {"count": 1}, "thresholds": {"cost": {"max": 1}}}
    assert missed({"cost": 1.5}, spec_of(data).thresholds) == ["cost is 1.5, its max is 1"]
