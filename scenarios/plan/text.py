"""Numbers of a plan as people read them, the same in tables, pictures and sentences."""

from __future__ import annotations

import math

from loadgen.behaviour.sessions import Session


def time_text(seconds: float) -> str:
    """Three digits and the unit that fits; "never" for what has no end."""
    if math.isinf(seconds):
        return "never"
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 3 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def ratio_text(value: float) -> str:
    """Forced reconnects per user: 1.47, 0.013, or 0 where it is below one in ten thousand."""
    if value < 1e-4:
        return "0"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def rate_text(per_day: float) -> str:
    """Deploys a day, or their spacing where they are rarer than that."""
    if per_day <= 0:
        return "none"
    if per_day >= 100:
        return f"{per_day:,.0f}"
    return f"{per_day:.1f}" if per_day >= 10 else f"{per_day:.2f}"


def session_text(session: Session) -> str:
    """The law of session lengths in a few words."""
    if math.isinf(session.mean_s):
        return "nobody ever leaves"
    return f"{session.kind} sessions, mean {time_text(session.mean_s)}"
