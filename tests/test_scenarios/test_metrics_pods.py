"""Metrics of pods and deploys, of small tables whose answers were computed by hand."""

from __future__ import annotations

import pytest

from scenarios.metrics import summarise
from tests.test_scenarios.tables import INITIAL, NEW, OLD, deploy, pod, record, samples


def test_pods_are_paid_from_created_to_gone() -> None:
    pods = [pod("old-1", -10.0, 50.0, t_terminating_s=48.0), pod("new-1", 20.0, None)]
    summary = summarise(record(pods=pods))
    assert summary["pod_hours"] == (50.0 + 80.0) / 3600
    assert summary["cost"] == summary["pod_hours"] * 0.05
    assert summary["surplus_pod_hours"] == 30.0 / 3600  # two pods from 20 to 50, one replica
    assert summary["peak_pods"] == 2
    assert summary["mean_live_deployments"] == (48.0 + 80.0) / 100  # a Deployment that is terminating is none


def test_a_recreated_deployment_is_live_all_the_time() -> None:
    pods = [
        pod("old-1", -10.0, 41.0, deployment="chat", t_terminating_s=40.0),
        pod("new-1", 41.5, None, deployment="chat"),
    ]
    assert summarise(record(strategy="recreate", pods=pods))["mean_live_deployments"] == 1.0


def test_a_pod_that_goes_as_another_comes_makes_no_peak() -> None:
    assert summarise(record(pods=[pod("old-1", 0.0, 50.0), pod("new-1", 50.0)]))["peak_pods"] == 1


def test_idle_and_draining_hours_come_from_the_last_sample() -> None:
    pods = [pod("old-1", -10.0, 50.0, t_terminating_s=40.0), pod("new-1", 20.0)]
    deploys = [INITIAL, deploy(1, NEW, 20.0, 25.0)]
    seen = samples((0.0, "old-1", 3), (30.0, "old-1", 0), (22.0, "new-1", 0), (28.0, "new-1", 3))
    summary = summarise(record(pods=pods, deploys=deploys, samples=seen))
    assert summary["idle_pod_hours"] == pytest.approx((10.0 + 6.0) / 3600, abs=1e-15)  # 30 to 40, 22 to 28
    assert summary["draining_pod_hours"] == pytest.approx(5.0 / 3600, abs=1e-15)  # 25 to 30
    seen = samples((0.0, "old-1", 3), (45.0, "old-1", None))
    rolled = summarise(record(strategy="graceful", pods=pods, deploys=deploys, samples=seen))
    assert rolled["draining_pod_hours"] == pytest.approx(5.0 / 3600, abs=1e-15)  # 40 to 45, then unknown
    assert rolled["idle_pod_hours"] == 0.0


def test_a_release_that_is_selected_again_drains_no_more() -> None:
    pods = [pod("old-1", -10.0), pod("new-1", 20.0)]
    deploys = [INITIAL, deploy(1, NEW, 20.0, 25.0), deploy(2, OLD, 55.0, 60.0, kind="rollback")]
    summary = summarise(
        record(pods=pods, deploys=deploys, samples=samples((0.0, "old-1", 3), (25.0, "new-1", 1)))
    )
    assert summary["draining_pod_hours"] == pytest.approx((35.0 + 40.0) / 3600, abs=1e-15)
    assert summary["rollback_s"] == 5.0


def test_imbalance_is_the_fullest_pod_over_the_mean_over_time() -> None:
    pods = [pod("old-1", -10.0), pod("old-2", -10.0), pod("new-1", 20.0)]
    seen = samples(
        (0.0, "old-1", 3), (0.0, "old-2", 1), (50.0, "old-1", 2), (50.0, "old-2", 2), (30.0, "new-1", 9)
    )
    assert (
        summarise(record(pods=pods, samples=seen))["imbalance"] == 1.25
    )  # 1.5 and then 1; new-1 is not selected
    assert summarise(record(pods=pods))["imbalance"] is None
    assert summarise(record(pods=pods, samples=samples((0.0, "old-1", 0))))["imbalance"] is None


def test_pending_seconds_are_those_without_a_node() -> None:
    pods = [
        pod("old-1", 10.0, t_scheduled_s=13.0),
        pod("new-1", 90.0, t_scheduled_s=None, node=None, t_ready_s=None),
    ]
    assert summarise(record(pods=pods))["pending_pod_s"] == 3.0 + 10.0
    untold = [{**row, "t_scheduled_s": None} for row in pods]
    assert summarise(record(pods=untold))["pending_pod_s"] is None


def test_deploys_are_counted_by_outcome_without_the_initial_one() -> None:
    outcomes = ["done", "blocked", "superseded", "refused", "failed", None]
    rows = [INITIAL, *(deploy(n, NEW, 10.0 * n, None, outcome=o) for n, o in enumerate(outcomes, 1))]
    summary = summarise(record(deploys=rows))
    assert summary["deploys_requested"] == 6
    assert [summary[f"deploys_{name}"] for name in outcomes if name] == [1, 1, 1, 1, 1]


def test_deploy_and_drain_times_keep_what_was_not_seen_to_end() -> None:
    rows = [
        INITIAL,
        deploy(1, "b00000", 10.0, 12.0, t_drained_s=20.0),  # 2 s, drained after 8
        deploy(2, "c00000", 30.0, 34.0, t_drained_s=44.0, t_deleted_s=45.0),  # 4 s, after 10
        deploy(3, "d00000", 50.0, 56.0, t_deleted_s=60.0),  # 6 s, cut after 4: censored
        deploy(4, "e00000", 90.0, None),  # under way
    ]
    summary = summarise(record(deploys=rows))
    assert summary["deploy_s_p50"] == 4.0  # Kaplan-Meier of 2, 4, 6 and more than 10
    assert summary["drain_s_p50"] == 8.0  # of 8, 10 and more than 4
    assert summary["rollback_s"] is None
