"""What is said where Docker or kind are missing, silent or in the way; the tools are stand-ins on PATH."""

import stat

import pytest

from scenarios.errors import OutOfReach, UserMistake
from scenarios.worlds import kind
from scenarios.worlds.grounds import OnAny, Where

PORTS = ",".join(
    f'"{port}/tcp":[{{"HostIp":"127.0.0.1","HostPort":"4{port}"}}]' for port in range(30080, 30088)
)
DOCKER = '#!/bin/sh\ncase "$1" in\n  version) echo 20;;\n%s\nesac\n'


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Puts scripts in the place of all programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kind.shutil, "which", lambda name: name if (folder / name).exists() else None)

    def make(**scripts):
        for name, text in scripts.items():
            path = folder / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IEXEC)

    return make


def silent(_):
    pass


def test_without_docker_it_says_what_is_missing(tools):
    with pytest.raises(OutOfReach, match=r"no docker command.*--world local \(with make: WORLD=local\)"):
        kind.ensure("x", None, False, silent)


def test_without_kind_it_says_what_is_missing(tools):
    tools(docker=DOCKER % "")
    with pytest.raises(OutOfReach, match=r"no kind command.*--world local \(with make: WORLD=local\)"):
        kind.ensure("x", None, False, silent)


def test_an_engine_that_does_not_answer_is_told_from_one_that_is_not_there(tools):
    tools(docker="#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n", kind="#!/bin/sh\n")
    with pytest.raises(OutOfReach, match=r"engine does not answer.*Cannot connect"):
        kind.ensure("x", None, False, silent)


def test_a_cluster_that_cannot_be_made_is_one_line_with_kinds_reason_and_leaves_no_half(tools, tmp_path):
    log = tmp_path / "asked"
    tools(
        docker=DOCKER % "  ps) ;;",
        kind=f'#!/bin/sh\necho "$*" >>{log}\n'
        'case "$1" in create) echo "ERROR: failed to create cluster: no image" >&2; exit 1;; esac\n',
    )
    with pytest.raises(OutOfReach, match="no image") as caught:
        kind.ensure("x", "node:1", False, silent)
    assert "\n" not in str(caught.value)
    asked = log.read_text().splitlines()
    assert "--image node:1" in asked[0]
    assert asked[1] == "delete cluster --name x"


def test_the_node_image_comes_from_the_environment_where_none_is_given(tools, tmp_path, monkeypatch):
    log = tmp_path / "asked"
    monkeypatch.setenv(kind.IMAGE_VARIABLE, "node:2")
    tools(docker=DOCKER % "  ps) ;;", kind=f'#!/bin/sh\necho "$*" >>{log}\nexit 1\n')
    with pytest.raises(OutOfReach):
        kind.ensure("x", None, False, silent)
    assert "--image node:2" in log.read_text().splitlines()[0]


def test_a_cluster_that_is_not_ours_is_said_to_be_in_the_way(tools):
    tools(
        docker=DOCKER % '  ps) echo control-plane x-control-plane running;;\n  inspect) echo "{}";;',
        kind="#!/bin/sh\n",
    )
    with pytest.raises(OutOfReach, match=r"kind cluster x exists and is another than ours.*--recreate"):
        kind.ensure("x", None, False, silent)


def test_a_cluster_that_does_not_answer_is_said_so_with_the_way_out(tools, monkeypatch):
    monkeypatch.setattr(kind, "ANSWER_S", 1.0)
    monkeypatch.setattr(kind, "BUSY_S", 1.0)
    tools(
        docker=DOCKER
        % f"  ps) echo control-plane x-control-plane running;;\n  inspect) echo '{{{PORTS}}}';;\n"
        "  exec) echo 'connection refused' >&2; exit 1;;",
        kind="#!/bin/sh\necho kubeconfig\n",
    )
    with pytest.raises(OutOfReach, match=r"exists and does not answer \(.*connection refused.*--recreate"):
        kind.ensure("x", None, False, silent)
    assert kind.existing("x") is None


@pytest.mark.parametrize(("state", "found"), [("running", True), ("paused", False)])
def test_a_cluster_that_is_busy_for_a_moment_is_there_and_one_that_sleeps_is_not(
    tools, tmp_path, state, found
):
    asked = tmp_path / "asked"
    tools(
        docker=DOCKER
        % f"  ps) echo control-plane x-control-plane {state};;\n  inspect) echo '{{{PORTS}}}';;\n"
        f"  exec) [ -e {asked} ] && echo True || {{ touch {asked}; echo 'too busy' >&2; exit 1; }};;",
        kind="#!/bin/sh\necho kubeconfig\n",
    )
    assert (kind.existing("x") is not None) == found


def test_an_images_name_changes_with_any_file_but_not_with_bytecode(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = kind.content_hash(tmp_path)
    (tmp_path / "a.pyc").write_text("x")
    assert kind.content_hash(tmp_path) == first
    (tmp_path / "b.py").write_text("")
    assert kind.content_hash(tmp_path) != first


def test_any_other_cluster_needs_an_image():
    with pytest.raises(UserMistake, match="--image"):
        OnAny(Where())


@pytest.mark.parametrize("front", ["here", "host:", ":80", "host:70000"])
def test_a_front_that_is_no_address_is_refused(front):
    with pytest.raises(UserMistake, match="HOST:PORT"):
        OnAny(Where(image="chat:1", front=front))


def test_a_front_in_the_range_of_node_ports_is_asked_for():
    assert OnAny(Where(image="chat:1", front="host:30123")).node_ports == [30123]
    assert OnAny(Where(image="chat:1", front="host:8080")).node_ports == [None]
