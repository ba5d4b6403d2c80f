"""When a pod got its node, from the condition's whole seconds and the moment at which they were seen."""

from __future__ import annotations

import pytest

from deployer.clusters.kubernetes.podlog import PodLog

START_S = 1767225600.0


def pod(scheduled=None, status="True"):
    conditions = []
    if scheduled is not None:
        conditions = [{"type": "PodScheduled", "status": status, "lastTransitionTime": scheduled}]
    meta = {"name": "p", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": meta, "status": {"conditions": conditions}}


def scheduled_s(log):
    (row,) = log.rows()
    return None if row["t_scheduled_s"] is None else row["t_scheduled_s"] - START_S


def test_it_is_the_moment_at_which_it_was_seen_and_stays():
    log = PodLog()
    log.note(pod(), None, START_S + 0.4)
    assert scheduled_s(log) is None
    log.note(pod("2026-01-01T00:00:02Z"), pod(), START_S + 2.6)
    log.note(pod("2026-01-01T00:00:02Z"), pod(), START_S + 3.2)
    assert scheduled_s(log) == pytest.approx(2.6)


def test_news_that_come_in_the_next_second_are_not_taken_for_that_second():
    log = PodLog()
    log.note(pod("2026-01-01T00:00:02Z"), None, START_S + 3.07)
    assert scheduled_s(log) == pytest.approx(3.0)


def test_a_pod_for_which_no_node_has_room_waits():
    log = PodLog()
    log.note(pod("2026-01-01T00:00:00Z", "False"), None, START_S + 0.4)
    assert scheduled_s(log) is None
    log.note(
        pod("2026-01-01T00:00:40Z"), pod(), START_S + 60.0
    )  # seen late: the API's whole second is better
    assert scheduled_s(log) == pytest.approx(40.0)


def test_it_is_never_before_the_pod_was_created():
    log = PodLog()
    log.note(pod(), None, START_S + 0.4)
    log.note(pod("2026-01-01T00:00:00Z"), pod(), START_S + 2.0)
    assert scheduled_s(log) == pytest.approx(0.4)
