"""The same simulated scenario under many seeds: means with intervals, and where a single run would lie.

The seeds are the same ones under every strategy and setting, and each user's session is drawn by the user's name
alone: what differs between two columns is not chance, and the intervals of paired differences are narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.stats import t as student

from scenarios.bands import Column, print_metrics
from scenarios.batch import Summary, check_count, simulate_until_interrupted
from scenarios.labels import SECTIONS, Label, interval, written
from scenarios.run import Finished, Options, read_spec
from scenarios.spec import Spec
from scenarios.spec.units import duration_text
from scenarios.thresholds import METRICS

_LABELS = tuple(label for _, labels in SECTIONS for label in labels)


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

    Ends early as `replicate_all`. Raises UserMistake as a single run does.
    """
    return replicate_all(scenario, [strategy], options, seeds, jobs)[strategy]


def replicate_all(
    scenario: str, strategies: Sequence[str], options: Options, seeds: int, jobs: int = 0
) -> dict[str, Replications]:
    """Several strategies with the same seeds. Raises UserMistake before anything runs.

    Ctrl-C and SIGTERM end it with the seeds, from the first on, that are finished under every strategy.
    """
    specs = {name: read_spec(scenario, name, "sim", options) for name in dict.fromkeys(strategies)}
    check_count(len(specs) * seeds)
    runs = [
        (spec.model_copy(update={"seed": spec.seed + n}), name)
        for n in range(seeds)
        for name, spec in specs.items()
    ]
    title = f"{' '.join(specs)} · {seeds} seeds"
    found = simulate_until_interrupted(runs, jobs, None, title, options.quiet)
    whole = len(found) - len(found) % len(specs)
    return {name: Replications(tuple(found[n : whole : len(specs)])) for n, name in enumerate(specs)}


def warm_up_note(spec: Spec) -> str:
    """How the beginning of the runs is treated, in a sentence."""
    if spec.warm_up:
        return f"the first {duration_text(spec.warm_up)} are in no metric (warm_up)"
    if spec.users.arrivals is None:
        return "the runs begin in the steady state: no warm-up is needed"
    return "the runs begin without users, and that counts: set warm_up to leave the filling out"


def print_replications(console: Console, spec: Spec, finished: Finished, replications: Replications) -> None:
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
                _mean(spread, label),
                interval(label, spread.mean_low, spread.mean_high),
                interval(label, spread.one_low, spread.one_high),
            )
    console.print(table)
    _print_folders(console, spec, [finished])


def print_differences(
    console: Console, spec: Spec, finished: Sequence[Finished], found: Mapping[str, Replications]
) -> None:
    """A column for each strategy: the mean, and from the second on the paired difference to the first."""
    (first, baseline), *others = found.items()
    columns = [
        Column(first, {label.key: Text(_mean(baseline.spread(label.key), label)) for label in _LABELS})
    ]
    for name, other in others:
        means = {label.key: Text(_mean(other.spread(label.key), label)) for label in _LABELS}
        apart = {label.key: Text(_difference(other, baseline, label)) for label in _LABELS}
        columns += [Column(name, means), Column(f"− {first}, 95 %", apart, with_the_one_before=True)]
    print_metrics(console, columns)
    _print_folders(console, spec, finished)


def _print_folders(console: Console, spec: Spec, finished: Sequence[Finished]) -> None:
    console.print(Text(f"\n{warm_up_note(spec)}"), soft_wrap=True)
    for one in finished:
        console.print(Text(f"{one.strategy}, first seed: {one.folder}/report.html"), soft_wrap=True)


def _difference(one: Replications, other: Replications, label: Label) -> str:
    spread = one.difference(other, label.key)
    return "–" if spread is None else interval(label, spread.mean_low, spread.mean_high, difference=True)


def _mean(spread: Spread | None, label: Label) -> str:
    return written(label, None if spread is None else spread.mean, several=True)
