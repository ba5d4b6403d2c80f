"""The view of a cluster while its API server goes and comes, and while threads begin, look and close at once."""

import threading
import time

import pytest

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import view as view_module
from deployer.clusters.kubernetes.api import GoneError
from deployer.clusters.kubernetes.app import App
from deployer.clusters.kubernetes.view import View
from deployer.clusters.kubernetes.watching import Store
from deployer.fleet import Limits
from tests.test_kubernetes.server import DEPLOYMENTS, PODS, SERVICES, deployment, eventually, with_service

APP = App("web", "ns", "web", {"app": "web"}, deployment(), Limits(2))


@pytest.fixture
def server():
    return with_service()


@pytest.fixture
def view(server):
    found = View(server, APP)
    yield found
    found.close()


def away(view):
    try:
        view.synced()
    except ClusterUnreachable:
        return True
    return False


def test_an_outage_is_waited_out_once_and_not_by_every_look(server, view, monkeypatch):
    monkeypatch.setattr(view_module, "BLIP_S", 0.3)
    view.service()
    server.goes()
    eventually(lambda: away(view))
    began_s = time.monotonic()
    for look in (view.service, view.all_deployments, view.all_pods, view.synced):
        for _ in range(5):
            with pytest.raises(ClusterUnreachable, match="gone"):
                look()
    assert time.monotonic() - began_s < 0.3  # twenty looks; one of them alone would wait so long
    server.comes_back()
    eventually(lambda: not away(view))
    assert view.service()["metadata"]["name"] == "web"


def test_a_moment_without_the_api_server_is_no_outage(server, view):
    view.service()
    server.goes()
    eventually(lambda: not view.services.synced)
    threading.Timer(0.1, server.comes_back).start()
    assert view.service()["metadata"]["name"] == "web"


def test_who_waits_for_a_change_is_woken_when_the_cluster_goes_and_when_it_is_back(server, view):
    """A loop may wait a minute; it must not notice only then."""
    version = view.watch(-1, 0.0)
    eventually(lambda: view.watch(version, 0.0) == version)
    threading.Timer(0.05, server.goes).start()
    gone = view.watch(version, 30.0)
    assert gone != version
    server.comes_back()
    eventually(lambda: not away(view))
    assert view.watch(gone, 30.0) != gone


def test_many_threads_may_look_first(server, view):
    barrier, failed = threading.Barrier(16), []

    def look():
        barrier.wait()
        try:
            view.service()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert server.calls.count(("GET", SERVICES)) <= 2  # one list, one watch


def test_no_watch_begins_after_the_end(server):
    view = View(server, APP)
    view.close()
    with pytest.raises(ClusterUnreachable, match="closed"):
        view.service()
    assert server.calls == []


def test_the_end_wakes_who_waits_for_the_cluster(server, monkeypatch):
    monkeypatch.setattr(view_module, "BLIP_S", 60.0)
    server.goes()
    view, raised = View(server, APP), threading.Event()

    def look():
        with pytest.raises(ClusterUnreachable):
            view.service()
        raised.set()

    thread = threading.Thread(target=look)
    thread.start()
    eventually(lambda: server.calls)
    view.close()
    assert raised.wait(1.0)
    thread.join()


def test_the_end_takes_no_longer_with_three_watches_that_hang(server, monkeypatch):
    monkeypatch.setattr("deployer.clusters.kubernetes.watching.CLOSE_S", 0.3)
    hangs = threading.Event()
    server.before = lambda *_: hangs.wait(10.0)
    view = View(server, APP)
    threading.Thread(target=away, args=(view,), daemon=True).start()
    eventually(lambda: view.pods.alive)
    began_s = time.monotonic()
    view.close()
    took_s = time.monotonic() - began_s
    hangs.set()
    assert took_s < 0.6


def test_a_list_that_began_before_our_own_write_does_not_take_it_back(server):
    """The list shows the collection as it was; the write came between its beginning and its end."""
    store = Store(server, DEPLOYMENTS, {}, lambda *_: None)
    call, lists = server.call, []

    def slow(method, path, *args, **options):
        answer = call(method, path, *args, **options)
        if method == "GET" and path == DEPLOYMENTS:
            lists.append(answer)
            if len(lists) == 1:
                store.put(server.add(DEPLOYMENTS, deployment("new")))
        return answer

    server.call = slow
    forgotten = []
    store._changed = lambda name, before, found: forgotten.append(name) if found is None else None
    store.start()
    eventually(lambda: store.synced)
    assert "new" in store.all()
    store.close()
    assert forgotten == []


def test_an_answer_that_is_not_understood_does_not_leave_an_old_picture_for_a_new_one(server, view):
    """The watch must not end unseen: what is in memory would be taken for what is there, for ever."""
    view.service()
    watch = server.watch

    def broken(*args):
        for event in watch(*args):
            yield {"type": event["type"], "object": None}

    server.watch = broken
    view.look_anew()
    view.service()
    server.add(PODS, {"metadata": {"name": "other", "labels": {"app": "web"}}})
    server.watch = watch
    eventually(lambda: not away(view) and "other" in view.all_pods())


def test_a_server_that_says_gone_again_and_again_is_not_asked_without_a_pause(server):
    asked = []

    def gone(*_, **__):
        asked.append(time.monotonic())
        raise GoneError("too old")

    server.call = gone
    store = Store(server, PODS, {}, lambda *_: None)
    store.start()
    eventually(lambda: len(asked) >= 2)
    time.sleep(0.3)
    store.close()
    assert len(asked) < 8
    assert not store.synced


def test_changes_are_told_in_the_order_in_which_they_came(server):
    """A watch's late event must not be told after the answer to a newer write."""
    told, first, second = [], threading.Event(), threading.Event()

    def changed(name, before, found):
        version = found["metadata"]["resourceVersion"]
        if version == "5":
            first.set()
            second.wait(0.2)
        told.append(version)

    store = Store(server, PODS, {}, changed)
    meta = {"name": "p", "uid": "u"}
    slow = threading.Thread(
        target=store.put, args=({"metadata": {**meta, "resourceVersion": "5"}},), daemon=True
    )
    slow.start()
    assert first.wait(10.0)
    store.put({"metadata": {**meta, "resourceVersion": "6"}})
    second.set()
    slow.join()
    assert told == ["5", "6"]
