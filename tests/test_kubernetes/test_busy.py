"""An API server that has no time: 429 with the moment at which to come again (API Priority and Fairness)."""

import json
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes.client
import pytest

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import api as api_module
from deployer.clusters.kubernetes.api import Api, BusyError
from deployer.clusters.kubernetes.watching import Store


class Handler(BaseHTTPRequestHandler):
    """Answers with what the server's list holds next: a status and a Retry-After; then always 200."""

    def answer(self):
        self.server.asked.append((time.monotonic(), self.command))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, after = self.server.answers.pop(0) if self.server.answers else (200, None)
        text = {"message": "too many requests"} if status != 200 else {"metadata": {"resourceVersion": "1"}}
        said = json.dumps({**text, "sent": body.decode()}).encode()
        self.send_response(status)
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PATCH(self):
        self.answer()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.asked, found.answers = [], []
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def api(server):
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.server_address[1]}"
    with closing(Api(kubernetes.client.ApiClient(configuration), "busy")) as found:
        yield found


@pytest.fixture
def slept(monkeypatch):
    """Time passes at once, and how much of it."""
    passed = []
    monkeypatch.setattr(api_module.time, "sleep", passed.append)
    monkeypatch.setattr(api_module.time, "monotonic", lambda: sum(passed))
    return passed


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_was_turned_away_is_asked_again_when_the_server_says(server, api, slept, method):
    """Nothing has been done of it, so that a write may be repeated too."""
    server.answers = [(429, "1"), (429, "2")]
    assert json.loads(api.call(method, "/x", {"a": 1})["sent"]) == {"a": 1}
    assert slept == [1.0, 2.0]


def test_a_server_that_stays_busy_is_out_of_reach_after_a_while(server, api, slept):
    server.answers = [(429, "2")] * 50
    with pytest.raises(ClusterUnreachable, match="too many requests"):
        api.call("GET", "/x")
    assert sum(slept) <= api_module.BUSY_S


def test_who_cannot_wait_so_long_says_so_at_once(server, api, slept):
    server.answers = [(429, "40")]
    with pytest.raises(BusyError) as raised:
        api.call("GET", "/x")
    assert (raised.value.retry_after_s, slept) == (40.0, [])


@pytest.mark.parametrize("after", ["soon", "inf", "-3", None])
def test_a_moment_that_is_none_counts_as_a_second(server, api, slept, after):
    server.answers = [(429, after)]
    api.call("GET", "/x")
    assert slept == [1.0]


def test_a_right_to_write_that_ran_out_while_the_server_was_busy_is_no_right(server, api, slept):
    """A Lease is old by then: whoever has it now must not be written over."""

    def may_write():
        if sum(slept) > 2:
            raise ClusterUnreachable("the Lease is out of date")

    server.answers = [(429, "2"), (429, "2")]
    with pytest.raises(ClusterUnreachable, match="Lease"):
        api.merge("/x", {"a": 1}, before=may_write)
    assert len(server.asked) == 2


def test_a_watch_that_was_turned_away_does_not_come_back_before_it_may(server, api):
    store = Store(api, "/pods", {}, lambda *_: None)
    server.answers = [(200, None), (429, "0.7"), (200, None)]
    store.start()
    until_s = time.monotonic() + 10.0
    while len(server.asked) < 3 and time.monotonic() < until_s:
        time.sleep(0.01)
    store.close()
    (_, turned_away, again, *_) = [at_s for at_s, _ in server.asked]
    assert again - turned_away >= 0.7
