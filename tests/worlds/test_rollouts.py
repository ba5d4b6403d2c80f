"""How a Deployment replaces its pods, in every world."""

import pytest

from deployer.actions import CreateDeployment, DeleteDeployment, MarkForDeletion, Scale, SetRelease
from deployer.clusters.controlplane.objects import UpdateStrategy, UpdateType
from tests.worlds.stage import APP, A, B, C, is_complete, live, named, ready, terminating


def replicaset_of(pod):
    return pod.name.rsplit("-", 1)[0]


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "least"), [(1, 0, 5, 4), (0, 1, 4, 3), ("25%", "25%", 5, 3)]
)
def test_a_rolling_update_keeps_its_bounds(staged, surge, unavailable, most, least):
    stage = staged(update=UpdateStrategy(max_surge=surge, max_unavailable=unavailable), replicas=4)
    stage.begin(A)
    before = len(stage.frames)
    stage.act(SetRelease(APP, B))
    stage.rolled_out(B)
    seen = stage.frames[before:]
    assert max(len(live(fleet)) for fleet in seen) <= most
    assert min(len(ready(fleet)) for fleet in seen) >= least
    assert {pod.release for pod in live(stage.observe())} == {B}


def test_recreate_creates_no_pod_before_the_last_old_one_is_gone(staged):
    stage = staged(update=UpdateStrategy(UpdateType.RECREATE), replicas=3)
    stage.begin(A)
    before = len(stage.frames)
    stage.act(SetRelease(APP, B))
    stage.rolled_out(B)
    assert all(len({pod.release for pod in fleet.pods}) <= 1 for fleet in stage.frames[before:])


def test_terminating_pods_stand_outside_max_surge(staged):
    stage = staged(
        update=UpdateStrategy(max_surge=1, max_unavailable=0), replicas=2, grace_s=3600.0, on_sigterm="hold"
    )
    stage.begin(A)
    kept = [stage.connected() for _ in range(8)]
    for release in (B, C):
        stage.act(SetRelease(APP, release))
        stage.rolled_out(release)
        kept += [stage.connected(lambda c, release=release: c.release == release) for _ in range(4)]
    fleet = stage.observe()
    assert len(live(fleet)) == 2
    assert {pod.release for pod in terminating(fleet)} == {A, B}
    assert len(fleet.pods) > 3  # replicas and surge
    assert all(connection.is_open for connection in kept)


def test_a_roll_out_back_takes_the_old_replicaset(staged):
    stage = staged(update=UpdateStrategy(max_surge="100%", max_unavailable=0))
    stage.begin(A)
    first = {replicaset_of(pod) for pod in live(stage.observe())}
    stage.act(SetRelease(APP, B))
    stage.rolled_out(B)
    second = {replicaset_of(pod) for pod in live(stage.observe())}
    stage.act(SetRelease(APP, A))
    stage.rolled_out(A)
    assert {replicaset_of(pod) for pod in live(stage.observe())} == first
    assert first.isdisjoint(second)


def test_the_roll_out_of_a_release_that_is_never_ready_leaves_the_old_pods_alone(staged):
    stage = staged(
        update=UpdateStrategy(max_surge=1, max_unavailable=0), bad={B: "never_ready"}, linger_s=0.0
    )
    stage.begin(A)
    old = {pod.name for pod in live(stage.observe())}
    stage.act(SetRelease(APP, B))
    stage.wait("the new pod runs", lambda fleet: any(pod.release == B and pod.node for pod in fleet.pods))
    stage.pass_time(5.0)
    fleet = stage.observe()
    assert {pod.name for pod in ready(fleet)} == old
    assert len(live(fleet)) == 3
    assert not is_complete(fleet, APP, B)


def test_a_new_pod_counts_only_after_min_ready(staged):
    stage = staged(update=UpdateStrategy(max_surge=1, max_unavailable=0), replicas=1, min_ready_s=4.0)
    stage.begin(A)
    (old,) = live(stage.observe())
    stage.act(SetRelease(APP, B))
    stage.wait("the old pod is terminating", lambda fleet: old.name not in {p.name for p in live(fleet)})
    (new,) = live(stage.observe())
    assert stage.now_s - new.ready_since_s >= 3.0  # Kubernetes counts from a time in whole seconds, cut off


def test_scale_down_takes_the_pods_that_are_marked_as_cheapest(staged):
    stage = staged(replicas=4)
    stage.begin(A)
    names = sorted(pod.name for pod in live(stage.observe()))
    stage.act(MarkForDeletion({names[0]: 100, names[1]: -10, names[2]: 50, names[3]: -20}))
    stage.wait("the marks are read back", lambda fleet: named(fleet, names[3]).deletion_cost == -20)
    stage.act(Scale(APP, 2))
    stage.wait("two are left", lambda fleet: len(live(fleet)) == 2)
    assert {pod.name for pod in live(stage.observe())} == {names[0], names[2]}


def test_scale_down_takes_a_pod_that_is_not_ready_before_the_cheapest(staged):
    stage = staged(update=UpdateStrategy(max_surge=2, max_unavailable=0), replicas=2, bad={B: "never_ready"})
    stage.act(CreateDeployment(APP, B, 2, own_release=False))
    stage.wait("the unready pods run", lambda fleet: sum(pod.node is not None for pod in fleet.pods) == 2)
    dear, cheap = sorted(pod.name for pod in live(stage.observe()))
    stage.act(MarkForDeletion({cheap: -100, dear: 100}))
    stage.act(Scale(APP, 1))
    stage.wait("one is left", lambda fleet: len(live(fleet)) == 1)
    assert [pod.name for pod in live(stage.observe())] == [dear]


def test_a_deleted_pod_is_replaced(staged):
    stage = staged()
    stage.begin(A)
    victim = live(stage.observe())[0].name
    stage.delete_pod(victim)
    stage.wait(
        "there are two again",
        lambda fleet: len(ready(fleet)) == 2 and victim not in {pod.name for pod in ready(fleet)},
    )
    stage.gone(victim)


def test_deleting_a_deployment_takes_its_pods_and_no_others(staged):
    stage = staged(selects_release=True)
    stage.begin(A)
    stage.act(CreateDeployment(f"{APP}-{B}", B, 2))
    stage.wait("both are ready", lambda fleet: len(ready(fleet)) == 4)
    kept = {pod.name for pod in live(stage.observe()) if pod.release == A}
    stage.act(DeleteDeployment(f"{APP}-{B}"))
    stage.act(DeleteDeployment(f"{APP}-{B}"))
    stage.wait("its pods are gone", lambda fleet: {pod.name for pod in fleet.pods} == kept)
    assert set(stage.observe().deployments) == {f"{APP}-{A}"}


def test_a_deployment_made_anew_inherits_nothing(staged):
    stage = staged(selects_release=True, linger_s=0.0)
    stage.begin(A)
    old = {pod.name for pod in stage.observe().pods}
    stage.act(DeleteDeployment(f"{APP}-{A}"))
    stage.act(CreateDeployment(f"{APP}-{A}", A, 2))
    stage.wait(
        "the new ones are ready", lambda fleet: len([p for p in ready(fleet) if p.name not in old]) == 2
    )
    for pod in old:
        stage.gone(pod)
