"""What a simulated run gives: the rows of the record's tables, in seconds since time zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from deployer.actions import Action
from deployer.fleet import Verdict
from deployer.history import DeployRow
from loadgen.behaviour.attempts import Attempt
from sim.kubelet import PodLife

DIGITS = 6
"""Times are given in whole microseconds: below that lies the rounding of Unix times."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of table `samples`."""

    t_s: float
    pod: str
    open_connections: int  # by the pod's own word


@dataclass(frozen=True, slots=True)
class Event:
    """One row of table `events`."""

    t_s: float
    kind: str  # run_start | run_end | a fault
    target: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All tables but `series`, which is counted from `connections`; what lies before time zero is negative.

    Actions and verdicts are as the deployer's journal keeps them, each with its time.
    """

    connections: Sequence[Attempt]
    pods: Sequence[PodLife]
    deploys: Sequence[DeployRow]
    samples: Sequence[Sample]
    actions: Sequence[tuple[float, Action]]
    verdicts: Sequence[tuple[float, Verdict]]
    events: Sequence[Event]


Row = TypeVar("Row", Attempt, PodLife, DeployRow)
Noted = TypeVar("Noted", Action, Verdict)


def since(zero_s: float, rows: Sequence[Row]) -> list[Row]:
    """The rows with all their moments (fields `t_…`) as seconds since `zero_s`."""
    if not rows:
        return []
    moments = [field.name for field in fields(rows[0]) if field.name.startswith("t_")]
    shifted: list[Row] = []
    for row in rows:
        times: dict[str, Any] = {name: getattr(row, name) for name in moments}
        times |= {name: round(t_s - zero_s, DIGITS) for name, t_s in times.items() if t_s is not None}
        shifted.append(replace(row, **times))
    return shifted


def noted_since(zero_s: float, notes: Sequence[tuple[float, Noted]]) -> list[tuple[float, Noted]]:
    """Journal entries with their times as seconds since `zero_s`."""
    return [(round(t_s - zero_s, DIGITS), note) for t_s, note in notes]
