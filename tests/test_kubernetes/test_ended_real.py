"""What an API server and a kubelet say of pods that do not answer, and what is made of it."""

import pytest

from deployer.clusters.kubernetes import Counting
from deployer.clusters.kubernetes.asking import PodAsker
from deployer.fleet import Count
from tests.test_kubernetes.conftest import eventually

pytestmark = pytest.mark.cluster

COMMANDS = {
    "left": "pass",
    "hangs": "import socket, time; s = socket.create_server(('', 9090)); time.sleep(3600)",
    "deaf": "import time; time.sleep(3600)",
}


def test_of_pods_that_do_not_answer_only_one_that_runs_nothing_holds_nobody(api, namespace, image):
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for name, code in COMMANDS.items():
        container = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
        spec = {
            "terminationGracePeriodSeconds": 0,
            "containers": [{**container, "command": ["python", "-c", code]}],
        }
        api.call("POST", pods, {"metadata": {"name": name}, "spec": spec})

    def settled():
        (left, hangs, deaf) = (api.call("GET", f"{pods}/{name}")["status"] for name in COMMANDS)
        runs = [status.get("containerStatuses", [{}])[0].get("state", {}) for status in (hangs, deaf)]
        restarts = left.get("containerStatuses", [{"restartCount": 0}])[0]["restartCount"]
        return restarts and all("running" in state for state in runs)

    asker = PodAsker(api, namespace)
    try:
        eventually(settled)
        # soon it is started again: between two starts is when it counts
        eventually(lambda: asker.counts(["left"], Counting())["left"] == Count(0))
        eventually(lambda: asker.counts(["left"], Counting(kind="tcp", port=8080))["left"] == Count(0))
        assert asker.counts(["hangs", "deaf", "unheard-of"], Counting()) == {
            "hangs": None,
            "deaf": None,
            "unheard-of": None,
        }
    finally:
        asker.close()
