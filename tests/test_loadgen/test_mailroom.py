"""Which messages count as lost."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from loadgen.behaviour.attempts import Attempt, ClosedBy, Reason
from loadgen.behaviour.mailroom import Line, Mailroom


def row(user: str, attempt: int, t_close_s: float | None) -> Attempt:
    return Attempt(
        user, attempt, Reason.ARRIVAL, 0.0, 0.0, 0.0, t_close_s, "r", "p", ClosedBy.NETWORK, None, None, 0, 0
    )  # fmt: skip


@pytest.fixture
def mail() -> Mailroom:
    return Mailroom()


@pytest.fixture
def ann(mail: Mailroom) -> Line:
    return mail.login(0, "ann", 1)


@pytest.fixture
def bob(mail: Mailroom) -> Line:
    return mail.login(1, "bob", 1)


def out(mail: Mailroom, line: Line, t_s: float, cut: bool) -> list[Attempt]:
    return mail.logout(line, row(line.user, line.attempt, t_s), t_s, cut)


def test_what_arrives_is_not_lost(mail: Mailroom, ann: Line, bob: Line) -> None:
    message = mail.send(ann, bob, 1.0)
    assert mail.received(message, 1.25) == 0.25
    assert mail.received(message, 1.5) is None
    [done] = out(mail, ann, 2.0, cut=True)
    assert (done.messages_sent, done.messages_lost) == (1, 0)


def test_a_message_is_lost_if_the_addressee_was_cut(mail: Mailroom, ann: Line, bob: Line) -> None:
    mail.send(ann, bob, 1.0)
    assert [r.messages_lost for r in out(mail, bob, 1.5, cut=True)] == [0]
    assert mail.due_s == 6.5
    assert mail.due(6.5) == []
    [done] = out(mail, ann, 10.0, cut=False)
    assert (done.messages_sent, done.messages_lost) == (1, 1)


def test_a_message_is_lost_if_the_sender_was_cut_and_its_row_waits_to_know(
    mail: Mailroom, ann: Line, bob: Line
) -> None:
    mail.send(ann, bob, 1.0)
    assert out(mail, ann, 1.5, cut=True) == []
    assert mail.due(6.4) == []
    [done] = mail.due(6.5)
    assert (done.user, done.messages_sent, done.messages_lost) == ("ann", 1, 1)


def test_a_message_that_arrives_after_the_cut_is_not_lost(mail: Mailroom, ann: Line, bob: Line) -> None:
    message = mail.send(ann, bob, 1.0)
    assert out(mail, ann, 1.5, cut=True) == []
    assert mail.received(message, 2.0) == 1.0
    [done] = mail.due(2.0)
    assert done.messages_lost == 0


def test_a_message_to_an_addressee_who_left_is_not_lost(mail: Mailroom, ann: Line, bob: Line) -> None:
    mail.send(ann, bob, 1.0)
    out(mail, bob, 1.5, cut=False)
    [done] = out(mail, ann, 2.0, cut=True)
    assert (done.messages_sent, done.messages_lost) == (1, 0)


def test_a_message_of_a_sender_who_left_is_lost_only_with_its_addressee(
    mail: Mailroom, ann: Line, bob: Line
) -> None:
    carl = mail.login(2, "carl", 1)
    mail.send(ann, bob, 1.0)
    mail.send(ann, carl, 1.0)
    assert out(mail, ann, 1.5, cut=False) == []
    out(mail, bob, 2.0, cut=True)
    assert mail.due(6.9) == []
    [done] = mail.due(7.0)
    assert (done.messages_sent, done.messages_lost) == (2, 1)


def test_the_last_seconds_of_a_run_lose_nothing(mail: Mailroom, ann: Line, bob: Line) -> None:
    mail.send(ann, bob, 1.0)
    mail.send(ann, bob, 8.0)
    out(mail, bob, 9.0, cut=True)
    assert out(mail, ann, 10.0, cut=False) == []
    [done] = mail.end(10.0)
    assert (done.messages_sent, done.messages_lost) == (2, 1)


def test_a_message_that_the_server_drops_between_two_who_stay_is_not_lost(
    mail: Mailroom, ann: Line, bob: Line
) -> None:
    mail.send(ann, bob, 1.0)
    assert out(mail, ann, 30.0, cut=False) == []
    [done] = mail.end(60.0)
    assert done.messages_lost == 0


def test_addressees_are_the_others_who_are_online_each_with_the_same_chance(mail: Mailroom) -> None:
    lines = [mail.login(place, f"u{place}", 1) for place in range(5)]
    out(mail, lines[1], 1.0, cut=False)
    rng = Random(3)
    chosen = Counter(found.user for _ in range(3000) if (found := mail.someone_else(lines[4], rng)))
    assert set(chosen) == {"u0", "u2", "u3"}
    assert min(chosen.values()) > 900
    assert mail.online == 4


def test_who_is_alone_has_nobody_to_talk_to(mail: Mailroom, ann: Line) -> None:
    rng = Random(1)
    before = rng.getstate()
    assert mail.someone_else(ann, rng) is None
    assert rng.getstate() == before
