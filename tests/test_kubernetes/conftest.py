"""A namespace of a real cluster, and the program in it, for the tests that are marked `cluster`."""

import json
import os
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import pytest

from tests.test_kubernetes import server

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def context(cluster):
    """The session's cluster, which the programs that tests start find in their kubeconfig."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", cluster.kubeconfig)
        yield cluster.context


@pytest.fixture(scope="session")
def image(cluster):
    """One that has Python and is on every node: the chat server's."""
    return cluster.image


@pytest.fixture(scope="session")
def api(cluster, context):
    found = cluster.connect()
    yield found
    found.close()


@pytest.fixture
def namespace(api):
    name = f"drainbow-test-{uuid.uuid4().hex[:8]}"
    labels = {"app.kubernetes.io/managed-by": "drainbow"}
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


def echo_deployment(image, name="echo-server", replicas=2, **pod):
    container = {
        "name": "echo",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", (HERE / "echo.py").read_text()],
        "env": [{"name": "MODE", "value": "kept"}],
        "resources": {"requests": {"cpu": "10m"}},
        "ports": [{"name": "tcp", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "echo"}},
            "template": {
                "metadata": {"labels": {"app": "echo"}, "annotations": {"team": "chat"}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **pod},
            },
        },
    }


@pytest.fixture
def echo_template(image):
    return echo_deployment(image)


@pytest.fixture
def echo(api, namespace, image):
    """A Deployment of two ready echo pods and its Service, as somebody made them without us."""
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.call("POST", apps, echo_deployment(image))
    service = {
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": "tcp"}]},
    }
    api.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
    eventually(lambda: api.call("GET", f"{apps}/echo-server").get("status", {}).get("readyReplicas") == 2)
    return namespace


eventually = partial(server.eventually, timeout_s=60.0, every_s=0.1)
"""A real cluster takes its time."""


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


class Program:
    """The commands as a user runs them, in processes of their own."""

    def __init__(self, context, namespace, image):
        self.image = image
        self._started = []
        self._where = ["--service", "echo", "--namespace", namespace, "--context", context]

    def start(self, command, *args, env=None, first=""):
        """`first` is code that runs before the program, to bring about what seldom happens by itself."""
        code = f"{first}\nimport sys; from scenarios.cli import main; main(sys.argv[1:])"
        process = subprocess.Popen(
            [sys.executable, "-c", code, command, *self._where, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self._started.append(process)
        return process

    def end(self):
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, command, *args, env=None, first="", timeout_s=150):
        process = self.start(command, *args, env=env, first=first)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, out, err

    def deploy(self, release, *args, **options):
        return self.run("deploy", "--image", self.image, "--release", release, *FAST, *args, **options)

    def start_deploy(self, release, *args, **options):
        return self.start("deploy", "--image", self.image, "--release", release, *FAST, *args, **options)

    def status(self):
        code, out, err = self.run("status", "--json")
        assert code == 0, err
        return json.loads(out)

    def releases(self):
        return {row["release"]: row for row in self.status()["releases"]}


@pytest.fixture
def drainbow(context, echo, image):
    program = Program(context, echo, image)
    yield program
    program.end()


@pytest.fixture
def client(api, echo, image):
    """A pod that holds one connection to the service, for as long as it is let; the pod's path."""
    container = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", CLIENT],
    }
    pod = {
        "metadata": {"name": "client"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    pods = f"/api/v1/namespaces/{echo}/pods"
    api.call("POST", pods, pod)
    eventually(lambda: sum(connections(api, echo).values()) == 1)
    return f"{pods}/client"


def connections(api, namespace):
    """What each ready pod of the service says; one that is just ending says nothing."""
    pods = api.call("GET", f"/api/v1/namespaces/{namespace}/pods", query={"labelSelector": "app=echo"})
    ready = [
        pod["metadata"]["name"]
        for pod in pods["items"]
        for condition in pod["status"].get("conditions") or ()
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    answers = {name: api.ask_pod(namespace, name, 9090, "/count", "GET", 2) for name in ready}
    return {name: int(body) for name, (status, body) in answers.items() if status == 200}
