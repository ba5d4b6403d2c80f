"""Requests as the Service's annotation keeps them: JSON, one list, oldest first."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from deployer.clusters.controlplane.objects import UnreadableError
from deployer.fleet import PREFIX, Kind, Outcome, Release, Request

REQUESTS = PREFIX + "requests"
KEPT = 50
"""Settled requests that are remembered, besides the newest done one: that one is the fleet's goal."""


@lru_cache(maxsize=64)
def read(text: str) -> tuple[Request, ...]:
    """The requests in an annotation's text; none for an empty one.

    Raises UnreadableError when the text is no such list.
    """
    if not text:
        return ()
    try:
        found = json.loads(text)
        if not isinstance(found, list):
            raise TypeError("no list")
        return tuple(_request(entry) for entry in found)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UnreadableError(
            f"annotation {REQUESTS} holds no list of requests ({error}): {shown(text)}; "
            "remove it from the Service to forget them, then deploy again"
        ) from None


def shown(value: str) -> str:
    """An annotation's value within a line."""
    return repr(value if len(value) <= 60 else value[:59] + "…")


def _request(entry: dict[str, object]) -> Request:
    known = Request(**entry)  # type: ignore[arg-type]  # an unknown or missing key is a TypeError
    if type(known.deploy) is not int or known.deploy < 0:
        raise TypeError(f"deploy={known.deploy!r}")
    if not isinstance(known.release, str) or not known.release or not isinstance(known.reason, str):
        raise TypeError(f"release={known.release!r}, reason={known.reason!r}")
    return replace(
        known,
        kind=Kind(known.kind),
        requested_s=_moment("requested_s", known.requested_s),
        outcome=None if known.outcome is None else Outcome(known.outcome),
        settled_s=None if known.settled_s is None else _moment("settled_s", known.settled_s),
    )


def _moment(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{name}={value!r}")
    return float(value)


def write(requests: Sequence[Request]) -> str:
    """The annotation's text: open requests, the newest `KEPT` settled ones and the newest done one."""
    settled = [r for r in requests if r.outcome is not None]
    done = [r for r in settled if r.outcome is Outcome.DONE]
    kept = {r.deploy for r in (*settled[-KEPT:], *done[-1:])}
    entries = [
        {name: value for name in Request.__slots__ if (value := getattr(r, name)) not in (None, "")}
        for r in requests
        if r.outcome is None or r.deploy in kept
    ]
    return json.dumps(entries, separators=(",", ":"))


def added(
    requests: Sequence[Request], release: Release, kind: Kind, now_s: float
) -> tuple[tuple[Request, ...], int]:
    """The requests with a new open one at the end, and its number: 0 for the first, then counting up."""
    number = max((r.deploy for r in requests), default=-1) + 1
    return (*requests, Request(number, release, kind, now_s)), number


def settled(
    requests: Sequence[Request], deploy: int, outcome: Outcome, reason: str, now_s: float
) -> tuple[Request, ...]:
    """The requests with this one's outcome written; the first outcome stands, an unknown number is none."""
    return tuple(
        replace(r, outcome=outcome, reason=reason, settled_s=now_s)
        if r.deploy == deploy and r.outcome is None
        else r
        for r in requests
    )


def waiting(requests: Sequence[Request], deploy: int, reason: str) -> tuple[Request, ...]:
    """The requests with the reason written why this one, still open, cannot start."""
    return tuple(
        replace(r, reason=reason) if r.deploy == deploy and r.outcome is None else r for r in requests
    )
