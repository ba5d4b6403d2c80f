"""Counting, times, the Lease, adoption, settings and the data-plane verdict: pure parts."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.clusters.controlplane import requests
from deployer.clusters.controlplane.objects import UnreadableError
from deployer.clusters.kubernetes import dataplane, podlog
from deployer.clusters.kubernetes.app import HASH_LABEL, Counting, Hooks
from deployer.clusters.kubernetes.counting import count_of
from deployer.fleet import Count
from deployer.own import adopting, settings
from deployer.own.lease import Sighting, identity, is_free
from deployer.own.settings import OwnError, Settings

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0500F40A:1F90 0600F40A:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0500F40A:D2F0 0600F40A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0500F40A:1F90 0600F40A:D2F1 06 00000000:00000000 00:00000000 00000000     0        0 4 1
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000
   1: 0000000000000000FFFF00000500F40A:1F90 0000000000000000FFFF00000600F40A:A1B2 01 00000000
"""


def test_established_sockets_of_the_port_are_counted_in_both_tables_and_no_others():
    assert count_of(Counting("tcp", port=8080), TCP) == Count(2)
    assert count_of(Counting("tcp", port=80), TCP) == Count(0)
    assert count_of(Counting("tcp", port=80, more_ports=(8080,)), TCP) == Count(2)
    assert count_of(Counting("tcp", port=8080, more_ports=(54_000,)), TCP) == Count(3)
    assert count_of(Counting("tcp", port=8080), "cat: not found") is None
    assert count_of(Counting("tcp", port=8080), "") is None


def test_metrics_are_summed_over_their_labels_and_must_be_there():
    counting = Counting("metric", metric="open", silent="quiet")
    assert count_of(counting, 'open{a="1"} 3\nopen{a="2"} 4\nquiet 1\n') == Count(7, 1)
    assert count_of(counting, "open 3\n") is None
    assert count_of(Counting("metric", metric="open"), "open 3\n") == Count(3)
    for bad in ("open -1\n", "open 1.5\n", "open NaN\n", "}{", "<html>"):
        assert count_of(Counting("metric", metric="open"), bad) is None


@given(st.text(max_size=20))
def test_an_endpoint_counts_only_whole_numbers(text):
    found = count_of(Counting("endpoint"), text)
    assert found is None or (found.open >= 0 and float(text) == found.open)


def test_an_endpoints_number_may_stand_in_white_space():
    assert count_of(Counting("endpoint"), " 12\n") == Count(12)


def pod(ready=None, deleted=None, created="2026-01-01T00:00:00Z"):
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    meta = {"name": "p", "uid": "u", "creationTimestamp": created}
    if deleted:
        meta |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": 30}
    return {"metadata": meta, "status": {"conditions": conditions}}


START_S = 1767225600.0


def test_times_are_refined_by_the_moment_at_which_they_were_seen_if_that_was_soon():
    log = podlog.PodLog()
    log.note(pod(), None, START_S + 0.4)
    log.note(pod("2026-01-01T00:00:02Z"), pod(), START_S + 2.9)
    log.note(pod("2026-01-01T00:00:02Z", "2026-01-01T00:01:00Z"), None, START_S + 55)
    log.note(None, pod("2026-01-01T00:00:02Z", "2026-01-01T00:01:00Z"), START_S + 60.5)
    (row,) = log.rows()
    times = [row[f"t_{key}_s"] - START_S for key in ("created", "ready", "terminating", "gone")]
    assert times == pytest.approx([0.4, 2.9, 30.0, 60.5])


def test_a_pod_belongs_to_the_deployment_that_its_replicaset_is_named_after():
    owner = {"kind": "ReplicaSet", "name": "a-b-77", "controller": True}
    owned = {"metadata": {"labels": {HASH_LABEL: "77"}, "ownerReferences": [owner]}}
    assert podlog.deployment_of(owned) == "a-b"
    assert podlog.deployment_of({"metadata": {}}) == ""


def lease(holder, renewed="2026-01-01T00:00:00.000000Z", duration_s=15):
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": duration_s}}


def test_a_lease_is_free_once_its_holder_shows_no_life_for_its_duration():
    seen = Sighting("other_1_x", "2026-01-01T00:00:00.000000Z", 100.0)
    assert not is_free(lease("other_1_x"), "me_2_y", None, 100.0, START_S)
    assert not is_free(lease("other_1_x"), "me_2_y", seen, 114.0, START_S)
    assert is_free(lease("other_1_x"), "me_2_y", seen, 115.1, START_S)
    assert not is_free(lease("other_1_x", "2026-01-01T00:00:10.000000Z"), "me_2_y", seen, 116.0, START_S)
    assert not is_free(lease("other_1_x"), "me_2_y", None, 100.0, START_S + 26)
    assert is_free(lease("other_1_x"), "me_2_y", None, 100.0, START_S + 316)
    assert is_free(lease(""), "me_2_y", None, 0.0, START_S)
    assert is_free(lease("me_2_y"), "me_2_y", None, 0.0, START_S)


def test_a_lease_whose_holder_was_killed_on_this_machine_is_free_at_once():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host, _, unique = identity().split("_")
    dead, alive = f"{host}_{ended.pid}_{unique}", f"{host}_{os.getppid()}_{unique}"
    assert is_free(lease(dead), identity(), None, 0.0, START_S)
    assert not is_free(lease(alive), identity(), None, 0.0, START_S)


def server(name="server", image="reg:5000/chat:v1-abcdef0123", replicas=2, ready=2, containers=None):
    template = {
        "metadata": {"labels": {"app": "chat", "x": "y"}},
        "spec": {"containers": containers or [{"name": "chat", "image": image}]},
    }
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": replicas, "template": template},
        "status": {"observedGeneration": 1, "replicas": ready, "updatedReplicas": ready},
    }


def server_pod(hash_="h1", of="server"):
    owner = {"kind": "ReplicaSet", "name": f"{of}-{hash_}", "controller": True}
    return {"metadata": {"name": "p", "labels": {HASH_LABEL: hash_}, "ownerReferences": [owner]}}


SERVICE = {"metadata": {"name": "chat"}, "spec": {"selector": {"app": "chat"}}}


def test_the_deployment_behind_the_service_is_adopted_under_the_sha_of_its_image():
    found = adopting.adoption_of(SERVICE, [server()], [server_pod()], None)
    assert (found.name, found.release, found.template_hash, found.replicas) == ("server", "abcdef", "h1", 2)
    patch = found.service_patch(Settings("server", {"app": "chat"}), 5.0)
    assert patch["spec"]["selector"] == {"app": "chat", HASH_LABEL: "h1"}
    (first,) = requests.read(patch["metadata"]["annotations"][requests.REQUESTS])
    assert (first.release, first.outcome) == ("abcdef", "done")


def test_a_release_without_a_sha_in_its_image_is_named_after_its_template():
    name = adopting.first_release(server(image="nginx:1.27"))
    assert len(name) == 6
    assert set(name) <= set("0123456789abcdef")
    assert name != adopting.first_release(server(image="nginx:1.28"))


@pytest.mark.parametrize(
    ("deployments", "pods", "named", "says"),
    [
        ([], [], None, "no Deployment is behind Service chat"),
        ([server(), server("other")], [], None, "several Deployments are behind Service chat: other, server"),
        ([server()], [], "other", "Deployment other is not behind"),
        ([server(replicas=0)], [], None, "scale it up first"),
        ([server(ready=1)], [server_pod()], None, "being rolled out"),
        ([server()], [server_pod(), server_pod("h2")], None, "being rolled out"),
    ],
)
def test_what_cannot_be_adopted_is_said_with_the_way_out(deployments, pods, named, says):
    with pytest.raises(OwnError, match=says):
        adopting.adoption_of(SERVICE, deployments, pods, named)


def test_of_several_containers_one_must_be_named():
    two = server(containers=[{"name": "chat", "image": "a"}, {"name": "side", "image": "b"}])
    with pytest.raises(OwnError, match="--container"):
        adopting.container_of(two, None)
    assert adopting.container_of(two, "side") == "side"
    with pytest.raises(OwnError, match="has chat, side"):
        adopting.container_of(two, "else")
    assert adopting.container_of(server(), None) is None


LABELS = {"app": "chat", "tier": "edge"}


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "chat"}}, True),
        ({"matchLabels": {"app": "else"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["chat", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["chat"]}]}, False),
        ({"matchExpressions": [{"key": "drainbow.dev/release", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selectors_match_as_kubernetes_has_it(selector, holds):
    assert adopting.matches(selector, LABELS) is holds


def test_autoscalers_and_budgets_are_named_until_they_are_accepted():
    scaler = {"metadata": {"name": "s"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "server"}}}
    budget = {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": {"app": "chat"}}}}
    plain = Settings("server", {"app": "chat"})
    said = adopting.objections(plain, ["server"], LABELS, [scaler], [budget])
    assert ["HorizontalPodAutoscaler s" in said[0], "PodDisruptionBudget b" in said[1]] == [True, True]
    accepted = settings.changed(plain, hpa="ignore", accept_pdb=True)
    assert adopting.objections(accepted, ["server"], LABELS, [scaler], [budget]) == []
    assert adopting.objections(plain, ["other"], {"app": "else"}, [scaler], [budget]) == []


def test_settings_survive_the_annotation_and_only_what_is_given_changes():
    first = Settings(
        "server",
        {"app": "chat"},
        strategy_settings={"shrink": True},
        drain={"policy": {"few": 5}, "hold_s": 5.0},
        counting=Counting("endpoint", port=1, path="/n"),
        hooks=Hooks(port=9),
        replicas=3,
    )
    service = {"metadata": {"name": "chat", "annotations": {settings.CONFIG: first.to_json()}}}
    assert settings.read(service) == first
    later = settings.changed(first, drain={"hold_s": 9.0}, hpa=None)
    assert later.drain == {"policy": {"few": 5}, "hold_s": 9.0}
    assert later.replicas == 3
    assert settings.changed(first, strategy="immutable").strategy_settings == {}
    assert settings.read({"metadata": {"name": "chat"}}) is None
    service["metadata"]["annotations"][settings.CONFIG] = '{"odd": 1}'
    with pytest.raises(UnreadableError, match="another version of drainbow"):
        settings.read(service)


def test_strategies_that_need_a_hook_or_slots_are_refused_with_the_reason():
    plain = Settings("server", {"app": "chat"})
    assert plain.made_strategy().name == "rainbow"
    with pytest.raises(OwnError, match="--hooks"):
        settings.changed(plain, strategy="immutable").made_strategy()
    with pytest.raises(OwnError, match="--hooks"):
        settings.changed(plain, strategy_settings={"nudge": {"after": 1.0, "per_s": 2.0}}).made_strategy()
    assert settings.changed(plain, strategy="immutable", hooks=Hooks()).made_strategy().name == "immutable"
    with pytest.raises(OwnError, match="rainbow or immutable"):
        settings.changed(plain, strategy="rolling").made_strategy()


@pytest.mark.parametrize(
    ("text", "counting"),
    [
        ("tcp", Counting("tcp", port=80)),
        ("tcp:8080", Counting("tcp", port=8080)),
        ("tcp:80,443", Counting("tcp", port=80, more_ports=(443,))),
        ("http:9090/count", Counting("endpoint", port=9090, path="/count")),
        ("metric:ns:open:9090", Counting("metric", port=9090, metric="ns:open")),
        ("metric:open:9090/m", Counting("metric", port=9090, metric="open", path="/m")),
    ],
)
def test_ways_to_count_are_read_from_the_command_line(text, counting):
    assert settings.counting_of(text, [80]) == counting


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp:x",
        "tcp:",
        "tcp:80,",
        "tcp:0",
        "tcp:70000",
        "tcp:80,80000",
        "http:9090x/",
        "metric:9090",
        "metric:open",
        "odd",
    ],
)
def test_other_ways_to_count_are_refused(text):
    with pytest.raises(OwnError, match="--count"):
        settings.counting_of(text, [80])


def test_durations_have_units():
    assert settings.seconds_of("1h30m") == 5400
    for bad in ("5", "", "1x", "m"):
        with pytest.raises(OwnError, match="is no duration"):
            settings.seconds_of(bad)


def report(held, tries=None, now_s=100.0):
    return {
        "now_s": now_s,
        "held": held,
        "tries": tries or [(9.0, "one"), (10.1, "one"), (10.3, "two"), (10.4, None)],
    }


SWITCH = [dataplane.Switch(10.0, "two")]


@pytest.mark.parametrize(
    ("held", "fate"),
    [
        ([[None, 99.5]] * 3, "kept"),
        ([[50.0, 49.0]] * 3, "dropped"),
        ([[None, 12.0]] * 3, "black-holed"),
        ([[None, 99.5], [50.0, 49.0]], "mixed"),
    ],
)
def test_the_fate_of_connections_is_told_from_closes_and_echoes(held, fate):
    answer = dataplane.judge(report(held), SWITCH)
    assert answer.fate == fate
    assert answer.may_promise == (fate == "kept")
    assert answer.reached_s == pytest.approx([0.3])
    assert answer.left_s == pytest.approx([0.1])
    assert (answer.failed, answer.tried) == (1, 4)


def test_a_probe_that_saw_too_little_says_so():
    with pytest.raises(ValueError, match="no connection"):
        dataplane.judge(report([]), SWITCH)
    with pytest.raises(ValueError, match="never reached"):
        dataplane.judge(report([[None, 99.5]], [(11.0, "one")]), SWITCH)
