"""Which pods new connections reach, and what becomes of established ones, in every world."""

import pytest

from deployer.actions import CreateDeployment, DeleteDeployment, Scale, Select
from deployer.fleet import PodState
from tests.worlds.stage import APP, A, B, Refused, named, ready

ROUTES_S = 3.0  # kube-proxy's sync and what comes before it, with room


def test_the_switch_moves_new_connections_and_keeps_established_ones(staged):
    stage = staged(selects_release=True)
    stage.begin(A)
    old = [stage.connected() for _ in range(12)]
    stage.act(CreateDeployment(f"{APP}-{B}", B, 2))
    stage.wait("the new release is ready", lambda fleet: len(ready(fleet)) == 4)
    assert {stage.connected().release for _ in range(6)} == {A}
    stage.act(Select(B))
    stage.connected(lambda connection: connection.release == B)
    stage.pass_time(ROUTES_S)
    assert {stage.connected().release for _ in range(12)} == {B}
    assert all(connection.is_open for connection in old)
    fleet = stage.observe()
    assert fleet.selected == B
    assert fleet.selected_since_s is not None


def test_what_is_selected_before_it_is_ready_serves_nobody_until_then(staged):
    stage = staged(selects_release=True, bad={B: "never_ready"})
    stage.begin(A)
    stage.act(CreateDeployment(f"{APP}-{B}", B, 2))
    stage.act(Select(B))
    stage.pass_time(ROUTES_S)
    with pytest.raises(Refused):
        stage.connect()
    stage.act(Select(A))
    assert stage.connected().release == A


def test_new_pods_get_connections_only_once_they_are_ready(staged):
    stage = staged(replicas=1)
    stage.begin(A)
    stage.act(Scale(APP, 3))
    pods = set()
    while len(pods) < 3:
        pod = stage.connected().pod
        pods.add(pod)
        assert named(stage.observe(), pod).state is PodState.READY


def test_a_service_with_terminating_pods_only_still_serves(staged):
    stage = staged(replicas=2, grace_s=60.0, on_sigterm="hold", linger_s=50.0)
    stage.begin(A)
    stage.act(DeleteDeployment(APP))
    stage.wait("all are terminating", lambda fleet: not ready(fleet) and fleet.pods)
    pod = stage.connect().pod
    assert named(stage.observe(), pod).state is PodState.TERMINATING


def test_a_service_without_endpoints_lets_nobody_in(staged):
    stage = staged(replicas=1, linger_s=0.0)
    stage.begin(A)
    stage.act(Scale(APP, 0))
    stage.wait("no pod is left", lambda fleet: not fleet.pods)
    stage.pass_time(ROUTES_S)
    with pytest.raises(Refused):
        stage.connect()
