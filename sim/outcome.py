"""What a simulated run gives: the rows of the record's tables, in seconds since time zero."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from deployer.actions import Action
from deployer.fleet import Verdict
from deployer.history import DeployRow
from loadgen.behaviour.attempts import Attempt
from sim.kubelet import PodLife

if TYPE_CHECKING:
    import polars as pl  # what a run of the oracle alone does without

DIGITS = 6
"""Times are given in whole microseconds: below that lies the rounding of Unix times."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of table `samples`."""

    t_s: float
    pod: str
    open_connections: int  # by the pod's own word


class Samples(Sequence[Sample]):
    """The rows of table `samples`, kept in columns: a simulated week has a million of them."""

    def __init__(self) -> None:
        self._pods: dict[str, int] = {}
        self._t_s, self._pod, self._open = array("d"), array("i"), array("i")
        self._before: tuple[str, ...] = ()
        self._codes = array("i")

    def add(self, t_s: float, pods: tuple[str, ...], counts: Sequence[int]) -> None:
        """What pods said at one moment."""
        if pods != self._before:
            self._before = pods
            self._codes = array("i", (self._pods.setdefault(pod, len(self._pods)) for pod in pods))
        self._t_s.extend([t_s] * len(pods))
        self._pod.extend(self._codes)
        self._open.extend(counts)

    def __repr__(self) -> str:
        return f"Samples({list(self)!r})"

    def __len__(self) -> int:
        return len(self._t_s)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        return Sample(self._t_s[at], list(self._pods)[self._pod[at]], self._open[at])

    def __iter__(self) -> Iterator[Sample]:
        names = list(self._pods)
        return (Sample(t, names[p], n) for t, p, n in zip(self._t_s, self._pod, self._open, strict=True))

    def table(self) -> pl.DataFrame:
        """All of them."""
        import polars as pl

        names = pl.Series(list(self._pods), dtype=pl.String)
        return pl.DataFrame(
            {
                "t_s": pl.Series(np.frombuffer(self._t_s, np.float64), dtype=pl.Float64),
                "pod": names.gather(np.frombuffer(self._pod, np.int32).astype(np.int64)),
                "open_connections": pl.Series(np.frombuffer(self._open, np.int32), dtype=pl.Int64),
            }
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One row of table `events`."""

    t_s: float
    kind: str  # run_start | run_end | a fault
    target: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All tables; what lies before time zero is negative.

    `connections` are rows, or the table where the fast crowd made it. `series` is None where it is to be
    counted from full `connections`; else it begins at time zero. Actions and verdicts are as the deployer's
    journal keeps them, each with its time.
    """

    connections: Sequence[Attempt] | pl.DataFrame
    pods: Sequence[PodLife]
    deploys: Sequence[DeployRow]
    samples: Samples
    actions: Sequence[tuple[float, Action]]
    verdicts: Sequence[tuple[float, Verdict]]
    events: Sequence[Event]
    series: pl.DataFrame | None = None
    notes: Sequence[str] = ()  # what a reader of the record should know of how it was made


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
