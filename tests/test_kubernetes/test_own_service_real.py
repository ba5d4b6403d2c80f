"""The commands for one's own service, on a real cluster, as a user would try them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from deployer.clusters import ClusterUnreachable

IMAGE = os.environ.get("DRAINBOW_TEST_IMAGE", "python:3.11-slim")

pytestmark = pytest.mark.cluster


FAST = ("--hold", "2s", "--set", "progress_deadline=60s", "--count", "metric:chat_open_connections:9090")
CLIENT = """
import socket, time
while True:
    try:
        s = socket.create_connection(("echo", 80), 5)
        break
    except OSError:
        time.sleep(0.2)
s.settimeout(None)
while s.recv(100):
    pass
time.sleep(3600)
"""


def eventually(holds, timeout_s=60.0):
    until_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.1)
    return found


def answers(api):
    try:
        return api.version()
    except ClusterUnreachable:
        return None


def deploy(drainbow, release, *args, **options):
    return drainbow.run("deploy", "--image", IMAGE, "--release", release, *FAST, *args, **options)


def connect_a_client(api, namespace):
    container = {
        "name": "client",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", CLIENT],
    }
    pod = {
        "metadata": {"name": "client"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    api.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)


def releases(status):
    return {row["release"]: row for row in status["releases"]}


def test_a_service_is_adopted_deployed_rolled_back_and_swept(api, echo, drainbow):
    deployments = f"/apis/apps/v1/namespaces/{echo}/deployments"
    template = api.call("GET", f"{deployments}/echo-server")["spec"]["template"]
    connect_a_client(api, echo)
    counts = lambda: sum(  # noqa: E731
        int(api.ask_pod(echo, p["metadata"]["name"], 9090, "/count", "GET", 2)[1])
        for p in api.call("GET", f"/api/v1/namespaces/{echo}/pods?labelSelector=app=echo")["items"]
    )
    eventually(lambda: counts() == 1)

    assert drainbow.run("status")[0] == 2
    code, out, err = deploy(drainbow, "aaaaaa1")
    assert (code, out) == (0, "aaaaaa done: aaaaaa serves\n"), err

    # The client stays on the adopted release, which therefore stays.
    first = next(r for r in releases(drainbow.status()) if r != "aaaaaa")
    time.sleep(2.5)
    code, out, err = drainbow.run("sweep", "--json")
    found = json.loads(out)
    assert [v["decision"] for v in found["verdicts"]] == ["keep"], err
    assert releases(drainbow.status())[first]["connections"] == 1

    # Whatever the template holds is kept, but for the label and the image.
    copy = api.call("GET", f"{deployments}/echo-server-aaaaaa")
    assert copy["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "drainbow"
    assert copy["spec"]["template"]["spec"] == template["spec"]
    assert copy["spec"]["template"]["metadata"]["annotations"] == template["metadata"]["annotations"]
    assert api.call("GET", f"{deployments}/echo-server")["spec"]["template"] == template

    code, out, err = deploy(drainbow, "bbbbbb")
    assert code == 0, err
    assert deploy(drainbow, "bbbbbb")[0] == 0
    code, out, err = deploy(drainbow, "bbbbbb", "--image", "other:1")
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

    api.call("DELETE", f"/api/v1/namespaces/{echo}/pods/client")
    eventually(lambda: counts() == 0)
    drainbow.run("sweep")
    time.sleep(2.2)
    assert drainbow.run("sweep")[0] == 0
    assert set(releases(drainbow.status())) == {"bbbbbb"}
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
    assert deploy(drainbow, "aaaaaa")[0] == 0
    args = ("--image", "nowhere.invalid/none:1", "--release", "bad000", "--set", "progress_deadline=12s")
    code, out, err = drainbow.run("deploy", *args)
    assert code == 4, err
    assert "image nowhere.invalid/none:1" in out
    status = drainbow.status()
    assert status["selected"] == "aaaaaa"
    assert "bad000" not in releases(status)


def test_connections_are_counted_by_looking_at_the_sockets(api, echo, drainbow):
    connect_a_client(api, echo)
    code, _out, err = drainbow.run(
        "deploy", "--image", IMAGE, "--release", "aaaaaa", "--hold", "2s", "--count", "tcp"
    )
    assert code == 0, err
    old = lambda: next(  # noqa: E731
        row for name, row in releases(drainbow.status()).items() if name != "aaaaaa"
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
    code, _, err = deploy(drainbow, "aaaaaa")
    assert code == 2
    assert "HorizontalPodAutoscaler scaler" in err
    assert "PodDisruptionBudget budget" in err
    service = api.call("GET", f"/api/v1/namespaces/{echo}/services/echo")
    assert service["spec"]["selector"] == {"app": "echo"}
    code, _out, err = deploy(drainbow, "aaaaaa", "--hpa", "follow", "--accept-pdb")
    assert code == 0, err
    drainbow.run("sweep")
    assert api.call("GET", f"{scalers}/scaler")["spec"]["scaleTargetRef"]["name"] == "echo-server-aaaaaa"


def test_a_service_without_a_hook_refuses_what_needs_one(echo, drainbow):
    code, _out, err = deploy(drainbow, "aaaaaa", "--strategy", "immutable")
    assert code == 2
    assert "--hooks" in err
    assert len(err.strip().splitlines()) == 1


def test_two_commands_at_once_do_not_fight(echo, drainbow):
    assert deploy(drainbow, "aaaaaa")[0] == 0
    first = drainbow.start("deploy", "--image", IMAGE, "--release", "bbbbbb", *FAST)
    time.sleep(0.7)
    second = drainbow.start("deploy", "--image", IMAGE, "--release", "cccccc", *FAST)
    one, two = first.communicate(timeout=120), second.communicate(timeout=120)
    assert second.returncode == 0, two
    assert first.returncode in (0, 4), one
    assert (first.returncode == 4) == ("superseded" in one[0]), one
    assert drainbow.status()["selected"] == "cccccc"


def test_an_operator_does_what_others_ask_for(echo, drainbow):
    assert deploy(drainbow, "aaaaaa")[0] == 0
    operator = drainbow.start("operate")
    try:
        assert "running the loop" in operator.stderr.readline()
        code, _out, err = deploy(drainbow, "bbbbbb")
        assert code == 0, err
        assert "watching it" in err
        # It lets the old release go by itself.
        eventually(lambda: set(releases(drainbow.status())) == {"bbbbbb"})
    finally:
        operator.send_signal(signal.SIGTERM)
        operator.communicate(timeout=30)
    assert operator.returncode == 0


CRASHING = """
import os, signal, sys, typer
from scenarios import cli, cli_own
from deployer.clusters.kubernetes.api import Api
at, after, seen, call = int(os.environ["CRASH_AT"]), os.environ["CRASH_WHEN"] == "after", [], Api.call
def crashing(self, method, *args, **options):
    if method != "GET" and "leases" not in args[0]:
        seen.append(method)
    if len(seen) == at and method != "GET" and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    answer = call(self, method, *args, **options)
    if len(seen) == at and method != "GET":
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
Api.call = crashing
app = typer.Typer(); cli_own.register(app); cli.app = app; sys.exit(cli._run(sys.argv[1:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deployer_killed_at_any_write_is_taken_up_by_the_next(api, context, echo, drainbow, when):
    """Every write in turn, from the adoption on, until a deploy is through before its turn comes."""
    connect_a_client(api, echo)
    where = ["--service", "echo", "--namespace", echo, "--context", context]
    for at in range(1, 40):
        release = f"c{at:02d}{'a' if when == 'after' else 'b'}00"
        args = ["deploy", *where, "--image", IMAGE, "--release", release, *FAST]
        env = {**os.environ, "CRASH_AT": str(at), "CRASH_WHEN": when}
        crashed = subprocess.run(
            [sys.executable, "-c", CRASHING, *args], env=env, capture_output=True, text=True, timeout=120
        )
        code, out, err = deploy(drainbow, release)
        assert code == 0, (at, out, err)
        status = drainbow.status()
        assert status["selected"] == release
        # Whoever was connected still is: the release of the first moment is there until they leave.
        assert sum(row["connections"] or 0 for row in status["releases"]) == 1, (at, status)
        if crashed.returncode == 0:
            break
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        time.sleep(2.1)
        drainbow.run("sweep")
    else:
        pytest.fail("no deploy got through")
    assert at > 5


def test_an_api_server_that_is_gone_for_a_while_delays_a_deploy_and_no_more(api, context, echo, drainbow):
    if not context.startswith("kind-"):
        pytest.skip("only kind's API server can be stopped from here")
    node = f"{context.removeprefix('kind-')}-control-plane"
    assert deploy(drainbow, "aaaaaa")[0] == 0
    move = (
        "mv /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/away.yaml; "
        "crictl ps -q --name kube-apiserver | xargs -r crictl stop -t 0"
    )
    back = "mv /etc/kubernetes/away.yaml /etc/kubernetes/manifests/kube-apiserver.yaml"
    process = drainbow.start("deploy", "--image", IMAGE, "--release", "bbbbbb", *FAST)
    eventually(lambda: "CreateDeployment" in process.stderr.readline())
    try:
        subprocess.run(["docker", "exec", node, "sh", "-c", move], check=True, capture_output=True)
        time.sleep(20)
    finally:
        subprocess.run(["docker", "exec", node, "sh", "-c", back], check=True, capture_output=True)
        eventually(lambda: answers(api), 120)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, (out, err)
    assert drainbow.status()["selected"] == "bbbbbb"


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


def test_an_interrupted_deploy_says_that_it_is_still_asked_for_and_can_be_taken_back(echo, drainbow):
    assert deploy(drainbow, "aaaaaa")[0] == 0
    process = drainbow.start("deploy", "--image", "nowhere.invalid/none:1", "--release", "bad000")
    eventually(lambda: "CreateDeployment" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "bad000 is still asked for" in err
    assert "Traceback" not in err
    assert drainbow.status()["last_request"]["outcome"] is None
    code, _, err = drainbow.run("rollback", "--to", "aaaaaa")
    assert code == 0, err
    status = drainbow.status()
    assert status["selected"] == "aaaaaa"
    assert "bad000" not in releases(status)
