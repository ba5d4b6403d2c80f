"""What each strategy promises, on a real Kubernetes: the table to which the embedded cluster is held as well."""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import run
from tests.end_to_end.promises import PROMISES, Run

pytestmark = [pytest.mark.cluster, pytest.mark.end_to_end, pytest.mark.long]


@pytest.mark.parametrize("name", PROMISES)
def test_a_strategy_keeps_its_promise(on_kind, tmp_path, name):
    promise = PROMISES[name]
    promise.kept(Run(run(*promise.words(), "--world", "kind", out=tmp_path)))


def test_bluegreen_blocks_the_second_deploy_of_quick(on_kind, tmp_path):
    bluegreen = Run(run("quick", "--strategy", "bluegreen", "--world", "kind", out=tmp_path))
    assert bluegreen.outcomes[:2] == ["done", "blocked"]  # the third depends on the seed
    assert "still drains" in bluegreen.deploys["reason"][1]
    assert bluegreen.summary["forced_reconnects"] == 0
