"""A pod that does not answer: when it holds nobody for certain, and when it is unknown."""

import json

import pytest

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import App, Counting, KubernetesCluster
from deployer.clusters.kubernetes.ended import is_at, refusing, runs_nothing
from deployer.fleet import Count, Limits
from tests.test_kubernetes.server import PODS, deployment, with_service

LEFT = {"terminated": {"exitCode": 0, "reason": "Completed"}}
ENDED = {"state": LEFT}
BACK_OFF = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": LEFT}
RUNS = {"state": {"running": {}}, "lastState": LEFT}
LOST = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
REBOOTED = {"terminated": {"exitCode": 255, "reason": "Unknown"}}


def pod(containers, inits=(), debuggers=(), phase="Running", **spec):
    kinds = {"": ("containers", containers), "init": ("initContainers", inits)}
    kinds["ephemeral"] = ("ephemeralContainers", debuggers)
    status = {"phase": phase}
    for kind, (key, statuses) in kinds.items():
        names = [f"{kind}{at}" for at, _ in enumerate(statuses)]
        spec[key] = [{"name": name} for name in names]
        found = [{"name": n, **s} for n, s in zip(names, statuses, strict=True) if s is not None]
        status[f"{kind}ContainerStatuses" if kind else "containerStatuses"] = found
    return {"metadata": {"name": "a"}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    "found",
    [
        pod([BACK_OFF]),
        pod([ENDED]),
        pod([ENDED, BACK_OFF]),
        pod([BACK_OFF], inits=[ENDED]),
        pod([BACK_OFF], inits=[BACK_OFF]),  # a sidecar that has left as well
        pod([BACK_OFF], debuggers=[ENDED]),
        pod([{**BACK_OFF, "containerID": "containerd://1"}], shareProcessNamespace=True),
        pod([{**BACK_OFF, "containerID": "containerd://1"}], hostPID=True),
    ],
)
def test_a_pod_whose_containers_have_all_ended_runs_nothing(found):
    assert runs_nothing(found)


@pytest.mark.parametrize(
    "found",
    [
        pod([RUNS]),
        pod([BACK_OFF, RUNS]),
        pod([BACK_OFF, None]),  # the kubelet has said nothing of the second one
        pod([None]),
        pod([]),
        pod([{"state": {}}]),
        pod([{"state": {"waiting": {"reason": "ContainerCreating"}}}]),
        pod([{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
        pod([{**BACK_OFF, "state": {"waiting": {"reason": "RunContainerError"}}}]),  # it may have begun
        pod([{"state": LOST}]),
        pod([{**BACK_OFF, "lastState": LOST}]),
        pod([{"state": REBOOTED}]),
        pod([BACK_OFF], inits=[RUNS]),  # a sidecar
        pod([BACK_OFF], inits=[{"state": {"waiting": {"reason": "PodInitializing"}}}]),
        pod([BACK_OFF], debuggers=[RUNS]),
        pod([BACK_OFF], phase="Failed"),
        pod([BACK_OFF], phase="Unknown"),
        pod([BACK_OFF], shareProcessNamespace=True),
        pod([{**BACK_OFF, "containerID": "cri-o://1"}], shareProcessNamespace=True),
        pod([{**BACK_OFF, "containerID": "cri-o://1"}], hostPID=True),
        {"metadata": {"name": "a"}},
    ],
)
def test_what_may_still_run_or_is_not_known_is_not_nothing(found):
    assert not runs_nothing(found)


def status_of(message):
    return json.dumps({"kind": "Status", "message": message}).encode()


def dialled(address):
    return f"error trying to reach service: dial tcp {address}: connect: connection refused"


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (503, status_of(dialled("10.0.0.7:9090")), True),
        (503, status_of(dialled("[fd00::7]:9090")), True),
        (503, status_of(dialled("10.0.0.7:8132")), False),
        (
            503,
            status_of(dialled("127.0.0.1:9090")),
            False,
        ),  # what stands between the API server and its nodes
        (503, status_of("error trying to reach service: dial tcp 10.0.0.7:9090: i/o timeout"), False),
        (503, status_of("error trying to reach service: dial tcp 10.0.0.7:9090: no route to host"), False),
        (503, status_of("error trying to reach service: EOF"), False),
        (503, dialled("10.0.0.7:9090").encode(), False),  # a pod's own words
        (503, b"[]", False),
        (500, status_of(dialled("10.0.0.7:9090")), False),
    ],
)
def test_only_the_pods_own_address_can_refuse(status, body, refused):
    found = {"status": {"podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]}}
    address = refusing(status, body)
    assert (address is not None and is_at(found, address, 9090)) is refused
    assert address is None or not is_at({}, address, 9090)


class Stage:
    """A Service of two pods that have ended, by their status, at addresses where nobody listens."""

    def __init__(self, **counting):
        self.server = with_service()
        app = App("web", "ns", "web", {"app": "web"}, deployment(), Limits(2), Counting(**counting))
        self.cluster = KubernetesCluster(self.server, app)
        self.pods = tuple(sorted(self.server.objects[PODS]))
        for at, name in enumerate(self.pods):
            self.is_now(name, BACK_OFF, podIPs=[{"ip": f"10.0.0.{at}"}])
        addresses = {name: f"10.0.0.{at}:9090" for at, name in enumerate(self.pods)}
        self.server.answers = lambda name, target, method: (503, status_of(dialled(addresses[name])))
        self.cluster.observe()

    def is_now(self, name, status, **more):
        self.server.merge(
            f"{PODS}/{name}", {"status": {"containerStatuses": [{"name": "web", **status}], **more}}
        )

    def asked(self):
        return list(self.cluster.ask(self.pods).values())


@pytest.fixture
def on_stage():
    made = []

    def make(**counting):
        made.append(Stage(**counting))
        return made[-1]

    yield make
    for stage in made:
        stage.cluster.close()


def test_a_pod_that_left_and_waits_for_its_next_start_holds_nobody_and_one_that_runs_is_unknown(on_stage):
    stage = on_stage()
    stage.is_now(stage.pods[1], RUNS)
    assert stage.asked() == [Count(0), None]
    assert stage.cluster.ask(["unheard-of"]) == {"unheard-of": None}


def test_a_pod_whose_node_gives_no_sign_of_life_is_unknown_whatever_its_status_says(on_stage):
    stage = on_stage()

    def cut_off(name, target, method):
        raise ClusterUnreachable("no answer")

    stage.server.answers = cut_off
    assert stage.asked() == [None, None]


@pytest.mark.parametrize(
    "beside", [{"containers": ["web", "b"]}, {"containers": ["web"], "initContainers": ["b"]}]
)
def test_a_refusal_speaks_for_no_other_container(on_stage, beside):
    stage = on_stage()
    spec = {
        key: [{"name": name, "restartPolicy": "Always"} for name in names] for key, names in beside.items()
    }
    both = [{"name": name, **BACK_OFF} for name in ("web", "b")]
    status = {"containerStatuses": both, "initContainerStatuses": both}
    stage.server.merge(f"{PODS}/{stage.pods[1]}", {"spec": spec, "status": status})
    assert stage.asked() == [Count(0), None]


def test_a_refusal_from_elsewhere_is_no_pods(on_stage):
    stage = on_stage()
    stage.server.answers = lambda name, target, method: (503, status_of(dialled("10.0.0.0:9090")))
    assert stage.asked() == [Count(0), None]


def test_a_pod_that_was_started_again_while_it_was_asked_is_unknown(on_stage):
    # whatever the watch shows: the status is read after the question, from the API server
    stage = on_stage()
    refused = stage.server.answers

    def started_again(name, target, method):
        stage.is_now(name, RUNS)
        return refused(name, target, method)

    stage.server.answers = started_again
    stage.cluster._view.close()
    assert stage.asked() == [None, None]


def test_a_pod_whose_status_cannot_be_read_is_unknown(on_stage):
    stage = on_stage()
    refused = stage.server.answers

    def then_silent(name, target, method):
        stage.server.goes()
        return refused(name, target, method)

    stage.server.answers = then_silent
    assert stage.asked() == [None, None]


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ('exec in pod a: unable to upgrade connection: container not found ("web")', Count(0)),
        ("exec in pod a: dial tcp 172.18.0.3:10250: connect: connection refused", None),
        ("exec in pod a: no end in 2 s", None),
    ],
)
def test_where_sockets_are_counted_it_is_the_kubelet_that_says_that_nothing_runs(on_stage, said, count):
    stage = on_stage(kind="tcp")
    stage.is_now(stage.pods[1], RUNS)

    def exec_in_pod(*_):
        raise ClusterUnreachable(said)

    stage.server.exec_in_pod = exec_in_pod
    assert stage.asked() == [count, None]
