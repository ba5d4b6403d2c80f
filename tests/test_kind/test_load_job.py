"""A load within a cluster, told and asked through an API server that is a stand-in."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt, ClosedBy, Reason
from loadgen.behaviour.settings import Behaviour
from loadgen.connection_log import ConnectionLog
from scenarios.errors import OutOfReach
from scenarios.worlds import Front, load_job, load_logs
from scenarios.worlds.load_job import JobLoad, Site

FRONT = Front("chat", 5280)


def row(place):
    return Attempt(
        f"u{place}-0",
        1,
        Reason.ARRIVAL,
        1.0,
        None,
        None,
        None,
        None,
        None,
        ClosedBy.RUN_END,
        None,
        None,
        0,
        0,
    )


class StandIn:
    """A master and two workers with a row each, as the API server would show them."""

    name = "stand-in"

    def __init__(self, folder: Path) -> None:
        self.made, self.orders, self.failures, self.unheard = [], [], 0, 0
        self.trouble: Exception = ClusterUnreachable("away")
        self.gone: set[str] = set()
        self.waiting: dict[str, str] = {}  # pods that do not run yet, and for what they wait
        self.told_rows = 1
        self.refuses = False
        self.away = self.deaf = False  # the API server; the master, to orders
        self.zero_s = None
        self.logs = {}
        for place in (0, 1):
            with ConnectionLog(folder / f"log{place}") as log:
                log.write(row(place))
            self.logs[f"load-{place}"] = (folder / f"log{place}").read_bytes()

    def call(self, method, path, body=None):
        if self.away:
            raise self.trouble
        if method == "POST":
            if self.refuses:
                raise RejectedError("no quota for jobs")
            self.made.append(body["kind"])
            return body
        return {"items": [self.pod(name) for name in ("load-master", "load-0", "load-1")]}

    def pod(self, name):
        app, _, index = name.partition("-") if name != "load-master" else (name, "", "")
        labels = {"app": app, "batch.kubernetes.io/job-completion-index": index}
        ended = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]}
        runs = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
        if name in self.waiting:
            state = {"waiting": {"reason": self.waiting[name], "message": "registry away"}}
            runs = {"phase": "Pending", "containerStatuses": [{"state": state}]}
        return {"metadata": {"name": name, "labels": labels}, "status": ended if name in self.gone else runs}

    def ask_pod(self, namespace, pod, port, target, method, timeout_s):
        if self.failures:
            self.failures -= 1
            raise self.trouble
        question, _, at = target.partition("?from=")
        if method == "POST":
            if self.deaf:
                raise self.trouble
            self.orders.append(target)
            order, _, query = target.partition("?at=")
            if order == "zero" and self.zero_s is None:
                self.zero_s = float(query.partition("&")[0])
            if self.unheard:
                self.unheard -= 1
                raise self.trouble
            return 200, json.dumps({"zero_s": self.zero_s}).encode()
        if question == "log":
            return 200, gzip.compress(self.logs[pod][int(at) :][:50])
        state = {
            "ended": True,
            "rows": self.told_rows,
            "all_online": True,
            "tally": {"online": 2},
            "warnings": [],
        }
        return 200, json.dumps(state).encode()


@pytest.fixture
def api(tmp_path, monkeypatch):
    monkeypatch.setattr(load_job, "NEWS_EVERY_S", 0.01)
    monkeypatch.setattr(load_job, "PODS_EVERY_S", 0.01)
    return StandIn(tmp_path)


@pytest.fixture
def said():
    return []


@pytest.fixture
def load(api, said, tmp_path):
    site = Site(api, "drainbow-x", "load:1", True)
    made = JobLoad(Behaviour(Fixed(2)), 7, tmp_path, 2, lambda: site, said.append, duration_s=20.0)
    yield made
    made.stop(0.2)


def until(condition):
    for _ in range(500):
        if condition():
            return
        load_job.time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("trouble", [ClusterUnreachable("away"), RejectedError("no credentials")])
def test_users_are_told_of_time_zero_and_their_logs_are_fetched_in_parts(load, api, trouble):
    api.trouble = trouble
    load.start(FRONT)
    assert api.made == ["ConfigMap", "Service", "Job", "Job"]
    until(lambda: load.all_online)
    assert load.latest == {"online": 2}
    assert load.zero(12.5) == 12.5
    api.failures = 2  # the API server is away for a moment, or whoever gives us our credentials
    load.stop(2.0)
    assert api.orders == ["zero?at=12.5&for_s=20.0", "end"]
    assert [each["user"] for each in load.rows()] == ["u0-0", "u1-0"]
    assert (list(load.notes), list(load.events), load.exit_code) == ([], [], None)


@pytest.mark.parametrize("trouble", [ClusterUnreachable("away"), RejectedError("no credentials")])
def test_while_the_cluster_is_away_nobody_can_be_told_of_time_zero(load, api, trouble):
    load.start(FRONT)
    until(lambda: load.all_online)
    api.trouble, api.deaf = trouble, True
    assert load.zero(12.5) is None
    api.deaf = False
    assert load.zero(15.0) == 15.0


def test_time_zero_is_what_the_master_was_told_though_nobody_heard_its_answer(load, api):
    load.start(FRONT)
    until(lambda: load.all_online)
    api.unheard = 1
    assert load.zero(12.5) is None
    assert load.zero(15.0) == 12.5


def test_a_worker_that_dies_is_an_event_and_its_missing_log_a_note(load, api, said):
    load.start(FRONT)
    until(lambda: load.all_online)
    load.zero(1.0)
    api.gone.add("load-1")
    until(lambda: load.events)
    assert load.exit_code is None
    load.stop(2.0)
    assert [each["user"] for each in load.rows()] == ["u0-0"]
    [event] = load.events
    assert (event.kind, event.target) == ("load_worker_died", "load-1 (OOMKilled)")
    [note] = load.notes
    assert "places 1 to 1" in note
    assert said == [note]


def test_a_worker_that_dies_before_time_zero_ends_the_run(load, api):
    load.start(FRONT)
    api.gone.add("load-0")
    until(lambda: load.exit_code is not None)
    assert load.last_words() == "load worker 0 ended: OOMKilled"


def test_a_pod_whose_image_comes_at_a_second_try_costs_the_run_nothing(load, api):
    api.waiting["load-1"] = "ErrImagePull"
    load.start(FRONT)
    until(lambda: "waits: ErrImagePull" in (load.log.read_text() if load.log.exists() else ""))
    assert load.exit_code is None
    until(lambda: load.last_words() == "load worker 1 waits: ErrImagePull registry away")
    api.waiting.clear()
    until(lambda: load.all_online)
    load.stop(2.0)
    assert [each["user"] for each in load.rows()] == ["u0-0", "u1-0"]
    assert (list(load.notes), list(load.events), load.exit_code) == ([], [], None)


def test_a_pod_whose_image_never_comes_ends_the_run_with_its_reason_and_is_not_waited_for(
    load, api, monkeypatch
):
    monkeypatch.setitem(load_logs._PATIENCE_S, "ErrImagePull", 0.05)
    api.waiting["load-1"] = "ErrImagePull"
    load.start(FRONT)
    until(lambda: load.exit_code is not None)
    assert load.last_words() == "load worker 1 cannot start (tried for 0 s): ErrImagePull registry away"
    monkeypatch.setattr(load_job.time, "sleep", lambda _: pytest.fail("it waits for who never ran"))
    load.stop()
    assert [each["user"] for each in load.rows()] == ["u0-0"]


def test_a_log_with_fewer_rows_than_were_written_is_said_and_kept(load, api):
    load.start(FRONT)
    until(lambda: load.all_online)
    api.told_rows = 3
    load.stop(2.0)
    assert len(load.rows()) == 2
    assert len(load.notes) == 2
    assert "gave 1 of 3 connections" in load.notes[0]


def test_the_logs_are_waited_for_where_the_cluster_is_away_when_the_run_is_over(load, api, said):
    load.start(FRONT)
    until(lambda: load.all_online)
    load.zero(1.0)
    api.away = api.deaf = True
    back = threading.Timer(0.3, lambda: setattr(api, "away", False))
    back.start()
    load.stop(0.2)
    back.join()
    assert [each["user"] for each in load.rows()] == ["u0-0", "u1-0"]
    assert load.notes == []  # nobody could tell them to end, and they have, by themselves
    assert said == ["waiting up to 90 s for the users' logs: away"]


def test_nothing_is_waited_for_where_the_cluster_is_away_and_nothing_was_measured(load, api, said):
    load.start(FRONT)
    until(lambda: load.all_online)
    api.away = api.deaf = True
    api.failures = 1 << 30
    load.stop()
    assert said == ["the cluster does not answer: what its users did is in no log"]
    assert load.notes == said


def test_workers_that_do_not_reach_their_master_are_why_nobody_is_online(load, api):
    load.start(FRONT)
    assert load.last_words() == "0 of 2 workers have reached the load's master"


def test_a_load_that_the_cluster_does_not_take_is_one_line(load, api):
    api.refuses = True
    with pytest.raises(OutOfReach, match="the load's workers: no quota for jobs"):
        load.start(FRONT)


def test_a_load_that_was_never_started_stops_at_once_and_has_no_rows(load):
    load.stop()
    assert list(load.rows()) == []
