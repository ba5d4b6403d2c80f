"""The life of pods: probes, restarts, deletion, and the faults that end them."""

import json
import time
from itertools import pairwise

from deployer.actions import (
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    NotifyDeselected,
    SetRelease,
)
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import UpdateStrategy
from deployer.clusters.local.config import Probe, Startup
from deployer.fleet import PodState


def deaths(lab, running) -> list[float]:
    return [event["t_s"] for event in lab.events(running) if event["kind"] == "died"]


def test_a_pod_is_ready_no_earlier_than_its_startup_draw(lab):
    running = lab.cluster(startup=Startup(median_s=1.5))
    lab.deploy(running.cluster, "aaaaaa")
    for pod in running.cluster.observe().pods:
        assert pod.ready_since_s - pod.created_s >= 1.5


def test_a_pod_that_never_passes_its_probe_stays_out_of_the_service(lab):
    running = lab.cluster(selects_release=False, pod=lab.spec("--never-ready", release="bbbbbb"))
    running.cluster.act(CreateDeployment("chat", "aaaaaa", 1, own_release=False))
    lab.eventually(lambda: running.cluster.status()["routes"])
    running.cluster.act(SetRelease("chat", "bbbbbb"))
    lab.eventually(lambda: lab.started(running, "bbbbbb"))
    time.sleep(0.5)  # several probe periods
    states = {pod.release: pod.state for pod in running.cluster.observe().pods}
    assert states == {"aaaaaa": PodState.READY, "bbbbbb": PodState.STARTING}
    assert {lab.client(running).release for _ in range(20)} == {"aaaaaa"}


def test_a_killed_pod_resets_its_clients_and_comes_back(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    clients = [lab.client(running) for _ in range(40)]
    victim = clients[0].pod
    before = lab.pod(running.cluster, victim)
    assert running.cluster.kill_pod(victim)
    hit = [client for client in clients if client.pod == victim]
    assert all(client.was_reset() for client in hit)
    assert all(client.works() for client in clients if client not in hit)
    lab.eventually(lambda: lab.pod(running.cluster, victim)["restarts"] == 1)
    lab.eventually(lambda: lab.pod(running.cluster, victim)["ready"])
    after = lab.pod(running.cluster, victim)
    assert after["pid"] != before["pid"]
    assert after["address"] == before["address"]
    assert not running.cluster.kill_pod("no-such-pod")


def test_a_program_that_always_ends_is_restarted_ever_later(lab):
    running = lab.cluster(pod=lab.spec("--no-such-option"))
    running.cluster.act(CreateDeployment("chat-aaaaaa", "aaaaaa", 1))
    lab.eventually(lambda: len(deaths(lab, running)) >= 4)
    gaps = [later - earlier for earlier, later in pairwise(deaths(lab, running))]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    lab.eventually(lambda: not running.cluster.status()["pods"])


def test_a_pod_that_ignores_sigterm_is_killed_when_its_grace_is_over(lab):
    shape = Shape(UpdateStrategy(), grace_s=2.0)
    running = lab.cluster(shape=shape, pod=lab.spec("--ignore-sigterm"))
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    assert client.was_reset()
    lab.eventually(lambda: not running.cluster.status()["pods"])
    row = lab.pods(running)[client.pod]
    assert row["t_gone_s"] - row["t_terminating_s"] >= 2.0
    assert row["why"] == "deployment deleted"
    assert [e["target"] for e in lab.events(running) if e["kind"] == "killed"] == [client.pod]


def test_a_pod_that_hangs_is_unready_then_restarted_by_its_liveness_probe(lab):
    probe = Probe("/readyz", 0.2, timeout_s=0.5, failures=2)
    running = lab.cluster(
        shape=Shape(UpdateStrategy(), grace_s=1.0),
        readiness=probe,
        liveness=Probe("/healthz", 0.5, timeout_s=0.5, failures=6),
    )
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    name = lab.client(running).pod
    lab.suspend(lab.pod(running.cluster, name)["pid"])
    lab.eventually(lambda: not running.cluster.status()["routes"])
    assert running.cluster.ask([name]) == {name: None}
    lab.eventually(lambda: lab.pod(running.cluster, name)["restarts"] == 1)
    lab.eventually(lambda: running.cluster.status()["routes"])
    assert "not_live" in {e["kind"] for e in lab.events(running)}


def test_a_frozen_node_is_noticed_after_its_grace_and_its_pods_come_back(lab):
    running = lab.cluster(nodes=2, node_grace_s=0.5)
    lab.deploy(running.cluster, "aaaaaa")
    rows = running.cluster.status()["pods"]
    assert {row["node"] for row in rows} == {"node-1", "node-2"}
    clients = [lab.client(running) for _ in range(20)]
    assert running.cluster.freeze_node("node-1", 4.0)
    lab.eventually(lambda: len(running.cluster.status()["routes"]) == 1)
    lab.eventually(lambda: len(running.cluster.status()["routes"]) == 2)
    assert all(client.works() for client in clients)
    assert [p["restarts"] for p in running.cluster.status()["pods"]] == [0, 0]
    assert not running.cluster.freeze_node("node-9", 1.0)


def test_the_hooks_reach_the_pods_and_the_rate_is_split_over_them(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    names = tuple(lab.ready(running.cluster, "aaaaaa"))
    running.cluster.act(NotifyDeselected((*names, "gone-long-ago")))
    running.cluster.act(CloseConnections((*names, "gone-long-ago"), per_s=5.0))
    for name in names:
        lab.eventually(lambda name=name: "/deselected" in lab.log(running, name))
        lab.eventually(lambda name=name: "/drain?per_s=2.5" in lab.log(running, name))


def test_a_rolling_update_keeps_its_bounds(lab):
    shape = Shape(UpdateStrategy(max_surge=1, max_unavailable=0), grace_s=20.0)
    running = lab.cluster(selects_release=False, shape=shape)
    running.cluster.act(CreateDeployment("chat", "aaaaaa", 3, own_release=False))
    lab.eventually(lambda: len(lab.ready(running.cluster, "aaaaaa")) == 3)
    running.cluster.act(SetRelease("chat", "bbbbbb"))
    seen = []
    version = -1
    while not running.cluster.observe().deployments["chat"].complete:
        version = running.cluster.watch(version, 10.0)
        alive = [p for p in running.cluster.observe().pods if p.state != PodState.TERMINATING]
        seen.append((len(alive), sum(p.state == PodState.READY for p in alive)))
    assert max(total for total, _ in seen) == 4
    assert min(ready for _, ready in seen) == 3
    assert lab.client(running).release == "bbbbbb"


def test_the_journal_has_every_pods_life_and_the_rest_at_the_end(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    lab.deploy(running.cluster, "bbbbbb")
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    lab.eventually(lambda: len(running.cluster.status()["pods"]) == 2)
    assert running.stop() == 0
    rows = lab.pods(running)
    assert len(rows) == 4
    for row in rows.values():
        assert row["t_created_s"] <= row["t_ready_s"]
        if row["release"] == "aaaaaa":
            assert row["t_ready_s"] <= row["t_terminating_s"] <= row["t_gone_s"]
        else:
            assert row["t_terminating_s"] is row["t_gone_s"] is None
    final = json.loads((lab.dir_of(running) / "final.json").read_text())
    assert {row["pod"] for row in final["pods"]} == {n for n, r in rows.items() if r["release"] == "bbbbbb"}
    assert final["state"]["service"]["selector"]["drainbow.dev/release"] == "bbbbbb"
