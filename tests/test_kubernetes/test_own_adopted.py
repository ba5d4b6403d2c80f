"""The adopted Deployment, resumed or rolled by somebody: found out, said, paused again; and its Service has pods."""

import copy

import pytest

from deployer.clusters.kubernetes import writing
from deployer.clusters.kubernetes.app import ADOPTED_HASH, HASH_LABEL
from deployer.fleet import RELEASE_LABEL, Kind, Outcome
from deployer.journal import MemoryJournal
from deployer.own.healing import cares_of
from deployer.own.opening import Where, open_service
from tests.test_kubernetes.own import deploy, deploying, stand_in, sweep
from tests.test_kubernetes.server import DEPLOYMENTS, PODS, SERVICES, deployment, with_service

ADOPTED_PATH = f"{DEPLOYMENTS}/web"


@pytest.fixture
def server(monkeypatch):
    """The Service is adopted, and the adopted release serves."""
    found = with_service()
    stand_in(monkeypatch, found)
    with deploying():
        pass
    return found


def selected(server):
    """The pods that the Service sends to, by their images."""
    selector = server.get(SERVICES, "web")["spec"]["selector"]
    pods = server.objects[PODS].values()
    found = [p for p in pods if selector.items() <= p["metadata"]["labels"].items()]
    return sorted(p["spec"]["containers"][0]["image"] for p in found)


def resume(server, image=None):
    """`kubectl rollout resume`, with another image as `kubectl apply` of a changed manifest."""
    spec = {"paused": None}
    if image is not None:
        spec |= {"template": deployment(image=image)["spec"]["template"]}
    server.merge(ADOPTED_PATH, {"spec": spec})


def warnings():
    with open_service(Where("web")) as session:
        return [care.warning for care in cares_of(session.cluster)]


def test_as_it_was_left_there_is_nothing_to_say_or_to_do(server):
    assert warnings() == []
    sweep()
    before, told = len(server.writes), []
    sweep(told.append)
    assert told == []
    assert {ADOPTED_PATH, f"{SERVICES}/web"}.isdisjoint(path for _, path in server.writes[before:])


def test_one_that_was_resumed_is_said_and_paused_again_before_it_rolls(server):
    resume(server)
    pods = dict(server.objects[PODS])
    (warning,) = warnings()
    assert warning.startswith(
        "Deployment web was resumed by someone: the next change of its template rolls its pods"
    )
    assert "`drainbow sweep`" in warning
    told = []
    sweep(told.append)
    assert told == ["Deployment web was resumed by someone, and is paused again"]
    assert server.get(DEPLOYMENTS, "web")["spec"]["paused"] is True
    assert server.objects[PODS] == pods
    assert warnings() == []


def test_a_service_whose_pods_were_all_rolled_away_finds_the_new_ones(server):
    """Before the first release of ours, or after a rollback: it would have no endpoints until the next deploy."""
    resume(server, "reg/web:v2")
    assert selected(server) == []
    (warning,) = warnings()
    assert "was rolled by someone: 2 of its 2 pods" in warning
    told = []
    sweep(told.append)
    assert selected(server) == ["reg/web:v2"] * 2
    assert len(told) == 2
    assert warnings() == []
    with open_service(Where("web")) as session:
        fleet = session.cluster.observe()
        (adopted,) = {r.release for r in fleet.requests}
        assert fleet.selected == adopted
        # a rollback to it would make what served, and not what was there long ago
        assert writing.variants_of(session.cluster.service())[adopted].image == "reg/web:v2"
    assert deploy("aaaaaa").outcome is Outcome.DONE
    assert selected(server) == ["reg/web:aaaaaa"] * 2


def test_who_dies_between_the_two_writes_is_taken_up_by_the_next(server):
    resume(server, "reg/web:v2")

    class Died(BaseException):
        pass

    def dies(method, path):
        if (method, path) == ("PATCH", f"{SERVICES}/web"):
            raise Died

    server.before = dies
    with pytest.raises(Died):
        sweep()
    server.before = lambda *_: None
    assert selected(server) == []
    assert server.get(DEPLOYMENTS, "web")["metadata"]["annotations"][ADOPTED_HASH]
    (warning,) = warnings()
    assert warning.startswith("the Service does not find the pods of Deployment web")
    sweep()
    assert selected(server) == ["reg/web:v2"] * 2


def one_of_two_rolled(server):
    """Stopped half-way: a pod of the old template, with its users, and one of the new."""
    old = min(server.objects[PODS])
    kept = copy.deepcopy(server.objects[PODS][old])
    resume(server, "reg/web:v2")
    server.merge(ADOPTED_PATH, {"spec": {"paused": True}})
    with server.changed:
        server._remove(PODS, max(server.objects[PODS]))
    server.add(PODS, kept)
    return old


def test_where_as_many_are_left_of_the_old_template_the_service_stays_with_them(server):
    old = one_of_two_rolled(server)
    sweep()
    assert selected(server) == ["reg/web:v1"]
    (warning,) = warnings()
    assert "1 of its 2 pods" in warning
    assert "the Service sends to the others only; deploy the next release" in warning
    with server.changed:
        server._remove(PODS, old)
    sweep()
    assert set(selected(server)) == {"reg/web:v2"}


def test_new_pods_that_are_not_ready_do_not_get_the_service(server):
    server.starting.add("reg/web:v2")
    old = one_of_two_rolled(server)
    with server.changed:
        pod = server.objects[PODS][old]
        server._remove(PODS, old)
    sweep()
    assert selected(server) == []  # nobody is ready: to move it would help nobody
    server.add(PODS, pod)
    assert selected(server) == ["reg/web:v1"]


def test_a_pod_of_another_template_is_not_taken_for_one_of_the_release(server):
    one_of_two_rolled(server)
    sweep()
    with open_service(Where("web")) as session:
        fleet = session.cluster.observe()
        (adopted,) = fleet.deployments.values()
    assert (adopted.ready, adopted.updated_ready, adopted.desired) == (2, 1, 2)
    labelled = [p for p in server.objects[PODS].values() if RELEASE_LABEL in p["metadata"]["labels"]]
    assert [p["spec"]["containers"][0]["image"] for p in labelled] == ["reg/web:v1"]


def test_a_rollback_to_one_that_was_rolled_while_it_drained_has_pods(server):
    deploy("aaaaaa")
    server.open = dict.fromkeys(server.objects[PODS], 1)  # so that it stays
    resume(server, "reg/web:v2")
    assert selected(server) == ["reg/web:aaaaaa"] * 2
    (warning,) = warnings()
    assert "users on it were cut off" in warning
    sweep()
    with open_service(Where("web")) as session:
        adopted = session.cluster.observe().requests[0].release
        request = session.request(adopted, Kind.ROLLBACK, None)
        assert session.see_through(request.deploy, MemoryJournal(), lambda line: None).outcome is Outcome.DONE
    assert server.get(SERVICES, "web")["spec"]["selector"].keys() == {"app", HASH_LABEL}
    assert selected(server) == ["reg/web:v2"] * 2
