"""A study in simulation: what each drain policy costs in forced reconnects and in pod-hours, and which to take.

`python -m scenarios.study_drain` runs policies × families of session lengths × deploy rates and writes
`docs/study-drain.md` with its picture. The same code gives the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenarios.spec import Spec, spec_of

POD_HOUR = 0.05  # dollars, as in the catalog
REPLICAS, USERS = 8, 1000
MEAN_H = 2.0
TOLERATED = 0.01
"""Users whom one deploy may cut off before the deadline, as a share of those connected: a policy that cuts more
is not considered. Whom the deadline cuts is no policy's choice."""
WAITS = "empty"
"""The policy that cuts nobody before the deadline."""
TOLERANCES = (0.0, 0.001, TOLERATED, 0.05, 0.20)

FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "regular": ("Weibull, shape 3", {"weibull": {"mean": "2h", "shape": 3}}),
    "exponential": ("exponential", {"exponential": {"mean": "2h"}}),
    "heavy": ("Weibull, shape 0.5", {"weibull": {"mean": "2h", "shape": 0.5}}),
    "lognormal": ("lognormal, σ 1.5", {"lognormal": {"mean": "2h", "sigma": 1.5}}),
    "mixed": (
        "95 % stay 1 h, 5 % stay 21 h",
        {
            "mixture": [
                {"weight": 0.95, "exponential": {"mean": "1h"}},
                {"weight": 0.05, "exponential": {"mean": "21h"}},
            ]
        },
    ),
}
"""Five families of sessions with the same mean of 2 h; the longer the tail, the longer whom a switch meets stays."""

RATES: Mapping[str, tuple[str, int]] = {"1 a day": ("24h", 5), "4 a day": ("6h", 23), "8 a day": ("3h", 47)}
"""Deploys: how far apart, and how many in six days."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to let old releases go."""

    name: str
    policy: Any  # the spec's drain.policy
    shrink: bool = False
    nudge: Mapping[str, Any] | None = None


POLICIES: tuple[Policy, ...] = (
    Policy("after 2h", {"after": "2h"}),
    Policy("after 6h", {"after": "6h"}),
    Policy("after 12h", {"after": "12h"}),
    Policy("after 24h", {"after": "24h"}),
    Policy("empty", "empty"),
    Policy("empty, shrink", "empty", shrink=True),
    Policy("few 1%", {"few": "1%"}),
    Policy("few 1%, shrink", {"few": "1%"}, shrink=True),
    Policy("few 5%", {"few": "5%"}),
    Policy("few 5%, shrink", {"few": "5%"}, shrink=True),
    Policy("few 20%", {"few": "20%"}),
    Policy("worth_it $0.01", {"worth_it": {"reconnect_price": 0.01}}),
    Policy("worth_it $0.10", {"worth_it": {"reconnect_price": 0.1}}),
    Policy("worth_it $1", {"worth_it": {"reconnect_price": 1.0}}),
    Policy("empty, shrink, nudge 6h", "empty", shrink=True, nudge={"after": "6h", "per_s": 1.0}),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One simulated run: a policy with a family at a rate. All numbers are per deploy that was done."""

    policy: str
    family: str
    rate: str
    forced_ratio: float  # forced reconnects over connected users
    surplus_pod_h: float  # pod-hours beyond the replicas: what draining costs, empty pods included
    draining_pod_h: float  # pod-hours of deselected pods that still had a connection
    peak_per_s: float  # highest rate of reconnects
    drain_h: float | None  # selected → drained, median
    peak_pods: float


def spec_for(policy: Policy, family: str, rate: str) -> Spec:
    """The scenario of one cell: six days, of which the first three are the warm-up."""
    every, count = RATES[rate]
    rainbow = {"shrink": policy.shrink, **({"nudge": policy.nudge} if policy.nudge else {})}
    return spec_of(
        {
            "name": "study-drain",
            "duration": "6d",
            "warm_up": "3d",
            "record": "lost",
            "fleet": {"replicas": REPLICAS, "nodes": {"count": 20, "cpu": 16, "memory": "64Gi"}},
            "users": {"count": USERS, "session": FAMILIES[family][1], "messages_per_min": 0},
            "deploys": {"every": every, "count": count},
            "strategy": {"rainbow": rainbow},
            "drain": {"policy": policy.policy, "hold": "5m", "check_every": "5m"},
        }
    )


def measured(policy: Policy, family: str, rate: str, summary: Mapping[str, Any]) -> Cell:
    """What one run, simulated from `spec_for` the same, says."""
    done = summary["deploys_done"]
    return Cell(
        policy.name,
        family,
        rate,
        forced_ratio=summary["forced_reconnects_per_client_deploy"],
        surplus_pod_h=summary["surplus_pod_hours"] / done,
        draining_pod_h=summary["draining_pod_hours"] / done,
        peak_per_s=summary["peak_reconnects_per_s"],
        drain_h=None if summary["drain_s_p50"] is None else summary["drain_s_p50"] / 3600,
        peak_pods=summary["peak_pods"],
    )


def frontier(cells: Iterable[Cell]) -> list[Cell]:
    """The cells that no other beats in both forced reconnects and pod-hours, cheapest first."""
    best: list[Cell] = []
    for cell in sorted(cells, key=lambda c: (c.surplus_pod_h, c.forced_ratio)):
        if not best or cell.forced_ratio < best[-1].forced_ratio:
            best.append(cell)
    return best


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy over all families and rates."""

    policy: str
    worst_ratio: float  # of forced reconnects, over all cells
    own_ratio: float  # the same, beyond those of the policy that waits for everyone until the same deadline
    mean_pod_h: float  # surplus pod-hours per deploy, mean over all cells
    worst_pod_h: float


def standings(cells: Sequence[Cell]) -> list[Standing]:
    """Every policy's standing, in the order of the cells."""
    late = {(cell.family, cell.rate): cell.forced_ratio for cell in cells if cell.policy == WAITS}
    found = []
    for name in dict.fromkeys(cell.policy for cell in cells):
        own = [cell for cell in cells if cell.policy == name]
        beyond = max(max(c.forced_ratio - late.get((c.family, c.rate), 0.0), 0.0) for c in own)
        hours = [cell.surplus_pod_h for cell in own]
        worst = max(cell.forced_ratio for cell in own)
        found.append(Standing(name, worst, beyond, sum(hours) / len(hours), max(hours)))
    return found


def chosen(found: Iterable[Standing], tolerated: float) -> Standing | None:
    """The cheapest policy that by its own choice cuts nowhere more than the tolerated share; None if all do."""
    fits = [standing for standing in found if standing.own_ratio <= tolerated]
    return min(fits, key=lambda standing: standing.mean_pod_h, default=None)


def run_all(jobs: int) -> list[Cell]:
    """Every cell, in the order policy, family, rate."""
    from scenarios.batch import simulate_all

    grid = [(policy, family, rate) for policy in POLICIES for family in FAMILIES for rate in RATES]
    runs = [(spec_for(*cell), "rainbow") for cell in grid]
    summaries = simulate_all(runs, jobs, None, "drain policies", quiet=False)
    return [measured(*cell, summary) for cell, summary in zip(grid, summaries, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and write its page and its picture."""
    parser = argparse.ArgumentParser(prog="python -m scenarios.study_drain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page; default docs")
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: one a core")
    options = parser.parse_args(arguments)
    from scenarios.report.drain_page import page_of, picture_of

    cells = run_all(options.jobs)
    figures = options.out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "study-drain.png").write_bytes(picture_of(cells))
    (options.out / "study-drain.md").write_text(page_of(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
