"""Who goes first when a ReplicaSet has too many pods."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.actions import CreateDeployment, MarkForDeletion, Scale
from deployer.clusters.controlplane import api, kubelet
from deployer.clusters.controlplane.controllers import reconcile
from deployer.clusters.controlplane.objects import PodObject, State, UpdateStrategy
from deployer.clusters.controlplane.replicasets import victims

NOW_S = 10_000.0
SHAPE = api.Shape(UpdateStrategy(), grace_s=30.0)


def pod(
    name: str = "pod",
    *,
    node: str | None = "one",
    started_s: float | None = 100.0,
    ready_s: float | None = 110.0,
    cost: int = 0,
    restarts: int = 0,
    created_s: float = 90.0,
    uid: int = 0,
) -> PodObject:
    return PodObject(
        name=name,
        replicaset="rs",
        deployment="chat",
        labels={},
        release="aaaaaa",
        grace_s=30.0,
        created_s=created_s,
        order=0,
        uid=uid,
        node=node,
        started_s=started_s,
        ready=ready_s is not None,
        ready_since_s=ready_s,
        deletion_cost=cost,
        restarts=restarts,
    )


UNASSIGNED = pod("unassigned", node=None, started_s=None, ready_s=None, cost=100)
PENDING = pod("pending", started_s=None, ready_s=None, cost=90)
UNREADY = pod("unready", ready_s=None, cost=80)
CHEAP = pod("cheap", cost=-10)
CROWDED = pod("crowded", node="full")
YOUNG = pod("young", ready_s=NOW_S - 100)
OLD = pod("old", ready_s=NOW_S - 9000)
DEAR = pod("dear", cost=10, ready_s=NOW_S - 1)


def names(pods: list[PodObject]) -> list[str]:
    return [p.name for p in pods]


@given(st.permutations([UNASSIGNED, PENDING, UNREADY, CHEAP, CROWDED, YOUNG, OLD, DEAR]))
def test_each_rule_beats_all_that_follow_it(pods):
    siblings = [*pods, *(replace(CROWDED, name=f"other-{n}", replicaset="rs2") for n in range(8))]
    assert names(victims(pods, siblings, NOW_S)) == [
        "unassigned",
        "pending",
        "unready",
        "cheap",
        "crowded",
        "young",
        "old",
        "dear",
    ]


def test_ready_ages_within_one_power_of_two_count_as_equal_and_the_uid_decides():
    older = pod("older", ready_s=NOW_S - 1000, uid=1)
    younger = pod("younger", ready_s=NOW_S - 700, uid=2)  # 2^39 ns is 550 s, 2^40 ns 1100 s
    assert names(victims([younger, older], [], NOW_S)) == ["older", "younger"]
    assert names(victims([younger, replace(older, uid=3)], [], NOW_S)) == ["younger", "older"]
    assert names(victims([replace(younger, ready_since_s=NOW_S - 500), older], [], NOW_S)) == [
        "younger",
        "older",
    ]


def test_of_pods_ready_in_the_same_second_the_one_with_more_restarts_goes_first_and_then_the_newer():
    calm = pod("calm", ready_s=110.1, created_s=9000.0)
    shaky = pod("shaky", ready_s=110.9, restarts=2)
    assert names(victims([calm, shaky], [], NOW_S)) == ["shaky", "calm"]
    assert names(victims([replace(shaky, restarts=0), calm], [], NOW_S)) == ["calm", "shaky"]


def test_of_unready_pods_the_one_with_more_restarts_goes_first():
    pods = [pod("calm", ready_s=None, created_s=9000.0), pod("shaky", ready_s=None, restarts=1)]
    assert names(victims(pods, [], NOW_S)) == ["shaky", "calm"]


def fleet(nodes: list[str], seed: int = 0, ready_s: float = 1.0) -> State:
    """One Deployment of ready pods on these nodes."""
    state = api.empty("chat", selects_release=True)
    state = api.act(state, CreateDeployment("chat", "aaaaaa", len(nodes)), SHAPE, 0.0)
    state, _ = reconcile(state, 0.0, Random(f"{seed}/victims"))
    for name, node in zip(state.pods, nodes, strict=True):
        state = kubelet.scheduled(state, name, node, 0.1)
        state = kubelet.started(state, name, 0.5)
        state = kubelet.ready(state, name, True, ready_s)
    return state


def scaled(state: State, size: int, now_s: float = NOW_S) -> list[PodObject]:
    """The pods left after a scale-down."""
    state = api.act(state, Scale("chat", size), SHAPE, now_s)
    state, _ = reconcile(state, now_s, Random(0))
    return [p for p in state.pods.values() if not p.terminating]


def test_the_fuller_node_gives_all_because_ranks_are_taken_once():
    left = scaled(fleet(["full"] * 9 + ["other"] * 7), 8)
    assert Counter(p.node for p in left) == {"full": 1, "other": 7}


def test_an_unready_pod_goes_before_one_of_lower_cost():
    state = fleet(["one", "two"] * 8)
    unready, cheap, *_, dear = state.pods
    state = kubelet.ready(state, unready, False, 50.0)
    state = api.act(state, MarkForDeletion({unready: 100, cheap: -10, dear: 100}), SHAPE, 60.0)
    assert unready not in names(scaled(state, 15))
    assert cheap in names(scaled(state, 15))
    assert cheap not in names(scaled(state, 14))
    assert names(scaled(state, 1)) == [dear]


def test_young_pods_go_before_old_ones():
    state = fleet(["one", "two"] * 8)
    young = list(state.pods)[::2]
    for name in young:
        state = kubelet.ready(state, name, False, NOW_S - 20)
        state = kubelet.ready(state, name, True, NOW_S - 10)
    state = api.act(state, MarkForDeletion({}), SHAPE, NOW_S)
    # On one node all, or the nodes' ranks would count first.
    state = replace(state, pods={name: replace(p, node="one") for name, p in state.pods.items()})
    assert not set(young) & set(names(scaled(state, 8)))


def test_equals_are_taken_at_random_and_repeatably():
    nodes = ["one"] * 16
    lefts = {seed: tuple(names(scaled(fleet(nodes, seed), 8))) for seed in range(8)}
    assert lefts == {seed: tuple(names(scaled(fleet(nodes, seed), 8))) for seed in range(8)}
    assert len(set(lefts.values())) == 8


@pytest.mark.parametrize("now_s", [1.0, 1.5])
def test_pods_ready_this_very_second_can_be_ranked(now_s):
    assert len(scaled(fleet(["one"] * 4), 2, now_s)) == 2
