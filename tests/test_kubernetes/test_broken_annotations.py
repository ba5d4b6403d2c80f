"""Annotations of ours that somebody has edited: a line that names them, no traceback, and nobody loses a connection."""

import contextlib
import json
import threading
import time
from itertools import product

import pytest

from deployer.clusters.controlplane.objects import UnreadableError
from deployer.clusters.kubernetes import Variant
from deployer.clusters.kubernetes import view as view_module
from deployer.fleet import RELEASE_LABEL, Kind, Outcome
from deployer.journal import MemoryJournal
from deployer.own import session as session_module
from deployer.own.opening import Where, open_service
from scenarios import cli
from scenarios.errors import Exit
from tests.test_kubernetes.own import deploy, deploying, stand_in
from tests.test_kubernetes.server import DEPLOYMENTS, PODS, SERVICES, eventually, with_service

REQUEST = {"deploy": 3, "release": "bbbbbb", "kind": "deploy", "requested_s": 1.5}
UNKNOWN_KEYS = '{"a": {"b": 1}}'
"""As a later version could write them: read as far as they are known."""
GARBAGE = (
    *("yesterday, I think", "", "  ", "-5", "0", "nan", "inf", "-inf", "99999999999", "1e999", "9" * 5000),
    *("[1, 2]", UNKNOWN_KEYS, "5", "null", '[{"deploy": 0, "rele', "[" * 100_000, "²³ \u200b\ud7ff"),
    *("nan=5 inf=-3 1e300=99999999999999999999999", "aaaaaa/many", "bbbbbb/-7", ": : -:"),
    *('{"aaaaaa": 5, "bbbbbb": {"image": 7}}', '{"bbbbbb": {"image": "reg/web:b", "args": 5, "env": []}}'),
    json.dumps([REQUEST, {**REQUEST, "requested_s": float("nan")}]),
)
STOPPING = ("requests", "config")
OF_THE_SERVICE = (*STOPPING, "variants", "selected-since")
OF_THE_DEPLOYMENT = (
    *("deselected-at", "quiet-since", "selected-as", "crashes", "drained-at", "notified", "begun-at"),
    *("nudged-until", "burn-down", "adopted", "adopted-hash", "keep"),
)
WORDS = {"requests": "holds no list of requests", "config": "cannot be read"}


class Lines(list):
    """What was told."""

    def __call__(self, line):
        self.append(line)

    def one(self, words):
        (found,) = [line for line in self if words in line]
        return found


@pytest.fixture
def server(monkeypatch):
    """Release bbbbbb serves; aaaaaa, and web, which was adopted, drain with users."""
    monkeypatch.setattr(view_module, "BLIP_S", 0.2)
    found = with_service()
    stand_in(monkeypatch, found)
    with deploying():
        found.open = dict.fromkeys(found.objects[PODS], 3)
    for release in ("aaaaaa", "bbbbbb"):
        deploy(release)
        found.open = dict.fromkeys(found.objects[PODS], 3)
    return found


def write(server, collection, name, key, value):
    full = f"drainbow.dev/{key}"
    before = server.get(collection, name)["metadata"]["annotations"].get(full)
    server.merge(f"{collection}/{name}", {"metadata": {"annotations": {full: value}}})
    return before


def serving(server):
    return server.get(SERVICES, "web")["spec"]["selector"].get(RELEASE_LABEL)


def looks(session):
    """A look at what has just been written."""
    session.cluster._view.look_anew()
    session.look(MemoryJournal(), time.time())


def test_whatever_a_service_says_nobody_is_cut_off_and_what_cannot_be_read_is_named(server):
    before = set(server.objects[PODS])
    with open_service(Where("web")) as session:
        told = session.tell = Lines()
        for key, value in product(OF_THE_SERVICE, GARBAGE):
            there = write(server, SERVICES, "web", key, value)
            told.clear()
            try:
                looks(session)
                if key == "variants" and value != UNKNOWN_KEYS:
                    assert "does not say which image" in told.one(f"annotation drainbow.dev/{key}")
            except UnreadableError as error:
                line = str(error)
                assert f"annotation drainbow.dev/{key}" in line
                assert WORDS[key] in line
                assert "Service web" in line
                assert "\n" not in line
                assert len(line) < 600
            else:
                assert key != "config"
            assert before <= set(server.objects[PODS])
            assert serving(server) == "bbbbbb"
            write(server, SERVICES, "web", key, there)
        looks(session)
    assert deploy("cccccc").outcome is Outcome.DONE


@pytest.mark.parametrize("name", ["web", "web-aaaaaa", "web-bbbbbb"])
def test_whatever_a_deployment_says_nobody_is_cut_off_and_the_next_deploy_is_done(server, name):
    before = set(server.objects[PODS])
    with open_service(Where("web")) as session:
        for key, value in product(OF_THE_DEPLOYMENT, GARBAGE):
            there = write(server, DEPLOYMENTS, name, key, value)
            looks(session)
            assert before <= set(server.objects[PODS]), (key, value)
            if key in ("adopted", "adopted-hash"):
                write(server, DEPLOYMENTS, name, key, there)
    assert serving(server) == "bbbbbb"
    assert deploy("cccccc").outcome is Outcome.DONE
    assert before <= set(server.objects[PODS])


@contextlib.contextmanager
def operating(tell):
    stop = threading.Event()
    with open_service(Where("web")) as session:
        thread = threading.Thread(target=session.operate, args=(MemoryJournal(), stop, tell))
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(10)


def test_a_running_loop_says_it_once_for_each_change_and_goes_on_when_it_is_mended(server, monkeypatch):
    monkeypatch.setattr(session_module, "LOOK_FOR_LEASE_S", 0.05)
    told = Lines()
    with operating(told) as thread:
        for key, words in WORDS.items():
            eventually(lambda: "running the loop" in told)
            there = write(server, SERVICES, "web", key, "garbage")
            eventually(lambda: any("'garbage'" in line for line in told))
            assert "nothing is done until then" in told.one(words)
            write(server, SERVICES, "web", "odd", "another change")
            write(server, SERVICES, "web", key, "rubbish")
            eventually(lambda: any("'rubbish'" in line for line in told))
            write(server, SERVICES, "web", key, there)
            eventually(lambda: any("can be read again" in line for line in told))
            assert len([line for line in told if words in line]) == 2
            told[:] = ["running the loop"]
        assert thread.is_alive()
        server.open = {}
        write(server, DEPLOYMENTS, "web-aaaaaa", "deselected-at", "soon")
        eventually(
            lambda: any("web-aaaaaa: annotation drainbow.dev/deselected-at='soon'" in line for line in told)
        )
        time.sleep(0.2)
        line = told.one("deselected-at='soon'")
        assert "nothing of it goes until then; remove it: kubectl annotate deployment web-aaaaaa" in line
        write(server, DEPLOYMENTS, "web-aaaaaa", "deselected-at", None)
        eventually(lambda: "web-aaaaaa" not in server.objects[DEPLOYMENTS])


@pytest.mark.parametrize(
    ("command", "key"),
    [
        *product(("status", "rollback", "deploy"), (*STOPPING, "variants")),
        ("sweep", "requests"),
        ("sweep", "config"),
        ("operate", "config"),
    ],
)
def test_a_command_ends_in_one_line_and_exit_code_2(server, capsys, command, key):
    write(server, SERVICES, "web", key, "garbage")
    words = ["--image", "reg/web:c", "--release", "cccccc"] if command == "deploy" else []
    writes = len(server.writes)
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--service", "web", *words])
    assert ended.value.code == Exit.USER_MISTAKE
    (line,) = capsys.readouterr().err.splitlines()
    assert f"annotation drainbow.dev/{key}" in line
    assert "'garbage'" in line
    assert [path for _, path in server.writes[writes:] if "leases" not in path] == []


def test_a_release_is_not_made_from_the_templates_image_where_nobody_can_tell_its_own(server):
    with deploying() as session:
        request = session.request("cccccc", Kind.DEPLOY, Variant(image="reg/web:c"))
        write(server, SERVICES, "web", "variants", "garbage")
        ended = session.see_through(request.deploy, MemoryJournal(), lambda line: None)
    assert ended.outcome is Outcome.REFUSED
    assert "does not say which image each release has" in ended.reason
    assert "web-cccccc" not in server.objects[DEPLOYMENTS]


def test_the_template_of_all_releases_is_not_deleted_even_where_nothing_says_that_it_was_adopted(server):
    for key in ("adopted", "adopted-hash"):
        write(server, DEPLOYMENTS, "web", key, None)
    server.open = {}
    for ahead_s in (0.0, 10.0, 20.0):
        with open_service(Where("web")) as session:
            session.look(MemoryJournal(), time.time() + ahead_s)
    assert server.get(DEPLOYMENTS, "web")["spec"]["replicas"] == 0


def test_the_hash_by_which_the_adopted_pods_are_found_is_written_anew(server):
    known = write(server, DEPLOYMENTS, "web", "adopted-hash", None)
    with open_service(Where("web")) as session:
        session.look(MemoryJournal(), time.time())
    assert server.get(DEPLOYMENTS, "web")["metadata"]["annotations"]["drainbow.dev/adopted-hash"] == known
