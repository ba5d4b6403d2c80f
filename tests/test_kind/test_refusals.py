"""What the API server refuses for good ends a run in one line, wherever in its life it is asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import NotFoundError
from deployer.fleet import Kind
from scenarios.errors import OutOfReach
from scenarios.spec import load
from scenarios.worlds.kubernetes import KubernetesWorld


class Refusing:
    """A cluster in which everything is refused: to whoever asks, and to whoever writes past it."""

    def __init__(self, error):
        def refuse(*_):
            raise error

        self.observe = self.request = self.sample = self.pods = refuse
        self.api = SimpleNamespace(merge=refuse)


@pytest.fixture(params=[RejectedError("no right to do this"), NotFoundError("no such namespace")])
def refused(request, tmp_path):
    plan = SimpleNamespace(spec=load("tiny"), folder=tmp_path, bad={})
    world = KubernetesWorld(plan, SimpleNamespace(name="kind", kind=None), print, None)
    world._cluster = Refusing(request.param)
    world._deployer = SimpleNamespace(supervise=lambda now_s: [])
    return world


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: world.observe(),
        lambda world: world.sample(),
        lambda world: world.request("bbbbbb", Kind.DEPLOY),
        lambda world: world.inject("kill_pod", "random", 0.0),
        lambda world: world.inject("backend_down", "", 1.0),
        lambda world: world.supervise(),
    ],
)
def test_it_is_one_line_that_says_what_was_refused(refused, ask):
    with pytest.raises(OutOfReach, match=r"no right to do this|no such namespace"):
        ask(refused)


def test_the_end_of_a_fault_is_refused_in_one_line_too(refused):
    refused._cluster.api.merge = lambda *_: None
    refused.inject("backend_down", "", 0.0)
    refused._cluster.api.merge = Refusing(RejectedError("no right any more")).api.merge
    with pytest.raises(OutOfReach, match="no right any more"):
        refused.supervise()
