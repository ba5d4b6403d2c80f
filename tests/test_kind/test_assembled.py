"""What a record tells of deploys where the cluster did not answer at the end."""

from __future__ import annotations

from deployer.actions import Block, Refuse, Settle
from deployer.fleet import Fleet, Kind, Limits, Outcome, Request
from deployer.journal import JsonlJournal
from scenarios.assemble import read_lines, tables_of
from scenarios.real import Raw
from scenarios.worlds import Harvest


def deploys_of(tmp_path, *actions):
    """Table `deploys` of a run whose cluster was last seen with three open requests, before these actions."""
    journal = JsonlJournal(tmp_path / "deployer.jsonl")
    for action in actions:
        journal.action(120.0, action)
    requests = (
        Request(0, "aaaaaa", Kind.INITIAL, 90.0, Outcome.DONE, "aaaaaa serves", 95.0),
        Request(1, "bbbbbb", Kind.DEPLOY, 110.0),
        Request(2, "cccccc", Kind.DEPLOY, 115.0),
    )
    seen = Fleet(app="chat", limits=Limits(replicas=2), requests=requests)
    harvest = Harvest(actions=read_lines(tmp_path / "deployer.jsonl"), last=seen)
    raw = Raw(100.0, 200.0, False, harvest, ())
    return tables_of(raw, True, "full")["deploys"].rows(named=True)


def test_requests_that_nobody_settled_are_open(tmp_path):
    rows = deploys_of(tmp_path)
    assert [row["outcome"] for row in rows] == ["done", None, None]
    assert [row["t_requested_s"] for row in rows] == [-10.0, 10.0, 15.0]


def test_what_the_deployer_did_after_the_cluster_was_last_seen_is_known_from_its_journal(tmp_path):
    rows = deploys_of(tmp_path, Settle(1, Outcome.SUPERSEDED, "cccccc was asked for"), Refuse(2, "no room"))
    assert [(row["outcome"], row["reason"]) for row in rows[1:]] == [
        ("superseded", "cccccc was asked for"),
        ("refused", "no room"),
    ]


def test_a_deploy_that_only_waited_is_open_and_one_that_was_dropped_is_blocked(tmp_path):
    rows = deploys_of(tmp_path, Block(1, "it still drains", drop=True), Settle(0, Outcome.FAILED, "too late"))
    assert [row["outcome"] for row in rows] == ["done", "blocked", None]
