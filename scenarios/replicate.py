"""The same simulated scenario under many seeds: means with intervals, and where a single run would lie."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.stats import t as student

from scenarios.labels import LABELS, SECTIONS, written
from scenarios.progress import for_person
from scenarios.run import Finished, Options, read_spec, run_in_memory


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric over n runs: mean, 95 % interval of the mean, 95 % interval for one more run; nulls left out."""

    n: int
    mean: float
    mean_low: float
    mean_high: float
    one_low: float
    one_high: float


@dataclass(frozen=True)
class Replications:
    """Each metric over all seeds."""

    summaries: tuple[Mapping[str, Any], ...]

    def spread(self, key: str, level: float = 0.95) -> Spread | None:
        """Student's t intervals; None where fewer than two runs give the metric."""
        return spread_of([summary[key] for summary in self.summaries], level)

    def as_json(self) -> dict[str, Any]:
        """Every metric that has a spread."""
        found = {key: self.spread(key) for key in LABELS}
        return {
            key: None if one is None else {f: getattr(one, f) for f in Spread.__slots__}
            for key, one in found.items()
        }


def spread_of(values: Sequence[float | int | None], level: float = 0.95) -> Spread | None:
    """Intervals for the mean and for one further value, of independent and roughly normal values.

    The prediction interval is mean ± t·s·√(1 + 1/n) (Geisser 1993, section 2.2). None for fewer than two values.
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    n = len(known)
    if n < 2:
        return None
    mean, deviation = float(known.mean()), float(known.std(ddof=1))
    t = float(student.ppf(0.5 + level / 2, n - 1))
    of_mean, of_one = t * deviation / math.sqrt(n), t * deviation * math.sqrt(1 + 1 / n)
    return Spread(n, mean, mean - of_mean, mean + of_mean, mean - of_one, mean + of_one)


def replicate(scenario: str, strategy: str, options: Options, seeds: int, jobs: int = 0) -> Replications:
    """Simulate with this many consecutive seeds; the same summaries whatever `jobs` is (0: one a core).

    Raises UserMistake as a single run does.
    """
    spec = read_spec(scenario, strategy, "sim", options)
    wanted = [(spec.model_copy(update={"seed": spec.seed + n}), strategy) for n in range(seeds)]
    show = for_person(f"{spec.name} · {strategy} · {seeds} seeds", options.quiet)
    jobs = min(jobs or len(os.sched_getaffinity(0)), seeds)
    summaries: list[Mapping[str, Any]] = []
    try:
        if jobs == 1:
            for one in wanted:
                summaries.append(run_in_memory(*one))
                show.phase(f"{len(summaries)} of {seeds} seeds")
        else:
            # a fresh interpreter each: polars' threads do not survive a fork
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                for summary in pool.map(run_in_memory, *zip(*wanted, strict=True)):
                    summaries.append(summary)
                    show.phase(f"{len(summaries)} of {seeds} seeds")
    finally:
        show.close()
    return Replications(tuple(summaries))


def print_replications(console: Console, finished: Finished, replications: Replications) -> None:
    """A row for each metric: mean with its interval, and the interval in which one run lies."""
    n = len(replications.summaries)
    table = Table(box=None, pad_edge=False)
    for head in ("", f"mean of {n}", "95 % of the mean", "95 % of one run"):
        table.add_column(head, justify="left" if not head else "right")
    for title, labels in SECTIONS:
        table.add_row(Text(title, style="bold"))
        for label in labels:
            spread = replications.spread(label.key)
            if spread is None:
                table.add_row(f"  {label.text}", "–", "", "")
                continue
            table.add_row(
                f"  {label.text}",
                written(label, spread.mean),
                f"{written(label, spread.mean_low)} … {written(label, spread.mean_high)}",
                f"{written(label, spread.one_low)} … {written(label, spread.one_high)}",
            )
    console.print(table)
    console.print(Text(f"\n{finished.strategy}, first seed: {finished.folder}/report.html"), soft_wrap=True)
