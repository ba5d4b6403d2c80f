"""Sweeps over any keys of a spec: every combination, under every strategy and seed, into one table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from scenarios.batch import Run, check_count, simulate_until_interrupted
from scenarios.errors import UserMistake
from scenarios.folders import whole_file
from scenarios.record import parquet_of
from scenarios.run import Options, read_spec
from scenarios.thresholds import METRICS

ANOTHER_TABLE = "name another file with --table"
OWN = {"seed": "--seeds for several", "strategy": "--strategy, which is repeatable"}
"""Columns besides the varied keys and the metrics, and what gives them other values."""


@dataclass(frozen=True, slots=True)
class Varied:
    """A key of the spec with the values that it takes, each written as in YAML."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The runs that were finished, and how many were asked for; fewer rows than that: it was interrupted."""

    rows: pl.DataFrame
    asked: int


def varied(text: str) -> Varied:
    """Read KEY=V1,V2,…; commas within brackets, braces and quotes do not separate. Raises UserMistake."""
    key, equals, rest = text.partition("=")
    values = tuple(value.strip() for value in _split(rest))
    if not equals or not key.strip() or not all(values):
        raise UserMistake(f"--vary {text}: write it as KEY=V1,V2,…, such as fleet.replicas=4,8,16")
    if len(set(values)) < len(values):
        raise UserMistake(f"--vary {text}: a value is there twice")
    return Varied(key.strip(), values)


def vary(
    scenario: str,
    strategies: Sequence[str],
    over: Sequence[Varied],
    options: Options,
    seeds: int = 1,
    jobs: int = 0,
    dask: str | None = None,
) -> Sweep:
    """One row a run: the varied keys as texts, `strategy`, `seed`, and every metric.

    The rows are in the order of the values given, then strategies, then seeds; the same seeds are used
    everywhere. The same arguments give the same table, whatever `jobs` and `dask` are. Ctrl-C and SIGTERM end it
    with the rows before the first one that is not finished. All specs are read before anything runs: raises
    UserMistake for the first one that cannot be, and OutOfReach where there is no such Dask cluster.
    """
    keys = [one.key for one in over]
    if len(set(keys)) < len(keys):
        raise UserMistake(f"--vary {keys[0]}: a key is there twice; give all its values at once")
    taken = [key for key in keys if key in (*OWN, *METRICS)]
    if taken:
        raise UserMistake(
            f"--vary {taken[0]}: that is a column of its own; use {OWN.get(taken[0], 'another key')}"
        )
    names = list(dict.fromkeys(strategies))
    points = list(itertools.product(*(one.values for one in over)))
    check_count(len(points) * len(names) * seeds)
    runs: list[Run] = []
    columns: dict[str, list[object]] = {key: [] for key in (*keys, "strategy", "seed")}
    for point in points:
        settings = tuple(f"{key}={value}" for key, value in zip(keys, point, strict=True))
        given = replace(options, settings=(*options.settings, *settings))
        for name in names:
            spec = read_spec(scenario, name, "sim", given)
            for n in range(seeds):
                runs.append((spec.model_copy(update={"seed": spec.seed + n}), name))
                for key, value in zip(columns, (*point, name, spec.seed + n), strict=True):
                    columns[key].append(value)
    title = f"{len(points)} × {len(names)} × {seeds} runs"
    summaries = simulate_until_interrupted(runs, jobs, dask, title, options.quiet)
    # Whole numbers too are Float64: a metric has one type, whatever the first runs give.
    metrics = {name: pl.Series([s[name] for s in summaries], dtype=pl.Float64) for name in METRICS}
    given_columns = {
        key: pl.Series(values[: len(summaries)], dtype=_type(key)) for key, values in columns.items()
    }
    return Sweep(pl.DataFrame({**given_columns, **metrics}), len(runs))


def write_table(table: pl.DataFrame, path: Path) -> None:
    """As Parquet; the same table gives the same bytes. Raises UserMistake where it cannot be written."""
    with whole_file(path, ANOTHER_TABLE) as part:
        part.write_bytes(parquet_of(table))


def _type(key: str) -> pl.DataType:
    return pl.Int64() if key == "seed" else pl.String()


def _split(text: str) -> Iterable[str]:
    depth, quote, part = 0, "", ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in "{[(") - (sign in "}])")
        if sign == "," and not depth and not quote:
            yield part
            part = ""
        else:
            part += sign
    yield part
