"""Session lengths as people have them: a CSV of measured ones, or a few quantiles."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import norm

from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.sessions import Empirical, Exponential, Lognormal, Session, Weibull
from scenarios.errors import UserMistake
from scenarios.plan.text import time_text
from scenarios.spec.base import nearest
from scenarios.spec.units import duration_s, duration_text

UNITS_S: Mapping[str, float] = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SUFFIXES = {
    "_ms": "ms",
    "_s": "s",
    "_sec": "s",
    "_seconds": "s",
    "_min": "m",
    "_minutes": "m",
    "_h": "h",
    "_hours": "h",
}
FEW = 30
"""From fewer sessions than this a plan says little."""


@dataclass(frozen=True)
class Lengths:
    """Measured session lengths and how they were read."""

    session: Empirical
    told: str  # one sentence on what was read, for the reader to check


def read_lengths(path: Path, column: str | None = None, unit: str | None = None) -> Lengths:
    """Session lengths from one column of a CSV file; a header may be there.

    The column is the only one, or the only one whose name ends in a unit, where none is named. The unit is that of the header's ending (`duration_ms`), else seconds, where none is given. Rows of 0 are
    left out. Raises UserMistake.
    """
    rows = _rows(path)
    header, rows = (rows[0][1], rows[1:]) if _is_header(rows[0][1]) else (None, rows)
    at, name = _column(path, header, column)
    if unit is None:
        ending = next((u for suffix, u in _SUFFIXES.items() if name.lower().endswith(suffix)), "s")
    else:
        ending = unit
    if ending not in UNITS_S:
        raise UserMistake(f"--unit {ending}: give one of {', '.join(UNITS_S)}")
    values = _values(path, rows, at, None if header is None else len(header))
    lengths = [value * UNITS_S[ending] for value in values if value > 0]
    if not lengths:
        raise UserMistake(f"{path} has no session above 0 in {name}; give one length a row")
    left_out = len(values) - len(lengths)
    session = Empirical(tuple(lengths))
    told = (
        f"{len(lengths):,} session{'s' if len(lengths) > 1 else ''} from {path.name} ({name}, in {ending}): median {time_text(float(np.median(lengths)))}, "
        f"mean {time_text(session.mean_s)}, longest {time_text(max(lengths))}"
    )
    if left_out:
        told += f"; {left_out:,} of length 0 left out"
    if len(lengths) < FEW:
        told += f"; that is few, {FEW} or more would say more"
    return Lengths(session, told)


def sessions_of_quantiles(text: str) -> Session:
    """Sessions with these quantiles, as in p50=20m,p99=6h; the closest of those of one family.

    One quantile: exponential, t_q = −μ ln(1 − q). Two: the lognormal that has both. More: the lognormal or the
    Weibull law, whichever fits better in ln t by least squares (both are straight lines there: against the
    normal quantile, and against ln(−ln(1 − q))). Raises UserMistake.
    """
    quantiles = _quantiles(text)
    if len(quantiles) == 1:
        ((q, t_s),) = quantiles.items()
        return Exponential(-t_s / math.log1p(-q))
    found = [_fit(quantiles, family) for family in ("lognormal", "weibull")]
    _, session = found[0] if len(quantiles) == 2 else min(found, key=lambda one: one[0])
    return session


def other_tail(session: Session) -> Session | None:
    """The Weibull law for a lognormal one and the other way round, with the same median and 99th percentile."""
    if isinstance(session, Lognormal):
        points = {q: session.median_s * math.exp(session.sigma * float(norm.ppf(q))) for q in (0.5, 0.99)}
        return _fit(points, "weibull")[1]
    if isinstance(session, Weibull):
        points = {q: session.scale_s * (-math.log1p(-q)) ** (1 / session.shape) for q in (0.5, 0.99)}
        return _fit(points, "lognormal")[1]
    return None


def _fit(quantiles: Mapping[float, float], family: str) -> tuple[float, Session]:
    """(sum of squared errors in ln t, the law)."""
    logs = np.log(list(quantiles.values()))
    q = np.array(list(quantiles))
    at = np.asarray(norm.ppf(q)) if family == "lognormal" else np.log(-np.log1p(-q))
    slope, start = np.polyfit(at, logs, 1)
    error = float(((start + slope * at - logs) ** 2).sum())
    try:
        if family == "lognormal":
            return error, Lognormal(math.exp(start), float(slope))
        shape = 1 / float(slope)
        return error, Weibull(math.exp(start) * math.gamma(1 + slope), shape)
    except (BadSettingError, OverflowError):
        raise UserMistake(
            f"the quantiles {_told(quantiles)} are too far apart or too close for a {family} law; "
            "give a CSV of measured sessions by --sessions"
        ) from None


def _quantiles(text: str) -> dict[float, float]:
    found: dict[float, float] = {}
    for part in (each.strip() for each in text.split(",")):
        name, equals, value = part.partition("=")
        try:
            percent = float(name.strip().removeprefix("p"))
        except ValueError:
            equals, percent = "", 0.0
        if not equals:
            raise UserMistake(f"--session-quantiles {part!r}: write it as p50=20m,p99=6h")
        try:
            seconds = duration_s(value.strip())
        except ValueError as error:
            raise UserMistake(f"--session-quantiles {part}: {error}") from None
        if not 0 < percent < 100 or seconds <= 0:
            raise UserMistake(f"--session-quantiles {part}: p must be between 0 and 100, its time above 0")
        if percent / 100 in found:
            raise UserMistake(f"--session-quantiles {text}: p{percent:g} is there twice")
        found[percent / 100] = seconds
    ordered = dict(sorted(found.items()))
    times = list(ordered.values())
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise UserMistake(f"--session-quantiles {text}: a higher quantile must be a longer time")
    return ordered


def _told(quantiles: Mapping[float, float]) -> str:
    return ",".join(f"p{q * 100:g}={duration_text(t_s)}" for q, t_s in quantiles.items())


_Row = tuple[int, list[str]]
"""The line of the file that a row ends in, and its cells."""


def _rows(path: Path) -> list[_Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        what = error.strerror if isinstance(error, OSError) and error.strerror else what
        raise UserMistake(
            f"{path} cannot be read: {what}; give a CSV file with a session's length in each row"
        ) from None
    if not rows:
        raise UserMistake(f"{path} is empty; give a CSV file with a session's length in each row")
    return rows


def _is_header(row: Sequence[str]) -> bool:
    for cell in row:
        try:
            float(cell)
        except ValueError:
            continue
        return False
    return True


def _column(path: Path, header: Sequence[str] | None, column: str | None) -> tuple[int, str]:
    if column is None:
        if header is not None and len(header) > 1:
            named = [h.strip() for h in header]
            timed = [n for n, name in enumerate(named) if name.lower().endswith(tuple(_SUFFIXES))]
            if len(timed) == 1:
                return timed[0], named[timed[0]]
            raise UserMistake(
                f"{path} has the columns {', '.join(named)}; say by --column which holds the lengths"
            )
        return 0, header[0].strip() if header is not None else "column 1"
    names = [] if header is None else [h.strip() for h in header]
    if column in names:
        return names.index(column), column
    if column.isdecimal() and int(column) >= 1:
        return int(column) - 1, f"column {column}"
    raise UserMistake(f"{path} has no column {column!r}{nearest(column, names)}")


def _values(path: Path, rows: Sequence[_Row], at: int, columns: int | None) -> list[float]:
    values = []
    for line, row in rows:
        if columns is not None and len(row) > columns:
            raise UserMistake(
                f"{path}, line {line}: {','.join(row)} has {len(row)} cells, the header {columns}; "
                "write decimals with a point, and a text with commas in quotes"
            )
        cell = row[at].strip() if at < len(row) else ""
        try:
            value = float(cell)
        except ValueError:
            raise UserMistake(
                f"{path}, line {line}: {cell!r} is no length of a session; give a number, such as 12.5"
            ) from None
        if not 0 <= value < math.inf:
            raise UserMistake(f"{path}, line {line}: {cell} must be 0 or more and finite")
        values.append(value)
    return values
