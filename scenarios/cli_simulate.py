"""What `drainbow simulate` does: one run, many seeds, several strategies, or a sweep over keys of the scenario."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scenarios.errors import Exit, Stop, UserMistake

StrategyNames = Annotated[
    list[str],
    typer.Option("--strategy", "-s", help="how to deploy; repeatable: all of them see the same users"),
]
VaryOption = Annotated[
    list[str],
    typer.Option(
        "--vary",
        metavar="KEY=V1,V2,…",
        help="simulate with each of these values, and every combination of repeated ones, into one table",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="FILE",
        help="with --vary: the Parquet table; <out>/<scenario>-vary.parquet if left out",
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="with --vary: on the workers of this Dask scheduler, such as 10.0.0.5:8786",
    ),
]


class _Interrupted(Stop):
    code = Exit.INTERRUPTED


def run_simulate(
    scenario: str,
    strategies: Sequence[str],
    settings: Sequence[str],
    seed: int | None,
    seeds: int,
    jobs: int,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> Exit:
    """A run folder for each strategy; with more seeds, what their means and intervals are. Raises Stop.

    Ctrl-C and SIGTERM end the seeds early: those that are finished are printed.
    """
    from scenarios.batch import check_count
    from scenarios.replicate import print_differences, print_replications, replicate_all
    from scenarios.run import Options, read_spec, run_scenario
    from scenarios.show import print_finished

    options = Options(settings=tuple(settings), seed=seed, out=out, quiet=quiet or as_json)
    names = list(dict.fromkeys(strategies))
    specs = [read_spec(scenario, name, "sim", options) for name in names]
    check_count(len(names) * seeds)
    finished = [run_scenario(scenario, name, "sim", options) for name in names]
    code = max(one.exit_code for one in finished)
    if seeds == 1:
        if as_json:
            runs = [{"run_dir": str(one.folder), **one.summary} for one in finished]
            _print_json(runs[0] if len(runs) == 1 else {"runs": runs})
        else:
            print_finished(Console(), finished)
        return code
    found = replicate_all(scenario, names, options, seeds, jobs)
    done = len(found[names[0]].summaries)
    if done < 2:
        folders = ", ".join(str(one.folder) for one in finished)
        raise _Interrupted(
            f"interrupted before two of {seeds} seeds were finished; the first is in {folders}"
        )
    if as_json:
        documents: list[dict[str, Any]] = [
            {"run_dir": str(one.folder), "seeds": done, "metrics": found[one.strategy].as_json()}
            for one in finished
        ]
        _print_json(
            documents[0]
            if len(documents) == 1
            else {"runs": [{"strategy": name, **rest} for name, rest in zip(names, documents, strict=True)]}
        )
    elif len(names) == 1:
        print_replications(Console(), specs[0], finished[0], found[names[0]])
    else:
        print_differences(Console(), specs[0], finished, found)
    if done < seeds:
        raise _Interrupted(f"interrupted: these are the first {done} of {seeds} seeds")
    return code


def run_vary(
    scenario: str,
    strategies: Sequence[str],
    over: Sequence[str],
    settings: Sequence[str],
    seed: int | None,
    seeds: int,
    jobs: int,
    dask: str | None,
    out: Path,
    table: Path | None,
    as_json: bool,
    quiet: bool,
) -> Exit:
    """Run the sweep, write its table, and say where it is. Raises Stop.

    Ctrl-C and SIGTERM end it early: the table has the rows that were finished, none of them left out between.
    """
    from scenarios.folders import check_writable
    from scenarios.run import Options
    from scenarios.vary import ANOTHER_TABLE, varied, vary, write_table

    options = Options(settings=tuple(settings), seed=seed, out=out, quiet=quiet or as_json)
    path = table or out / f"{Path(scenario).stem}-vary.parquet"
    if path.suffix != ".parquet":
        raise UserMistake(f"--table {path}: it is a Parquet table, so its name must end in .parquet")
    check_writable(path, ANOTHER_TABLE)
    found = vary(scenario, strategies, [varied(text) for text in over], options, seeds, jobs, dask)
    done, all_done = found.rows.height, found.rows.height == found.asked
    if not done:
        raise _Interrupted(f"interrupted before the first of {found.asked} runs was finished")
    write_table(found.rows, path)
    if as_json:
        _print_json({"table": str(path), "runs": done, "asked": found.asked, "columns": found.rows.columns})
    elif all_done:
        Console().print(f"{done} runs: {path}", soft_wrap=True, highlight=False)
    else:
        text = f"interrupted: the first {done} of {found.asked} runs are in {path}"
        Console().print(text, soft_wrap=True, highlight=False)
    return Exit.DONE if all_done else Exit.INTERRUPTED


def need_vary(table: Path | None, dask: str | None) -> None:
    """Raises UserMistake for an option that goes with --vary alone."""
    for name, given in (("--table", table), ("--dask", dask)):
        if given is not None:
            raise UserMistake(f"{name} {given} goes with --vary; add --vary KEY=V1,V2,…, or leave it out")


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=1))
