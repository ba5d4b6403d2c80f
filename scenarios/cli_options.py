"""Options that several commands share, each with one help text and one range."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from scenarios.errors import UserMistake

RUNS = Path("runs")
"""Where run folders are kept if nothing else is said."""


def whole(lowest: int | None = None, highest: int | None = None) -> Callable[[str | int], int]:
    """Reads a whole number, within bounds if given; typer's own message would not name the value."""
    bounds = "" if lowest is None else f" of at least {lowest}"
    bounds = bounds if highest is None else f" from {lowest} to {highest}"

    def whole_number(value: str | int) -> int:
        text = str(value)  # typer reads defaults too
        found = int(text) if re.fullmatch(r"-?[0-9]{1,30}", text) else None
        if (
            found is None
            or (lowest is not None and found < lowest)
            or (highest is not None and found > highest)
        ):
            raise typer.BadParameter(f"{text!r} is no whole number{bounds}")
        return found

    return whole_number


def number(value: str | float) -> float:
    """Reads a number; typer's own message would not name the value."""
    try:
        return float(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no number") from None


def for_new_runs(**given: object) -> None:
    """Raises UserMistake for what says how to run, where finished runs are read."""
    for name, value in given.items():
        if value not in (None, []):
            raise UserMistake(f"--{name} is for a scenario that is run now; a finished run has its own")


PORT = whole(1, 65535)

Scenario = Annotated[str, typer.Argument(help="a name of the catalog, or the path of a YAML file")]
StrategyName = Annotated[str, typer.Option("--strategy", "-s", help="how to deploy")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="override one key of the scenario; the value is YAML; repeatable"
    ),
]
Seed = Annotated[
    int | None, typer.Option(parser=whole(0), metavar="N", help="another seed than the scenario's")
]
Jobs = Annotated[int, typer.Option(parser=whole(0), metavar="N", help="processes; 0: one a core")]
Out = Annotated[Path, typer.Option(help="where run folders are kept")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]
Service = Annotated[str, typer.Option("--service", help="the Service that clients connect to")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="of the Service; left out: the context's")
]
Context = Annotated[str | None, typer.Option(help="of the kubeconfig; left out: its current one")]
