"""Sessions and arrivals that were measured, from CSV files: a column of times, with or without a header."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen.behaviour.arrivals import Trace
from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.sessions import Empirical

UNITS_S: Mapping[str, float] = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
UNIT_NAMES: Mapping[str, str] = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}
_ENDINGS = {
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minutes"), "m"),
    **dict.fromkeys(("h", "hrs", "hours"), "h"),
}


@dataclass(frozen=True)
class Times:
    """A column of times, and how it was read."""

    values_s: tuple[float, ...]  # 0 or more, in the file's order
    column: str
    unit: str  # a key of UNITS_S


def read_sessions(path: Path, column: str | None = None) -> Empirical:
    """Session lengths from one column, as `read_times` finds it; those of 0 are left out. Raises BadSettingError."""
    times = read_times(path, column)
    lengths_s = tuple(value_s for value_s in times.values_s if value_s > 0)
    if not lengths_s:
        raise BadSettingError(f"{path} has no session above 0 in {times.column}; give one length a row")
    return Empirical(lengths_s)


def read_trace(path: Path, column: str | None = None) -> Trace:
    """Arrival times since time zero, from one column as `read_times` finds it. Raises BadSettingError."""
    times = read_times(path, column)
    if not times.values_s:
        raise BadSettingError(f"{path} has no arrival in {times.column}; give one time a row")
    return Trace(tuple(sorted(times.values_s)))


def read_times(
    path: Path, column: str | None = None, unit: str | None = None, option: str = "column"
) -> Times:
    """One column of a CSV file, in seconds; a header may be there.

    The column is the one named (or numbered, from 1), else the only one, else the only one whose header ends in a
    unit (`duration_ms`, `length (min)`); without a header the first. The unit is `unit`, else that of the header's
    ending, else seconds. Cells are separated by commas, or by semicolons or tabs where the first line has no
    comma. `option` is what messages call the way to name a column. Raises BadSettingError.
    """
    rows = _rows(path)
    header, rows = (rows[0][1], rows[1:]) if _is_header(rows[0][1]) else (None, rows)
    at, name = _column(path, header, column, option)
    unit = unit or (None if header is None else _unit_of(name)) or "s"
    values = _values(path, rows, at, None if header is None else len(header), UNIT_NAMES[unit])
    return Times(tuple(value * UNITS_S[unit] for value in values), name, unit)


_EXPECTED = "give a CSV file in UTF-8 with a number of seconds in each row"
_SHOWN = 40
"""Characters of a cell that is wrong."""

_Row = tuple[int, list[str]]
"""The line of the file that a row ends in, and its cells."""


def _rows(path: Path) -> list[_Row]:
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[_Row] = []
    line = 0
    try:
        for cells in reader:
            line = reader.line_num
            if any(cell.strip() for cell in cells):
                rows.append((line, [cell.strip() for cell in cells]))
    except csv.Error:
        limit = csv.field_size_limit()
        raise BadSettingError(
            f"{path}, line {line + 1}: a cell of more than {limit} characters, or a quote without an end; "
            f"{_EXPECTED}"
        ) from None
    if not rows:
        raise BadSettingError(f"{path} is empty; {_EXPECTED}")
    return rows


def _is_header(row: Sequence[str]) -> bool:
    for cell in row:
        try:
            float(cell)
        except ValueError:
            continue
        return False
    return True


def _unit_of(name: str) -> str | None:
    """By the header's last word."""
    words = [word for word in re.split(r"[\s_.()\[\]/-]+", name.lower()) if word]
    return _ENDINGS.get(words[-1]) if words else None


def _column(path: Path, header: Sequence[str] | None, column: str | None, option: str) -> tuple[int, str]:
    if column is None:
        if header is None:
            return 0, "column 1"
        timed = [at for at, name in enumerate(header) if _unit_of(name)]
        at = 0 if len(header) == 1 else timed[0] if len(timed) == 1 else None
        if at is None:
            raise BadSettingError(
                f"{path} has the columns {', '.join(header)}; say by {option} which holds the times"
            )
        return at, header[at]
    names = header or ()
    if column in names:
        return names.index(column), column
    if column.isdecimal() and 1 <= int(column) <= (len(names) or math.inf):
        at = int(column) - 1
        return at, names[at] if names else f"column {column}"
    close = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
    known = f"the nearest known one is {close[0]}" if close else f"known are {', '.join(names)}"
    raise BadSettingError(
        f"{path} has no column {column!r}; {known if names else 'it has no header, name it by its number'}"
    )


def _values(path: Path, rows: Sequence[_Row], at: int, columns: int | None, unit: str) -> list[float]:
    values = []
    for line, row in rows:
        if columns is not None and len(row) > columns:
            raise BadSettingError(
                f"{path}, line {line}: {','.join(row)[:_SHOWN]} has {len(row)} cells, the header {columns}; "
                "write decimals with a point, and a text with commas in quotes"
            )
        cell = row[at] if at < len(row) else ""
        try:
            value = float(cell)
        except ValueError:
            shown = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…"
            raise BadSettingError(
                f"{path}, line {line}: {shown!r} is no number of {unit}; write one, such as 12.5"
            ) from None
        if not 0 <= value < math.inf:
            raise BadSettingError(f"{path}, line {line}: {cell} must be 0 or more and finite")
        values.append(value)
    return values


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadSettingError(f"{path} cannot be read ({error.strerror}); {_EXPECTED}") from None
    content = content.removeprefix(codecs.BOM_UTF8)
    at, what = content.find(b"\0"), "text"
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if at < 0 or error.start < at:
            at, what = error.start, "UTF-8 text"
    if at >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise BadSettingError(f"{path}, line {line}: byte 0x{content[at]:02x} is no {what}; {_EXPECTED}")
    return text
