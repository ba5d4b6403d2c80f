"""A namespace is removed in a time that no pod's grace decides."""

from __future__ import annotations

import pytest

from deployer.clusters.kubernetes.api import NotFoundError
from scenarios.worlds import namespaces
from scenarios.worlds.objects import GATEWAY


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class StandIn:
    """A namespace with one pod that began to terminate before, for an hour, unless it is asked to quit.

    `told` is what the API server says of its grace once it is deleted anew.
    """

    def __init__(self, clock, told, app=GATEWAY):
        self._clock = clock
        self.grace_s, self._told = 3600, told
        self._app = app
        self._leaves_s = clock.now_s + 3600.0
        self.asked: list[float] = []
        self._deleted = False

    def call(self, method, path, body=None, query=None):
        pod_is_there = self._clock.now_s < self._leaves_s
        if method == "DELETE":
            if path.endswith("/pods"):
                self.grace_s = self._told
            self._deleted = self._deleted or path.endswith("/run")
            return {}
        if path.endswith("/pods"):
            meta = {"name": "p", "labels": {"app": self._app}, "deletionTimestamp": "now"}
            return {
                "items": [{"metadata": {**meta, "deletionGracePeriodSeconds": self.grace_s}}] * pod_is_there
            }
        if self._deleted and not pod_is_there:
            raise NotFoundError("it is gone")
        return {"metadata": {}}

    def ask_pod(self, namespace, pod, port, target, method, timeout_s):
        assert (target, method) == ("quit", "POST")
        self.asked.append(self._clock.now_s)
        self._leaves_s = self._clock.now_s
        return 200, b""


class Inline:
    """An executor that does it at once: no other thread has to keep up with the clock."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, do, *arguments):
        do(*arguments)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(namespaces, "time", made)
    monkeypatch.setattr(namespaces, "ThreadPoolExecutor", Inline)
    return made


@pytest.mark.parametrize("told_s", [3600, namespaces.KILL_AFTER_S])
def test_a_gateway_with_a_long_grace_is_asked_to_quit_whatever_the_api_server_says_of_its_grace(
    clock, told_s
):
    api = StandIn(clock, told_s)
    assert namespaces.remove(api, "run", 30.0, print)
    assert len(api.asked) == 1
    assert clock.now_s <= 1000.0 + namespaces.KILL_AFTER_S + namespaces.SLACK_S + 1.0


def test_what_is_no_gateway_is_asked_nothing_and_waited_for_in_vain(clock):
    api = StandIn(clock, namespaces.KILL_AFTER_S, "other")
    assert not namespaces.remove(api, "run", 30.0, print)
    assert api.asked == []
