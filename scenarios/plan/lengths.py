"""Session lengths as people have them: a CSV of measured ones, or a few quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import norm

from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.files import UNIT_NAMES, UNITS_S, read_times
from loadgen.behaviour.sessions import Empirical, Exponential, Lognormal, Session, Weibull
from scenarios.errors import UserMistake
from scenarios.plan.text import time_text
from scenarios.spec.units import duration_s, duration_text

FEW = 30
"""From fewer sessions than this a plan says little."""


@dataclass(frozen=True)
class Lengths:
    """Measured session lengths and how they were read."""

    session: Empirical
    told: str  # one sentence on what was read, for the reader to check


def read_lengths(path: Path, column: str | None = None, unit: str | None = None) -> Lengths:
    """Session lengths from one column of a CSV file, found as `loadgen.behaviour.files.read_times` says.

    Rows of 0 are left out. Raises UserMistake.
    """
    if unit is not None and unit not in UNITS_S:
        raise UserMistake(f"--unit {unit}: give one of {', '.join(UNITS_S)}")
    try:
        times = read_times(path, column, unit, option="--column")
    except BadSettingError as error:
        raise UserMistake(str(error)) from None
    lengths = [value_s for value_s in times.values_s if value_s > 0]
    if not lengths:
        raise UserMistake(f"{path} has no session above 0 in {times.column}; give one length a row")
    left_out = len(times.values_s) - len(lengths)
    session = Empirical(tuple(lengths))
    told = (
        f"{len(lengths):,} session{'s' if len(lengths) > 1 else ''} from {path.name} ({times.column}, in {UNIT_NAMES[times.unit]}): median {time_text(float(np.median(lengths)))}, "
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
