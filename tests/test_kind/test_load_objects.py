"""A load within the cluster: its manifests, what its pods' states mean, and what is missing of its logs."""

from __future__ import annotations

import math
import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import loadgen
from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.attempts import Attempt, ClosedBy, Reason
from loadgen.behaviour.settings import Behaviour
from scenarios.errors import UserMistake
from scenarios.run import Options, run_scenario
from scenarios.worlds import Where, objects
from scenarios.worlds.grounds import WITHIN, OnAny
from scenarios.worlds.load_logs import (
    MASTER,
    TROUBLE_S,
    LoadPod,
    WorkerLog,
    doubts,
    given_up,
    load_pods,
    troubled_since,
)

ROW = Attempt(
    "u1-0", 1, Reason.ARRIVAL, 1.0, None, None, None, None, None, ClosedBy.RUN_END, None, None, 0, 0
)
ROOT = Path(loadgen.__file__).parents[1]


def load(workers=3, users=3000, ours=False):
    return objects.load_of("{}", workers, users, "load:1", ours)


def pods_of(made):
    return [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Job"]


def test_workers_are_as_many_as_asked_for_and_none_is_replaced():
    *_, master, team = load(3)
    assert (team["spec"]["parallelism"], team["spec"]["completions"]) == (3, 3)
    assert team["spec"]["completionMode"] == "Indexed"
    assert team["spec"]["backoffLimitPerIndex"] == master["spec"]["backoffLimit"] == 0


def test_the_config_and_the_image_are_put_in():
    settings, *_ = made = objects.load_of('{"a": 1}', 2, 10, "load:1", False)
    assert settings["data"] == {"load.json": '{"a": 1}'}
    assert [pod["containers"][0]["image"] for pod in pods_of(made)] == ["load:1", "load:1"]


@pytest.mark.parametrize("ours", [True, False])
def test_the_load_is_on_the_control_plane_only_of_a_cluster_that_is_ours(ours):
    for pod in pods_of(load(ours=ours)):
        assert ("nodeSelector" in pod) == ("tolerations" in pod) == ours


def test_a_worker_asks_for_more_where_it_has_more_users():
    def asked(workers):
        requests = pods_of(load(workers, 10_000))[1]["containers"][0]["resources"]["requests"]
        return [int(re.sub("[^0-9]", "", requests[name])) for name in ("cpu", "memory")]

    assert all(few < many for few, many in zip(asked(10), asked(1), strict=True))


def test_the_service_of_users_within_the_cluster_has_no_node_port():
    within = objects.front_of(None, None, outside=False)
    assert within["spec"]["type"] == "ClusterIP"
    assert objects.front_of(None, 30080)["spec"]["type"] == "NodePort"
    ground = OnAny(Where(image="chat:1", load_workers=2, load_image="load:1"))
    assert (list(ground.node_ports), ground.front(None, 0)) == ([], WITHIN)


def test_a_cluster_that_is_not_kind_needs_an_image_of_the_users():
    with pytest.raises(UserMistake, match="--load-image"):
        OnAny(Where(image="chat:1", load_workers=2))


@pytest.mark.parametrize("world", ["local", "sim"])
def test_workers_need_a_cluster(world, tmp_path):
    options = Options(out=tmp_path, quiet=True, where=Where(load_workers=2))
    with pytest.raises(UserMistake, match=rf"--load-workers 2 counts for nothing in world {world}"):
        run_scenario("tiny", "rainbow", world, options)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (Where(load_image="load:1"), "--load-image load:1 is for --load-workers N"),
        (Where(front="127.0.0.1:80", load_workers=2), "--front 127.0.0.1:80 is for users on this machine"),
    ],
)
def test_an_option_that_would_count_for_nothing_is_refused(where, said, tmp_path):
    with pytest.raises(UserMistake, match=said):
        run_scenario("tiny", "rainbow", "current", Options(out=tmp_path, quiet=True, where=where))


def test_the_image_installs_what_the_project_is_tested_with_and_all_that_the_users_need():
    pins = (ROOT / "loadgen" / "requirements.txt").read_text().splitlines()
    assert set(pins) <= set((ROOT / "constraints.txt").read_text().splitlines())
    named = {canonicalize_name(pin.partition("==")[0]) for pin in pins}
    needed, todo = set(), {"locust", "pydantic", "websockets"}
    while todo:
        name = todo.pop()
        needed.add(name)
        wanted = (Requirement(text) for text in requires(name) or ())
        found = {
            canonicalize_name(each.name)
            for each in wanted
            if each.marker is None or each.marker.evaluate({"extra": ""})
        }
        todo |= found - needed
    assert named >= needed


def pod(app, index=None, phase="Running", state=None, **more):
    labels = {"app": app}
    if index is not None:
        labels["batch.kubernetes.io/job-completion-index"] = str(index)
    statuses = [] if state is None else [{"state": state}]
    return {
        "metadata": {"name": f"{app}-{index}", "labels": labels, **more},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


RUNNING = {"running": {}}


def test_the_loads_pods_are_told_from_others():
    seen = load_pods(
        [pod("chat", state=RUNNING), pod("load", 1, state=RUNNING), pod("load-master", state=RUNNING)]
    )
    assert seen == [LoadPod(1, "load-1", True), LoadPod(MASTER, "load-master-None", True)]


def test_a_pod_that_ended_says_why_in_its_last_line():
    killed = {"terminated": {"reason": "OOMKilled"}}
    refused = {"terminated": {"reason": "Error", "message": "starting\n99 users need 299 open files\n"}}
    ended = [
        p.ended for p in load_pods([pod("load", 0, "Failed", killed), pod("load", 1, "Failed", refused)])
    ]
    assert ended == ["OOMKilled", "Error: 99 users need 299 open files"]


def test_a_pod_that_is_being_deleted_has_ended():
    [seen] = load_pods([pod("load", 0, state=RUNNING, deletionTimestamp="now")])
    assert (seen.runs, seen.ended) == (False, "it was deleted")


def waiting(reason, index=0):
    [seen] = load_pods([pod("load", index, "Pending", {"waiting": {"reason": reason, "message": "so"}})])
    return seen


@pytest.mark.parametrize(
    ("reason", "patience_s"),
    [
        ("ContainerCreating", math.inf),
        ("ErrImagePull", TROUBLE_S),
        ("ImagePullBackOff", TROUBLE_S),
        ("InvalidImageName", 0.0),
    ],
)
def test_a_pod_that_does_not_run_yet_says_what_it_waits_for_and_how_long_it_may(reason, patience_s):
    seen = waiting(reason)
    assert (seen.runs, seen.waits, seen.patience_s) == (False, f"{reason} so", patience_s)


def lived(*looks):
    """What is said of a pod at the last of these looks: each a time and the reason for which it waits."""
    since, said = {}, ""
    for now_s, reason in looks:
        pods = [LoadPod(0, "load-0", True) if reason == "running" else waiting(reason)]
        since = troubled_since(since, pods, now_s)
        said = given_up(pods, since, now_s)
    return said


def test_an_image_that_cannot_be_pulled_is_given_up_only_when_it_was_tried_for_long_enough():
    tries = [(100.0, "ErrImagePull"), (110.0, "ImagePullBackOff"), (130.0, "ContainerCreating")]
    assert lived(*tries, (100.0 + TROUBLE_S - 1, "ErrImagePull")) == ""
    said = lived(*tries, (100.0 + TROUBLE_S, "ErrImagePull"))
    assert said == "load worker 0 cannot start (tried for 60 s): ErrImagePull so"


def test_a_pod_that_ran_meanwhile_has_its_time_anew():
    assert lived((0.0, "ErrImagePull"), (50.0, "running"), (70.0, "ErrImagePull")) == ""


def test_what_never_comes_by_itself_is_given_up_at_once():
    assert lived((5.0, "InvalidImageName")) == "load worker 0 cannot start: InvalidImageName so"


def test_a_pod_may_be_long_in_starting():
    assert lived((0.0, "ContainerCreating"), (500.0, "ContainerCreating")) == ""


def test_whole_logs_leave_no_doubt():
    assert doubts({0: WorkerLog(1, [ROW]), 1: WorkerLog(0, [])}, Behaviour(Fixed(5)), {}) == []


def test_what_is_missing_of_a_log_is_said_with_the_places_that_it_is_of():
    logs = {0: WorkerLog(3, [ROW]), 1: WorkerLog(None, [])}
    few, none = doubts(logs, Behaviour(Fixed(5)), {1: "OOMKilled"})
    assert "Load worker 0 gave 1 of 3 connections" in few
    assert "places 0 to 2" in few
    assert "Load worker 1 ended early (OOMKilled)" in none
    assert "places 3 to 4" in none


def test_what_is_missing_of_arrivals_is_said_as_a_part_of_them():
    [said] = doubts({0: WorkerLog(None, [])}, Behaviour(Poisson(1.0)), {})
    assert "1 of 1 arrivals" in said
