"""The same simulated scenario under many seeds: means with intervals, and where a single run would lie.

The seeds are the same ones under every strategy and setting, and each user's session is drawn by the user's name
alone: what differs between two columns is not chance, and the intervals of paired differences are narrow.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from scipy.stats import t as student

from scenarios.errors import UserMistake
from scenarios.labels import SECTIONS, Label, written
from scenarios.run import Finished, Options, read_spec, run_in_memory
from scenarios.spec import Spec
from scenarios.spec.units import duration_text
from scenarios.thresholds import METRICS

Run = tuple[Spec, str]
"""What one run needs: the spec with its seed, and the strategy."""
Summary = Mapping[str, Any]


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

    summaries: tuple[Summary, ...]

    def spread(self, key: str, level: float = 0.95) -> Spread | None:
        """Student's t intervals; None where fewer than two runs give the metric."""
        return spread_of([summary[key] for summary in self.summaries], level)

    def difference(self, other: Replications, key: str, level: float = 0.95) -> Spread | None:
        """Of this one's metric minus the other's, seed by seed; None where fewer than two seeds give both."""
        pairs = [(one[key], two[key]) for one, two in zip(self.summaries, other.summaries, strict=True)]
        return spread_of([a - b for a, b in pairs if a is not None and b is not None], level)

    def as_json(self) -> dict[str, Any]:
        """Every metric that has a spread."""
        found = {key: self.spread(key) for key in METRICS}
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
    return replicate_all(scenario, [strategy], options, seeds, jobs)[strategy]


def replicate_all(
    scenario: str, strategies: Sequence[str], options: Options, seeds: int, jobs: int = 0
) -> dict[str, Replications]:
    """Several strategies with the same seeds. Raises UserMistake before anything runs."""
    specs = {name: read_spec(scenario, name, "sim", options) for name in dict.fromkeys(strategies)}
    runs = [
        (spec.model_copy(update={"seed": spec.seed + n}), name)
        for name, spec in specs.items()
        for n in range(seeds)
    ]
    title = f"{' '.join(specs)} · {seeds} seeds"
    found = iter(list(simulate_all(runs, jobs, None, title, options.quiet)))
    return {name: Replications(tuple(next(found) for _ in range(seeds))) for name in specs}


def simulate_all(
    runs: Sequence[Run], jobs: int, dask: str | None, title: str, quiet: bool
) -> Iterator[Summary]:
    """The summaries of these runs in their order, with a progress bar on a terminal.

    In `jobs` processes of this machine (0: one a core), or on the Dask cluster at the address `dask`: the
    summaries are the same. Raises UserMistake where there is no such cluster.
    """
    with _bar(quiet) as bar:
        task = bar.add_task(title, total=len(runs))
        for summary in _summaries(runs, jobs, dask):
            bar.advance(task)
            yield summary


def _summaries(runs: Sequence[Run], jobs: int, dask: str | None) -> Iterator[Summary]:
    if not runs:
        return
    if dask is not None:
        yield from _on_dask(runs, dask)
        return
    # The first one here: it compiles what the other processes then find on disk.
    yield run_in_memory(*runs[0])
    rest = runs[1:]
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(rest))
    if jobs <= 1:
        yield from (run_in_memory(*run) for run in rest)
        return
    # a fresh interpreter each: polars' threads do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_in_memory, *zip(*rest, strict=True))


def _on_dask(runs: Sequence[Run], address: str) -> Iterator[Summary]:
    try:
        from distributed import Client
    except ImportError:
        raise UserMistake("--dask needs Dask's scheduler: pip install 'drainbow[dask]'") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise UserMistake(f"--dask {address}: no Dask scheduler answers there ({error})") from None
    with client:
        futures = client.map(run_in_memory, *zip(*runs, strict=True), pure=False)
        yield from (future.result() for future in futures)


def _bar(quiet: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not sys.stderr.isatty(),
    )


def warm_up_note(spec: Spec) -> str:
    """How the beginning of the runs is treated, in a sentence."""
    if spec.warm_up:
        return f"the first {duration_text(spec.warm_up)} are in no metric (warm_up)"
    if spec.users.arrivals is None:
        return "the runs begin in the steady state: no warm-up is needed"
    return "the runs begin without users, and that counts: set warm_up to leave the filling out"


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


def print_differences(console: Console, found: Mapping[str, Replications]) -> None:
    """A column for each strategy: the mean, and from the second on the paired difference to the first."""
    (first, baseline), *others = found.items()
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column(first, justify="right")
    for name, _ in others:
        table.add_column(name, justify="right")
        table.add_column(f"− {first}, 95 %", justify="right")
    for title, labels in SECTIONS:
        table.add_row(Text(title, style="bold"))
        for label in labels:
            cells = [_mean(baseline, label)]
            for _, other in others:
                cells.append(_mean(other, label))
                spread = other.difference(baseline, label.key)
                cells.append(
                    "–"
                    if spread is None
                    else f"{written(label, spread.mean_low)} … {written(label, spread.mean_high)}"
                )
            table.add_row(f"  {label.text}", *cells)
    console.print(table)


def _mean(of: Replications, label: Label) -> str:
    spread = of.spread(label.key)
    return "–" if spread is None else written(label, spread.mean)
