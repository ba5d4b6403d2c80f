"""What doctor finds out about clusters, what its data-plane probe leaves, and what runs make of the answer."""

import fcntl
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, NotFoundError
from deployer.clusters.kubernetes.dataplane import Answer, Fate
from scenarios import housekeeping, probing
from scenarios.cli import main
from scenarios.notes import KEPT, NOT_PROBED, doubts_of
from scenarios.worlds import kind

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: mine
contexts: [{name: mine, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: u, user: {}}]
"""


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    """Makes the kubeconfig that is found: of a server on this port."""
    connect = Api.connect

    def of(port):
        path = tmp_path / "config"
        path.write_text(KUBECONFIG % port)
        monkeypatch.setattr(Api, "connect", lambda context=None: connect(context, str(path)))

    return of


@pytest.fixture
def api_server():
    """An API server that knows its version and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        status, minor = 200, "34"

        def do_GET(self):
            body = json.dumps({"major": "1", "minor": self.minor}).encode()
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def found_in(findings, what):
    return next(finding for finding in findings if finding.what == what)


def test_doctor_says_whether_the_kubeconfigs_cluster_can_be_used(kubeconfig, api_server):
    kubeconfig(api_server.server_port)
    found = housekeeping.kubeconfig(None)
    assert (found.ok, found.found[:33]) == (True, "mine answers, Kubernetes 1.34; for"[:33])
    api_server.RequestHandlerClass.minor = "20+"
    found = housekeeping.kubeconfig(None)
    assert not found.ok
    assert "runs Kubernetes 1.20; drainbow needs 1.29 or newer" in found.found
    found = housekeeping.kubeconfig("other")
    assert not found.ok
    assert "context other" in found.found


def test_doctor_names_a_cluster_that_does_not_answer_and_the_way_out(kubeconfig, api_server):
    port = api_server.server_port
    api_server.server_close()
    kubeconfig(port)
    found = housekeeping.kubeconfig(None)
    assert not found.ok
    assert found.found.startswith("cluster mine: GET /version: ")
    assert "--context" in found.way_out


def test_doctor_tells_a_server_that_is_no_kubernetes(kubeconfig, api_server):
    api_server.RequestHandlerClass.status = 404
    kubeconfig(api_server.server_port)
    found = housekeeping.kubeconfig(None)
    assert not found.ok
    assert "does not say its version" in found.found


@pytest.mark.parametrize(
    ("clusters", "answers", "ok", "says"),
    [
        ("", False, True, "is not there; the first run makes it"),
        ("mine\nother\n", True, True, "mine answers"),
        ("mine\n", False, False, "mine is there and does not answer"),
    ],
)
def test_doctor_tells_a_kind_cluster_that_is_not_there_from_a_broken_one(
    monkeypatch, clusters, answers, ok, says
):
    monkeypatch.setenv("DRAINBOW_KIND_NAME", "mine")
    told = subprocess.CompletedProcess([], 0, clusters, "")
    monkeypatch.setattr(housekeeping, "_ask", lambda command: told)
    monkeypatch.setattr(kind, "existing", lambda name: "a cluster" if answers else None)
    found = housekeeping.kind_cluster()
    assert found.ok is ok
    assert says in found.found


class Cluster:
    """Of an API server only what the probe's keeper asks it."""

    def __init__(self, rights=True):
        self.rights = rights
        self.deleted = []

    def check_version(self):
        pass

    def close(self):
        pass

    def call(self, method, path):
        if method == "DELETE":
            self.deleted.append(path.rpartition("/")[2])
            if path.endswith("gone"):
                raise NotFoundError("gone")
        elif not self.rights:
            raise RejectedError("no right")
        return {"metadata": {"uid": "u-1"}}


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = Cluster()
    monkeypatch.setattr(probing.Api, "connect", lambda context=None, kubeconfig=None: made)
    return made


def answer(fate):
    return Answer(fate, 1, 0, 0, [0.1], [0.1], 0, 1)


def probed(monkeypatch, outcome):
    def probe(api, image, namespace, tell):
        assert probing.remove_left() == []  # for it goes on
        if isinstance(outcome, BaseException):
            raise outcome
        return answer(outcome)

    monkeypatch.setattr(probing, "probe", probe)
    return probing.probe_and_keep(None, None, "image", print)


def test_the_probes_answer_is_kept_for_the_cluster_that_gave_it(cluster, monkeypatch):
    assert probing.answer_of(cluster) == NOT_PROBED
    assert probed(monkeypatch, Fate.DROPPED).fate is Fate.DROPPED
    assert probing.answer_of(cluster).startswith("dropped, found 20")
    probed(monkeypatch, Fate.KEPT)
    assert probing.answer_of(cluster).partition(",")[0] == KEPT
    assert probing.answer_of(Cluster(rights=False)) == NOT_PROBED
    assert cluster.deleted == []


def test_without_a_folder_to_keep_answers_in_nothing_is_known(cluster, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert probing.answer_of(cluster) == NOT_PROBED


def test_the_namespace_of_a_probe_that_was_cut_off_is_removed_later(cluster, monkeypatch, tmp_path):
    with pytest.raises(RejectedError):  # which has removed its namespace
        probed(monkeypatch, RejectedError("its pods do not start"))
    with pytest.raises(KeyboardInterrupt):
        probed(monkeypatch, KeyboardInterrupt())
    (note,) = (tmp_path / "drainbow").glob("drainbow-doctor-*")
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert probing.remove_left() == []
    (said,) = probing.remove_left()
    assert said == f"namespace {note.stem} of the current context"
    assert cluster.deleted == [note.stem]
    assert probing.remove_left() == []


def test_nobody_disconnected_is_not_promised_where_the_data_plane_may_drop_connections():
    unhurt = {"forced_reconnects": 0, "deploys_done": 2}

    def doubts(answer, summary=unhurt, world="current"):
        return doubts_of({"world": world, "versions": {"data_plane": answer}}, summary)

    assert doubts("kept, found 2026-01-01") == []
    (line,) = doubts("black-holed, found 2026-01-01")
    assert line.startswith("not promised: nobody was disconnected in this run, but its data plane")
    assert "black-holed, found 2026-01-01" in line
    (line,) = doubts(NOT_PROBED)
    assert "`drainbow doctor --data-plane` asks it" in line
    assert "--data-plane --world kind`" in doubts(NOT_PROBED, world="kind")[0]
    assert doubts(NOT_PROBED, {"forced_reconnects": 3, "deploys_done": 2}) == []
    assert doubts(NOT_PROBED, {"forced_reconnects": 0, "deploys_done": 0}) == []
    assert doubts_of({"world": "local", "versions": {}}, unhurt) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["--image", "python:3"],
            "--image python:3: only the probe takes it; add --data-plane, or leave --image out",
        ),
        (
            ["--world", "kind"],
            "--world kind: only the probe takes it; add --data-plane, or leave --world out",
        ),
        (
            ["--data-plane", "--world", "kind", "--context", "mine"],
            "--context mine: --world kind asks the kind cluster of the runs; leave one of them out",
        ),
    ],
)
def test_an_option_that_would_count_for_nothing_is_refused(args, says, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", *args])
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"drainbow: {says}\n")
