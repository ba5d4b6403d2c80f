"""The journal of what a controller did."""

import json

import pytest

from deployer.actions import MarkForDeletion, Select, Settle
from deployer.fleet import Decision, Outcome, Verdict
from deployer.journal import JsonlJournal, MemoryJournal, read_journal


def verdict(decision=Decision.KEEP, reason="7 connections are open", release="aaaaaa"):
    return Verdict(release, "chat-aaaaaa", decision, reason, {"open": 7, "note": None})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def test_an_action_is_a_line_with_its_name_reason_and_fields(path):
    JsonlJournal(path).action(12.5, Select("aaaaaa", slot="blue", because="ready"))
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "t_s": 12.5,
        "action": "Select",
        "reason": "ready",
        "fields": {"release": "aaaaaa", "slot": "blue"},
    }


def test_mappings_and_enums_are_plain_json(path):
    journal = JsonlJournal(path)
    journal.action(1, MarkForDeletion({"pod": -1}))
    journal.action(2, Settle(3, Outcome.DONE))
    assert [e["fields"] for e in read_journal(path)] == [
        {"costs": {"pod": -1}},
        {"deploy": 3, "outcome": "done"},
    ]


@pytest.mark.parametrize("make", [lambda path: JsonlJournal(path), lambda path: MemoryJournal()])
def test_a_verdict_is_kept_when_more_than_its_numbers_changed(path, make):
    journal = make(path)
    said = [
        verdict(),
        verdict(reason="6 connections are open"),
        verdict(reason="no connection is open"),
        verdict(Decision.DRAINED, "no connection is open"),
        verdict(Decision.DRAINED, "no connection is open", release="bbbbbb"),
    ]
    for t_s, v in enumerate(said):
        journal.verdict(t_s, v)
    if isinstance(journal, MemoryJournal):
        kept = [t_s for t_s, _ in journal.verdicts]
    else:
        kept = [entry["t_s"] for entry in read_journal(path)]
    assert kept == [0, 2, 3, 4]


def test_a_journal_that_is_opened_again_doubles_no_verdict(path):
    JsonlJournal(path).verdict(1, verdict())
    again = JsonlJournal(path)
    again.verdict(2, verdict())
    again.verdict(3, verdict(Decision.OVERDUE))
    assert [(e["t_s"], e["verdict"]) for e in read_journal(path)] == [(1, "keep"), (3, "overdue")]


def test_a_line_that_a_kill_tore_is_left_out_and_spoils_no_other(path):
    JsonlJournal(path).action(1, Select("aaaaaa"))
    with path.open("a") as file:
        file.write('{"t_s": 2, "acti')
    JsonlJournal(path).action(3, Select("bbbbbb"))
    assert [e["t_s"] for e in read_journal(path)] == [1, 3]


def test_evidence_is_kept_as_it_is(path):
    JsonlJournal(path).verdict(1, verdict())
    (entry,) = read_journal(path)
    assert entry["evidence"] == {"open": 7, "note": None}
