"""A namespace of a real cluster, for the tests that are marked `cluster`: DRAINBOW_TEST_CONTEXT names it."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONTEXT = "DRAINBOW_TEST_CONTEXT"
IMAGE = os.environ.get("DRAINBOW_TEST_IMAGE", "python:3.11-slim")


@pytest.fixture(scope="session")
def context():
    name = os.environ.get(CONTEXT)
    if not name:
        pytest.skip(f"{CONTEXT} names no kubeconfig context of a cluster that has the image {IMAGE}")
    return name


@pytest.fixture(scope="session")
def api(context):
    from deployer.clusters.kubernetes import Api

    found = Api.connect(context)
    yield found
    found.close()


@pytest.fixture
def namespace(api):
    name = f"drainbow-test-{uuid.uuid4().hex[:8]}"
    labels = {"app.kubernetes.io/managed-by": "drainbow"}
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


def echo_deployment(name="echo-server", replicas=2, **pod):
    container = {
        "name": "echo",
        "image": IMAGE,
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
def echo_template():
    return echo_deployment()


@pytest.fixture
def echo(api, namespace):
    """A Deployment of two ready echo pods and its Service, as somebody made them without us."""
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.call("POST", apps, echo_deployment())
    service = {
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": "tcp"}]},
    }
    api.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
    eventually(lambda: api.call("GET", f"{apps}/echo-server").get("status", {}).get("readyReplicas") == 2)
    return namespace


def eventually(holds, timeout_s=60.0):
    until_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.1)
    return found


class Program:
    """The commands as a user runs them, in processes of their own."""

    def __init__(self, context, namespace):
        self._started = []
        self._where = ["--service", "echo", "--namespace", namespace, "--context", context]

    def start(self, command, *args, env=None):
        code = "import sys, typer; from scenarios import cli, cli_own; app = typer.Typer(); "
        code += "cli_own.register(app); cli.app = app; sys.exit(cli._run(sys.argv[1:]))"
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

    def run(self, command, *args, env=None, timeout_s=150):
        process = self.start(command, *args, env=env)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, out, err

    def status(self):
        code, out, err = self.run("status", "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def drainbow(context, echo):
    program = Program(context, echo)
    yield program
    program.end()
