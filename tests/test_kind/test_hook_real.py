"""The hook as a label: the Downward API brings it into a file in the pod, and the gateway acts on it."""

from __future__ import annotations

import signal
from contextlib import closing

import polars as pl
import pytest

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes.app import DESELECTED_LABEL
from scenarios.record import read_record
from scenarios.worlds.namespaces import ADMIN_PORT
from scenarios.worlds.objects import GATEWAY
from tests.end_to_end.conftest import finish, start, wait_until
from tests.test_kind.helpers import namespaces_of

pytestmark = [pytest.mark.cluster, pytest.mark.end_to_end, pytest.mark.long]

PATIENCE_S = 120.0
"""The kubelet promises no more than a minute or so; a changed label is mostly there within a second."""
SETTINGS = {
    "deploys": "[]",
    "users.session": "forever",
    "server.on_deselected": "pace",
    "server.pace_per_s": "10",
    "duration": "10m",  # it is ended before
}


def test_a_pod_hears_of_its_label_alone_and_of_its_end(on_kind, tmp_path):
    words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    process = start("run", "tiny", "--strategy", "rainbow", *words, "--world", "kind", out=tmp_path)
    with closing(on_kind.connect()) as api:
        wait_until(lambda: namespaces_of(on_kind, tmp_path), PATIENCE_S)
        (namespace,) = namespaces_of(on_kind, tmp_path)
        pods = f"/api/v1/namespaces/{namespace}/pods"

        def told(pod):
            return api.exec_in_pod(namespace, pod, GATEWAY, ["cat", "/etc/pod/deselected"], 10.0)

        def open_connections(pod):
            try:
                _, text = api.ask_pod(namespace, pod, ADMIN_PORT, "metrics", "GET", 5.0)
            except ClusterUnreachable:
                return 0
            return sum(
                float(line.rpartition(" ")[2])
                for line in text.decode().splitlines()
                if line.startswith("chat_open_connections")
            )

        def names():
            items = api.call("GET", pods, query={"labelSelector": f"app={GATEWAY}"})["items"]
            return [item["metadata"]["name"] for item in items]

        wait_until(lambda: sum(map(open_connections, names())) == 20, PATIENCE_S)
        chosen, other = names()
        assert told(chosen) == ""
        api.merge(f"{pods}/{chosen}", {"metadata": {"labels": {DESELECTED_LABEL: "true"}}})
        wait_until(lambda: told(chosen) == "true", PATIENCE_S)
        assert told(other) == ""
        wait_until(lambda: open_connections(other) > open_connections(chosen))
        api.merge(f"{pods}/{chosen}", {"metadata": {"labels": {DESELECTED_LABEL: None}}})
        wait_until(lambda: told(chosen) == "", PATIENCE_S)
        wait_until(lambda: sum(map(open_connections, (chosen, other))) == 20)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    (folder,) = (path for path in tmp_path.iterdir() if (path / "run.json").exists())
    record = read_record(folder)
    asked = record.connections.filter(pl.col("close_code") == 1012)
    assert set(asked["pod"]) == {chosen}
    assert record.connections.filter(pl.col("t_close_s").is_null()).height == 20  # all of them are back
