"""How many pods a bound is, and how a new size is shared out over revisions."""

from __future__ import annotations

import pytest

from deployer.clusters.controlplane.objects import (
    DeploymentObject,
    DeploymentStatus,
    PodTemplate,
    RejectedError,
    ReplicaSetObject,
    UpdateStrategy,
    UpdateType,
)
from deployer.clusters.controlplane.rollout import bounds, shares


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 3, (1, 0)),  # surge up, unavailable down
        ("25%", "25%", 5, (2, 1)),
        ("25%", "25%", 1, (1, 0)),
        ("25%", "25%", 16, (4, 4)),
        ("30%", "30%", 10, (3, 3)),  # no floating-point crumbs
        (0, 0, 4, (0, 1)),  # neither would never move
        (0, "10%", 4, (0, 1)),
        ("0%", "0%", 4, (0, 1)),
        ("100%", 0, 7, (7, 0)),
        (3, 9, 4, (3, 4)),  # no more can be missing than there are
        ("25%", "25%", 0, (0, 0)),
        (1, 0, 0, (1, 0)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(surge, unavailable, replicas, expected):
    assert bounds(UpdateStrategy(UpdateType.ROLLING, surge, unavailable), replicas) == expected


def test_recreate_has_no_bounds():
    assert bounds(UpdateStrategy(UpdateType.RECREATE), 8) == (0, 0)


@pytest.mark.parametrize("bad", ["25", "a%", "-1%", -1, "2.5%"])
def test_a_bound_that_is_no_number_and_no_share_is_named(bad):
    with pytest.raises(RejectedError, match=repr(bad)):
        bounds(UpdateStrategy(UpdateType.ROLLING, bad, 0), 4)


def revisions(size: int, sizes: dict[str, int], max_replicas: int, total: int = 0) -> dict[str, int]:
    """The new sizes of revisions that live when the Deployment is scaled to `size`; oldest first."""
    template = PodTemplate("aaaaaa")
    update = UpdateStrategy(UpdateType.ROLLING, 3, 2)
    status = DeploymentStatus(total=total)
    deployment = DeploymentObject("chat", {}, template, size, 0.0, update, status=status)
    live = [
        ReplicaSetObject(name, "chat", template, n, replicas, float(n), 10, max_replicas)
        for n, (name, replicas) in enumerate(sizes.items())
    ]
    return {rs.name: new for rs, new in shares(deployment, live)}


@pytest.mark.parametrize(
    ("size", "sizes", "expected"),
    [
        (15, {"a": 8, "b": 5}, {"a": 11, "b": 7}),
        (
            11,
            {"a": 4, "b": 4, "c": 5},
            {"a": 4, "b": 4, "c": 6},
        ),  # 4.3, 4.3, 5.4: one left over, to the largest
        (12, {"a": 1, "b": 10}, {"a": 1, "b": 14}),  # room that was there already goes to the largest too
        (16, {"a": 4, "b": 4}, {"a": 6, "b": 13}),  # of equals, growing, the newest
        (2, {"a": 4, "b": 4}, {"a": 2, "b": 3}),  # of equals, shrinking, the oldest first: 1.5 and 1.5
        (0, {"a": 8, "b": 5}, {"a": 0, "b": 0}),
        (10, {"a": 8, "b": 5}, {"a": 8, "b": 5}),
    ],
)
def test_a_new_size_is_shared_out_as_kubernetes_rounds_it(size, sizes, expected):
    assert revisions(size, sizes, max_replicas=13) == expected


def test_revisions_that_know_no_former_size_are_shared_out_by_the_status():
    assert revisions(15, {"a": 8, "b": 5}, max_replicas=0, total=13) == {"a": 11, "b": 7}
    assert revisions(10, {"a": 3, "b": 1}, max_replicas=0) == {"a": 12, "b": 1}
