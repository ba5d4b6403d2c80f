"""Pods by state: the same numbers as the metrics, and as looking at each pod at each instant."""

import math

import pytest

from deployer.strategies import STRATEGIES
from scenarios.metrics.run import Run
from scenarios.report.states import pods_by_state, shares_by_state

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@every_strategy
def test_pod_hours_of_all_states_together_are_the_metric(strategy, tiny, summary_of):
    record = tiny(strategy)
    hours = {share.state: share.pod_hours for share in shares_by_state(record)}
    assert sum(hours.values()) == pytest.approx(summary_of(record)["pod_hours"])
    assert hours["draining"] == pytest.approx(summary_of(record)["draining_pod_hours"])
    assert sum(share.cost for share in shares_by_state(record)) == pytest.approx(summary_of(record)["cost"])


@every_strategy
def test_states_add_up_to_the_pods_that_are_there_at_each_instant(strategy, tiny):
    record = tiny(strategy)
    stack = pods_by_state(record)
    assert stack.counts.min() >= 0
    for at in range(0, len(stack.t_s), 7):
        t_s = stack.t_s[at]
        there = sum(
            created_s <= t_s < (math.inf if gone_s is None else gone_s)
            for created_s, gone_s in record.pods.select("t_created_s", "t_gone_s").iter_rows()
        )
        assert stack.counts[:, at].sum() == there


@every_strategy
def test_no_more_pods_are_selected_than_a_release_has(strategy, tiny):
    record = tiny(strategy)
    stack = pods_by_state(record)
    selected = stack.counts[stack.names.index("selected")]
    spare = 0 if Run(record).selects_release else record.run["spec"]["fleet"]["replicas"]
    assert 0 < selected.max() <= record.run["spec"]["fleet"]["replicas"] + spare


def test_slots_that_were_never_selected_are_idle_though_they_run_the_selected_release(tiny):
    record = tiny("colors", "strategy.colors.count=3")
    stack = pods_by_state(record)
    replicas = record.run["spec"]["fleet"]["replicas"]
    counts = dict(zip(stack.names, stack.counts[:, 0], strict=True))
    assert (counts["selected"], counts["idle"]) == (replicas, 2 * replicas)


def test_evenness_is_measured_over_the_selected_slot_alone(tiny, summary_of):
    one, two = (summary_of(tiny(name))["imbalance"] for name in ("colors", "rainbow"))
    assert one == pytest.approx(two, rel=0.3)
