"""Every action and every way to ask, on a real cluster."""

import threading
import time

import pytest

from deployer import controller
from deployer.actions import (
    Annotate,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    MarkForDeletion,
    NotifyDeselected,
    Scale,
    Select,
    SetRelease,
)
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import App, Counting, Hooks, KubernetesCluster, Variant
from deployer.draining import DrainSettings
from deployer.fleet import Kind, Limits, Outcome, PodState
from deployer.journal import MemoryJournal
from deployer.strategies import make
from tests.test_kubernetes.conftest import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture
def make_cluster(api, cluster, namespace, echo_template):
    made = []

    def build(**given):
        given = {"counting": Counting("endpoint", port=9090, path="/count"), "hooks": Hooks(), **given}
        app = App("echo", namespace, "echo", {"app": "echo"}, echo_template, Limits(2), **given)
        made.append(KubernetesCluster(cluster.connect(), app))
        return made[-1]

    service = {"metadata": {"name": "echo"}, "spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    api.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
    yield build
    for one in made:
        one.close()


def create(cluster, release="aaaaaa", replicas=2, **given):
    cluster.act(CreateDeployment(f"echo-{release}", release, replicas, **given))


def ready(cluster, name):
    return eventually(lambda: (d := cluster.observe().deployments.get(name)) and d.complete and d)


def test_what_was_written_is_seen_at_once_and_writing_it_again_changes_nothing(make_cluster):
    cluster = make_cluster()
    for _ in range(2):
        create(cluster)
        assert cluster.observe().deployments["echo-aaaaaa"].desired == 2
        cluster.act(Annotate("echo-aaaaaa", "drainbow.dev/quiet-since", "1.0"))
        assert cluster.observe().deployments["echo-aaaaaa"].annotations["drainbow.dev/quiet-since"] == "1.0"
        cluster.act(Select("aaaaaa"))
        assert cluster.observe().selected == "aaaaaa"
        cluster.act(Annotate("echo-aaaaaa", "drainbow.dev/quiet-since", None))
        assert "drainbow.dev/quiet-since" not in cluster.observe().deployments["echo-aaaaaa"].annotations
        cluster.act(Scale("echo-aaaaaa", 1))
        assert cluster.observe().deployments["echo-aaaaaa"].desired == 1
        cluster.act(Scale("echo-aaaaaa", 2))
    since_s = cluster.observe().selected_since_s
    cluster.act(Select("aaaaaa"))
    assert cluster.observe().selected_since_s == since_s
    for _ in range(2):
        cluster.act(DeleteDeployment("echo-aaaaaa"))
        assert cluster.observe().deployments == {}
    for action in (
        Scale("gone", 1),
        Annotate("gone", "k", "v"),
        SetRelease("gone", "x"),
        MarkForDeletion({"p": -1}),
    ):
        cluster.act(action)


def test_another_process_writes_are_seen_and_versions_tell_of_them(make_cluster):
    one, two = make_cluster(), make_cluster()
    version = two.watch(-1, 5)
    create(one)
    assert two.watch(version, 10) != version
    eventually(lambda: "echo-aaaaaa" in two.observe().deployments)
    numbers = []
    threads = [
        threading.Thread(target=lambda c=c, r=r: numbers.append(c.request(r, Kind.DEPLOY)))
        for c, r in ((one, "bbbbbb"), (two, "cccccc"), (one, "dddddd"), (two, "eeeeee"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [0, 1, 2, 3]
    eventually(lambda: len(one.observe().requests) == 4)


def test_pods_are_told_asked_and_marked(make_cluster, api, namespace):
    cluster = make_cluster()
    create(cluster)
    ready(cluster, "echo-aaaaaa")
    names = tuple(p.name for p in cluster.observe().pods)
    assert {count.open for count in cluster.ask(names).values()} == {0}
    assert cluster.ask(["gone"]) == {"gone": None}
    cluster.act(NotifyDeselected(names))
    cluster.act(CloseConnections(names, 5.0))
    for name in names:
        assert api.ask_pod(namespace, name, 9090, "/told", "GET", 2)[1] == b"/deselected /drain?per_s=2.5"
        labels = cluster.pods()[name]["metadata"]["labels"]
        assert labels["drainbow.dev/deselected"] == "true"
    cluster.act(MarkForDeletion({names[0]: -1}))
    cluster.act(Scale("echo-aaaaaa", 1))
    leaving = eventually(lambda: [p for p in cluster.observe().pods if p.state is PodState.TERMINATING])
    assert [p.name for p in leaving] == [names[0]]
    found = cluster.observe().deployments["echo-aaaaaa"]
    assert (found.total, found.desired) == (1, 1)


def test_a_pod_that_hangs_is_unknown_and_holds_nobody_up(make_cluster):
    cluster = make_cluster(counting=Counting("endpoint", port=9090, path="/hang"))
    create(cluster, replicas=1)
    ready(cluster, "echo-aaaaaa")
    began_s = time.monotonic()
    assert set(cluster.sample().values()) == {None}
    assert time.monotonic() - began_s < 10.0
    tcp = make_cluster(counting=Counting("tcp", port=8080))
    assert {count.open for count in tcp.sample().values()} == {0}


def test_without_hooks_nobody_can_be_told(make_cluster):
    cluster = make_cluster(hooks=None)
    for action in (NotifyDeselected(("p",)), CloseConnections(("p",), 1.0)):
        with pytest.raises(RejectedError, match="has no hook"):
            cluster.act(action)


@pytest.mark.parametrize(
    "name",
    [
        "rainbow",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("rolling", "recreate", "bluegreen", "immutable")
        ),
    ],
)
def test_every_strategy_deploys_and_fails_and_returns(make_cluster, name, namespace, api):
    strategy = make(name, {"progress_deadline": 12.0})
    cluster = make_cluster(shape=strategy.shape)
    if not strategy.selects_release:
        path = f"/api/v1/namespaces/{namespace}/services/echo"
        api.merge(path, {"spec": {"selector": {"app": "echo"}}})
    drain, journal, stop = DrainSettings(hold_s=2, check_every_s=1), MemoryJournal(), threading.Event()
    run = (cluster, strategy, drain, journal, cluster.watch, time.time, stop)
    thread = threading.Thread(target=controller.run, args=run)
    thread.start()
    try:

        def outcome(release, kind=Kind.DEPLOY, variant=None):
            number = cluster.request(release, kind, variant)
            return eventually(
                lambda: next(r for r in cluster.observe().requests if r.deploy == number).outcome
            )

        assert outcome("aaaaaa", Kind.INITIAL) is Outcome.DONE
        assert outcome("bbbbbb") is Outcome.DONE
        if name == "bluegreen":
            time.sleep(3)
        assert outcome("cccccc", variant=Variant(image="nowhere.invalid/none:1")) is Outcome.FAILED
        if name != "recreate":
            assert any(p.release == "bbbbbb" and p.state is PodState.READY for p in cluster.observe().pods)
        assert outcome("aaaaaa", Kind.ROLLBACK) is Outcome.DONE
        found = cluster.observe()
        assert found.selected == ("aaaaaa" if strategy.selects_release else None)
        eventually(
            lambda: (
                {p.release for p in cluster.observe().pods if p.state is PodState.READY}
                <= {"aaaaaa", "bbbbbb"}
            )
        )
    finally:
        stop.set()
        cluster.close()
        thread.join(30)
    assert not thread.is_alive()
    rows = cluster.pod_log.rows()
    assert all(row["t_created_s"] <= (row["t_ready_s"] or row["t_created_s"]) for row in rows)
    assert {"aaaaaa", "bbbbbb"} <= {row["release"] for row in rows}
