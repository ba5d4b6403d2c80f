"""From the API's objects to a fleet."""

from deployer.clusters.controlplane import requests
from deployer.clusters.kubernetes import reading
from deployer.clusters.kubernetes.app import ADOPTED, ADOPTED_HASH, HASH_LABEL, SERVICE_LABEL, App
from deployer.fleet import RELEASE_LABEL, SLOT_LABEL, Kind, Limits, PodState, Request

NOW = "2026-01-01T00:01:40Z"
START = "2026-01-01T00:00:00Z"
START_S = 1767225600.0


def app(**given):
    return App("chat", "ns", "chat", {"app": "chat"}, {}, Limits(2), **given)


def deployment(
    name="chat-aaaaaa", release="aaaaaa", replicas=2, generation=1, seen=1, annotations=None, condition=None
):
    labels = {"app": "chat"} | ({RELEASE_LABEL: release} if release else {})
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "generation": generation,
            "creationTimestamp": START,
            "labels": {SERVICE_LABEL: "chat"},
            "annotations": annotations or {},
        },
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 60,
            "template": {"metadata": {"labels": labels}},
        },
        "status": {"observedGeneration": seen, "conditions": [condition] if condition else []},
    }


def pod(name, of="chat-aaaaaa", release="aaaaaa", ready=True, node="n1", since=NOW, phase="Running", **meta):
    labels = {"app": "chat", HASH_LABEL: "h1"} | ({RELEASE_LABEL: release} if release else {})
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": START,
            "labels": labels,
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{of}-h1", "controller": True}],
            **meta,
        },
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "startTime": START,
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}],
            "containerStatuses": [{"restartCount": 2}],
        },
    }


def service(selector, **annotations):
    return {"metadata": {"name": "chat", "annotations": annotations}, "spec": {"selector": selector}}


def fleet(deployments=(), pods=(), selector=None, **given):
    found = {d["metadata"]["name"]: d for d in deployments}
    return reading.fleet_of(app(**given), service(selector or {}), found, pods)


def test_pods_are_counted_by_their_own_state_and_terminating_ones_never():
    gone = pod("p3", deletionTimestamp=NOW, deletionGracePeriodSeconds=30)
    found = fleet([deployment()], [pod("p1"), pod("p2", ready=False, since=START), gone])
    d = found.deployments["chat-aaaaaa"]
    assert (d.total, d.updated, d.ready, d.updated_ready) == (2, 2, 1, 1)
    states = {p.name: p.state for p in found.pods}
    assert states == {"p1": PodState.READY, "p2": PodState.STARTING, "p3": PodState.TERMINATING}
    leaving = next(p for p in found.pods if p.name == "p3")
    assert leaving.terminating_since_s == START_S + 100 - 30
    assert leaving.restarts == 2


def test_a_pod_that_turned_unready_long_after_its_start_was_ready_before():
    found = fleet([deployment()], [pod("p1", ready=False, since=NOW)])
    assert found.pods[0].state is PodState.UNREADY


def test_pods_that_failed_are_nobodys():
    assert fleet([deployment()], [pod("p1", phase="Failed")]).pods == ()


def test_a_deployment_whose_spec_was_not_seen_yet_is_not_complete():
    pods = [pod("p1"), pod("p2")]
    assert fleet([deployment()], pods).deployments["chat-aaaaaa"].complete
    lagging = fleet([deployment(generation=2)], pods).deployments["chat-aaaaaa"]
    assert not lagging.complete
    assert lagging.ready == 2


def test_pods_of_an_older_template_are_not_updated():
    d = fleet([deployment(release="bbbbbb")], [pod("p1"), pod("p2", release="bbbbbb")]).deployments[
        "chat-aaaaaa"
    ]
    assert (d.total, d.updated, d.complete) == (2, 1, False)


def test_missing_the_deadline_is_no_progress():
    moved = {"type": "Progressing", "reason": "ReplicaSetUpdated", "lastUpdateTime": NOW}
    late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": NOW}
    assert fleet([deployment(condition=moved)]).deployments["chat-aaaaaa"].progressed_s == START_S + 100
    assert fleet([deployment(condition=late)]).deployments["chat-aaaaaa"].progressed_s == START_S + 40


def test_the_selected_release_and_slot_are_the_selectors():
    found = fleet(selector={"app": "chat", RELEASE_LABEL: "aaaaaa", SLOT_LABEL: "slot-1"})
    assert (found.selected, found.selected_slot) == ("aaaaaa", "slot-1")
    assert fleet(selector={"app": "chat"}).selected is None


def adopted(replicas=2):
    marks = {ADOPTED: "f00f00", ADOPTED_HASH: "h1"}
    return deployment("server", release=None, replicas=replicas, annotations=marks)


def test_an_adopted_deployment_goes_by_its_releases_name_and_is_selected_by_hash():
    pods = [pod("p1", of="server", release=None), pod("p2", of="server", release="f00f00")]
    found = fleet([adopted()], pods, {"app": "chat", HASH_LABEL: "h1"})
    assert found.selected == "f00f00"
    assert found.deployments["chat-f00f00"].complete
    assert {p.release for p in found.pods} == {"f00f00"}
    assert {p.deployment for p in found.pods} == {"chat-f00f00"}


def test_a_retired_adopted_deployment_is_no_longer_in_the_fleet():
    other = {"app": "chat", RELEASE_LABEL: "aaaaaa"}
    assert set(fleet([adopted(0), deployment()], (), other).deployments) == {"chat-aaaaaa"}
    assert set(fleet([adopted(0)], (), {"app": "chat", HASH_LABEL: "h1"}).deployments) == {"chat-f00f00"}
    copy = deployment("chat-f00f00", "f00f00")
    assert set(fleet([adopted(0), copy], (), other).deployments) == {"chat-f00f00"}
    assert set(fleet([adopted(2), copy], (), other).deployments) == {"chat-f00f00", "server"}


def test_a_deployment_being_deleted_is_not_in_the_fleet():
    going = deployment()
    going["metadata"]["deletionTimestamp"] = NOW
    assert fleet([going]).deployments == {}


def test_a_release_needs_as_many_pods_as_the_selected_one_has_where_that_is_asked_for():
    selector = {"app": "chat", RELEASE_LABEL: "aaaaaa"}
    assert fleet([deployment(replicas=5)], (), selector, follow_replicas=True).limits.replicas == 5
    assert fleet([deployment(replicas=5)], (), selector).limits.replicas == 2


def test_requests_come_from_the_services_annotation():
    text = requests.write([Request(0, "aaaaaa", Kind.INITIAL, 1.0)])
    found = reading.fleet_of(app(), service({}, **{requests.REQUESTS: text}), {}, ())
    assert [r.release for r in found.requests] == ["aaaaaa"]


def waiting(reason, message="", image="x:1"):
    state = {"waiting": {"reason": reason, "message": message}}
    return {"metadata": {}, "status": {"containerStatuses": [{"image": image, "state": state}]}}


def test_what_keeps_pods_from_being_ready_is_told_once_with_its_number():
    pods = [
        waiting("ErrImagePull", "no such host"),
        waiting("ImagePullBackOff", "Back-off"),
        {"metadata": {}},
    ]
    assert reading.troubles(pods) == "2 × image x:1 cannot be pulled (no such host)"
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes",
    }
    assert reading.troubles([{"status": {"conditions": [unscheduled]}}]) == "1 × Unschedulable (0/1 nodes)"
    crashed = waiting("CrashLoopBackOff")
    crashed["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 3}}
    assert reading.troubles([crashed]) == "1 × CrashLoopBackOff (exit code 3)"
    assert reading.troubles([{"metadata": {}}]) == ""
