"""The record of a run: a folder of `run.json` and Parquet tables, written once and never edited.

All times are seconds since time zero of the run: when the first release is selected and the whole fixed
population is logged in. What lies before it (the ramp) has negative times. An absent time is null.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from scenarios.columns import MEANINGS
from scenarios.errors import RecordError as RecordError

SCHEMA = 1
"""The version of the record's shape; it grows when a reader of the old one would misread the new one."""

RUN_START = "start"
RUN_END = "end"
INTERRUPTED = "interrupted"
RUN_ENDS = (RUN_END, INTERRUPTED)
"""Kinds in `events` of the run itself; every other kind there is a fault or what came of one."""

CUT = ("server", "pod_gone", "network")
"""Values of `closed_by` that mean: the user had not asked for it."""

Level = Literal["full", "lost", "series"]
LEVELS: tuple[Level, ...] = get_args(Level)

TABLES: Mapping[str, Mapping[str, pl.DataType]] = {
    name: {column: one.type for column, one in table.columns.items()} for name, table in MEANINGS.items()
}
"""Every table's columns, in order, with their types."""

EXTRA: Mapping[str, Mapping[str, pl.DataType]] = {
    name: {column: one.type for column, one in table.extra.items()}
    for name, table in MEANINGS.items()
    if table.extra
}
"""Columns that a world may add. Where one is missing it reads as null, and what needs it is null."""

_ORDER: Mapping[str, tuple[str, ...]] = {
    "connections": ("t_request_s", "user", "attempt"),
    "pods": ("t_created_s", "pod"),
    "deploys": ("deploy",),
    "samples": ("t_s", "pod"),
    "verdicts": ("t_s",),
    "actions": ("t_s",),
    "events": ("t_s",),
    "series": ("t_s", "release"),
}


def conformed(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The table with its columns in order, of their types, and its rows in the record's order.

    Missing extra columns are added as null; other columns are kept at the end. An entirely empty frame
    (no columns) is the empty table. Raises RecordError for an unknown table, a missing column and a value
    that does not fit its type.
    """
    if name not in TABLES:
        raise RecordError(f"table {name!r} is not one of {', '.join(TABLES)}")
    wanted = {**TABLES[name], **EXTRA.get(name, {})}
    if table.width == 0:
        return pl.DataFrame(schema=wanted)
    missing = [column for column in TABLES[name] if column not in table.columns]
    if missing:
        raise RecordError(
            f"table {name}: column {missing[0]!r} is missing; it has {', '.join(table.columns)}"
        )
    columns = [
        pl.col(c).cast(t) if c in table.columns else pl.lit(None, dtype=t).alias(c) for c, t in wanted.items()
    ]
    others = [pl.col(c) for c in table.columns if c not in wanted]
    try:
        typed = table.select(*columns, *others)
    except pl.exceptions.PolarsError as error:
        raise RecordError(f"table {name}: {str(error).splitlines()[0]}") from error
    return typed.sort(_ORDER[name], nulls_last=False, maintain_order=True)


@dataclass(frozen=True)
class Record:
    """One run. `run` is run.json; each table is read when it is first asked for.

    `run["spec"]` is the spec that was run (already compressed), `run["strategy"]` and `run["world"]` name
    what it was run with.
    """

    run: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame] = field(repr=False)

    @property
    def connections(self) -> pl.DataFrame:
        """One row an attempt, as far as the record's level keeps them."""
        return self.tables["connections"]

    @property
    def pods(self) -> pl.DataFrame:
        """One row a pod."""
        return self.tables["pods"]

    @property
    def deploys(self) -> pl.DataFrame:
        """One row a requested deploy, the initial one among them."""
        return self.tables["deploys"]

    @property
    def samples(self) -> pl.DataFrame:
        """What pods said of their connections, when asked."""
        return self.tables["samples"]

    @property
    def actions(self) -> pl.DataFrame:
        """What the deployer did, and why."""
        return self.tables["actions"]

    @property
    def verdicts(self) -> pl.DataFrame:
        """Drain verdicts, each when it changed."""
        return self.tables["verdicts"]

    @property
    def events(self) -> pl.DataFrame:
        """Faults, and the run's start and end."""
        return self.tables["events"]

    @property
    def series(self) -> pl.DataFrame:
        """Counts per release in bins of one second."""
        return self.tables["series"]


def record_of(run: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Record:
    """A record in memory; a table that is not given is empty. Raises RecordError as `conformed` does."""
    unknown = [name for name in tables if name not in TABLES]
    if unknown:
        raise RecordError(f"table {unknown[0]!r} is not one of {', '.join(TABLES)}")
    whole = {name: conformed(name, tables.get(name, pl.DataFrame())) for name in TABLES}
    return Record({"schema": SCHEMA, **run}, whole)


class _Files(Mapping[str, pl.DataFrame]):
    """The tables of a folder, each read once, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in TABLES:
            raise KeyError(name)
        if name not in self._read:
            path = self._folder / f"{name}.parquet"
            try:
                table = pl.read_parquet(path, glob=False)
            except FileNotFoundError:
                raise RecordError(f"{path}: the table is missing; run the scenario again") from None
            except pl.exceptions.PolarsError as error:
                raise RecordError(f"{path}: not a readable table; run the scenario again") from error
            self._read[name] = conformed(name, table)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)


def read_record(folder: Path | str) -> Record:
    """The record in this folder.

    Raises RecordError where it is no run folder or was written with another schema version.
    """
    folder = Path(folder)
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RecordError(f"{folder}: not a run folder (no run.json); `drainbow run` makes one") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise RecordError(f"{path}: not JSON; the record is damaged, run the scenario again") from None
    found = run.get("schema") if isinstance(run, dict) else None
    if found != SCHEMA:
        raise RecordError(
            f"{folder}: its schema version is {found}, this build reads {SCHEMA}; run the scenario again, "
            "or read it with the version of drainbow that wrote it"
        )
    return Record(run, _Files(folder))


def write_record(
    folder: Path | str,
    run: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    files: Mapping[str, str] | None = None,
) -> Record:
    """Write a whole record and return it; `files` are further texts in the folder (summary.json).

    A folder that is not there yet appears under its name when all of it is written. In one that is there
    (with a run's logs) every file appears whole and run.json last, so that it is a record only then. The
    same tables give the same bytes. Raises RecordError where there is a record already, or as `conformed`
    does.
    """
    folder = Path(folder)
    record = record_of(run, tables)
    if (folder / "run.json").exists():
        raise RecordError(f"{folder} holds a record; one is never overwritten: name another folder")
    texts = {**(files or {}), "run.json": json_text(record.run)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}.", suffix=".part", dir=folder.parent
        ) as made:
            part = Path(made) / folder.name
            part.mkdir()
            for name in TABLES:
                (part / f"{name}.parquet").write_bytes(parquet_of(record.tables[name]))
            for name, text in texts.items():
                (part / name).write_text(text, encoding="utf-8")
            if folder.exists():
                for name in (*(f"{table}.parquet" for table in TABLES), *texts):
                    (part / name).rename(folder / name)
            else:
                part.rename(folder)
    except OSError as error:
        raise RecordError(
            f"cannot write {folder}: {error.strerror or error}; make room, or name another folder"
        ) from error
    return record


def json_text(value: Mapping[str, Any]) -> str:
    """JSON as a record keeps it: the same text for the same values, no NaN, and a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def kept(connections: pl.DataFrame, level: Level) -> pl.DataFrame:
    """The rows of `connections` that a record of this level keeps.

    `lost` keeps each connection that was cut after it had opened, and from then on the same user's attempts
    up to and including the one that logged in again.
    """
    if level == "full":
        return connections
    if level == "series":
        return connections.clear()
    # An attempt belongs to a loss while the user's latest earlier row that settles it (a log-in or a cut)
    # was a cut.
    settles = pl.when(is_cut()).then(pl.lit(True)).when(pl.col("t_ready_s").is_not_null()).then(pl.lit(False))
    ordered = connections.with_row_index("_row").sort("user", "t_request_s", "attempt", maintain_order=True)
    pending = settles.forward_fill().shift(1).over("user").fill_null(False)
    chosen = ordered.filter(is_cut() | pending)
    return chosen.sort("_row").drop("_row")


def is_cut() -> pl.Expr:
    """Whether a row of `connections` is a forced close: it had opened, and the user did not close it."""
    return pl.col("t_open_s").is_not_null() & pl.col("closed_by").is_in(CUT)


def series_of(connections: pl.DataFrame, duration_s: float) -> pl.DataFrame:
    """The table `series` of a full `connections`: bins of one second per release, up to `duration_s`.

    `open` counts at the bin's start: t_open_s <= t_s < t_close_s. The other columns count what falls
    into [t_s, t_s + 1). The ramp's bins have negative times. A bin in which a release has nothing is left
    out.
    """
    bins = math.ceil(duration_s)
    empty = pl.DataFrame(schema=TABLES["series"])
    if connections.is_empty():
        return empty
    opened = pl.col("t_open_s").is_not_null()
    counted = {
        "arrivals": ("t_request_s", pl.col("reason") == "arrival"),
        "reconnect_requests": ("t_request_s", pl.col("reason") == "reconnect"),
        "logins": ("t_ready_s", pl.lit(True)),
        "user_closes": ("t_close_s", opened & (pl.col("closed_by") == "user")),
        "forced_closes": ("t_close_s", is_cut()),
        # A change of `open` inside a bin shows at the next bin's start.
        "_opened": ("t_open_s", opened),
        "_closed": ("t_close_s", opened),
    }
    parts = []
    for name, (time, condition) in counted.items():
        rounded = pl.col(time).ceil() if name.startswith("_") else pl.col(time).floor()
        parts.append(
            connections.filter(condition & pl.col(time).is_not_null())
            .group_by(rounded.cast(pl.Int64).alias("bin"), "release")
            .agg(pl.len().cast(pl.Int64).alias(name))
        )
    changes = pl.concat(parts, how="diagonal").group_by("bin", "release").agg(pl.col(*counted).sum())
    frames = []
    for release in changes["release"].unique().sort(nulls_last=False):
        of = changes.filter(pl.col("release").eq_missing(release)).sort("bin")
        first = of["bin"][0]
        dense = pl.DataFrame({"bin": pl.int_range(first, max(bins, first + 1), eager=True)})
        frames.append(
            dense.join(of.drop("release"), on="bin", how="left")
            .with_columns(pl.col(*counted).fill_null(0), pl.lit(release, dtype=pl.String).alias("release"))
            .with_columns((pl.col("_opened") - pl.col("_closed")).cum_sum().alias("open"))
            .filter((pl.col("bin") < bins) & (pl.sum_horizontal("open", *list(counted)[:5]) > 0))
        )
    found = pl.concat(frames).with_columns(pl.col("bin").cast(pl.Float64).alias("t_s"))
    return conformed("series", found.select(list(TABLES["series"])))


def classify_losses(
    connections: pl.DataFrame, pods: pl.DataFrame, events: pl.DataFrame | None = None, skew_s: float = 0.25
) -> pl.DataFrame:
    """`connections` in which a cut that the pod's end explains is `pod_gone` and no longer `network`.

    A client sees only an end of file or a reset; whether the network or the pod's end did it, the cluster
    knows. A row becomes pod_gone when its pod was terminating or gone at `t_close_s`, or when an event that
    names the pod (a fault, a crash) came at most five seconds before; clocks may differ by `skew_s`. Rows
    whose `how` is known and is neither eof nor reset stay as they are.
    """
    if connections.is_empty():
        return connections
    ends = pods.select(
        "pod", pl.min_horizontal("t_terminating_s", "t_gone_s").alias("_ended_s")
    )  # min_horizontal leaves nulls out
    rows = connections.join(ends, on="pod", how="left", maintain_order="left")
    explained = pl.col("_ended_s").is_not_null() & (pl.col("t_close_s") >= pl.col("_ended_s") - skew_s)
    if events is not None and not events.is_empty():
        targets = events.filter(pl.col("kind").is_in([RUN_START, *RUN_ENDS]).not_())
        hits = rows.with_row_index("_row").join(
            targets.select(pl.col("t_s").alias("_t_s"), pl.col("target").alias("pod")), on="pod"
        )
        late = pl.col("t_close_s") - pl.col("_t_s")
        named = hits.filter((late >= -skew_s) & (late <= 5.0))["_row"].unique()
        explained = explained | pl.int_range(pl.len()).is_in(named.implode())
    plain = (
        pl.col("how").is_null() | pl.col("how").is_in(["eof", "reset"])
        if "how" in rows.columns
        else pl.lit(True)
    )
    cut = (pl.col("closed_by") == "network") & plain & explained.fill_null(False)
    closed_by = pl.when(cut).then(pl.lit("pod_gone")).otherwise(pl.col("closed_by")).alias("closed_by")
    return rows.with_columns(closed_by).drop("_ended_s")


def parquet_of(table: pl.DataFrame) -> memoryview:
    """One Parquet file, whose bytes depend on the table alone. Of a full disk, polars would not say that it is full."""
    data = BytesIO()
    table.rechunk().write_parquet(
        data,
        compression="zstd",
        compression_level=3,
        statistics=True,
        row_group_size=262_144,
        data_page_size=1_048_576,
    )
    return data.getbuffer()
