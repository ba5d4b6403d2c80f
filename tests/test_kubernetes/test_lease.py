"""The Lease and the writes that stand on it, without a cluster: a small API server in memory."""

import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from deployer.actions import DeleteDeployment, Scale, Select
from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import App, KubernetesCluster
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError
from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from deployer.fleet import Kind, Limits
from deployer.own import lease as lease_module
from deployer.own.lease import DURATION_S, HELD_S, Lease, identity, is_free
from tests.test_kubernetes.server import DEPLOYMENTS, SERVICES, with_service


class Server:
    """The writes that reach it, and the Lease that they leave."""

    name = "memory"

    def __init__(self):
        self.spec = None
        self.version = 0
        self.writes = []

    def call(self, method, path, body=None, query=None, timeout_s=None):
        if method == "POST":
            self.writes.append(path)
            self.spec = body["spec"]
        if self.spec is None:
            raise NotFoundError("none")
        return {"metadata": {"resourceVersion": str(self.version)}, "spec": self.spec}

    def merge(self, path, patch, timeout_s=None):
        if patch["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError("changed")
        self.version += 1
        self.spec = {**self.spec, **patch["spec"]}
        return {}


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(lease_module, "_clock_s", lambda: now[0])
    return now


def test_who_was_frozen_holds_the_lease_no_more_before_anybody_tells_it(clock):
    lease = Lease(Server(), "ns", "web", "me_1_a")
    assert not lease.holds()
    assert lease.take()
    assert lease.holds()
    clock[0] += HELD_S - 0.1
    assert lease.holds()
    clock[0] += 0.2
    assert not lease.holds()
    lease.release()
    assert not lease.holds()


def test_it_is_over_with_writing_before_another_may_begin(clock):
    server = Server()
    first, second = Lease(server, "ns", "web", "me_1_a"), Lease(server, "ns", "web", "you_2_b")
    assert first.take()
    assert not second.take()
    clock[0] += DURATION_S
    assert not second.take()
    assert not first.holds()
    clock[0] += 0.1
    assert second.take()
    assert second.holds()
    first.release()  # which must not take it from the other
    assert server.spec["holderIdentity"] == "you_2_b"
    second.release()
    assert server.spec["holderIdentity"] == ""


def test_machines_of_one_name_are_told_apart(monkeypatch):
    """As build machines made from one image are: the process id of one says nothing on the other."""
    monkeypatch.setattr(lease_module.socket, "gethostname", lambda: "runner")
    here = identity()
    monkeypatch.setattr(lease_module, "_boot", lambda: "f" * 32)
    there = identity()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held = {"spec": {"holderIdentity": f"{there.split('_')[0]}_{ended.pid}_x", "renewTime": "", "x": 1}}
    assert not is_free(held, here, None, 0.0, 0.0)
    assert is_free(held, there, None, 0.0, 0.0)


def test_a_clock_that_is_wrong_takes_no_lease_from_who_lives(monkeypatch):
    """Two minutes ahead: what was renewed just now looks long dead."""
    server, now = Server(), [1_767_225_600.0]
    monkeypatch.setattr(lease_module.time, "time", lambda: now[0])
    first, second = Lease(server, "ns", "web", "me_1_a"), Lease(server, "ns", "web", "you_2_b")
    assert first.take()
    renewed = datetime.fromtimestamp(now[0], UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    server.spec = {**server.spec, "renewTime": renewed}
    now[0] += 120.0
    assert not second.take()
    now[0] += 600.0  # nobody's clock is so wrong
    assert second.take()
    first.release()
    second.release()


def test_who_ends_while_the_api_server_is_away_does_not_wait_for_it(monkeypatch):
    monkeypatch.setattr(lease_module, "RENEW_S", 0.01)
    server = Server()
    lease = Lease(server, "ns", "web", "me_1_a")
    assert lease.take()
    asked, waits = threading.Event(), []

    def away(*args, timeout_s=None, **_):
        waits.append(timeout_s)
        asked.set()
        raise ClusterUnreachable("away")

    server.call = away
    assert asked.wait(10.0)
    lease.release()
    after = len(waits)
    assert set(waits) == {lease_module.ANSWER_S}
    assert lease_module.ANSWER_S < 5
    lease.release()
    assert len(waits) == after  # nobody is told that it is free: nobody answers


def test_nothing_is_written_without_leave_and_the_view_is_listed_anew_with_it():
    server = with_service()
    labels = {"drainbow.dev/service": "web", MANAGED_BY: OURS}
    server.merge(f"{DEPLOYMENTS}/web", {"metadata": {"labels": labels}})
    server.writes.clear()
    app = App("web", "ns", "web", {"app": "web"}, {"spec": {}}, Limits(1))
    writes = (Scale("web", 0), DeleteDeployment("web"), Select("aaaaaa"))
    with KubernetesCluster(server, app) as cluster:
        with cluster.writing_while(lambda: False):
            for action in writes:
                with pytest.raises(ClusterUnreachable, match="Lease is out of date"):
                    cluster.act(action)
            with pytest.raises(ClusterUnreachable, match="Lease is out of date"):
                cluster.request("aaaaaa", Kind.DEPLOY)
        assert server.writes == []
        server.calls.clear()
        with cluster.writing_while(lambda: True):
            cluster.observe()
            assert ("GET", SERVICES) in server.calls
            for action in writes:
                cluster.act(action)
        assert [method for method, _ in server.writes] == ["PATCH", "DELETE", "PATCH"]
