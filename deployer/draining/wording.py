"""Numbers as people read them in a verdict's reason."""

from __future__ import annotations

_UNITS = ((3 * 86400.0, 86400.0, "d"), (2 * 3600.0, 3600.0, "h"), (2 * 60.0, 60.0, "min"))


def span(seconds: float) -> str:
    """A time span in a unit that people would take for it, rounded down: "90 s", "48 h", "3.5 d"."""
    if seconds == float("inf"):
        return "an unknown time"
    for least_s, size_s, name in _UNITS:
        if seconds >= least_s:
            return f"{_short(seconds / size_s)} {name}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    # Rounded down: a release that is told to wait 60 s must never read "for 60 s now" before that.
    tenths = int(number * 10)
    return str(tenths // 10) if number >= 10 or tenths % 10 == 0 else f"{tenths / 10:g}"


def connections(count: int) -> str:
    """For example "no connection is open", "1 connection is open" or "7 connections are open"."""
    if count == 0:
        return "no connection is open"
    return "1 connection is open" if count == 1 else f"{count} connections are open"


def names(items: tuple[str, ...], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
