"""A stage in each world. `sim` and `local` always; `kind` where tests marked `cluster` are selected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.stage import Play, Stage


@pytest.fixture(scope="session")
def backend() -> Iterator[str]:
    from tests.worlds.local_stage import Backend

    running = Backend()
    yield running.address
    running.close()


WORLDS = (
    "sim",
    pytest.param("local", marks=pytest.mark.end_to_end),
    pytest.param("kind", marks=pytest.mark.cluster),
)


@pytest.fixture(params=WORLDS)
def staged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes the stage of a play in one world."""
    stages = contextlib.ExitStack()

    def make(**play: Any) -> Stage:
        stage: Any
        if request.param == "sim":
            from tests.worlds.sim_stage import SimStage

            return SimStage(Play(**play))
        if request.param == "local":
            from tests.worlds.local_stage import LocalStage

            stage = LocalStage(Play(**play), tmp_path, request.getfixturevalue("backend"))
        else:
            from tests.worlds.kind_stage import KindStage

            stage = KindStage(Play(**play), request.getfixturevalue("cluster"))
        stages.callback(stage.close)
        return stage

    with stages:
        yield make
