"""What may befall a deploy of one's own service: its worker killed or frozen, its cluster away, its pods dead."""

import json
import signal
import subprocess
import time

import psutil
import pytest

from deployer.clusters import ClusterUnreachable
from tests.test_kubernetes.conftest import connections, eventually

pytestmark = pytest.mark.cluster

CRASHING = """
import os, signal
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
"""
FREEZING = """
import os, signal
from deployer.clusters.kubernetes.sending import Sender
before = Sender.{write}
def freezing(self, *args):
    print("freezes", file=__import__("sys").stderr, flush=True)
    Sender.{write} = before
    os.kill(os.getpid(), signal.SIGSTOP)
    return before(self, *args)
Sender.{write} = freezing
"""
"""Stops where the deployer has made up its mind to write, and has not written yet."""


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deployer_killed_at_any_write_is_taken_up_by_the_next(drainbow, client, when):
    """Every write in turn, from the adoption on, until a deploy is through before its turn comes."""
    for at in range(1, 40):
        release = f"c{at:02d}{'a' if when == 'after' else 'b'}00"
        env = {"CRASH_AT": str(at), "CRASH_WHEN": when}
        crashed, _, said = drainbow.deploy(release, env=env, first=CRASHING)
        code, out, err = drainbow.deploy(release)
        assert code == 0, (at, out, err)
        status = drainbow.status()
        assert status["selected"] == release
        # Whoever was connected still is: the release of the first moment is there until they leave.
        assert sum(row["connections"] or 0 for row in status["releases"]) == 1, (at, status)
        if crashed == 0:
            break
        assert crashed == -signal.SIGKILL, said
        time.sleep(2.1)
        drainbow.run("sweep")
    else:
        pytest.fail("no deploy got through")
    assert at > 5


def frozen(process):
    """Waits until it has stopped itself."""
    while "freezes" not in (line := process.stderr.readline()):
        assert line, "it ended before"
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)


def woken(process):
    """Lets it go on; what it says from then on."""
    process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=60)


def test_a_deploy_frozen_for_longer_than_its_lease_yields_to_who_took_over(drainbow, client):
    assert drainbow.deploy("aaaaaa")[0] == 0
    first = drainbow.start_deploy("bbbbbb", first=FREEZING.format(write="create"))
    frozen(first)
    began_s = time.monotonic()
    assert drainbow.deploy("cccccc")[0] == 0
    assert time.monotonic() - began_s > 10  # it has waited for the Lease to run out, and no less
    out, err = woken(first)
    assert (first.returncode, out[:18]) == (4, "bbbbbb superseded:"), err
    assert "bbbbbb" not in drainbow.releases()
    assert drainbow.status()["selected"] == "cccccc"


def test_an_operator_that_wakes_does_not_delete_what_was_returned_to_meanwhile(api, drainbow, echo):
    assert drainbow.deploy("aaaaaa")[0] == 0
    operator = drainbow.start("operate", first=FREEZING.format(write="delete"))
    assert drainbow.deploy("bbbbbb")[0] == 0
    frozen(operator)  # about to delete the release before
    code, out, err = drainbow.run("rollback", "--to", "aaaaaa")
    assert (code, out) == (0, "aaaaaa done: aaaaaa serves\n"), err
    path = f"/apis/apps/v1/namespaces/{echo}/deployments/echo-server-aaaaaa"
    uid = api.call("GET", path)["metadata"]["uid"]
    operator.send_signal(signal.SIGCONT)
    # It runs the loop again: the other release drains, and it lets that one go.
    eventually(lambda: set(drainbow.releases()) == {"aaaaaa"})
    operator.send_signal(signal.SIGTERM)
    operator.communicate(timeout=30)
    assert operator.returncode == 0
    assert api.call("GET", path)["metadata"]["uid"] == uid


def signal_server(api, namespace, pod, name):
    """A signal to the first process of a pod, from its node: within, it is immune."""
    found = api.call("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}")
    container = found["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    command = ["ctr", "--namespace", "k8s.io", "task", "kill", "--signal", name, container]
    node = found["spec"]["nodeName"]
    subprocess.run(["docker", "exec", node, *command], check=True, capture_output=True)


def test_a_pod_that_hangs_and_dies_mid_deploy_is_unknown_and_delays_nobody(api, drainbow, echo, client):
    victim = next(name for name, count in connections(api, echo).items() if count)
    process = drainbow.start_deploy("bbbbbb")
    eventually(lambda: "CreateDeployment" in process.stderr.readline())
    signal_server(api, echo, victim, "SIGSTOP")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "bbbbbb done: bbbbbb serves\n"), err
    (old,) = set(drainbow.releases()) - {"bbbbbb"}
    for _ in range(2):
        time.sleep(2.1)
        (verdict,) = json.loads(drainbow.run("sweep", "--json")[1])["verdicts"]
        assert (verdict["release"], verdict["decision"]) == (old, "unknown")
    row = drainbow.releases()[old]
    assert (row["unknown"], row["connections"], row["desired"]) == (1, 0, 2)  # the other pod says 0
    signal_server(api, echo, victim, "SIGKILL")

    def swept():
        drainbow.run("sweep")
        return set(drainbow.releases()) == {"bbbbbb"}

    eventually(swept)


def answers(api):
    try:
        return api.version()
    except ClusterUnreachable:
        return None


@pytest.mark.long
def test_an_api_server_that_is_gone_for_a_while_delays_a_deploy_and_no_more(api, cluster, drainbow):
    node = cluster.ground.kind.control_plane
    assert drainbow.deploy("aaaaaa")[0] == 0
    move = (
        "mv /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/away.yaml; "
        "crictl ps -q --name kube-apiserver | xargs -r crictl stop -t 0"
    )
    back = "mv /etc/kubernetes/away.yaml /etc/kubernetes/manifests/kube-apiserver.yaml"
    # its pods make no progress while the API server is away, and on a busy machine that takes a while to come back
    process = drainbow.start_deploy("bbbbbb", "--set", "progress_deadline=180s")
    eventually(lambda: "CreateDeployment" in process.stderr.readline())
    try:
        subprocess.run(["docker", "exec", node, "sh", "-c", move], check=True, capture_output=True)
        time.sleep(20)
    finally:
        subprocess.run(["docker", "exec", node, "sh", "-c", back], check=True, capture_output=True)
        eventually(lambda: answers(api), 120)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert "trying again until it answers" in err
    assert "the cluster answers again, after " in err
    assert drainbow.status()["selected"] == "bbbbbb"
