"""Setups made by hand: the sim's tests need no scenario file."""

from collections.abc import Callable
from typing import Any

import pytest

from deployer.draining import DrainSettings, Empty
from deployer.fleet import Limits
from deployer.strategies import make
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.sessions import Lognormal, Weibull
from loadgen.behaviour.settings import Behaviour
from sim.setup import FleetSetup, PlannedDeploy, Setup

RELEASES = ("b2c3d4", "c3d4e5", "d4e5f6")


def quick(strategy: str = "rainbow", settings: dict[str, Any] | None = None, **changes: Any) -> Setup:
    """Three deploys in 95 s over 300 users whose sessions last 22 s: old releases drain in time."""
    given: dict[str, Any] = {
        "seed": 7,
        "duration_s": 95.0,
        "fleet": FleetSetup(startup=Lognormal(1.0, 0.3)),
        "behaviour": Behaviour(Fixed(300), Weibull(22.0, 4.0), Backoff(give_up=20)),
        "strategy": make(strategy, {"progress_deadline": 60.0, **(settings or {})}),
        "limits": Limits(replicas=4),
        "drain": DrainSettings(Empty(), deadline_s=48 * 3600.0, hold_s=2.0, check_every_s=1.0),
        "deploys": tuple(
            PlannedDeploy(at_s, release) for at_s, release in zip((6.0, 24.0, 42.0), RELEASES, strict=True)
        ),
    }
    return Setup(**{**given, **changes})


@pytest.fixture(scope="session")
def setup_of() -> Callable[..., Setup]:
    """Makes a setup like the scenario `quick`, with changes."""
    return quick
