"""One place's state machine, step by step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from scipy import stats

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How, Reason
from loadgen.behaviour.backoff import Backoff, Immediate
from loadgen.behaviour.backoff import Fixed as EverySoOften
from loadgen.behaviour.mailroom import Mailroom
from loadgen.behaviour.place import Connect, Leave, OutOfOrderError, Phase, Place, Send, Step
from loadgen.behaviour.sessions import Empirical, Forever, Weibull
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams

TEN_S = Empirical((10.0,))  # every fresh session; residual lives are uniform on 0 … 10 s
QUIET = Behaviour(Fixed(1), TEN_S, EverySoOften(1.0), messages_per_min=0.0)


def place(behaviour: Behaviour = QUIET, index: int = 0, zero_s: float | None = 0.0, **more: bool) -> Place:
    return Place(index, behaviour, Streams(7), Mailroom(), zero_s=zero_s, **more)


def log_in(one: Place, t_s: float) -> None:
    one.connected(t_s)
    one.opened(t_s, "abc123", "pod-1")
    one.ready(t_s)


def rows(steps: list[Step]) -> list[Attempt]:
    return [step for step in steps if isinstance(step, Attempt)]


def connects(steps: list[Step]) -> list[Connect]:
    return [step for step in steps if isinstance(step, Connect)]


def test_a_session_is_one_row_and_then_the_next_user_comes() -> None:
    one = place()
    assert one.begin(1.0) == [Connect(0, "u0-0", 1, Reason.ARRIVAL, 1.0)]
    assert one.connected(1.1) == one.opened(1.2, "abc123", "pod-1") == one.ready(1.3) == []
    assert one.due_s == one.end_s == 11.0
    leave, row, arrival = one.due(11.0)
    assert leave == Leave(0)
    assert row == Attempt(
        "u0-0", 1, Reason.ARRIVAL, 1.0, 1.2, 1.3, 11.0, "abc123", "pod-1", ClosedBy.USER, None, None, 0, 0,
        t_end_s=11.0,
    )  # fmt: skip
    assert arrival == Connect(0, "u0-1", 1, Reason.ARRIVAL, 11.0)


def test_who_leaves_for_good_is_not_replaced() -> None:
    one = place(replaced=False)
    one.begin(1.0)
    log_in(one, 1.0)
    assert connects(one.due(11.0)) == []
    assert (one.phase, one.due_s) == (Phase.VACANT, math.inf)


def test_a_forced_close_does_not_move_the_sessions_end() -> None:
    one = place()
    one.begin(0.0)
    log_in(one, 0.0)
    [lost] = one.lost(4.0, ClosedBy.SERVER, How.CLOSE_FRAME, 1012)
    assert isinstance(lost, Attempt)
    assert (lost.closed_by, lost.close_code, lost.t_close_s, lost.forced) == (
        ClosedBy.SERVER,
        1012,
        4.0,
        True,
    )
    assert one.due(5.0) == [Connect(0, "u0-0", 2, Reason.RECONNECT, 5.0)]
    log_in(one, 5.0)
    assert one.end_s == 10.0
    assert [row.t_close_s for row in rows(one.due(10.0))] == [10.0]


def test_who_reaches_the_end_while_waiting_leaves_without_a_row() -> None:
    one = place(replace(QUIET, reconnect=EverySoOften(20.0)))
    one.begin(0.0)
    log_in(one, 0.0)
    one.lost(4.0, ClosedBy.NETWORK, How.EOF)
    assert one.due_s == 10.0
    assert one.due(10.0) == [Connect(0, "u0-1", 1, Reason.ARRIVAL, 10.0)]


def test_who_reaches_the_end_while_connecting_drops_the_attempt() -> None:
    one = place(replace(QUIET, connect_timeout_s=60.0))
    one.begin(0.0)
    one.connected(0.1)
    leave, row, arrival = one.due(10.0)
    assert leave == Leave(0)
    assert isinstance(row, Attempt)
    assert (row.closed_by, row.failure, row.t_open_s) == (ClosedBy.USER, None, None)
    assert isinstance(arrival, Connect)
    assert arrival.user == "u0-1"


def test_a_first_session_lasts_for_a_residual_life_from_time_zero() -> None:
    residual_s = TEN_S.residual(Random("7/session/0"))
    one = place(zero_s=None)
    one.begin(-5.0)
    log_in(one, -5.0)
    assert one.due_s == math.inf
    one.zero(0.0)
    assert one.end_s == residual_s
    [_leave, _row, arrival] = one.due(residual_s)
    assert isinstance(arrival, Connect)
    log_in(one, residual_s)
    assert one.end_s == residual_s + 10.0


def test_time_zero_may_lie_ahead_or_behind() -> None:
    ahead, behind = place(zero_s=None), place(zero_s=None)
    for one, zero_s in ((ahead, 3.0), (behind, -3.0)):
        one.begin(-5.0)
        log_in(one, -4.0)
        one.zero(zero_s)
    assert ahead.end_s - behind.end_s == pytest.approx(6.0)


def test_every_world_gives_the_same_occupant_the_same_session() -> None:
    behaviour = replace(QUIET, session=Weibull(22.0, 4.0), reconnect=Backoff())

    def ends(trouble: Callable[[Place, float], None]) -> list[float]:
        one, found = place(behaviour, index=3, zero_s=None), []
        one.begin(-1.0)
        log_in(one, -1.0)
        one.zero(0.0)
        came_s = 0.0
        for _ in range(5):
            trouble(one, came_s)
            found.append(one.end_s - came_s)
            came_s = one.end_s
            one.due(came_s)
            if one.phase is Phase.CONNECTING:
                log_in(one, came_s)
        return found

    def cut(one: Place, t_s: float) -> None:
        one.lost(t_s, ClosedBy.NETWORK, How.RESET)

    assert ends(cut) == pytest.approx(ends(lambda one, t_s: None))


def test_retries_follow_the_policy_from_the_moment_of_each_failure() -> None:
    one = place(replace(QUIET, session=Forever(), reconnect=Backoff(1.0, 60.0, "none")))
    one.begin(0.0)
    log_in(one, 0.0)
    one.lost(2.0, ClosedBy.POD_GONE)
    for sent_s, attempt, fails_s in ((3.0, 2, 3.5), (5.5, 3, 6.0), (10.0, 4, 10.5)):
        assert one.due_s == sent_s
        assert one.due(sent_s) == [Connect(0, "u0-0", attempt, Reason.RECONNECT, sent_s)]
        [row] = one.failed(fails_s, Failure.REFUSED)
        assert isinstance(row, Attempt)
        assert (row.failure, row.closed_by, row.t_close_s) == (
            Failure.REFUSED,
            ClosedBy.NEVER_OPENED,
            fails_s,
        )
    assert one.due_s == 18.5


def test_a_login_resets_the_backoff_and_the_attempts_count_on() -> None:
    one = place(replace(QUIET, session=Forever(), reconnect=Backoff(1.0, 60.0, "none")))
    one.begin(0.0)
    one.failed(0.0, Failure.REFUSED)
    assert one.due_s == 1.0
    one.due(1.0)
    one.failed(1.0, Failure.REFUSED)
    assert one.due_s == 3.0
    [again] = one.due(3.0)
    assert again == Connect(0, "u0-0", 3, Reason.ARRIVAL, 3.0)
    log_in(one, 3.0)
    one.lost(4.0, ClosedBy.SERVER)
    assert one.due_s == 5.0
    assert one.due(5.0) == [Connect(0, "u0-0", 4, Reason.RECONNECT, 5.0)]


def test_immediate_retries_at_once_in_the_same_step() -> None:
    one = place(replace(QUIET, session=Forever(), reconnect=Immediate()))
    one.begin(0.0)
    log_in(one, 0.0)
    _lost, again = one.lost(2.0, ClosedBy.SERVER)
    assert again == Connect(0, "u0-0", 2, Reason.RECONNECT, 2.0)
    one.failed(2.0, Failure.REFUSED)
    assert one.due_s == pytest.approx(2.1)


def test_who_gives_up_after_so_many_attempts_is_replaced_at_once() -> None:
    one = place(replace(QUIET, session=Forever(), reconnect=EverySoOften(1.0, give_up=3)))
    one.begin(0.0)
    one.failed(0.0, Failure.REFUSED)
    one.due(1.0)
    one.failed(1.0, Failure.REFUSED)
    one.due(2.0)
    assert connects(one.failed(2.5, Failure.REFUSED)) == [Connect(0, "u0-1", 1, Reason.ARRIVAL, 2.5)]


def test_a_loser_has_as_many_attempts_as_an_arrival_before_it_gives_up() -> None:
    one = place(replace(QUIET, session=Forever(), reconnect=EverySoOften(1.0, give_up=2)))
    one.begin(0.0)
    log_in(one, 0.0)
    one.lost(1.0, ClosedBy.SERVER)
    one.due(2.0)
    assert connects(one.failed(2.0, Failure.REFUSED)) == []
    one.due(3.0)
    assert [step.user for step in connects(one.failed(3.0, Failure.REFUSED))] == ["u0-1"]


@pytest.mark.parametrize(
    ("progress", "failure", "closed_by", "at_s"),
    [
        ((), Failure.CONNECT_TIMEOUT, ClosedBy.NEVER_OPENED, 10.0),
        (("connected",), Failure.HANDSHAKE, ClosedBy.NEVER_OPENED, 14.0),
        (("connected", "opened"), Failure.LOGIN, ClosedBy.USER, 14.0),
    ],
)
def test_timeouts_run_twice_and_name_how_far_it_came(
    progress: tuple[str, ...], failure: Failure, closed_by: ClosedBy, at_s: float
) -> None:
    one = place(replace(QUIET, session=Forever()))
    one.begin(0.0)
    if "connected" in progress:
        one.connected(4.0)
    if "opened" in progress:
        one.opened(6.0, "abc123", "pod-1")
    assert one.due_s == at_s
    leave, row = one.due(at_s)
    assert leave == Leave(0)
    assert isinstance(row, Attempt)
    assert (row.failure, row.closed_by, row.how, row.t_close_s) == (failure, closed_by, How.TIMEOUT, at_s)
    assert one.due_s == at_s + 1.0


@pytest.mark.parametrize(
    ("progress", "failure", "closed_by"),
    [
        (0, Failure.REFUSED, ClosedBy.NEVER_OPENED),
        (1, Failure.HANDSHAKE, ClosedBy.NEVER_OPENED),
        (2, Failure.LOGIN, ClosedBy.NETWORK),
        (3, None, ClosedBy.NETWORK),
    ],
)
def test_a_loss_on_the_way_in_is_a_failure_of_its_phase(
    progress: int, failure: Failure | None, closed_by: ClosedBy
) -> None:
    one = place()
    one.begin(0.0)
    if progress > 0:
        one.connected(0.1)
    if progress > 1:
        one.opened(0.2, "abc123", "pod-1")
    if progress > 2:
        one.ready(0.3)
    [row] = rows(one.lost(1.0, ClosedBy.NETWORK, How.RESET))
    assert (row.failure, row.closed_by, row.how) == (failure, closed_by, How.RESET)
    assert row.forced is (progress >= 2)


def test_a_reason_is_arrival_until_a_connection_opened() -> None:
    one = place()
    one.begin(0.0)
    one.failed(0.0, Failure.REFUSED)
    assert [step.reason for step in connects(one.due(1.0))] == [Reason.ARRIVAL]
    one.connected(1.0)
    one.opened(1.0, "abc123", "pod-1")
    one.lost(1.0, ClosedBy.SERVER)
    assert [step.reason for step in connects(one.due(2.0))] == [Reason.RECONNECT]


def test_a_late_driver_changes_no_moment_that_was_wanted() -> None:
    one = place()
    one.begin(0.0)
    log_in(one, 0.0)
    steps = one.due(10.7)
    assert [row.t_close_s for row in rows(steps)] == [10.0]
    assert [step.at_s for step in connects(steps)] == [10.0]
    assert one.due_s == 20.0  # the session's end
    early = place(replace(QUIET, session=Forever()))
    early.begin_s = 0.0
    early.due(5.0)
    assert early.due_s == 15.0  # but nobody times out for the driver's delay


def test_a_session_that_was_over_before_its_login_was_seen_closes_no_earlier_than_it_opened() -> None:
    one = place()
    one.begin(0.0)
    one.connected(0.0)
    one.opened(0.0, "abc123", "pod-1")
    [_leave, row, arrival] = one.ready(10.5)
    assert isinstance(row, Attempt)
    assert (row.t_ready_s, row.t_close_s) == (10.5, 10.5)
    assert arrival == Connect(0, "u0-1", 1, Reason.ARRIVAL, 10.0)


@pytest.mark.parametrize("progress", [0, 1, 2, 3])
def test_the_runs_end_censors_what_is_open_or_under_way(progress: int) -> None:
    one = place()
    one.begin(0.0)
    for step in (lambda: one.connected(1.0), lambda: one.opened(2.0, "r", "p"), lambda: one.ready(3.0))[
        :progress
    ]:
        step()
    [row] = rows(one.end(5.0))
    assert (row.closed_by, row.t_close_s, row.failure) == (ClosedBy.RUN_END, None, None)
    assert one.due_s == math.inf


def test_the_runs_end_says_nothing_of_who_is_offline() -> None:
    one = place()
    one.begin(0.0)
    one.failed(0.0, Failure.REFUSED)
    assert one.end(0.5) == []


def test_a_place_that_goes_takes_its_user_along() -> None:
    one = place()
    one.begin(0.0)
    log_in(one, 0.0)
    leave, row = one.leave(4.0)
    assert leave == Leave(0)
    assert isinstance(row, Attempt)
    assert (row.closed_by, row.t_close_s) == (ClosedBy.USER, 4.0)
    assert one.due_s == math.inf


def test_messages_come_at_exponential_gaps_to_others_only() -> None:
    mail = Mailroom()
    behaviour = replace(QUIET, session=Forever(), messages_per_min=6.0)
    one, other = (Place(index, behaviour, Streams(7), mail, zero_s=0.0) for index in (0, 1))
    for who in (one, other):
        who.begin(0.0)
        log_in(who, 0.0)
    sent: list[Send] = []
    while len(sent) < 1000:
        sent += [step for step in one.due(one.due_s) if isinstance(step, Send)]
    assert {(step.place, step.to_place, step.to_user) for step in sent} == {(0, 1, "u1-0")}
    assert len({step.message for step in sent}) == 1000
    gaps = [later.at_s - sooner.at_s for sooner, later in itertools.pairwise(sent)]
    assert stats.kstest(gaps, stats.expon(scale=10.0).cdf).pvalue > 0.01


def test_who_is_offline_says_nothing() -> None:
    mail = Mailroom()
    behaviour = replace(QUIET, session=Forever(), messages_per_min=600.0, reconnect=EverySoOften(50.0))
    one, other = (Place(index, behaviour, Streams(7), mail, zero_s=0.0) for index in (0, 1))
    for who in (one, other):
        who.begin(0.0)
        log_in(who, 0.0)
    one.lost(1.0, ClosedBy.NETWORK)
    assert one.due_s == 51.0


EVENTS: dict[str, Callable[[Place], object]] = {
    "connected": lambda one: one.connected(0.0),
    "opened": lambda one: one.opened(0.0, "r", "p"),
    "ready": lambda one: one.ready(0.0),
    "failed": lambda one: one.failed(0.0, Failure.REFUSED),
    "lost": lambda one: one.lost(0.0, ClosedBy.NETWORK),
    "begin": lambda one: one.begin(0.0),
    "zero": lambda one: one.zero(0.0),
}
LEGAL = {
    0: {"connected", "failed", "lost"},
    1: {"opened", "failed", "lost"},
    2: {"ready", "failed", "lost"},
    3: {"lost"},
}


@pytest.mark.parametrize("progress", LEGAL)
@pytest.mark.parametrize("event", EVENTS)
def test_what_cannot_happen_is_refused_with_place_and_phase(progress: int, event: str) -> None:
    one = place()
    one.begin(0.0)
    for done in ("connected", "opened", "ready")[:progress]:
        EVENTS[done](one)
    if event in LEGAL[progress]:
        EVENTS[event](one)
    else:
        with pytest.raises(OutOfOrderError, match=rf"place 0.*{one.phase.value}"):
            EVENTS[event](one)


def test_the_last_attempt_that_the_policy_allows_is_marked_as_giving_up() -> None:
    one = place(replace(QUIET, reconnect=Immediate(give_up=2)), replaced=False)
    one.begin(1.0)
    first = one.failed(1.0, Failure.REFUSED)
    last = one.failed(1.2, Failure.REFUSED)
    assert [row.gave_up for row in rows([*first, *last])] == [False, True]
