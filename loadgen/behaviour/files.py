"""Sessions and arrivals that were measured, from CSV files: a column of seconds, with or without a header."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from loadgen.behaviour.arrivals import Trace
from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.sessions import Empirical


def read_sessions(path: Path) -> Empirical:
    """Session lengths in seconds from a file's first column. Raises BadSettingError."""
    return Empirical(_seconds(path))


def read_trace(path: Path) -> Trace:
    """Arrival times in seconds since time zero, from the first column. Raises BadSettingError."""
    return Trace(tuple(sorted(_seconds(path))))


_EXPECTED = "give a CSV file in UTF-8 whose first column is seconds"
_SHOWN = 40
"""Characters of a cell that is wrong."""


def _seconds(path: Path) -> tuple[float, ...]:
    found = []
    for line, cell in _cells(path):
        try:
            found.append(float(cell))
        except ValueError:
            if line > 1:  # the first line may be a header
                shown = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…"
                raise BadSettingError(f"{path}:{line}: {shown!r} is no number of seconds") from None
    return tuple(found)


def _cells(path: Path) -> list[tuple[int, str]]:
    """The first column: each cell with the number of its row."""
    text = _text(path)
    cells: list[tuple[int, str]] = []
    line = 0
    try:
        for line, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
            if row:
                cells.append((line, row[0].strip()))
    except csv.Error:
        limit = csv.field_size_limit()
        raise BadSettingError(
            f"{path}:{line + 1}: a cell of more than {limit} characters, or a quote without an end; {_EXPECTED}"
        ) from None
    return cells


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
        raise BadSettingError(f"{path}:{line}: byte 0x{content[at]:02x} is no {what}; {_EXPECTED}")
    return text
