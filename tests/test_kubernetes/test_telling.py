"""The hook: who is told again, who is not, and what is said of it."""

import json

import pytest

from deployer.actions import Annotate, NotifyDeselected
from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import App, Hooks, KubernetesCluster
from deployer.clusters.telling import TRIES
from deployer.fleet import Limits
from deployer.marks import NOTIFIED, told_names
from deployer.strategies import immutable
from tests.test_kubernetes.server import DEPLOYMENTS, PODS, Server, deployment, eventually, service

NO_SUCH_POD = json.dumps({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}).encode()
NOT_YET = json.dumps({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}).encode()
HOOKLESS, BROKEN, REFUSED = (404, b"not found"), (500, b"oops"), (503, b'{"kind": "Status"}')


class Stage:
    """Two pods of an old release and the cluster that tells them."""

    def __init__(self):
        self.server = Server()
        self.server.add("/api/v1/namespaces/ns/services", service())
        manifest = deployment("web-aaaaaa")
        labels = {"app": "web", "drainbow.dev/release": "aaaaaa", "drainbow.dev/service": "web"}
        manifest["metadata"]["labels"] = manifest["spec"]["template"]["metadata"]["labels"] = labels
        self.server.add(DEPLOYMENTS, manifest)
        limits = Limits(replicas=2)
        app = App("web", "ns", "web", {"app": "web"}, manifest, limits, hooks=Hooks(port=9090))
        self.cluster, self.said = KubernetesCluster(self.server, app), []
        self.cluster.tell = self.said.append
        self.pods = tuple(sorted(self.server.objects[PODS]))

    def look(self, undo=False):
        """What `immutable` does of the hook at a look; whom it told."""
        fleet = self.cluster.observe()
        (old,) = fleet.deployments.values()
        before = len(self.server.told)
        for action in (immutable._told_back if undo else immutable._told)(fleet, old):
            self.cluster.act(action)
        return [pod for _, _, pod in self.server.told[before:]]

    @property
    def noted(self):
        return self.server.get(DEPLOYMENTS, "web-aaaaaa")["metadata"].get("annotations", {}).get(NOTIFIED)

    def labels(self):
        found = (self.server.get(PODS, pod)["metadata"]["labels"] for pod in self.pods)
        return [labels.get("drainbow.dev/deselected") for labels in found]


@pytest.fixture
def stage():
    found = Stage()
    yield found
    found.cluster.close()


def test_who_heard_is_told_once(stage):
    assert sorted(stage.look()) == list(stage.pods)
    assert stage.look() == []
    assert told_names(stage.noted) == stage.pods
    assert stage.said == []


@pytest.mark.parametrize("answer", [HOOKLESS, (405, b""), (403, b"")])
def test_pods_without_a_hook_are_told_once_and_one_line_says_so(stage, answer):
    stage.server.answers = lambda pod, target, method: answer
    assert sorted(stage.look()) == list(stage.pods)
    assert stage.look() == []
    (line,) = stage.said
    assert "POST /deselected on port 9090 of Service web: 2 pods, such as " in line
    assert f"answered {answer[0]}" in line
    assert stage.labels() == ["true", "true"]
    stage.cluster.act(NotifyDeselected(stage.pods))
    assert len(stage.said) == 1


def test_a_pod_that_is_gone_is_no_pod_without_a_hook(stage):
    stage.server.answers = lambda pod, target, method: (404, NO_SUCH_POD)
    stage.look()
    assert stage.look() == []
    assert stage.said == []


@pytest.mark.parametrize("answer", [BROKEN, REFUSED, (429, b""), (403, NOT_YET), None])
def test_who_could_not_be_told_is_told_at_the_next_look_and_nobody_else(stage, answer):
    bad = stage.pods[0]

    def answers(pod, target, method):
        if pod != bad:
            return None
        if answer is None:
            raise ClusterUnreachable("no answer")
        return answer

    stage.server.answers = answers
    assert sorted(stage.look()) == list(stage.pods)
    assert stage.look() == [bad]
    stage.server.answers = lambda *_: None
    assert stage.look() == [bad]
    assert stage.look() == []
    assert told_names(stage.noted) == stage.pods
    assert stage.said == []


def test_tries_are_bounded_and_their_end_is_said_once(stage):
    stage.server.answers = lambda *_: REFUSED
    looks = [len(stage.look()) for _ in range(TRIES + 3)]
    assert looks == [2] * TRIES + [0] * 3
    (line,) = stage.said
    assert f"could not be told in {TRIES} tries" in line


def test_who_may_not_have_heard_hears_of_the_end_as_well(stage):
    stage.server.answers = lambda *_: REFUSED
    stage.look()
    stage.server.answers = lambda *_: None
    assert sorted(stage.look(undo=True)) == list(stage.pods)
    assert {method for method, *_ in stage.server.told[-2:]} == {"DELETE"}
    assert stage.labels() == [None, None]
    assert stage.noted is None
    assert sorted(stage.look()) == list(stage.pods)


def test_a_pod_that_is_told_to_end_meanwhile_is_not_called_again(stage):
    stage.look()
    bad = stage.pods[0]
    stage.server.answers = lambda pod, *_: REFUSED if pod == bad else None
    stage.look(undo=True)
    assert told_names(stage.noted) == (f"{bad}?",)
    stage.server.merge(f"{PODS}/{bad}", {"metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z"}})
    eventually(lambda: "deletionTimestamp" in stage.cluster.pods()[bad]["metadata"])
    assert stage.look(undo=True) == []
    assert stage.noted is None


def test_an_end_that_was_not_heard_is_told_again_and_bounded(stage):
    stage.look()
    bad = stage.pods[1]
    stage.server.answers = lambda pod, *_: REFUSED if pod == bad else None
    assert sorted(stage.look(undo=True)) == list(stage.pods)
    # the switch clears what is noted of the draining; who must hear of its end is kept all the same
    stage.cluster.act(Annotate("web-aaaaaa", NOTIFIED, None))
    looks = [stage.look(undo=True) for _ in range(TRIES + 1)]
    assert looks == [[bad]] * (TRIES - 1) + [[]] * 2
    assert stage.noted is None
    assert len(stage.said) == 1


def test_whom_an_earlier_version_has_noted_is_not_told_again(stage):
    first, second = stage.pods
    stage.server.merge(
        f"{DEPLOYMENTS}/web-aaaaaa", {"metadata": {"annotations": {NOTIFIED: f"{first} {second}?"}}}
    )
    eventually(
        lambda: stage.cluster.deployments()["web-aaaaaa"]["metadata"]["annotations"][NOTIFIED] == stage.noted
    )
    assert stage.look() == [second]
    assert stage.look() == []
    assert sorted(stage.look(undo=True)) == list(stage.pods)
