"""Sessions and arrivals that were measured, from CSV files: a column of seconds, with or without a header."""

from __future__ import annotations

import csv
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


def _seconds(path: Path) -> tuple[float, ...]:
    try:
        with path.open(newline="") as file:
            cells = [(line, row[0].strip()) for line, row in enumerate(csv.reader(file), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadSettingError(f"{path} cannot be read ({error}); give a CSV file of seconds") from error
    found = []
    for line, cell in cells:
        try:
            found.append(float(cell))
        except ValueError:
            if line > 1:  # the first line may be a header
                raise BadSettingError(f"{path}:{line}: {cell!r} is no number of seconds") from None
    return tuple(found)
