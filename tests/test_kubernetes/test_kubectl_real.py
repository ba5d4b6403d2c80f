"""The program as a kubectl plugin, with the kubectl of the kind cluster's own nodes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster


@pytest.fixture
def kubectl(cluster, context, tmp_path):
    """Runs kubectl with `kubectl-drainbow` on its path, as it is installed beside this Python."""
    node = cluster.ground.kind.control_plane
    program = tmp_path / "kubectl"
    subprocess.run(["docker", "cp", "-qL", f"{node}:/usr/bin/kubectl", str(program)], check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"

    def run(*words):
        env = {**os.environ, "PATH": path, "COLUMNS": "100"}
        return subprocess.run([program, *words], env=env, capture_output=True, text=True, timeout=60)

    return run


def test_kubectl_finds_the_plugin_and_its_words_reach_it(kubectl, context, echo, drainbow):
    assert "kubectl-drainbow" in kubectl("plugin", "list").stdout
    said = kubectl("drainbow", "status", "--help")
    assert "Usage: kubectl drainbow status" in said.stdout
    where = ("--service", "echo", "--namespace", echo, "--context", context)
    asked = kubectl("drainbow", "status", *where)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "is not under drainbow yet" in asked.stderr
    assert drainbow.deploy("aaaaaa")[0] == 0
    shown = kubectl("drainbow", "status", *where)
    assert shown.returncode == 0, shown.stderr
    assert "aaaaaa" in shown.stdout
    assert "serving" in shown.stdout
