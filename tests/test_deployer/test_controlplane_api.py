"""Writes to the control-plane model: what they write, and that they may be repeated."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.actions import (
    Action,
    Annotate,
    Block,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    MarkForDeletion,
    NotifyDeselected,
    Refuse,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.clusters.controlplane import api, kubelet, requests
from deployer.clusters.controlplane.controllers import reconcile
from deployer.clusters.controlplane.objects import (
    PodObject,
    RejectedError,
    StartPod,
    State,
    StopPod,
    UpdateStrategy,
    UpdateType,
)
from deployer.fleet import DESELECTED_AT, RELEASE_LABEL, SLOT_LABEL, Fleet, Kind, Limits, Outcome, Request

SHAPE = api.Shape(
    UpdateStrategy(UpdateType.ROLLING, 1, 0), grace_s=45.0, min_ready_s=3.0, progress_deadline_s=60.0
)
EMPTY = api.empty("chat", selects_release=True)


def act(state: State, *actions: Action, now_s: float = 5.0) -> State:
    for action in actions:
        state = api.act(state, action, SHAPE, now_s)
    return state


def with_pods(count: int = 2) -> State:
    state, _ = reconcile(act(EMPTY, CreateDeployment("d", "aaaaaa", count)), 5.0, Random(0))
    return state


def running(state: State) -> State:
    for name in state.pods:
        state = kubelet.started(kubelet.scheduled(state, name, "one", 6.0), name, 7.0)
    return state


# -- Deployments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own_release", "slot", "identity"),
    [
        (True, None, {"app": "chat", RELEASE_LABEL: "aaaaaa"}),
        (False, "3", {"app": "chat", SLOT_LABEL: "3"}),
        (False, None, {"app": "chat"}),
    ],
)
def test_match_labels_hold_the_app_and_the_deployments_own_identity(own_release, slot, identity):
    state = act(EMPTY, CreateDeployment("d", "aaaaaa", 2, own_release, slot))
    assert state.deployments["d"].match_labels == identity
    state, _ = reconcile(state, 5.0, Random(0))
    for pod in state.pods.values():
        assert pod.labels == {**identity, RELEASE_LABEL: "aaaaaa"}


def test_a_deployment_is_made_in_the_apps_shape():
    made = act(EMPTY, CreateDeployment("d", "aaaaaa", 2)).deployments["d"]
    assert (made.strategy, made.min_ready_s, made.progress_deadline_s) == (SHAPE.update, 3.0, 60.0)
    assert (made.template.grace_s, made.replicas) == (45.0, 2)
    assert (made.created_s, made.progressed_s) == (5.0, 5.0)


def test_a_deployment_that_selects_its_release_cannot_take_another():
    state = act(EMPTY, CreateDeployment("d", "aaaaaa", 2))
    assert act(state, SetRelease("d", "aaaaaa")) is state
    with pytest.raises(RejectedError, match=r"d selects release aaaaaa for good and cannot take bbbbbb"):
        act(state, SetRelease("d", "bbbbbb"))


def test_a_negative_size_is_refused_by_name_and_bound():
    with pytest.raises(RejectedError, match=r"replicas=-1 of Deployment d must be >= 0"):
        act(EMPTY, CreateDeployment("d", "aaaaaa", -1))
    with pytest.raises(RejectedError, match=r"replicas=-2 of Deployment d must be >= 0"):
        act(with_pods(), Scale("d", -2))


def test_new_pods_are_ordered_from_the_kubelet_once():
    state = act(EMPTY, CreateDeployment("d", "aaaaaa", 3))
    state, orders = reconcile(state, 5.0, Random(0))
    assert orders == tuple(StartPod(name) for name in state.pods)
    assert [p.order for p in state.pods.values()] == [0, 1, 2]
    assert reconcile(state, 5.0, Random(0)) == (state, ())


# -- the Service ------------------------------------------------------------------------------------------


def test_a_one_deployment_service_selects_the_app_and_any_other_nothing_at_first():
    assert api.empty("chat", selects_release=False).service.selector == {"app": "chat"}
    assert EMPTY.service.selector == {}


def test_select_writes_selector_and_time_in_one_write():
    state = act(EMPTY, Select("aaaaaa", slot="2"), now_s=7.0)
    assert state.service.selector == {"app": "chat", RELEASE_LABEL: "aaaaaa", SLOT_LABEL: "2"}
    assert state.service.selected_since_s == 7.0
    assert state.version == EMPTY.version + 1
    assert act(state, Select("aaaaaa", slot="2"), now_s=9.0) is state
    assert act(state, Select("bbbbbb"), now_s=9.0).service.selected_since_s == 9.0


# -- repeating, and what is not there ---------------------------------------------------------------------

WRITES: list[Action] = [
    CreateDeployment("d", "bbbbbb", 7),
    CreateDeployment("new", "bbbbbb", 7),
    SetRelease("one", "bbbbbb"),
    Scale("d", 5),
    Select("aaaaaa"),
    DeleteDeployment("d"),
    Annotate("d", DESELECTED_AT, "12.5"),
    Annotate("d", DESELECTED_AT, None),
    Settle(0, Outcome.DONE, "all ready"),
    Settle(1, Outcome.SUPERSEDED),
    Block(0, "slot 3 still drains"),
    Block(0, "slot 3 still drains", drop=False),
    Refuse(1, "no room"),
    MarkForDeletion({next(iter(with_pods().pods)): -5, "gone": 1}),
    NotifyDeselected(("p",)),
    CloseConnections(("p",), 5.0),
    LookAgain(99.0),
]
ABSENT: list[Action] = [
    SetRelease("gone", "bbbbbb"),
    Scale("gone", 5),
    DeleteDeployment("gone"),
    Annotate("gone", DESELECTED_AT, "12.5"),
    Settle(9, Outcome.DONE),
    Block(9, "x"),
    Refuse(9, "x"),
    MarkForDeletion({"gone": 1}),
    NotifyDeselected(("p",)),
    CloseConnections(("p",), 5.0),
    LookAgain(99.0),
]


def busy_state() -> State:
    state = act(with_pods(), CreateDeployment("one", "aaaaaa", 1, own_release=False))
    state, _ = api.request(state, "aaaaaa", Kind.INITIAL, 1.0)
    state, _ = api.request(state, "bbbbbb", Kind.DEPLOY, 2.0)
    return state


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WRITES), max_size=6), st.sampled_from(WRITES))
def test_an_action_carried_out_again_changes_nothing(before, action):
    state = act(busy_state(), *before)
    once = act(state, action, now_s=8.0)
    assert act(once, action, now_s=9.0) is once
    assert once is state or once.version == state.version + 1


@pytest.mark.parametrize("action", ABSENT, ids=lambda a: type(a).__name__)
def test_an_action_on_what_is_not_there_changes_nothing(action):
    state = busy_state()
    assert act(state, action) is state


def test_deletion_costs_are_written_on_pods():
    state = with_pods()
    first, second = state.pods
    state = act(state, MarkForDeletion({first: 3, second: -3}))
    assert [p.deletion_cost for p in state.pods.values()] == [3, -3]


def test_annotations_are_written_and_removed():
    state = act(with_pods(), Annotate("d", "a", "1"), Annotate("d", "b", "2"), Annotate("d", "a", None))
    assert state.deployments["d"].annotations == {"b": "2"}


# -- deleting a pod ---------------------------------------------------------------------------------------


def test_a_deleted_pod_terminates_with_its_own_grace_or_the_one_given():
    state = running(with_pods())
    first, second = state.pods
    state, orders = api.delete_pod(state, first, 9.0, why="drill")
    assert orders == (StopPod(first, 45.0),)
    assert (state.pods[first].deleted_s, state.pods[first].why) == (9.0, "drill")
    state, orders = api.delete_pod(state, second, 9.0, grace_s=600.0)
    assert orders == (StopPod(second, 600.0),)


def test_a_grace_once_started_cannot_be_changed():
    state, _ = api.delete_pod(running(with_pods()), "gone", 9.0)
    first = next(iter(state.pods))
    state, _ = api.delete_pod(state, first, 9.0)
    assert api.delete_pod(state, first, 10.0, grace_s=1.0) == (state, ())


def test_force_removes_the_object_and_leaves_the_process_its_grace():
    state = running(with_pods())
    first, second = state.pods
    state, _ = api.delete_pod(state, second, 9.0)
    state, orders = api.delete_pod(state, second, 10.0, grace_s=0)
    assert orders == ()
    state, orders = api.delete_pod(state, first, 10.0, grace_s=0)
    assert orders == (StopPod(first, 2.0),)
    assert state.pods == {}


def test_a_pod_without_a_node_has_no_grace():
    state = with_pods()
    first = next(iter(state.pods))
    assert api.delete_pod(state, first, 9.0)[1] == (StopPod(first, 0.0),)
    _, orders = reconcile(act(state, DeleteDeployment("d")), 9.0, Random(0))
    assert set(orders) == {StopPod(name, 0.0) for name in state.pods}


def test_a_negative_grace_is_refused():
    state = with_pods()
    first = next(iter(state.pods))
    with pytest.raises(RejectedError, match=r"grace_s=-1 .* must be >= 0"):
        api.delete_pod(state, first, 9.0, grace_s=-1)


# -- requests ---------------------------------------------------------------------------------------------


def test_requests_are_numbered_from_nought_and_kept_on_the_service():
    state, first = api.request(EMPTY, "aaaaaa", Kind.INITIAL, 1.0)
    state, second = api.request(state, "bbbbbb", Kind.DEPLOY, 2.5)
    assert (first, second) == (0, 1)
    assert requests.REQUESTS in state.service.annotations
    assert api.requests_of(state) == (
        Request(0, "aaaaaa", Kind.INITIAL, 1.0),
        Request(1, "bbbbbb", Kind.DEPLOY, 2.5),
    )


def test_outcomes_are_written_with_reason_and_time():
    state, _ = api.request(EMPTY, "aaaaaa", Kind.INITIAL, 1.0)
    for release in ("bbbbbb", "cccccc", "dddddd", "eeeeee"):
        state, _ = api.request(state, release, Kind.DEPLOY, 2.0)
    state = act(
        state,
        Settle(0, Outcome.DONE, "ready"),
        Refuse(1, "no room"),
        Block(2, "drains", drop=False),
        Block(3, "drains"),
        Settle(4, Outcome.SUPERSEDED),
        now_s=8.0,
    )
    assert [(r.outcome, r.reason, r.settled_s) for r in api.requests_of(state)] == [
        (Outcome.DONE, "ready", 8.0),
        (Outcome.REFUSED, "no room", 8.0),
        (None, "drains", None),
        (Outcome.BLOCKED, "drains", 8.0),
        (Outcome.SUPERSEDED, "", 8.0),
    ]


def test_the_first_outcome_stands():
    state, _ = api.request(EMPTY, "aaaaaa", Kind.INITIAL, 1.0)
    state = act(state, Settle(0, Outcome.DONE), now_s=8.0)
    assert act(state, Settle(0, Outcome.FAILED), Refuse(0, "x"), Block(0, "x"), now_s=9.0) is state


def test_old_settled_requests_are_forgotten_but_neither_open_ones_nor_the_goal_nor_the_numbering():
    state, _ = api.request(EMPTY, "aaaaaa", Kind.INITIAL, 1.0)
    state = act(state, Settle(0, Outcome.DONE))
    state, waiting = api.request(state, "bbbbbb", Kind.DEPLOY, 2.0)
    for _ in range(60):
        state, number = api.request(state, "cccccc", Kind.DEPLOY, 3.0)
        state = act(state, Block(number, "x"))
    kept = [r.deploy for r in api.requests_of(state)]
    assert kept == [0, waiting, *range(12, 62)]
    state = act(state, Settle(waiting, Outcome.SUPERSEDED))
    goal = Fleet("chat", Limits(1), api.requests_of(state)).goal
    assert goal is not None
    assert goal.release == "aaaaaa"
    assert api.request(state, "dddddd", Kind.DEPLOY, 4.0)[1] == 62


@given(
    st.lists(
        st.builds(
            Request,
            st.just(0),
            st.text("0123456789abcdef", min_size=6, max_size=6),
            st.sampled_from(Kind),
            st.floats(0, 2e9),
            st.none() | st.sampled_from(Outcome),
            st.text(max_size=20),
            st.none() | st.floats(0, 2e9),
        ),
        max_size=30,
    )
)
def test_requests_survive_their_text(made):
    numbered = tuple(replace(r, deploy=n) for n, r in enumerate(made))
    assert requests.read(requests.write(numbered)) == numbered


@pytest.mark.parametrize("text", ["{", "7", "[7]", '[{"deploy":1}]', '[{"x":1}]', '[{"deploy":"x"}]'])
def test_an_annotation_that_is_no_list_of_requests_is_named_with_the_way_out(text):
    with pytest.raises(RejectedError, match=r"drainbow.dev/requests holds no list of requests .*; remove it"):
        requests.read(text)


# -- reports of the kubelet -------------------------------------------------------------------------------


def test_a_pods_life_as_the_kubelet_reports_it():
    state = with_pods(1)
    (name,) = state.pods

    def pod() -> PodObject:
        return state.pods[name]

    state = kubelet.scheduled(state, name, "one", 6.0)
    assert (pod().node, pod().scheduled_s) == ("one", 6.0)
    state = kubelet.started(state, name, 7.0)
    assert pod().started_s == 7.0
    state = kubelet.ready(state, name, True, 8.0)
    assert (pod().ready, pod().ready_since_s, pod().was_ready) == (True, 8.0, True)
    state = kubelet.restarted(state, name, 9.0)
    assert (pod().ready, pod().ready_since_s, pod().was_ready) == (False, None, True)
    assert (pod().restarts, pod().started_s) == (1, 9.0)
    state = kubelet.ready(state, name, True, 10.0)
    assert pod().ready_since_s == 10.0
    state = kubelet.gone(state, name, 11.0)
    assert state.pods == {}


def test_a_report_that_says_nothing_new_changes_nothing():
    state = running(with_pods(1))
    (name,) = state.pods
    state = kubelet.ready(state, name, True, 8.0)
    assert kubelet.ready(state, name, True, 9.0) is state
    assert kubelet.started(state, name, 9.0) is state
    assert kubelet.scheduled(state, name, "two", 9.0) is state


def test_a_report_on_a_pod_that_is_gone_changes_nothing():
    state = with_pods(1)
    assert kubelet.scheduled(state, "gone", "one", 6.0) is state
    assert kubelet.started(state, "gone", 6.0) is state
    assert kubelet.ready(state, "gone", True, 6.0) is state
    assert kubelet.restarted(state, "gone", 6.0) is state
    assert kubelet.gone(state, "gone", 6.0) is state
