"""An API server that has no time (429, API Priority and Fairness), knows nobody yet (401, 403), or is silent."""

import json
import socket
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes.client
import pytest
import yaml

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import api as api_module
from deployer.clusters.kubernetes.answers import BELIEVED_S
from deployer.clusters.kubernetes.api import Api, BusyError, NoClusterError
from deployer.clusters.kubernetes.watching import Store
from scenarios import cli
from scenarios.errors import Exit

MESSAGES = {
    401: "Unauthorized",
    403: 'pods is forbidden: User "ci" cannot watch resource "pods"',
    429: "too many requests",
}


class Handler(BaseHTTPRequestHandler):
    """Answers with what the server's list holds next: a status and a Retry-After; then always 200."""

    def answer(self):
        self.server.asked.append((time.monotonic(), self.command))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, after = self.server.answers.pop(0) if self.server.answers else (200, None)
        text = (
            {"type": "ADDED", "metadata": {"resourceVersion": "1"}}
            if status == 200
            else {"message": MESSAGES[status]}
        )
        said = json.dumps({**text, "sent": body.decode()}).encode() + b"\n"
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_watch_that_a_server_denies_right_after_its_start_goes_on(server, api, slept, status):
    server.answers = [(status, None)] * 5
    assert [event["type"] for event in api.watch("/pods", {}, 30.0, [])] == ["ADDED"]
    assert slept == [0.5] * 5


def test_a_watch_that_stays_denied_is_refused_for_good(server, api, slept):
    server.answers = [(403, None)] * 50
    with pytest.raises(RejectedError, match="cannot watch"):
        list(api.watch("/pods", {}, 30.0, []))
    assert BELIEVED_S - 1 <= sum(slept) <= BELIEVED_S


def kubeconfig(tmp_path, server):
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "expired"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(found))
    return str(path)


@pytest.mark.parametrize("command", ["status", "operate", "sweep"])
def test_credentials_that_have_expired_are_no_cluster_and_no_mistake_of_the_users(
    server, slept, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", kubeconfig(tmp_path, server)
    )
    server.answers = [(401, None)] * 50
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--service", "web"])
    assert ended.value.code == Exit.WORLD_OUT_OF_REACH
    (line,) = capsys.readouterr().err.splitlines()
    assert "cluster here: Unauthorized: the credentials are not accepted: they have expired" in line
    assert len(server.asked) > 10


def test_credentials_that_count_no_more_are_told_from_a_right_that_is_lacking(server, api, slept):
    server.answers = [(401, None)] * 50
    with pytest.raises(NoClusterError):
        api.call("GET", "/x")
    server.answers = [(403, None)] * 50
    with pytest.raises(RejectedError) as raised:
        api.call("GET", "/x")
    assert not isinstance(raised.value, NoClusterError)


def test_a_connection_on_which_nothing_comes_through_is_given_up_by_the_kernel(server, tmp_path, monkeypatch):
    """As where packets are dropped: a watch is idle for long, and no read of it would notice."""
    monkeypatch.setattr(Handler, "protocol_version", "HTTP/1.1")
    with closing(Api.connect("here", kubeconfig(tmp_path, server))) as api:
        api.call("GET", "/x")
        pool = api._pool.connection_from_host("127.0.0.1", server.server_address[1], "http")
        connection = pool.pool.get_nowait()
        options = {
            name: connection.sock.getsockopt(level, getattr(socket, name))
            for level, name in (
                (socket.SOL_SOCKET, "SO_KEEPALIVE"),
                (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
                (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
                (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
                (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
            )
        }
        connection.close()
    assert options["SO_KEEPALIVE"] == 1
    given_up_s = options["TCP_KEEPIDLE"] + options["TCP_KEEPINTVL"] * options["TCP_KEEPCNT"]
    assert given_up_s == options["TCP_USER_TIMEOUT"] / 1000 == api_module.SILENCE_S
