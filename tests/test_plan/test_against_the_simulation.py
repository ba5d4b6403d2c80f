"""The closed forms hold what the simulated world does, strategy by strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scenarios.plan import estimate, service_of
from scenarios.run import run_in_memory
from scenarios.spec import Spec, spec_of

WINDOW_S, WARM_UP_S, SPACING_S, USERS = 3600, 2160, 360, 150
WAITING: Mapping[str, Any] = {"deadline": "4000s", "hold": "2s", "check_every": "5s"}
SHRINK = {"rainbow": {"shrink": True}}


def scenario(**changes: Any) -> Spec:
    """A service in small: sessions of 5 minutes, a deploy every 6, and drains of 20."""
    return spec_of(
        {
            "name": "small",
            "duration": f"{WARM_UP_S + WINDOW_S}s",
            "warm_up": f"{WARM_UP_S}s",
            "fleet": {"replicas": 4, "startup": {"fixed": "1s"}, "nodes": {"count": 10}},
            "users": {"count": USERS, "session": {"exponential": "300s"}, "messages_per_min": 0},
            "deploys": {"every": f"{SPACING_S}s", "count": 15},
            "drain": {"policy": {"after": "1200s"}, "hold": "2s", "check_every": "5s"},
            **changes,
        }
    )


CASES = {
    "recreate": ("recreate", scenario()),
    "graceful": ("graceful", scenario(strategy={"graceful": {"grace": "1200s", "max_unavailable": 0}})),
    "colors": ("colors", scenario(strategy={"colors": {"count": 6}})),
    "rainbow after": ("rainbow", scenario()),
    "rainbow after, shrink": ("rainbow", scenario(strategy=SHRINK)),
    "rainbow empty": ("rainbow", scenario(drain={"policy": "empty", **WAITING})),
    "rainbow few": ("rainbow", scenario(drain={"policy": {"few": 5}, **WAITING})),
    "rainbow few, shrink": ("rainbow", scenario(drain={"policy": {"few": 5}, **WAITING}, strategy=SHRINK)),
    "immutable": ("immutable", scenario(drain={"policy": "empty", **WAITING})),
}
DRAIN_SD_S = {
    "rainbow empty": 385.0, "immutable": 193.0, "graceful": 193.0, "rainbow after, shrink": 193.0,
    "rainbow few": 128.0, "rainbow few, shrink": 128.0,
}  # fmt: skip
"""Of one drain: the last of many exponentials is Gumbel, sd 1.28 μ; over four pods half of it; the sixth last
μ·√Σ 1/k² from k = 6. One window holds few drains, so the pods' mean is known to four standard errors."""


@pytest.mark.parametrize("name", CASES)
def test_pods_and_forced_reconnects_are_those_of_the_simulation(name: str) -> None:
    strategy, spec = CASES[name]
    told = estimate(service_of(spec), name)
    runs = [run_in_memory(spec.model_copy(update={"seed": seed}), strategy) for seed in (1, 2)]
    deploys = WINDOW_S / SPACING_S
    pods = sum(run["pod_hours"] for run in runs) / len(runs) * 3600 / WINDOW_S
    forced = sum(run["forced_reconnects"] for run in runs) / len(runs) / USERS / deploys
    error_s = 4 * DRAIN_SD_S.get(name, 0.0) / (deploys * len(runs)) ** 0.5
    assert told.pods_mean == pytest.approx(pods, rel=0.02, abs=4 * error_s / SPACING_S)
    # a cut is of a binomial number of users; four standard errors and the half-deploy at the window's edge
    spread = 4 * (max(told.forced_per_user_deploy, 1e-4) / (USERS * deploys * len(runs))) ** 0.5
    assert told.forced_per_user_deploy == pytest.approx(forced, abs=spread, rel=0.04)
    assert told.pods_peak >= max(run["peak_pods"] for run in runs) - 1
    assert all(run["deploys_done"] == deploys for run in runs)


def test_a_first_rolling_update_cuts_as_often_as_the_recursion_says() -> None:
    """The case of the closed form: one pod at a time, everyone back before the next goes, from even loads."""
    spec = scenario(
        duration="60s", warm_up="0s", deploys={"at": "10s"}, network={"sync_period": "0s"}, server={"linger": "0s"},
        users={"count": 2000, "session": "forever", "reconnect": "immediate", "ramp": "1000/s", "messages_per_min": 0},
        strategy={"rolling": {"max_surge": 1, "max_unavailable": 0}},
    )  # fmt: skip
    told = estimate(service_of(spec), "rolling")
    found = run_in_memory(spec, "rolling")["forced_reconnects_per_client_deploy"]
    assert told.forced_per_user_deploy == pytest.approx(1.4414, abs=1e-4)
    assert told.forced_per_user_deploy == pytest.approx(found, rel=0.05)
