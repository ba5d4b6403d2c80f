"""What the Service routes to, when the routes follow, and what a deployer sees."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.actions import Annotate, CreateDeployment, Scale, Select, SetRelease
from deployer.clusters.controlplane import api, kubelet
from deployer.clusters.controlplane.controllers import reconcile
from deployer.clusters.controlplane.endpoints import Endpoints, backends, endpoints, next_sync_s
from deployer.clusters.controlplane.objects import State, UpdateStrategy, UpdateType
from deployer.clusters.controlplane.view import fleet_of
from deployer.fleet import Kind, Limits, PodState

SHAPE = api.Shape(UpdateStrategy(UpdateType.ROLLING, 1, 0), grace_s=30.0)
LIMITS = Limits(replicas=3)


def settle(state: State, now_s: float) -> State:
    return reconcile(state, now_s, Random(0))[0]


def all_ready(state: State, now_s: float) -> State:
    for name in state.pods:
        state = kubelet.started(kubelet.scheduled(state, name, "one", now_s), name, now_s)
        state = kubelet.ready(state, name, True, now_s)
    return settle(state, now_s)


def two_releases() -> State:
    state = api.empty("chat", selects_release=True)
    for release in ("aaaaaa", "bbbbbb"):
        state = api.act(state, CreateDeployment(f"chat-{release}", release, 3), SHAPE, 1.0)
    return all_ready(settle(state, 1.0), 2.0)


def pods_of(state: State, release: str) -> tuple[str, ...]:
    return tuple(p.name for p in state.pods.values() if p.release == release)


# -- endpoints --------------------------------------------------------------------------------------------


def test_a_service_that_selects_nothing_has_no_endpoints():
    assert endpoints(two_releases()) == Endpoints((), ())


def test_the_selected_releases_ready_pods_are_the_endpoints():
    state = api.act(two_releases(), Select("bbbbbb"), SHAPE, 3.0)
    b = pods_of(state, "bbbbbb")
    assert endpoints(state) == Endpoints(b, ())
    state = kubelet.ready(state, b[0], False, 4.0)
    assert endpoints(state).ready == b[1:]


def test_a_slot_that_runs_another_release_is_not_selected():
    state = api.empty("chat", selects_release=True)
    create = CreateDeployment("slot-0", "aaaaaa", 2, own_release=False, slot="0")
    state = all_ready(settle(api.act(state, create, SHAPE, 1.0), 1.0), 2.0)
    assert len(endpoints(api.act(state, Select("aaaaaa", "0"), SHAPE, 3.0)).ready) == 2
    assert endpoints(api.act(state, Select("bbbbbb", "0"), SHAPE, 3.0)).ready == ()
    assert endpoints(api.act(state, Select("aaaaaa", "1"), SHAPE, 3.0)).ready == ()


def test_terminating_pods_serve_only_while_no_other_is_ready():
    state = api.act(two_releases(), Select("aaaaaa"), SHAPE, 3.0)
    a = pods_of(state, "aaaaaa")
    for name in a[:2]:
        state, _ = api.delete_pod(state, name, 4.0)
    assert endpoints(state) == Endpoints(ready=a[2:], serving=a[:2])
    assert backends(endpoints(state)) == a[2:]
    state, _ = api.delete_pod(state, a[2], 4.0)
    assert backends(endpoints(state)) == a


def test_a_terminating_pod_whose_probe_fails_serves_no_more():
    state = api.act(two_releases(), Select("aaaaaa"), SHAPE, 3.0)
    a = pods_of(state, "aaaaaa")
    for name in a:
        state, _ = api.delete_pod(state, name, 4.0)
    state = kubelet.ready(state, a[0], False, 5.0)
    assert backends(endpoints(state)) == a[1:]
    for name in a:
        state = kubelet.gone(state, name, 6.0)
    assert backends(endpoints(state)) == ()


@pytest.mark.parametrize(
    ("changed_s", "last_sync_s", "period_s", "latency_s", "expected"),
    [
        (10.0, float("-inf"), 1.0, 0.07, 10.07),  # the first change ever
        (10.0, 5.0, 1.0, 0.07, 10.07),  # quiet
        (10.0, 9.6, 1.0, 0.07, 10.6),  # a sync was 0.4 s ago
        (10.0, 9.05, 1.0, 0.07, 10.07),  # the period ends within the latency
        (10.0, 10.0, 1.0, 0.07, 11.0),
        (10.0, 9.6, 0.0, 0.07, 10.0),  # no minimum period: at once
    ],
)
def test_routes_follow_after_the_latency_but_no_sooner_than_one_period_after_the_last_sync(
    changed_s, last_sync_s, period_s, latency_s, expected
):
    assert next_sync_s(changed_s, last_sync_s, period_s, latency_s) == pytest.approx(expected)


@given(st.floats(0, 1e6), st.floats(0, 10), st.floats(0, 10), st.floats(0, 2))
def test_routes_never_lag_by_more_than_latency_or_period(changed_s, quiet_s, period_s, latency_s):
    at_s = next_sync_s(changed_s, changed_s - quiet_s, period_s, latency_s)
    assert changed_s <= at_s <= changed_s + max(period_s, latency_s)


# -- the fleet --------------------------------------------------------------------------------------------


def test_the_selected_release_is_seen_with_slot_and_time():
    state = two_releases()
    fleet = fleet_of(state, LIMITS)
    assert (fleet.selected, fleet.selected_slot, fleet.selected_since_s) == (None, None, None)
    fleet = fleet_of(api.act(state, Select("bbbbbb", "4"), SHAPE, 3.0), LIMITS)
    assert (fleet.selected, fleet.selected_slot, fleet.selected_since_s) == ("bbbbbb", "4", 3.0)


def test_a_service_that_selects_the_whole_app_selects_no_release():
    fleet = fleet_of(api.empty("chat", selects_release=False), LIMITS)
    assert (fleet.app, fleet.selected, fleet.limits) == ("chat", None, LIMITS)


def test_each_pod_has_the_state_and_the_release_of_its_own():
    state = api.empty("chat", selects_release=False)
    state = api.act(state, CreateDeployment("chat", "aaaaaa", 5, own_release=False), SHAPE, 1.0)
    state = settle(state, 1.0)
    pending, starting, ready, unready, leaving = state.pods
    for name in (starting, ready, unready, leaving):
        state = kubelet.scheduled(state, name, "one", 2.0)
    for name in (ready, unready, leaving):
        state = kubelet.ready(kubelet.started(state, name, 2.0), name, True, 3.0)
    state = kubelet.ready(state, unready, False, 4.0)
    state, _ = api.delete_pod(state, leaving, 5.0)
    state = api.act(state, SetRelease("chat", "bbbbbb"), SHAPE, 5.0)
    fleet = fleet_of(state, LIMITS)
    assert {p.name: p.state for p in fleet.pods} == {
        pending: PodState.PENDING,
        starting: PodState.STARTING,
        ready: PodState.READY,
        unready: PodState.UNREADY,
        leaving: PodState.TERMINATING,
    }
    assert {p.release for p in fleet.pods} == {"aaaaaa"}
    assert {p.name: p.terminating_since_s for p in fleet.pods if p.terminating_since_s} == {leaving: 5.0}
    assert {p.name: p.ready_since_s for p in fleet.pods}[ready] == 3.0


def test_deployments_are_counted_as_kubernetes_does_without_terminating_pods():
    state = api.empty("chat", selects_release=False)
    state = api.act(state, CreateDeployment("chat", "aaaaaa", 3, own_release=False), SHAPE, 1.0)
    state = all_ready(settle(state, 1.0), 2.0)
    state = settle(api.act(state, SetRelease("chat", "bbbbbb"), SHAPE, 3.0), 3.0)
    seen = fleet_of(state, LIMITS).deployments["chat"]
    assert (seen.release, seen.desired) == ("bbbbbb", 3)
    assert (seen.total, seen.updated, seen.ready, seen.updated_ready) == (4, 1, 3, 0)
    assert not seen.complete
    state = all_ready(state, 4.0)  # the new pod is ready, an old one terminates, the next is made
    seen = fleet_of(state, LIMITS).deployments["chat"]
    assert (seen.total, seen.updated, seen.ready, seen.updated_ready) == (4, 2, 3, 1)
    assert len(fleet_of(state, LIMITS).pods) == 5
    assert (seen.created_s, seen.progressed_s) == (1.0, 4.0)


def test_a_scaled_deployment_shows_the_wanted_number_at_once():
    state = api.act(two_releases(), Scale("chat-aaaaaa", 9), SHAPE, 3.0)
    assert fleet_of(state, LIMITS).deployments["chat-aaaaaa"].desired == 9


def test_slots_annotations_and_requests_are_seen():
    state = api.empty("chat", selects_release=True)
    create = CreateDeployment("slot-0", "aaaaaa", 2, own_release=False, slot="0")
    state = api.act(state, create, SHAPE, 1.0)
    state = api.act(state, Annotate("slot-0", "k", "2.5"), SHAPE, 1.0)
    state, _ = api.request(state, "aaaaaa", Kind.INITIAL, 1.0)
    fleet = fleet_of(state, LIMITS)
    assert fleet.deployments["slot-0"].slot == "0"
    assert float(fleet.deployments["slot-0"].annotations["k"]) == 2.5
    assert fleet.wanted == "aaaaaa"
