"""What became of each deploy, told from a journal."""

import pytest

from deployer.actions import Action, Block, CreateDeployment, Select, SetRelease
from deployer.fleet import Decision, Kind, Outcome, Request, Verdict
from deployer.history import PodSpan, deploy_rows


def request(deploy, release, at_s, outcome=Outcome.DONE, settled_s=None, kind=Kind.DEPLOY) -> Request:
    return Request(deploy, release, kind, at_s, outcome, "", settled_s)


def verdict(release, decision=Decision.DRAINED) -> Verdict:
    return Verdict(release, f"chat-{release}", decision, "")


INITIAL = request(0, "aaa", 0.0, settled_s=2.0, kind=Kind.INITIAL)
FIRST: list[tuple[float, Action]] = [
    (0.1, CreateDeployment("chat-aaa", "aaa", 2)),
    (2.0, Select("aaa")),
]


def told(requests, actions, verdicts=(), pods=(), selects_release=True):
    return deploy_rows(requests, actions, verdicts, pods, selects_release)


def test_a_deploy_tells_when_the_release_that_it_replaced_had_drained_and_was_gone():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, settled_s=13.0)],
        [*FIRST, (10.1, CreateDeployment("chat-bbb", "bbb", 2)), (13.0, Select("bbb"))],
        [(14.0, verdict("aaa", Decision.KEEP)), (50.0, verdict("aaa")), (51.0, verdict("aaa"))],
        [PodSpan("aaa", 0.1, 52.0), PodSpan("aaa", 0.1, 53.0), PodSpan("bbb", 10.1, None)],
    )
    assert (row.t_requested_s, row.t_selected_s, row.waited_s) == (10.0, 13.0, 0.0)
    assert (row.t_drained_s, row.t_deleted_s, row.outcome) == (50.0, 53.0, Outcome.DONE)


def test_the_initial_release_replaces_nothing():
    (row,) = told([INITIAL], FIRST, (), [PodSpan("aaa", 0.1, None)])
    assert (row.kind, row.t_selected_s, row.t_drained_s, row.t_deleted_s) == (Kind.INITIAL, 2.0, None, None)


def test_a_release_that_is_overdue_never_drained():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, settled_s=13.0)],
        [*FIRST, (10.1, CreateDeployment("chat-bbb", "bbb", 2)), (13.0, Select("bbb"))],
        [(50.0, verdict("aaa", Decision.OVERDUE))],
        [PodSpan("aaa", 0.1, 53.0)],
    )
    assert (row.t_drained_s, row.t_deleted_s) == (None, 53.0)


def test_a_release_with_a_pod_left_is_not_deleted():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, settled_s=13.0)],
        [*FIRST, (13.0, Select("bbb"))],
        (),
        [PodSpan("aaa", 0.1, 53.0), PodSpan("aaa", 0.1, None)],
    )
    assert row.t_deleted_s is None


def test_what_a_rollback_selects_again_has_neither_drained_nor_gone_before():
    """aaa → bbb → aaa → ccc: each aaa is told apart."""
    rows = told(
        [
            INITIAL,
            request(1, "bbb", 10.0, settled_s=13.0),
            request(2, "aaa", 20.0, settled_s=20.0, kind=Kind.ROLLBACK),
            request(3, "ccc", 30.0, settled_s=33.0),
        ],
        [*FIRST, (13.0, Select("bbb")), (20.0, Select("aaa")), (33.0, Select("ccc"))],
        [(25.0, verdict("bbb")), (60.0, verdict("aaa"))],
        [PodSpan("aaa", 0.1, 62.0), PodSpan("bbb", 10.1, 27.0), PodSpan("ccc", 30.1, None)],
    )
    assert [row.t_selected_s for row in rows] == [2.0, 13.0, 20.0, 33.0]
    assert [row.t_drained_s for row in rows] == [None, None, 25.0, 60.0]
    assert [row.t_deleted_s for row in rows] == [None, None, 27.0, 62.0]


def test_a_deploy_that_had_to_wait_says_how_long():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, settled_s=63.0)],
        [
            *FIRST,
            (10.1, Block(1, "chat-blue still drains", drop=False)),
            (60.0, SetRelease("chat-blue", "bbb")),
            (63.0, Select("bbb", slot="blue")),
        ],
    )
    assert (row.waited_s, row.outcome) == (50.0, Outcome.DONE)


def test_a_deploy_that_still_waits_at_the_end_is_blocked():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, outcome=None)],
        [*FIRST, (10.1, Block(1, "chat-blue still drains", drop=False))],
    )
    assert (row.waited_s, row.t_selected_s, row.outcome) == (None, None, Outcome.BLOCKED)
    assert row.reason == "chat-blue still drains"


def test_a_deploy_that_is_under_way_at_the_end_has_no_outcome():
    _, row = told(
        [INITIAL, request(1, "bbb", 10.0, outcome=None)],
        [*FIRST, (10.1, CreateDeployment("chat-bbb", "bbb", 2))],
    )
    assert (row.waited_s, row.t_selected_s, row.outcome) == (0.0, None, None)


def test_who_was_superseded_is_not_taken_for_the_release_that_was_selected_later():
    rows = told(
        [
            INITIAL,
            request(1, "bbb", 10.0, outcome=Outcome.SUPERSEDED, settled_s=11.0),
            request(2, "ccc", 11.0, settled_s=14.0),
        ],
        [
            *FIRST,
            (10.1, CreateDeployment("chat-bbb", "bbb", 2)),
            (11.1, CreateDeployment("chat-ccc", "ccc", 2)),
            (14.0, Select("ccc")),
        ],
        [(30.0, verdict("aaa"))],
    )
    assert [row.t_selected_s for row in rows] == [2.0, None, 14.0]
    assert rows[2].t_drained_s == 30.0


def test_a_deploy_of_what_is_selected_anyway_is_done_and_replaces_nothing():
    _, row = told(
        [INITIAL, request(1, "aaa", 10.0, settled_s=10.2)],
        FIRST,
        [(30.0, verdict("aaa"))],
        [PodSpan("aaa", 0.1, None)],
    )
    assert (row.t_selected_s, row.t_drained_s, row.t_deleted_s) == (10.2, None, None)


@pytest.mark.parametrize(("gone_s", "drained_s"), [(9.0, 12.0), (40.0, 40.0)])
def test_one_deployment_has_drained_when_its_last_old_pod_is_gone(gone_s, drained_s):
    """But not before the roll-out is complete: that is its moment of selection."""
    _, row = told(
        [INITIAL, request(1, "bbb", 5.0, settled_s=12.0)],
        [(0.1, CreateDeployment("chat", "aaa", 1)), (5.1, SetRelease("chat", "bbb"))],
        (),
        [PodSpan("aaa", 0.1, gone_s), PodSpan("bbb", 5.2, None)],
        selects_release=False,
    )
    assert (row.t_selected_s, row.t_drained_s, row.t_deleted_s) == (12.0, drained_s, drained_s)
