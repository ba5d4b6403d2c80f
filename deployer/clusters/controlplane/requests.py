"""Requests as the Service's annotation keeps them: JSON, one list, oldest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from deployer.clusters.controlplane.objects import RejectedError
from deployer.fleet import PREFIX, Kind, Outcome, Release, Request

REQUESTS = PREFIX + "requests"
KEPT = 50
"""Settled requests that are remembered, besides the newest done one: that one is the fleet's goal."""


@lru_cache(maxsize=64)
def read(text: str) -> tuple[Request, ...]:
    """The requests in an annotation's text; none for an empty one.

    Raises RejectedError when the text is no such list.
    """
    if not text:
        return ()
    try:
        return tuple(_request(entry) for entry in json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise RejectedError(
            f"annotation {REQUESTS} holds no list of requests ({error}); "
            "remove it from the Service to forget them, then deploy again"
        ) from None


def _request(entry: dict[str, object]) -> Request:
    known = Request(**entry)  # type: ignore[arg-type]  # an unknown or missing key is a TypeError
    return replace(
        known,
        deploy=int(known.deploy),
        kind=Kind(known.kind),
        requested_s=float(known.requested_s),
        outcome=None if known.outcome is None else Outcome(known.outcome),
    )


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
