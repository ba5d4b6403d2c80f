"""Old images: what goes from a node, and what stays because something has it or names it."""

from __future__ import annotations

import pytest

from scenarios.worlds import images, kind

NOW, OLD = "drainbow-chat:aaaaaaaaaaaa", "drainbow-chat:bbbbbbbbbbbb"
USED = "drainbow-load:cccccccccccc"


def named(image):
    return f"docker.io/library/{image}"


def test_an_old_image_goes_with_the_nameless_references_to_its_content():
    listed = [
        (named(OLD), "sha256:1"),
        ("import-2026-01-01@sha256:1", "sha256:1"),
        ("sha256:77", "sha256:1"),
        (named(NOW), "sha256:2"),
        ("import-2026-01-02@sha256:2", "sha256:2"),
    ]
    assert images.stale(listed, {NOW}) == [named(OLD), "import-2026-01-01@sha256:1", "sha256:77"]


def test_what_is_needed_and_what_is_not_ours_stays():
    listed = [
        (named(USED), "sha256:1"),
        (named("drainbow-chat:mine"), "sha256:2"),
        (named("other:bbbbbbbbbbbb"), "sha256:3"),
        ("import-2026-01-01@sha256:3", "sha256:3"),
    ]
    assert images.stale(listed, {NOW, USED}) == []


@pytest.mark.parametrize("other", [named(NOW), "registry.example/chat:1"])
def test_content_that_has_another_name_too_stays(other):
    assert images.stale([(named(OLD), "sha256:1"), (other, "sha256:1")], {NOW}) == []


def test_without_docker_nothing_is_removed_and_nothing_raised(monkeypatch):
    monkeypatch.setattr(kind.shutil, "which", lambda _: None)
    assert images.remove_old("x") == []


@pytest.mark.cluster
def test_an_old_image_is_removed_from_the_machine_and_all_nodes_and_the_current_one_stays(cluster):
    nodes = cluster.ground.kind.nodes
    # another content of which nothing runs: a base image under our name
    kind.docker("tag", "debian:bookworm-slim", OLD)
    kind.load_image(cluster.ground.kind, OLD)
    assert all(OLD in listed(node) for node in nodes)
    said = images.remove_old(cluster.name)
    assert f"image {OLD}" in said
    assert {f"image {OLD} on {node}" for node in nodes} <= set(said)
    for node in nodes:
        assert OLD not in listed(node)
        assert cluster.image in listed(node)
    assert kind.docker("images", "--quiet", OLD) == ""
    assert kind.docker("images", "--quiet", cluster.image) != ""


def listed(node):
    return kind.docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "ls", "--quiet")
