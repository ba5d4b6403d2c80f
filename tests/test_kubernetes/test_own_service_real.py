"""The commands for one's own service, on a real cluster, as a user would try them."""

import json
import signal
import time

import pytest

from tests.test_kubernetes.conftest import connections, eventually

pytestmark = pytest.mark.cluster


def test_a_service_is_adopted_deployed_rolled_back_and_swept(api, echo, drainbow, client):
    deployments = f"/apis/apps/v1/namespaces/{echo}/deployments"
    template = api.call("GET", f"{deployments}/echo-server")["spec"]["template"]
    assert drainbow.run("status")[0] == 2
    code, out, err = drainbow.deploy("aaaaaa1")
    assert (code, out) == (0, "aaaaaa done: aaaaaa serves\n"), err

    # The client stays on the adopted release, which therefore stays.
    first = next(r for r in drainbow.releases() if r != "aaaaaa")
    time.sleep(2.5)
    code, out, err = drainbow.run("sweep", "--json")
    found = json.loads(out)
    assert [v["decision"] for v in found["verdicts"]] == ["keep"], err
    assert drainbow.releases()[first]["connections"] == 1

    # Whatever the template holds is kept, but for the label and the image.
    copy = api.call("GET", f"{deployments}/echo-server-aaaaaa")
    assert copy["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "drainbow"
    assert copy["spec"]["template"]["spec"] == template["spec"]
    assert copy["spec"]["template"]["metadata"]["annotations"] == template["metadata"]["annotations"]
    assert api.call("GET", f"{deployments}/echo-server")["spec"]["template"] == template

    code, out, err = drainbow.deploy("bbbbbb")
    assert code == 0, err
    assert drainbow.deploy("bbbbbb")[0] == 0
    code, out, err = drainbow.deploy("bbbbbb", "--image", "other:1")
    assert code == 2
    assert "another image is another release" in err

    # A rollback to what still lives is a switch back; nobody is made anew.
    code, out, err = drainbow.run("rollback", "--to", first)
    assert code == 0, err
    status = drainbow.status()
    assert status["selected"] == first
    names = [d["metadata"]["name"] for d in api.call("GET", deployments)["items"]]
    assert f"echo-server-{first}" not in names
    assert drainbow.run("rollback")[0] == 0

    api.call("DELETE", client)
    eventually(lambda: sum(connections(api, echo).values()) == 0)
    drainbow.run("sweep")
    time.sleep(2.2)
    assert drainbow.run("sweep")[0] == 0
    assert set(drainbow.releases()) == {"bbbbbb"}
    adopted = api.call("GET", f"{deployments}/echo-server")
    assert adopted["spec"]["replicas"] == 0

    # Retired, it comes back as a copy that bears the release's label.
    code, out, err = drainbow.run("rollback", "--to", first)
    assert code == 0, err
    assert (
        api.call("GET", f"{deployments}/echo-server-{first}")["spec"]["template"]["spec"] == template["spec"]
    )
    assert api.call("GET", f"{deployments}/echo-server")["spec"]["replicas"] == 0


def test_a_release_that_cannot_start_fails_with_its_reason_and_is_cleaned_up(api, echo, drainbow):
    assert drainbow.deploy("aaaaaa")[0] == 0
    args = ("--image", "nowhere.invalid/none:1", "--release", "bad000", "--set", "progress_deadline=12s")
    code, out, err = drainbow.run("deploy", *args)
    assert code == 4, err
    assert "image nowhere.invalid/none:1" in out
    status = drainbow.status()
    assert status["selected"] == "aaaaaa"
    assert "bad000" not in {row["release"] for row in status["releases"]}


def test_connections_are_counted_by_looking_at_the_sockets(drainbow, client):
    code, _out, err = drainbow.run(
        "deploy", "--image", drainbow.image, "--release", "aaaaaa", "--hold", "2s", "--count", "tcp"
    )
    assert code == 0, err
    old = lambda: next(  # noqa: E731
        row for name, row in drainbow.releases().items() if name != "aaaaaa"
    )
    eventually(lambda: old()["connections"] == 1)
    assert old()["unknown"] == 0


def test_autoscalers_and_budgets_that_span_releases_must_be_accepted(api, echo, drainbow):
    scaler = {
        "metadata": {"name": "scaler"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "echo-server"},
            "minReplicas": 2,
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    }
    scalers = f"/apis/autoscaling/v2/namespaces/{echo}/horizontalpodautoscalers"
    api.call("POST", scalers, scaler)
    budget = {
        "metadata": {"name": "budget"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "echo"}}},
    }
    api.call("POST", f"/apis/policy/v1/namespaces/{echo}/poddisruptionbudgets", budget)
    code, _, err = drainbow.deploy("aaaaaa")
    assert code == 2
    assert "HorizontalPodAutoscaler scaler" in err
    assert "PodDisruptionBudget budget" in err
    service = api.call("GET", f"/api/v1/namespaces/{echo}/services/echo")
    assert service["spec"]["selector"] == {"app": "echo"}
    code, _out, err = drainbow.deploy("aaaaaa", "--hpa", "follow", "--accept-pdb")
    assert code == 0, err
    drainbow.run("sweep")
    assert api.call("GET", f"{scalers}/scaler")["spec"]["scaleTargetRef"]["name"] == "echo-server-aaaaaa"


def test_a_service_without_a_hook_refuses_what_needs_one(echo, drainbow):
    code, _out, err = drainbow.deploy("aaaaaa", "--strategy", "immutable")
    assert code == 2
    assert "--hooks" in err
    assert len(err.strip().splitlines()) == 1


def test_two_commands_at_once_do_not_fight(echo, drainbow):
    assert drainbow.deploy("aaaaaa")[0] == 0
    first = drainbow.start_deploy("bbbbbb")
    time.sleep(0.7)
    second = drainbow.start_deploy("cccccc")
    one, two = first.communicate(timeout=120), second.communicate(timeout=120)
    assert second.returncode == 0, two
    assert first.returncode in (0, 4), one
    assert (first.returncode == 4) == ("superseded" in one[0]), one
    assert drainbow.status()["selected"] == "cccccc"


def test_an_operator_does_what_others_ask_for(echo, drainbow):
    assert drainbow.deploy("aaaaaa")[0] == 0
    operator = drainbow.start("operate")
    try:
        assert "running the loop" in operator.stderr.readline()
        code, _out, err = drainbow.deploy("bbbbbb")
        assert code == 0, err
        assert "watching it" in err
        # It lets the old release go by itself.
        eventually(lambda: set(drainbow.releases()) == {"bbbbbb"})
    finally:
        operator.send_signal(signal.SIGTERM)
        operator.communicate(timeout=30)
    assert operator.returncode == 0


def test_the_adopted_deployments_new_pods_are_selected_too(api, echo, drainbow):
    """A pod that is replaced while its release serves bears no label of ours, and serves all the same."""
    args = ("--image", "nowhere.invalid/none:1", "--release", "bad000", "--set", "progress_deadline=5s")
    assert drainbow.run("deploy", *args)[0] == 4
    pods = f"/api/v1/namespaces/{echo}/pods"
    victim = api.call("GET", pods, query={"labelSelector": "app=echo"})["items"][0]["metadata"]["name"]
    api.call("DELETE", f"{pods}/{victim}")

    def serving():
        slices = api.call("GET", f"/apis/discovery.k8s.io/v1/namespaces/{echo}/endpointslices")["items"]
        ready = [
            e["targetRef"]["name"]
            for s in slices
            for e in s.get("endpoints") or ()
            if e["conditions"]["ready"]
        ]
        return len(ready) == 2 and victim not in ready

    eventually(serving)


def test_a_changed_manifest_touches_no_pod_and_is_in_the_next_release(api, echo, drainbow, client):
    """Whether the adopted Deployment serves, as after a first deploy that failed, or drains."""
    path = f"/apis/apps/v1/namespaces/{echo}/deployments/echo-server"
    args = ("--image", "nowhere.invalid/none:1", "--release", "bad000", "--set", "progress_deadline=3s")
    assert drainbow.run("deploy", *args)[0] == 4
    before = connections(api, echo)
    container = api.call("GET", path)["spec"]["template"]["spec"]["containers"][0]
    changed = [{**container, "env": [{"name": "MODE", "value": "changed"}]}]
    found = api.merge(path, {"spec": {"template": {"spec": {"containers": changed}}}})
    generation = found["metadata"]["generation"]
    eventually(lambda: api.call("GET", path)["status"]["observedGeneration"] >= generation)
    assert drainbow.deploy("aaaaaa")[0] == 0
    copy = api.call("GET", f"{path}-aaaaaa")["spec"]["template"]["spec"]["containers"][0]
    assert copy["env"] == changed[0]["env"]
    now = connections(api, echo)
    assert {name: now.get(name) for name in before} == before


def test_an_adopted_deployment_that_someone_rolls_is_paused_again_and_its_service_has_pods(
    api, echo, drainbow
):
    """It is the one that serves, as after a first deploy that failed."""
    path = f"/apis/apps/v1/namespaces/{echo}/deployments/echo-server"
    args = ("--image", "nowhere.invalid/none:1", "--release", "bad000", "--set", "progress_deadline=3s")
    assert drainbow.run("deploy", *args)[0] == 4
    container = api.call("GET", path)["spec"]["template"]["spec"]["containers"][0]

    def roll(mode):
        changed = [{**container, "env": [{"name": "MODE", "value": mode}]}]
        template = {"spec": {"containers": changed}}
        return api.merge(path, {"spec": {"paused": False, "template": template}})["metadata"]["generation"]

    def served():
        slices = api.call("GET", f"/apis/discovery.k8s.io/v1/namespaces/{echo}/endpointslices")["items"]
        return sum(e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or ())

    roll("changed")  # to its end, as nobody looks
    eventually(lambda: served() == 0)
    (warning,) = drainbow.status()["warnings"]
    assert "Deployment echo-server was rolled by someone" in warning
    code, _, err = drainbow.run("sweep")
    assert (code, "is paused again" in err, "is pointed at the pods" in err) == (0, True, True)
    eventually(lambda: served() == 2)
    assert drainbow.status()["warnings"] == []

    operator = drainbow.start("operate")
    assert "running the loop" in operator.stderr.readline()
    generation = roll("again")
    eventually(lambda: api.call("GET", path)["spec"].get("paused"))
    eventually(lambda: api.call("GET", path)["status"]["observedGeneration"] > generation)
    assert "is paused again" in operator.stderr.readline()
    eventually(lambda: served() >= 1)
    operator.send_signal(signal.SIGTERM)
    operator.communicate(timeout=30)
    assert operator.returncode == 0
    assert drainbow.deploy("aaaaaa")[0] == 0
    eventually(lambda: served() == 2)


def test_an_interrupted_deploy_says_that_it_is_still_asked_for_and_can_be_taken_back(echo, drainbow):
    assert drainbow.deploy("aaaaaa")[0] == 0
    process = drainbow.start("deploy", "--image", "nowhere.invalid/none:1", "--release", "bad000")
    eventually(lambda: "CreateDeployment" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "bad000 is still asked for" in err
    assert "Traceback" not in err
    assert drainbow.status()["last_request"]["outcome"] is None
    code, _, err = drainbow.run("rollback")  # not to the release before the one that serves
    assert code == 0, err
    status = drainbow.status()
    assert status["selected"] == "aaaaaa"
    assert "bad000" not in {row["release"] for row in status["releases"]}
