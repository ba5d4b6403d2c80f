"""The program `drainbow`: thin commands, one-line errors, documented exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scenarios import cli_own, cli_plan, cli_simulate, cli_validate
from scenarios.cli_options import (
    RUNS,
    Jobs,
    Out,
    Quiet,
    Scenario,
    Seed,
    Settings,
    StrategyName,
    for_new_runs,
    whole,
)
from scenarios.errors import Exit, RecordError, Stop

app = typer.Typer(
    name="drainbow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What does the next deploy do to connected users, what does it cost in pods, and when may the old version go?",
)


AsJson = Annotated[
    bool, typer.Option("--json", help="print summary.json with run_dir, and nothing else, on stdout")
]
FIRST_THREE = ("recreate", "rolling", "rainbow")
_UsageProblem: Any = (
    typer.BadParameter.__base__
)  # every mistake on the command line; typer does not export it


@app.command()
def run(
    scenario: Scenario = "quick",
    strategy: StrategyName = "rainbow",
    world: Annotated[
        str | None, typer.Option(help="sim, local, kind or current; the best that is here if left out")
    ] = None,
    set_: Settings = [],  # noqa: B006  # typer's way to say "none given"; never changed
    seed: Seed = None,
    port: Annotated[
        int,
        typer.Option(
            parser=whole(0, 65535), metavar="PORT", help="front port in the local world; 0: any free one"
        ),
    ] = 0,
    context: Annotated[
        str | None, typer.Option(help="world current: of the kubeconfig; left out: its current one")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="worlds kind and current: of the chat service; kind builds its own")
    ] = None,
    front: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="world current: where users reach the Service")
    ] = None,
    kind_image: Annotated[
        str | None, typer.Option(help="world kind: of the nodes; else DRAINBOW_KIND_IMAGE, else kind's own")
    ] = None,
    recreate: Annotated[bool, typer.Option("--recreate", help="world kind: make its cluster anew")] = False,
    load_workers: Annotated[
        int,
        typer.Option(
            parser=whole(0),
            metavar="N",
            help="worlds kind and current: users on N pods of the cluster; 0: on this machine",
        ),
    ] = 0,
    load_image: Annotated[
        str | None, typer.Option(help="with --load-workers: of the users; world kind builds its own")
    ] = None,
    no_repeat: Annotated[
        bool,
        typer.Option(
            "--no-repeat",
            help="worlds kind and current: once is enough, even if a pod took over 10 s to start",
        ),
    ] = False,
    out: Out = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a scenario: deploy under real users (or simulated ones), and report what it did to them."""
    from scenarios.run import Options, run_scenario
    from scenarios.show import print_finished
    from scenarios.worlds import Where

    where = Where(
        context, image, front, kind_image, recreate, load_workers=load_workers, load_image=load_image
    )
    options = Options(tuple(set_), seed, port, out, quiet or as_json, where, repeat=not no_repeat)
    finished = run_scenario(scenario, strategy, world, options)
    if as_json:
        print(json.dumps({"run_dir": str(finished.folder), **finished.summary}, indent=1))
    else:
        print_finished(Console(), [finished])
    raise typer.Exit(finished.exit_code)


@app.command()
def simulate(
    scenario: Scenario = "quick",
    strategy: cli_simulate.StrategyNames = ["rainbow"],  # noqa: B006
    seeds: Annotated[
        int, typer.Option(parser=whole(1), metavar="N", help="how many runs, each with the next seed")
    ] = 1,
    jobs: Jobs = 0,
    vary: cli_simulate.VaryOption = [],  # noqa: B006
    table: cli_simulate.TableOption = None,
    dask: cli_simulate.DaskOption = None,
    set_: Settings = [],  # noqa: B006
    seed: Seed = None,
    out: Out = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The same as `run --world sim`; with --seeds many of them, with 95 % intervals; with --vary a whole sweep.

    The table of a sweep has a row for each run: the varied keys as written, `strategy`, `seed`, and every metric
    of summary.json as a number. Ctrl-C keeps the rows, or seeds, that are finished.
    """
    if vary:
        code = cli_simulate.run_vary(
            scenario, strategy, vary, set_, seed, seeds, jobs, dask, out, table, as_json, quiet
        )
    else:
        cli_simulate.need_vary(table, dask)
        code = cli_simulate.run_simulate(scenario, strategy, set_, seed, seeds, jobs, out, as_json, quiet)
    raise typer.Exit(code)


@app.command()
def compare(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="run folders; left out, the strategies are run now")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="what to run, when no folders are given: quick, if left out")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", help=f"repeatable; left out: {', '.join(FIRST_THREE)}"),
    ] = None,
    world: Annotated[str | None, typer.Option(help="sim, local, kind or current")] = None,
    set_: Settings = [],  # noqa: B006
    seed: Seed = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="write each picture as PNG and SVG too, every number as CSV")
    ] = False,
    out: Out = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put runs side by side, as a table and a page: one of each strategy, run now or read."""
    from scenarios.compare import compare_runs
    from scenarios.run import Options, read_finished, run_each
    from scenarios.show import print_finished

    if runs:
        for_new_runs(scenario=scenario, strategy=strategy, world=world, set=set_, seed=seed)
        finished = [read_finished(folder) for folder in runs]
    else:
        options = Options(settings=tuple(set_), seed=seed, out=out, quiet=quiet or as_json)
        finished = run_each(scenario or "quick", strategy or FIRST_THREE, world, options)
    page = compare_runs([one.folder for one in finished], out, figures)
    if as_json:
        document = {
            "page": str(page),
            "runs": [{"run_dir": str(one.folder), **one.summary} for one in finished],
        }
        print(json.dumps(document, indent=1))
    else:
        print_finished(Console(), finished, page)
    raise typer.Exit(max((one.exit_code for one in finished), default=Exit.DONE))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="a run folder")],
    figures: Annotated[
        bool,
        typer.Option(
            "--figures", help="write each picture as PNG and SVG too, every number as CSV, to figures/ in it"
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make summary.json and report.html of a run again, from its tables."""
    from scenarios.run import remake
    from scenarios.show import print_finished

    finished = remake(folder)
    if figures:
        from scenarios.record import read_record
        from scenarios.report.files import write_run_figures

        write_run_figures(folder, read_record(folder), finished.summary)
    if as_json:
        print(json.dumps({"run_dir": str(finished.folder), **finished.summary}, indent=1))
    else:
        print_finished(Console(), [finished])


@app.command()
def clean(out: Out = RUNS, as_json: AsJson = False) -> None:
    """Take away what killed runs left, in any world, and our images that are out of date; finished runs stay."""
    from scenarios.housekeeping import clean_up

    taken = clean_up(out)
    if as_json:
        print(json.dumps({"removed": taken}, indent=1))
    else:
        for what in taken:
            print(what)
        print("that was all there was to take away" if taken else "nothing was left behind")


@app.command()
def doctor(
    data_plane: Annotated[
        bool,
        typer.Option("--data-plane", help="try on a cluster what a selector switch does to live connections"),
    ] = False,
    image: Annotated[
        str | None, typer.Option(help="with --data-plane: one with Python 3; python:3.11-slim if left out")
    ] = None,
    context: Annotated[str | None, typer.Option(help="of the kubeconfig; left out: its current one")] = None,
    world: Annotated[
        str | None, typer.Option(help="with --data-plane: kind, else current: the cluster of the kubeconfig")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What is here: which worlds can run on this machine, and what the others lack."""
    from scenarios.housekeeping import examine, print_examination
    from scenarios.probing import check_doctor

    check_doctor(data_plane, world, image, context)
    if data_plane:
        answer = cli_own.probe_data_plane(world, image, context, lambda text: print(text, file=sys.stderr))
        print(json.dumps(asdict(answer), indent=1) if as_json else "\n".join(answer.lines()))
        raise typer.Exit(Exit.DONE)
    findings = examine(context)
    if as_json:
        print(json.dumps([finding.as_json() for finding in findings], indent=1))
    else:
        print_examination(Console(), findings)


cli_plan.register(app)
cli_validate.register(app)
cli_own.register(app)


INTERRUPTED = "interrupted before anything was measured"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `drainbow` and `kubectl-drainbow`: every error ends in one line and an exit code."""
    sys.exit(_run(argv))


def _called() -> str:
    """As the user did: kubectl starts its plugins by another name than theirs."""
    return "kubectl drainbow" if Path(sys.argv[0]).name.startswith("kubectl-") else "drainbow"


def _run(argv: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows only ASCII gets a ? for a –
    try:
        args = list(argv) if argv is not None else None
        result: Any = app(args=args, prog_name=_called(), standalone_mode=False)
        sys.stdout.flush()
        return int(result or Exit.DONE)
    except _UsageProblem as error:
        return _say(error.format_message(), Exit.USER_MISTAKE)
    except Stop as error:
        return _say(str(error), error.code)
    except (KeyboardInterrupt, typer.Abort):
        return _say(INTERRUPTED, Exit.INTERRUPTED)
    except (ImportError, SystemError) as error:
        # compiled modules make these of a Ctrl-C that comes while they are being loaded
        if not isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise
        return _say(INTERRUPTED, Exit.INTERRUPTED)
    except RecordError as error:
        return _say(str(error), Exit.USER_MISTAKE)
    except (BrokenPipeError, SystemExit):
        # the reader of our output has gone, as with `| head`: typer and rich make a SystemExit of it
        _give_up_output()
        return Exit.DONE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up_output()
        return _say(f"{error.filename or 'output'} cannot be written: {error.strerror}", Exit.USER_MISTAKE)


def _give_up_output() -> None:
    """What is still to be written goes nowhere, so that Python does not fail over it as it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str, code: Exit) -> Exit:
    line = " ".join(message.split())
    if line:  # nothing is said where the help was printed instead
        print(f"drainbow: {line}", file=sys.stderr)
    return code
