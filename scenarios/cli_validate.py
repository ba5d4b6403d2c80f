"""`drainbow validate`: its options, what it prints, and its page."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenarios.cli_options import RUNS, Jobs, Out, Quiet, Seed, Settings, for_new_runs, whole
from scenarios.errors import Exit, UserMistake
from scenarios.labels import LABELS, SECTIONS, Label, interval, written

if TYPE_CHECKING:
    from scenarios.run import Finished, Options
    from scenarios.validate import Row, Validation

FIRST_TWO = ("rolling", "rainbow")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO | RUN...]",
            help="what to run now, quick if left out; or folders of real runs, which are read",
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", help=f"repeatable; left out: {' and '.join(FIRST_TWO)}"),
    ] = None,
    world: Annotated[
        str | None, typer.Option(help="local, kind or current; the best that is here if left out")
    ] = None,
    seeds: Annotated[
        int, typer.Option(parser=whole(1), metavar="N", help="simulated runs to hold a real one against")
    ] = 30,
    jobs: Jobs = 0,
    set_: Settings = [],  # noqa: B006  # typer's way to say "none given"; never changed
    seed: Seed = None,
    out: Out = RUNS,
    as_json: Annotated[
        bool, typer.Option("--json", help="print every verdict with its numbers, and nothing else, on stdout")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Hold the simulation against reality: run for real, simulate the same, and say where they differ.

    The simulated pods start as the real ones did. Which metrics are held and how far they may be off:
    docs/how-to-validate.md. Ends with 3 where one that is held lies outside.
    """
    from scenarios.batch import check_count
    from scenarios.run import Options
    from scenarios.validate import MIN_SEEDS, validate_record

    if seeds < MIN_SEEDS:
        raise UserMistake(f"--seeds {seeds}: an interval needs at least {MIN_SEEDS} runs")
    check_count(seeds)
    words = what or ["quick"]
    options = Options(settings=tuple(set_), seed=seed, out=out, quiet=quiet or as_json)
    if any(Path(word).is_dir() for word in words):
        for_new_runs(strategy=strategy, world=world, set=set_, seed=seed)
        finished = _read(words)
    else:
        finished = _run(words, strategy or FIRST_TWO, world, options)
    from scenarios.record import read_record

    try:
        found = [
            validate_record(one.folder, read_record(one.folder), one.summary, seeds, jobs, options.quiet)
            for one in finished
        ]
    except KeyboardInterrupt:
        folders = " ".join(str(one.folder) for one in finished)
        print(f"drainbow: interrupted; `drainbow validate {folders}` goes on", file=sys.stderr)
        raise typer.Exit(Exit.INTERRUPTED) from None
    page = _write_page(found, out)
    if as_json:
        document = {"page": str(page), "validations": [one.as_json() for one in found]}
        print(json.dumps(document, indent=1))
    else:
        for one in found:
            print_validation(Console(), one)
        Console().print(Text(f"real beside simulated: {page}"), soft_wrap=True)
    raise typer.Exit(max((one.exit_code for one in found), default=Exit.DONE))


def _read(words: Sequence[str]) -> list[Finished]:
    from scenarios.run import read_finished

    return [read_finished(Path(word)) for word in words]


def _run(
    words: Sequence[str], strategies: Sequence[str], world: str | None, options: Options
) -> list[Finished]:
    from scenarios.run import run_each

    if len(words) > 1:
        raise UserMistake(f"one scenario at a time, not {', '.join(words)}; of runs give the folders")
    if world == "sim":
        raise UserMistake("--world sim: a simulation is not held against itself; give local, kind or current")
    finished = run_each(words[0], strategies, world, options)
    if finished[-1].interrupted:
        print(f"drainbow: interrupted; {finished[-1].folder} has what was measured", file=sys.stderr)
        raise typer.Exit(Exit.INTERRUPTED)
    return finished


def print_validation(console: Console, found: Validation) -> None:
    """A table: each metric's real value, the simulated mean, where one run may lie, and the verdict."""
    table = Table(box=None, pad_edge=False)
    heads = (found.name, "real", f"mean of {len(found.simulated.summaries)} simulated", "one may lie in", "")
    for head in heads:
        table.add_column(head, justify="left" if head in (heads[0], "") else "right")
    rows = {row.metric: row for row in found.rows}
    for title, labels in SECTIONS:
        shown = [label for label in labels if rows[label.key].real is not None]
        if shown:
            table.add_row(Text(title, style="bold"))
        for label in shown:
            table.add_row(*_cells(label, rows[label.key]))
    console.print(table)
    for line in verdict(found):
        console.print(Text(line), soft_wrap=True)
    console.print()


def _cells(label: Label, row: Row) -> tuple[str | Text, ...]:
    spread = row.simulated
    mean = written(label, None if spread is None else spread.mean, several=True)
    between = "" if row.low is None or row.high is None else interval(label, row.low, row.high)
    said = {None: Text("shown", "dim"), True: Text("inside", "green"), False: Text("OUTSIDE", "bold red")}
    return f"  {label.text}", written(label, row.real), mean, between, said[row.inside]


def verdict(found: Validation) -> list[str]:
    """What came of it, and on which assumption; a line each."""
    held, outside = len(found.held), len(found.outside)
    if outside:
        named = ", ".join(
            f"{LABELS[row.metric].key} ({'above' if (row.real or 0) > (row.high or 0) else 'below'})"
            for row in found.outside
        )
        first = f"{found.name}: {outside} of {held} metrics held lie outside what is simulated: {named}"
    else:
        first = f"{found.name}: all {held} metrics held lie where the simulation says a run lies"
    start, no_endpoints = found.start, found.spec.network.no_endpoints
    if start.pods == 0:
        second = "simulated with pods that start as the scenario says: too few started in the run to measure"
    else:
        second = (
            f"simulated with pods that start as the run's {start.pods} new ones did: "
            f"median {start.median_s:.2f} s, sigma {start.sigma:.2f}"
        )
    if no_endpoints is None or no_endpoints.throttled is None:
        return [first, second]
    per_s = no_endpoints.throttled.per_s
    return [
        first,
        second,
        f"simulated with pods that are gone {found.spec.fleet.removal:.2f} s after their exit, and with "
        f"network.no_endpoints=throttled ({per_s:g} refused in a second, the others hang)",
    ]


def _write_page(found: Sequence[Validation], out: Path) -> Path:
    from scenarios.compare import write_page
    from scenarios.report.comparison import page_of
    from scenarios.report.groups import Group

    groups = []
    for one in found:
        name, strategy = one.name, one.real.run["strategy"]
        groups.append(
            Group(name, strategy, one.real.run["world"], (one.real,), (one.summary,), (str(one.folder),))
        )
        groups.append(
            Group(f"{strategy} (simulated)", strategy, "sim", (one.twin,), tuple(one.simulated.summaries), ())
        )
    lines = [line for one in found for line in verdict(one)]
    return write_page(page_of(groups, lines), out, "validate")
