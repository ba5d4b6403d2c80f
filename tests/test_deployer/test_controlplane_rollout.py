"""Roll-outs in the control-plane model, played against a kubelet that starts and stops pods on a schedule."""

from __future__ import annotations

import pytest

from deployer.actions import CreateDeployment, DeleteDeployment, Scale, SetRelease
from deployer.clusters.controlplane.controllers import next_due_s
from deployer.clusters.controlplane.objects import State, UpdateStrategy, UpdateType
from deployer.clusters.controlplane.testing import NEVER, TimedCluster, uneven_starts

RECREATE = UpdateStrategy(UpdateType.RECREATE)


# -- what a real cluster showed (Kubernetes 1.34) ----------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most_live", "least_ready"),
    [
        (4, "25%", "25%", 5, 3),
        (4, "25%", 0, 5, 4),
        (4, 0, 1, 4, 3),
        (16, "25%", "25%", 20, 12),
        (16, 1, 1, 17, 15),
        (16, "25%", 0, 20, 16),
        (16, 0, 1, 16, 15),
    ],
)
def test_a_rolling_update_reaches_the_measured_bounds_and_stays_within(
    replicas, surge, unavailable, most_live, least_ready
):
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, surge, unavailable), replicas, uneven_starts(1))
    totals, readies = [], []

    def note(state: State) -> None:
        live = [p for p in state.pods.values() if not p.terminating]
        totals.append(len(live))
        readies.append(sum(p.ready for p in live))

    world.after = note
    world.do(SetRelease("chat", "bbbbbb"))
    world.rest()
    assert max(totals) == most_live
    assert min(readies) == least_ready
    assert world.live() == ["bbbbbb"] * replicas


def test_roll_outs_go_on_while_all_their_old_pods_still_terminate():
    world = TimedCluster(UpdateStrategy(), 4, stop_s=NEVER)
    for release in ("bbbbbb", "cccccc", "dddddd"):
        world.do(SetRelease("chat", release))
        world.rest()
        assert world.seen.complete
    assert world.live() == ["dddddd"] * 4
    assert len(world.state.pods) == 16


# -- revisions --------------------------------------------------------------------------------------------


def test_a_template_that_returns_takes_its_old_replicaset_as_the_newest_revision():
    world = TimedCluster(UpdateStrategy(), 4)
    (first,) = world.state.replicasets
    world.do(SetRelease("chat", "bbbbbb"))
    world.rest()
    world.do(SetRelease("chat", "aaaaaa"))
    world.rest()
    assert {rs.template.release: rs.revision for rs in world.state.replicasets.values()} == {
        "aaaaaa": 3,
        "bbbbbb": 2,
    }
    assert world.state.replicasets[first].replicas == 4
    assert world.live() == ["aaaaaa"] * 4


def test_a_rollback_in_mid_update_keeps_the_pods_that_are_still_there():
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 1, 0), 4, lambda release: 1.0)
    before = set(world.state.pods)
    world.do(SetRelease("chat", "bbbbbb"))
    world.run(1.5)
    survivors = {p.name for p in world.state.pods.values() if p.name in before and not p.terminating}
    assert len(survivors) == 3
    world.do(SetRelease("chat", "aaaaaa"))
    world.rest()
    assert survivors < set(world.state.pods)
    assert world.live() == ["aaaaaa"] * 4


def test_only_the_newest_ten_old_revisions_are_remembered():
    world = TimedCluster(UpdateStrategy(), 2)
    for number in range(13):
        world.do(SetRelease("chat", f"{number:06x}"))
        world.rest()
    kept = sorted(world.state.replicasets.values(), key=lambda rs: rs.revision)
    assert [rs.template.release for rs in kept] == [f"{n:06x}" for n in range(2, 13)]
    assert [rs.revision for rs in kept] == list(range(4, 15))


# -- a release that never gets ready ----------------------------------------------------------------------


def stuck_world() -> TimedCluster:
    start = {"aaaaaa": 1.0, "bad000": NEVER, "cccccc": 1.0}
    world = TimedCluster(UpdateStrategy(), 8, start.__getitem__)
    world.run(100)
    world.do(SetRelease("chat", "bad000"))
    world.rest()
    return world


def test_an_update_that_never_gets_ready_stops_at_its_bounds():
    world = stuck_world()
    assert world.live() == ["aaaaaa"] * 6 + ["bad000"] * 4
    assert not world.seen.complete
    assert (world.seen.total, world.seen.updated) == (10, 4)
    assert (world.seen.ready, world.seen.updated_ready) == (6, 0)


def test_progress_is_dated_by_the_last_step_that_moved():
    world = stuck_world()
    stopped_s = world.seen.progressed_s
    assert stopped_s == pytest.approx(1101.0, abs=5.0)
    world.run(900)
    world.settle()
    assert world.seen.progressed_s == stopped_s


def test_a_rollback_out_of_a_stuck_update_touches_no_healthy_pod():
    world = stuck_world()
    healthy = {p.name for p in world.state.pods.values() if p.ready}
    world.do(SetRelease("chat", "aaaaaa"))
    world.rest()
    assert healthy < set(world.state.pods)
    assert world.live() == ["aaaaaa"] * 8


def test_the_next_release_clears_the_unhealthy_pods_first():
    world = stuck_world()
    world.do(SetRelease("chat", "cccccc"))
    assert world.live() == ["aaaaaa"] * 6 + ["cccccc"] * 4
    world.rest()
    assert world.live() == ["cccccc"] * 8


def test_progress_moves_with_each_step_and_at_the_end_but_not_when_a_finished_one_is_disturbed():
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 1, 0), 3, lambda release: 1.0)
    assert world.seen.progressed_s == 1001.0  # all ready: complete
    world.run(50)
    world.do(SetRelease("chat", "bbbbbb"))
    steps = {world.seen.progressed_s}
    world.after = lambda state: steps.add(state.deployments["chat"].progressed_s)
    world.rest()
    start_s = min(steps)
    assert steps == {start_s + n for n in range(4)}
    done_s = world.seen.progressed_s
    world.run(50)
    world.delete(next(iter(world.state.pods)))
    world.rest()
    world.do(Scale("chat", 6))
    world.rest()
    assert world.seen.ready == 6
    assert world.seen.progressed_s == done_s


# -- min_ready_s ------------------------------------------------------------------------------------------


def test_a_ready_pod_counts_as_available_only_after_min_ready_s():
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 1, 0), 2, min_ready_s=10.0)
    start_s = world.now_s
    world.do(SetRelease("chat", "bbbbbb"))
    world.run(1.0)
    assert world.live() == ["aaaaaa", "aaaaaa", "bbbbbb"]
    assert world.seen.progressed_s == start_s + 1.0
    assert next_due_s(world.state, world.now_s) == start_s + 11.0
    world.run(9.9)
    assert world.live() == ["aaaaaa", "aaaaaa", "bbbbbb"]
    world.run(0.1)
    assert world.live() == ["aaaaaa", "bbbbbb", "bbbbbb"]
    assert world.seen.progressed_s == start_s + 11.0
    world.rest()
    assert world.live() == ["bbbbbb", "bbbbbb"]
    assert next_due_s(world.state, world.now_s) is None


def test_time_alone_changes_nothing_without_min_ready_s():
    world = TimedCluster(UpdateStrategy(), 2)
    world.do(SetRelease("chat", "bbbbbb"))
    assert next_due_s(world.state, world.now_s) is None


# -- scaling ----------------------------------------------------------------------------------------------


def test_scaling_in_mid_update_shares_the_new_size_out_in_proportion():
    """The example of Kubernetes' own documentation: 10 pods, maxSurge 3, maxUnavailable 2, then 15 wanted."""
    start = {"aaaaaa": 1.0, "bad000": NEVER}
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 3, 2), 10, start.__getitem__)
    world.do(SetRelease("chat", "bad000"))
    world.rest()
    assert world.live() == ["aaaaaa"] * 8 + ["bad000"] * 5
    world.do(Scale("chat", 15))
    assert world.live() == ["aaaaaa"] * 11 + ["bad000"] * 7
    world.do(Scale("chat", 10))
    assert world.live() == ["aaaaaa"] * 8 + ["bad000"] * 5


def test_scaling_in_mid_update_gives_the_leftover_to_the_largest():
    start = {"aaaaaa": 1.0, "bad000": NEVER}
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 1, 1), 4, start.__getitem__)
    world.do(SetRelease("chat", "bad000"))
    world.rest()
    assert world.live() == ["aaaaaa"] * 3 + ["bad000"] * 2
    world.do(Scale("chat", 6))  # 7 over 5: 4.2 and 2.8
    assert world.live() == ["aaaaaa"] * 4 + ["bad000"] * 3
    world.do(Scale("chat", 7))  # 8 over 7: 4.57 and 3.43, the largest first and no more than fits
    assert world.live() == ["aaaaaa"] * 5 + ["bad000"] * 3


def test_scaling_to_nothing_in_mid_update_leaves_nothing_and_comes_back_on_the_new_release():
    world = TimedCluster(UpdateStrategy(UpdateType.ROLLING, 1, 1), 4, uneven_starts(3))
    world.do(SetRelease("chat", "bbbbbb"))
    world.do(Scale("chat", 0))
    assert world.live() == []
    world.do(Scale("chat", 3))
    world.rest()
    assert world.live() == ["bbbbbb"] * 3
    assert world.seen.complete


@pytest.mark.parametrize("size", [0, 1, 3, 9])
def test_a_deployment_at_rest_is_scaled_at_once(size):
    world = TimedCluster(UpdateStrategy(), 4)
    world.do(Scale("chat", size))
    assert len(world.live()) == size


# -- recreate ---------------------------------------------------------------------------------------------


def test_recreate_waits_until_the_last_old_pod_is_really_gone():
    world = TimedCluster(RECREATE, 4, stop_s=7.0)
    world.do(SetRelease("chat", "bbbbbb"))
    assert world.live() == []
    assert {p.why for p in world.state.pods.values()} == {"recreate for bbbbbb"}
    world.run(6.9)
    assert len(world.state.pods) == 4
    assert {p.release for p in world.state.pods.values()} == {"aaaaaa"}
    world.run(0.2)
    assert world.live() == ["bbbbbb"] * 4
    world.rest()
    assert world.seen.complete


def test_recreate_takes_the_old_replicaset_when_a_template_returns():
    world = TimedCluster(RECREATE, 2)
    for release in ("bbbbbb", "aaaaaa"):
        world.do(SetRelease("chat", release))
        world.rest()
    assert {rs.template.release: (rs.revision, rs.replicas) for rs in world.state.replicasets.values()} == {
        "aaaaaa": (3, 2),
        "bbbbbb": (2, 0),
    }


@pytest.mark.parametrize("second", ["bbbbbb", "aaaaaa"])
def test_recreate_progresses_when_old_pods_go_when_new_ones_come_and_when_they_are_ready(second):
    world = TimedCluster(RECREATE, 4, stop_s=7.0)
    world.do(SetRelease("chat", "bbbbbb"))
    world.rest()
    if second == "aaaaaa":
        world.run(3600)
        world.do(SetRelease("chat", second))
        world.rest()
    done_s = world.now_s
    assert world.seen.progressed_s == done_s
    assert world.seen.complete
    world.run(3600)
    steps = set()
    world.after = lambda state: steps.add(state.deployments["chat"].progressed_s - done_s - 3600)
    world.do(SetRelease("chat", "cccccc"))
    world.rest()
    assert steps == {0.0, 7.0, 8.0}


# -- what ends a pod --------------------------------------------------------------------------------------


def test_a_pod_says_what_ended_it():
    world = TimedCluster(UpdateStrategy(), 4, stop_s=NEVER)
    world.delete(next(iter(world.state.pods)))
    world.rest()
    world.do(Scale("chat", 3))
    world.do(SetRelease("chat", "bbbbbb"))
    world.rest()
    world.do(DeleteDeployment("chat"))
    whys = [p.why for p in world.state.pods.values() if p.terminating]
    assert sorted(whys) == sorted(
        ["test", "scale-down", *["rollout to bbbbbb"] * 3, *["deployment deleted"] * 3]
    )


def test_a_deleted_pod_of_a_live_deployment_is_replaced():
    world = TimedCluster(UpdateStrategy(), 4)
    victim = next(iter(world.state.pods))
    world.delete(victim)
    assert len(world.live()) == 4
    assert world.seen.ready == 3
    world.rest()
    assert victim not in world.state.pods
    assert world.seen.ready == 4


def test_a_deleted_deployment_takes_its_replicasets_and_pods_along():
    world = TimedCluster(UpdateStrategy(), 4)
    world.do(SetRelease("chat", "bbbbbb"))
    world.do(DeleteDeployment("chat"))
    assert (world.state.deployments, world.state.replicasets) == ({}, {})
    assert world.live() == []
    world.rest()
    assert world.state.pods == {}


def test_a_new_deployment_of_a_deleted_ones_name_inherits_no_pod():
    world = TimedCluster(UpdateStrategy(), 4)
    before = set(world.state.pods)
    world.do(DeleteDeployment("chat"), CreateDeployment("chat", "aaaaaa", 2, own_release=False))
    live = {p.name for p in world.state.pods.values() if not p.terminating}
    assert len(live) == 2
    assert not live & before
    assert world.seen.total == 2
