"""The kind cluster of the test session, by name, for the program as a person starts it."""

from __future__ import annotations

import pytest


@pytest.fixture
def on_kind(cluster, monkeypatch):
    """The program's kind cluster is the session's."""
    monkeypatch.setenv("DRAINBOW_KIND_NAME", cluster.name)
    return cluster
