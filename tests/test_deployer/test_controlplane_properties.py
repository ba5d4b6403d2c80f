"""What holds of every roll-out in the control-plane model, and that one seed gives one course."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.actions import DeleteDeployment, Scale, SetRelease
from deployer.clusters.controlplane.controllers import next_due_s, reconcile
from deployer.clusters.controlplane.objects import State, UpdateStrategy, UpdateType
from deployer.clusters.controlplane.rollout import bounds
from deployer.clusters.controlplane.testing import TimedCluster, uneven_starts

RECREATE = UpdateStrategy(UpdateType.RECREATE)


# -- properties -------------------------------------------------------------------------------------------

bound = st.one_of(st.integers(0, 6), st.integers(0, 120).map(lambda n: f"{n}%"))
rolling = st.builds(UpdateStrategy, st.just(UpdateType.ROLLING), bound, bound)
releases = st.sampled_from(["aaaaaa", "bbbbbb", "cccccc", "dddddd"])
waits_s = st.sampled_from([0.0, 0.3, 1.0, 2.0, 5.0, 20.0])
seeds = st.integers(0, 2**32 - 1)


def check_rest(world: TimedCluster, release: str, replicas: int) -> None:
    """Everything has ended, and all wanted pods are there and of the last release."""
    assert world.live() == [release] * replicas
    assert len(world.state.pods) == replicas
    assert world.seen.complete
    assert next_due_s(world.state, world.now_s) is None
    assert reconcile(world.state, world.now_s, world.rng) == (world.state, ())


@settings(max_examples=60, deadline=None)
@given(rolling, st.integers(1, 12), st.lists(st.tuples(waits_s, releases), min_size=1, max_size=6), seeds)
def test_rolling_updates_keep_both_bounds_at_every_step_and_end_complete(update, replicas, deploys, seed):
    world = TimedCluster(update, replicas, uneven_starts(seed), seed=seed)
    surge, unavailable = bounds(update, replicas)

    def check(state: State) -> None:
        live = [p for p in state.pods.values() if not p.terminating]
        assert len(live) <= replicas + surge
        assert sum(p.ready for p in live) >= replicas - unavailable

    world.after = check
    for wait_s, release in deploys:
        world.run(wait_s)
        world.do(SetRelease("chat", release))
    world.rest()
    check_rest(world, deploys[-1][1], replicas)


step = st.one_of(
    st.builds(lambda r: SetRelease("chat", r), releases),
    st.builds(lambda n: Scale("chat", n), st.integers(0, 12)),
    st.integers(0, 99),  # deletes a pod
)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(rolling, st.just(RECREATE)),
    st.lists(st.tuples(waits_s, step), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.0, 1.5]),
    seeds,
)
def test_whatever_happens_surge_is_kept_and_the_end_is_complete(update, steps, min_ready_s, seed):
    world = TimedCluster(update, 5, uneven_starts(seed), min_ready_s=min_ready_s, seed=seed)
    release, replicas = "aaaaaa", 5

    def check(state: State) -> None:
        surge, _ = bounds(update, replicas)
        live = [p for p in state.pods.values() if not p.terminating]
        assert len(live) <= replicas + surge
        if update.type is UpdateType.RECREATE:
            assert len({p.release for p in state.pods.values()}) <= 1

    world.after = check
    for wait_s, what in steps:
        world.run(wait_s)
        if isinstance(what, int):
            if world.state.pods:
                world.delete(sorted(world.state.pods)[what % len(world.state.pods)])
            continue
        if isinstance(what, Scale):
            replicas = what.replicas
        else:
            release = what.release
        world.do(what)
    world.rest()
    check_rest(world, release, replicas)


# -- purity and determinism -------------------------------------------------------------------------------


def played(seed: int) -> tuple[TimedCluster, list[str]]:
    world = TimedCluster(UpdateStrategy(), 16, uneven_starts(0), seed=seed)
    ended: list[str] = []
    world.after = lambda state: ended.extend(
        p.name for p in state.pods.values() if p.terminating and p.name not in ended
    )
    world.run(3600)
    world.do(SetRelease("chat", "bbbbbb"))
    world.rest()
    return world, ended


def test_one_seed_gives_one_course():
    (one, one_ended), (other, other_ended) = played(7), played(7)
    assert one.state == other.state
    assert one_ended == other_ended


def test_another_seed_takes_other_pods_first():
    assert played(7)[1] != played(8)[1]


def test_a_state_is_never_changed_in_place():
    world = TimedCluster(UpdateStrategy(), 4)
    before, kept = world.state, copy.deepcopy(world.state)
    world.do(SetRelease("chat", "bbbbbb"), Scale("chat", 6))
    world.rest()
    world.do(DeleteDeployment("chat"))
    assert before == kept
    assert world.state.version > before.version
