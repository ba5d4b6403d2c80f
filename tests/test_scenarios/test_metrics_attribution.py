"""Who ended a pod: the deploy, the fault, the end of the run."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from scenarios.metrics import attribute
from scenarios.record import EXTRA, TABLES

A, B, C = "aaaaaa", "bbbbbb", "cccccc"
Row = dict[str, Any]


def table(name: str, rows: list[Row]) -> pl.DataFrame:
    schema = {**TABLES[name], **EXTRA.get(name, {})}
    return pl.DataFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def deploy(
    number: int, release: str, requested_s: float, selected_s: float | None, outcome: str = "done"
) -> Row:
    kind = "deploy" if number else "initial"
    row: Row = {"deploy": number, "release": release, "kind": kind, "outcome": outcome}
    return {**row, "t_requested_s": requested_s, "t_selected_s": selected_s}


DEPLOYS = [deploy(0, A, -9.0, -5.0), deploy(1, B, 10.0, 12.0), deploy(2, C, 30.0, 33.0)]


def why(pod: Row, deploys: list[Row] = DEPLOYS, events: list[Row] | None = None, *others: Row) -> str | None:
    """Who ended this pod of release A, of a Deployment of its own."""
    plain: Row = {"pod": "p1", "release": A, "deployment": "chat-a", "node": "n1", "t_created_s": -9.0}
    pods = table("pods", [{**plain, **pod}, *({**plain, "pod": "other", **other} for other in others)])
    found = attribute(pods, table("deploys", deploys), table("events", events or []))
    name: str | None = found.filter(pl.col("pod") == "p1")["why"].item()
    return name


def test_a_pod_that_was_not_ended_has_no_reason() -> None:
    assert why({"why": ""}) is None


@pytest.mark.parametrize("release", [B, C])
@pytest.mark.parametrize("word", ["rollout to", "recreate for"])
def test_a_rollout_belongs_to_the_newest_deploy_of_its_release(release: str, word: str) -> None:
    number = {B: 1, C: 2}[release]
    assert why({"t_terminating_s": 31.0, "why": f"{word} {release}"}) == f"deploy {number}"


def test_a_deleted_deployment_belongs_to_the_deploy_that_replaced_its_release() -> None:
    # A was replaced by deploy 1, long before it was deleted
    assert why({"t_terminating_s": 90.0, "why": "deployment deleted"}) == "deploy 1"
    assert why({"t_terminating_s": 90.0, "release": B, "why": "deployment deleted"}) == "deploy 2"


def test_a_draining_deployment_that_shrinks_is_the_deploys_scale_down() -> None:
    assert why({"t_terminating_s": 20.0, "why": "scale-down"}) == "scale-down deploy 1"


def test_the_last_time_that_a_release_was_replaced_counts() -> None:
    rows = [*DEPLOYS[:2], deploy(2, A, 30.0, 33.0), deploy(3, C, 50.0, 52.0)]
    assert why({"t_terminating_s": 40.0, "release": B, "why": "deployment deleted"}, rows) == "deploy 2"
    assert why({"t_terminating_s": 90.0, "why": "deployment deleted"}, rows) == "deploy 3"


def test_a_release_that_was_never_selected_ended_by_its_own_deploy() -> None:
    rows = [DEPLOYS[0], deploy(1, B, 10.0, None, "failed")]
    assert why({"t_terminating_s": 40.0, "release": B, "why": "deployment deleted"}, rows) == "deploy 1"


def test_without_a_word_of_the_cluster_the_shape_of_the_deployments_tells() -> None:
    ended = {"t_terminating_s": 31.0, "why": None}
    assert why(ended) == "deploy 1"  # a Deployment of its own: who replaced its release
    assert why(ended, DEPLOYS, [], {"release": B}) == "deploy 2"  # one Deployment: the roll-out under way


def test_a_request_that_did_not_start_moves_no_pod() -> None:
    rows = [*DEPLOYS[:2], deploy(2, C, 30.0, None, "refused")]
    assert why({"t_terminating_s": 31.0, "why": None}, rows, [], {"release": B}) == "deploy 1"


def test_a_request_may_seem_to_come_within_a_second_after_the_termination() -> None:
    assert why({"t_terminating_s": 9.4, "why": f"rollout to {B}"}) == "deploy 1"
    assert why({"t_terminating_s": 8.0, "why": f"rollout to {B}"}) == f"rollout to {B}"


def test_a_fault_that_names_the_pod_or_its_node_comes_first() -> None:
    kill = {"t_s": 30.5, "kind": "kill_pod", "target": "p1"}
    loss = {"t_s": 20.0, "kind": "node_loss", "target": "n1"}
    assert why({"t_terminating_s": 31.0, "why": "deleted"}, DEPLOYS, [kill]) == "fault kill_pod"
    assert why({"t_terminating_s": 60.0, "why": "deployment deleted"}, DEPLOYS, [kill]) == "deploy 1"
    assert why({"t_terminating_s": 320.0, "why": "evicted"}, DEPLOYS, [loss]) == "fault node_loss"
    assert (
        why({"t_terminating_s": 320.0, "node": "n2", "why": "deployment deleted"}, DEPLOYS, [loss])
        == "deploy 1"
    )


def test_what_ends_with_the_run_says_so() -> None:
    end = {"t_s": 95.0, "kind": "end", "target": ""}
    assert why({"t_terminating_s": 95.0, "why": "deployment deleted"}, DEPLOYS, [end]) == "end"
    assert why({"t_terminating_s": 94.0, "why": "deployment deleted"}, DEPLOYS, [end]) == "deploy 1"


@pytest.mark.parametrize("text", ["deploy 7", "scale-down deploy 7", "fault kill_pod", "end"])
def test_what_is_attributed_already_stays(text: str) -> None:
    assert why({"t_terminating_s": 50.0, "why": text}) == text


def test_a_pod_of_the_selected_release_that_someone_deleted_belongs_to_no_deploy() -> None:
    assert why({"t_terminating_s": 5.0, "why": "deleted"}) == "deleted"
