"""For all tests: how long one example of a property takes is the machine's business, not the code's.

Where CI is set the examples are the same in every run, so that a change is judged by what it changed. Tests that
need a real Kubernetes share one kind cluster, made where none is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.session_cluster import Cluster

settings.register_profile("untimed", deadline=None)
settings.register_profile("same-each-time", deadline=None, derandomize=True)
settings.load_profile("same-each-time" if os.environ.get("CI") else "untimed")


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The kind cluster of the session; namespaces that were given to it to remove are gone at the end."""
    from tests.session_cluster import cluster_of

    found = cluster_of(pytestconfig)
    yield found
    found.wait_for_removals()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes has ended: the cluster that it shared with the others is not needed for long."""
    name = getattr(node, "workeroutput", {}).get("kind_cluster")
    if name:
        from tests.session_cluster import delete_at_end

        delete_at_end(node.config, name)
