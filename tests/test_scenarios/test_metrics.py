"""Metrics of small tables whose answers were computed by hand: what users met, and what the levels can tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.metrics import attribute, summarise, summary_json
from scenarios.record import RecordError
from scenarios.thresholds import METRICS
from tests.test_scenarios.tables import (
    INITIAL,
    NEW,
    OLD,
    Row,
    back,
    deploy,
    failed,
    online,
    pod,
    record,
    samples,
    table,
)


def test_every_key_is_there_in_order_even_for_an_empty_record() -> None:
    summary = summarise(record())
    assert list(summary) == list(METRICS)
    assert summary["forced_reconnects"] == 0
    assert summary["pod_hours"] == 0.0
    assert summary["reconnect_s_p50"] is None


def test_the_text_of_a_summary_is_the_same_for_the_same_record() -> None:
    rows = [online("u0-0", 0.0, 1 / 3, "server"), back("u0-0", 2 / 3)]
    assert summary_json(summarise(record(connections=rows))) == summary_json(
        summarise(record(connections=rows))
    )


def test_forced_reconnects_are_opened_connections_that_the_user_did_not_close() -> None:
    rows = [
        online("u0-0", 0.0, 10.0, "server"),
        online("u1-0", 0.0, 11.0, "pod_gone"),
        online("u2-0", 0.0, 12.0, "network", t_ready_s=None),  # not logged in, but it had opened
        online("u3-0", 0.0, 13.0, "user"),
        failed("u4-0", 0.0, 1.0, "arrival"),
        online("u5-0", 0.0, None),
        online("u6-0", -9.0, -1.0, "server"),  # in the ramp
    ]
    for level in ("full", "lost", "series"):
        assert summarise(record(level, connections=rows))["forced_reconnects"] == 3


def two_hits() -> dict[str, Sequence[Row]]:
    """Three clients at the request; one left, one was cut once, one twice; the deploy ended both pods."""
    return {
        "connections": [
            online("u0-0", 0.0, 20.0, "server"),
            back("u0-0", 21.0, 25.0, "server", release=OLD, pod="old-2"),
            back("u0-0", 26.0),
            online("u1-0", 0.0, 20.0, "server"),
            back("u1-0", 22.0),
            online("u2-0", 0.0, 15.0, "user"),
        ],
        "pods": [
            pod("old-1", -9.0, 20.0, why="deploy 1"),
            pod("old-2", -9.0, 25.0, why="deploy 1"),
            pod("new-1", 11.0),
        ],
        "deploys": [INITIAL, deploy(1, NEW, 10.0, 12.0)],
    }


def test_forced_reconnects_per_client_and_deploy() -> None:
    for level in ("full", "lost"):
        summary = summarise(record(level, **two_hits()))
        assert summary["forced_reconnects_per_client_deploy"] == 3 / 3
        assert summary["forced_reconnects_per_client_deploy_p99"] == 2
        assert summary["hit_more_than_once_ratio"] == 1 / 3


def test_the_way_back_and_the_storm() -> None:
    summary = summarise(record(**two_hits()))
    assert summary["reconnect_s_p50"] == 1.0  # of 1, 1 and 2 s
    assert summary["reconnect_s_p95"] == 2.0
    assert summary["offline_user_s"] == 4.0
    assert summary["storm_recovery_s"] == 6.0  # first cut at 20, the last loser is back at 26
    assert summary["peak_reconnects_per_s"] == 1
    assert summary["peak_reconnects_per_s_10s"] == 0.3  # at 21, 22 and 26


def test_rolling_two_pods_one_at_a_time_hits_a_client_one_and_a_quarter_times() -> None:
    """(1 + 1/m)^m - 1 at m = 2: of four clients two are moved, one of them onto the pod that goes next."""
    at_once: Row = {"attempt": 2, "reason": "reconnect"}
    rows = [
        online("u0-0", 0.0, 10.0, "server"),
        online("u0-0", 10.0, 20.0, "server", pod="old-2", **at_once),
        online("u0-0", 20.0, None, pod="new-2", attempt=3, reason="reconnect"),
        online("u1-0", 0.0, 10.0, "server"),
        online("u1-0", 10.0, None, pod="new-1", **at_once),
        online("u2-0", 0.0, 20.0, "server", pod="old-2"),
        online("u2-0", 20.0, None, pod="new-1", **at_once),
        online("u3-0", 0.0, 20.0, "server", pod="old-2"),
        online("u3-0", 20.0, None, pod="new-2", **at_once),
    ]
    pods = [
        pod("old-1", -9.0, 10.0, deployment="chat", why="rollout to bbbbbb"),
        pod("old-2", -9.0, 20.0, deployment="chat", why="rollout to bbbbbb"),
        pod("new-1", 5.0, deployment="chat"),
        pod("new-2", 15.0, deployment="chat"),
    ]
    deploys = [INITIAL, deploy(1, NEW, 5.0, 20.0)]
    named = attribute(table("pods", pods), table("deploys", deploys), table("events", []))
    assert named["why"].to_list() == ["deploy 1", "deploy 1", None, None]
    summary = summarise(
        record(strategy="rolling", connections=rows, pods=named.rows(named=True), deploys=deploys)
    )
    assert summary["forced_reconnects_per_client_deploy"] == 1.25
    assert summary["offline_user_s"] == 0.0
    assert summary["peak_reconnects_per_s"] == 3


def test_a_deploy_that_is_not_done_counts_neither_its_closes_nor_its_clients() -> None:
    rows = two_hits()
    summary = summarise(
        record(**{**rows, "deploys": [INITIAL, deploy(1, NEW, 10.0, None, outcome="failed")]})
    )
    assert summary["forced_reconnects"] == 3
    assert summary["forced_reconnects_per_client_deploy"] is None
    assert summary["hit_more_than_once_ratio"] is None
    assert summary["storm_recovery_s"] == 6.0  # a failed deploy makes a storm all the same


def test_what_a_fault_caused_counts_to_no_deploy() -> None:
    rows = two_hits()
    before = online("u3-0", 0.0, 5.0, "pod_gone")  # long before the deploy ended the pod
    during = online("u4-0", 0.0, 20.0, "pod_gone", pod="old-3")
    pods = [*rows["pods"], pod("old-3", -9.0, 20.0, why="deploy 1")]
    events: list[Row] = [{"t_s": 19.5, "kind": "kill_pod", "target": "old-3"}]
    summary = summarise(
        record(
            **{**rows, "connections": [*rows["connections"], before, during], "pods": pods, "events": events}
        )
    )
    assert summary["forced_reconnects"] == 5
    assert summary["forced_reconnects_per_client_deploy"] == 3 / 4  # u4 was connected too


def test_closes_that_the_deployer_asked_for_count_to_the_deploy_that_replaced_the_release() -> None:
    rows = [online("u0-0", 0.0, 50.0, "server"), back("u0-0", 51.0), online("u1-0", 0.0, 5.0, "server")]
    pods = [pod("old-1", -9.0, 80.0, why="deploy 1"), pod("new-1", 11.0)]
    deploys = [INITIAL, deploy(1, NEW, 10.0, 12.0)]
    asked: list[Row] = [{"t_s": 49.0, "action": "CloseConnections(pods=old-1, per_s=5)", "reason": "nudge"}]
    nudged = summarise(record(connections=rows, pods=pods, deploys=deploys, actions=asked))
    assert nudged["forced_reconnects_per_client_deploy"] == 1.0  # not u1's: nothing was replaced at 5
    unasked = summarise(record(connections=rows, pods=pods, deploys=deploys))
    assert unasked["forced_reconnects_per_client_deploy"] == 0.0


def test_users_who_are_not_back_are_censored_and_not_dropped() -> None:
    rows = [
        online("u0-0", 0.0, 10.0, "server"),
        back("u0-0", 11.0),
        online("u1-0", 0.0, 10.0, "server"),
        back("u1-0", 12.0),
        online("u2-0", 0.0, 10.0, "server"),
        failed("u2-0", 11.0, 99.0),
        online("u3-0", 0.0, 10.0, "server"),
        online("u3-1", 14.0, None),  # the next one in this place: the former has left
    ]
    for level, replaced in (
        ("full", rows),
        ("lost", [{**row, "t_end_s": 14.0} if row["user"] == "u3-0" else row for row in rows]),
    ):
        summary = summarise(record(level, connections=replaced))
        # Kaplan-Meier: 1/4 by 1 s, 1/2 by 2 s, then nobody
        assert summary["reconnect_s_p50"] == 2.0
        assert summary["reconnect_s_p95"] is None
        assert summary["offline_user_s"] == 1.0 + 2.0 + 90.0 + 4.0


def test_offline_time_is_not_guessed_where_users_may_have_left_unseen() -> None:
    users = {"arrivals": {"poisson": {"per_s": 1.0}}, "session": {"exponential": "20s"}}
    rows = [online("u0-0", 0.0, 10.0, "server"), back("u0-0", 12.0), online("u1-0", 0.0, 10.0, "server")]
    unseen = summarise(record(spec={"users": users}, connections=rows))
    assert unseen["offline_user_s"] is None
    assert unseen["reconnect_s_p50"] == 2.0  # the other one tells nothing beyond the loss itself
    told = summarise(record(spec={"users": users}, connections=[{**row, "t_end_s": 15.0} for row in rows]))
    assert told["offline_user_s"] == 2.0 + 5.0


def test_giving_up_is_told_from_the_policy_where_the_log_has_no_column_for_it() -> None:
    users = {"count": 2, "reconnect": {"fixed": {"wait": "1s", "give_up": 2}}}
    rows = [
        online("u0-0", 0.0, 10.0, "server"),
        failed("u0-0", 11.0, 12.0, attempt=2),
        failed("u0-0", 13.0, 14.0, attempt=3),
        online("u1-0", 0.0, 10.0, "server"),
        failed("u1-0", 11.0, 12.0, attempt=2),
        back("u1-0", 13.0, attempt=3),
    ]
    summary = summarise(record(spec={"users": users}, connections=rows))
    assert summary["gave_up"] == 1
    assert summary["failed_attempts"] == 3
    assert summary["offline_user_s"] == 4.0 + 3.0
    said = [{**row, "gave_up": row["t_close_s"] == 12.0} for row in rows]
    assert summarise(record(spec={"users": users}, connections=said))["gave_up"] == 2


def test_messages_lost_are_summed_and_null_where_none_were_counted() -> None:
    rows = [
        online("u0-0", 0.0, 10.0, "server", messages_lost=2),
        online("u1-0", 0.0, None, messages_lost=1),
        online("u2-0", -9.0, -1.0, "server", messages_lost=5),
    ]
    assert summarise(record(connections=rows))["messages_lost"] == 3
    assert summarise(record("lost", connections=rows))["messages_lost"] is None
    uncounted = [{**row, "messages_lost": None} for row in rows]
    assert summarise(record(connections=uncounted))["messages_lost"] is None


def test_the_peak_over_ten_seconds_finds_the_best_window() -> None:
    rows = [
        failed(f"u{n}-0", at_s, at_s + 0.1)
        for n, at_s in enumerate([10.0, 10.9, 19.5, 20.0, 20.1, 29.0, 60.0])
    ]
    summary = summarise(record(connections=rows))
    assert summary["peak_reconnects_per_s"] == 2
    assert summary["peak_reconnects_per_s_10s"] == 0.3  # 10 to 19, and 20 to 29


def test_the_warm_up_is_left_out() -> None:
    rows = [online("u0-0", 0.0, 20.0, "server"), back("u0-0", 21.0, 40.0, "server"), back("u0-0", 42.0)]
    pods = [pod("old-1", -9.0, 50.0)]
    deploys = [INITIAL, deploy(1, NEW, 10.0, 12.0), deploy(2, "cccccc", 60.0, 63.0)]
    summary = summarise(record(spec={"warm_up": "30s"}, connections=rows, pods=pods, deploys=deploys))
    assert summary["forced_reconnects"] == 1
    assert summary["reconnect_s_p50"] == 2.0
    assert summary["peak_reconnects_per_s"] == 1
    assert summary["pod_hours"] == 20.0 / 3600
    assert summary["deploys_requested"] == 1
    assert summary["deploy_s_p50"] == 3.0


def test_an_interrupted_run_counts_up_to_its_end() -> None:
    events: list[Row] = [{"t_s": 0.0, "kind": "start"}, {"t_s": 40.0, "kind": "interrupted"}]
    rows = [online("u0-0", 0.0, 30.0, "server")]
    summary = summarise(record(connections=rows, pods=[pod("old-1", -9.0)], events=events))
    assert summary["pod_hours"] == 40.0 / 3600
    assert summary["offline_user_s"] == 10.0


def test_lower_levels_leave_out_what_they_cannot_tell() -> None:
    rows = two_hits()
    null = {
        level: {k for k, v in summarise(record(level, **rows)).items() if v is None}
        for level in ("full", "lost", "series")
    }
    assert null["lost"] - null["full"] == {"gave_up", "failed_attempts", "messages_lost"}
    assert null["series"] - null["full"] == null["lost"] - null["full"] | {
        "forced_reconnects_per_client_deploy",
        "forced_reconnects_per_client_deploy_p99",
        "hit_more_than_once_ratio",
        "reconnect_s_p50",
        "reconnect_s_p95",
        "reconnect_s_p99",
        "offline_user_s",
        "storm_recovery_s",
    }


def test_a_request_within_a_second_is_not_guessed_from_bins() -> None:
    rows = {**two_hits(), "deploys": [INITIAL, deploy(1, NEW, 10.5, 12.0)]}
    assert summarise(record("full", **rows))["forced_reconnects_per_client_deploy"] == 1.0
    assert summarise(record("lost", **rows))["forced_reconnects_per_client_deploy"] is None


def test_a_strategy_of_another_version_is_named() -> None:
    with pytest.raises(RecordError, match="strategy 'teleport', which this version does not know"):
        summarise(record(strategy="teleport", pods=[pod("old-1", 0.0)], samples=samples((0.0, "old-1", 1))))


moments = st.integers(0, 95).map(float)


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Users whose connections are cut and come back, as a log would have them."""
    rows: list[Row] = []
    for n in range(draw(st.integers(0, 6))):
        user, at_s, reason = f"u{n}-0", draw(moments), "arrival"
        for attempt in range(1, draw(st.integers(1, 5)) + 1):
            stay_s, wait_s = draw(st.floats(0.1, 30.0)), draw(st.floats(0.0, 20.0))
            kind = draw(st.sampled_from(["server", "pod_gone", "network", "failed", "user"]))
            pod_name = draw(st.sampled_from(["old-1", "old-2", "new-1"]))
            if at_s + stay_s > 100.0:
                rows.append(online(user, at_s, None, pod=pod_name, attempt=attempt, reason=reason))
                break
            if kind == "failed":
                rows.append(failed(user, at_s, at_s + stay_s, reason, attempt=attempt))
            else:
                rows.append(
                    online(user, at_s, at_s + stay_s, kind, pod=pod_name, attempt=attempt, reason=reason)
                )
                reason = "reconnect"
            at_s += stay_s + wait_s
            if kind == "user" or at_s >= 100.0:
                break
    return rows


PODS = [
    pod("old-1", -9.0, 40.0, why="deploy 1"),
    pod("old-2", -9.0, 60.0, why="deploy 1"),
    pod("new-1", 20.0),
]
DEPLOYS = [INITIAL, deploy(1, NEW, 20.0, 25.0)]


@settings(max_examples=40, deadline=None)
@given(histories())
def test_levels_agree_and_numbers_stay_in_their_bounds(rows: list[Row]) -> None:
    tables: dict[str, Sequence[Row]] = {"connections": rows, "pods": PODS, "deploys": DEPLOYS}
    full, lost, series = (summarise(record(level, **tables)) for level in ("full", "lost", "series"))
    for lower in (lost, series):
        assert {key: value for key, value in lower.items() if value not in (None, full[key])} == {}
    cuts = sum(row["closed_by"] in ("server", "pod_gone", "network") for row in rows)
    assert full["forced_reconnects"] == cuts
    assert full["failed_attempts"] == sum(row["closed_by"] == "never_opened" for row in rows)
    offline = full["offline_user_s"]
    assert offline is not None
    assert 0 <= offline <= 100.0 * cuts
    peak, ten = full["peak_reconnects_per_s"], full["peak_reconnects_per_s_10s"]
    assert peak is not None
    assert ten is not None
    assert peak / 10 <= ten <= peak
    ratio = full["hit_more_than_once_ratio"]
    assert ratio is None or 0 <= ratio <= 1
    quantiles = [full[f"reconnect_s_p{q}"] for q in (50, 95, 99)]
    known = [q for q in quantiles if q is not None]
    assert known == sorted(known)
    assert quantiles[: len(known)] == known


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(moments, st.floats(0.0, 60.0)), max_size=8))
def test_pod_hours_are_the_sum_of_lives_and_surplus_the_part_beyond(lives: list[tuple[float, float]]) -> None:
    pods = [pod(f"old-{n}", at_s, at_s + length_s) for n, (at_s, length_s) in enumerate(lives)]
    summary = summarise(record(pods=pods))
    expected = sum(max(0.0, min(at + length, 100.0) - at) for at, length in lives) / 3600
    hours, surplus, peak = (summary[key] for key in ("pod_hours", "surplus_pod_hours", "peak_pods"))
    assert hours == pytest.approx(expected, abs=1e-12)
    assert surplus is not None
    assert hours is not None
    assert peak is not None
    assert 0 <= surplus <= hours + 1e-12
    assert hours * 3600 <= peak * 100.0 + 1e-9
