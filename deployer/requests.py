"""The life of a request, as far as it is the same under every strategy: done, superseded, rolled back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deployer.actions import Settle
from deployer.fleet import Fleet, Kind, Outcome, Release, Request
from deployer.marks import crashes, is_selected, serving, whole


def settle(fleet: Fleet, selects_release: bool) -> tuple[Settle, ...]:
    """The outcomes that are due: done where the release serves, superseded where a newer request overtook.

    Done is a release that the Service selects with all its pods ready, or, with `selects_release` false, a
    complete roll-out. Who was selected before a newer request came is done too, ready or not.
    """
    due: list[Settle] = []
    for request in fleet.open_requests:
        overtaken = any(
            other.deploy > request.deploy and other.outcome in (None, Outcome.DONE)
            for other in fleet.requests
        )
        if _reached(fleet, request, selects_release, overtaken):
            due.append(Settle(request.deploy, Outcome.DONE, because=f"{request.release} serves"))
        elif overtaken:
            due.append(
                Settle(request.deploy, Outcome.SUPERSEDED, because="a newer request came before the switch")
            )
    return tuple(due)


def settled(fleet: Fleet, settles: Iterable[Settle], now_s: float) -> Fleet:
    """The fleet as it is once these outcomes are written."""
    by_deploy = {s.deploy: s for s in settles}
    requests = tuple(
        replace(r, outcome=s.outcome, reason=s.because, settled_s=now_s)
        if (s := by_deploy.get(r.deploy)) is not None
        else r
        for r in fleet.requests
    )
    return replace(fleet, requests=requests)


def rollback_due(fleet: Fleet, selects_release: bool, after_crashes: int) -> Release | None:
    """The release to roll back to by itself, None while there is no need or nothing to return to.

    Due once containers of the serving release restarted `after_crashes` times since the switch (0: never). A
    rollback is not rolled back again: it would only swing.
    """
    at, goal = serving(fleet, selects_release), fleet.goal
    if after_crashes <= 0 or at is None or goal is None:
        return None
    if goal.kind is Kind.ROLLBACK or goal.release != at.release or crashes(fleet, at) < after_crashes:
        return None
    for request in reversed(fleet.requests):
        if request.outcome is Outcome.DONE and request.release != at.release:
            return request.release
    return None


def previous_release(fleet: Fleet) -> Release | None:
    """The release that served before the present one; None where there is none."""
    done = [request.release for request in fleet.requests if request.outcome is Outcome.DONE]
    return next((release for release in reversed(done) if release != done[-1]), None)


def returns_to(fleet: Fleet) -> Release | None:
    """What a rollback that names no release returns to; None where there is nothing.

    While a deploy is under way that has not switched yet, it is taken back: to what serves. Else it is the release
    that served before.
    """
    goal, at = fleet.goal, fleet.selected
    if goal is not None and goal.outcome is None and at not in (None, goal.release):
        return at
    done = (r.release for r in reversed(fleet.requests) if r.outcome is Outcome.DONE)
    return next((release for release in done if release != at), None)


def _reached(fleet: Fleet, request: Request, selects_release: bool, overtaken: bool) -> bool:
    found = fleet.deployments_of(request.release)
    if not selects_release:
        return any(d.name == fleet.app and whole(fleet, d) for d in found)
    return any(is_selected(fleet, d) and (overtaken or whole(fleet, d)) for d in found)
