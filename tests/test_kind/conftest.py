"""The kind cluster of the test session, by name, for the program as a person starts it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config):
    from tests.worlds.kind_stage import cluster_of

    return cluster_of(pytestconfig)


@pytest.fixture
def on_kind(cluster, monkeypatch):
    """The program's kind cluster is the session's."""
    monkeypatch.setenv("DRAINBOW_KIND_NAME", cluster.name)
    return cluster
