"""What `drainbow simulate` needs for `--vary`: its options, and what it does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

VaryOption = Annotated[
    list[str],
    typer.Option(
        "--vary",
        metavar="KEY=V1,V2,…",
        help="simulate with each of these values, and every combination of repeated ones, into one table",
    ),
]
TableOption = Annotated[
    Path | None, typer.Option("--table", help="with --vary: the Parquet file; in --out if left out")
]
DaskOption = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="with --vary: on the Dask cluster of this scheduler"),
]


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
) -> None:
    """Run the sweep, write its table, and say where it is. Raises UserMistake."""
    from scenarios.run import Options
    from scenarios.vary import varied, vary, write_table

    options = Options(settings=tuple(settings), seed=seed, out=out, quiet=quiet or as_json)
    found = vary(scenario, strategies, [varied(text) for text in over], options, seeds, jobs, dask)
    path = table or out / f"{Path(scenario).stem}-vary.parquet"
    write_table(found, path)
    if as_json:
        print(json.dumps({"table": str(path), "runs": found.height, "columns": found.columns}, indent=1))
    else:
        Console().print(f"{found.height} runs: {path}", soft_wrap=True, highlight=False)
