"""The Lease and the writes that stand on it, without a cluster: a small API server in memory."""

import threading

import pytest

from deployer.actions import DeleteDeployment, Scale, Select
from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import App, KubernetesCluster
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError
from deployer.fleet import Kind, Limits
from deployer.own import lease as lease_module
from deployer.own.lease import DURATION_S, HELD_S, Lease


class Server:
    """The writes that reach it, and the Lease that they leave."""

    name = "memory"

    def __init__(self):
        self.spec = None
        self.version = 0
        self.writes = []

    def call(self, method, path, body=None, query=None):
        if method == "POST":
            self.writes.append(path)
            self.spec = body["spec"]
        if self.spec is None:
            raise NotFoundError("none")
        return {"metadata": {"resourceVersion": str(self.version)}, "spec": self.spec}

    def merge(self, path, patch):
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


class Open:
    """A watch that tells nothing until it is cut off."""

    def __init__(self):
        self.ended = threading.Event()

    def shutdown(self):
        self.ended.set()


class Watched(Server):
    """Lists one Service and one Deployment, and refuses nothing."""

    lists = 0

    def call(self, method, path, body=None, query=None):
        meta = {"name": "web", "uid": "u", "resourceVersion": "1"}
        meta |= {"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"drainbow.dev/service": "web"}}
        kind = path.rpartition("/")[2]
        if method != "GET":
            self.writes.append((method, path))
            return {"metadata": meta}
        spec = {"selector": {}, "template": {"metadata": {}}, "replicas": 1}
        self.lists += kind == "services"
        items = [{"metadata": meta, "spec": spec}] if kind in ("services", "deployments") else []
        return {"items": items, "metadata": {"resourceVersion": "1"}}

    def merge(self, path, patch):
        self.writes.append(("PATCH", path))
        meta = {
            "name": "web",
            "uid": "u",
            "resourceVersion": "2",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        return {"metadata": meta, "spec": {"selector": {}}}

    def watch(self, path, query, timeout_s, opened):
        opened.append(Open())
        opened[-1].ended.wait(timeout_s)
        opened.pop()
        yield from ()

    def close(self):
        pass


def test_nothing_is_written_without_leave_and_the_view_is_listed_anew_with_it():
    server = Watched()
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
        before = server.lists
        with cluster.writing_while(lambda: True):
            cluster.observe()
            assert server.lists == before + 1
            for action in writes:
                cluster.act(action)
        assert [method for method, _ in server.writes] == ["PATCH", "DELETE", "PATCH"]
