"""What the deployer remembers on the cluster: annotations on Deployments, read and written by pure functions.

A deployer keeps no state of its own, so whatever a later look needs is one of these marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from deployer.actions import Annotate
from deployer.fleet import DESELECTED_AT, PREFIX, QUIET_SINCE, Deployment, Fleet, Outcome, PodState, Release

SELECTED_AS = PREFIX + "selected-as"
"""`<release>/<restarts>`: the release with which the Deployment last served, and its pods' restarts then."""
CRASHES = PREFIX + "crashes"
"""How often containers of the serving release restarted since the switch to it; absent while none did."""
DRAINED_AT = PREFIX + "drained-at"
"""On a slot: Unix seconds when it was found drained; nobody comes after that, so it is not asked anew."""
NOTIFIED = PREFIX + "notified"
"""The pods that were told of their deselection, as `told_text` writes them."""
AGAIN = "?"
"""After a name in NOTIFIED: it may not have heard, and is to be told once more."""
BEGUN_AT = PREFIX + "begun-at"
"""Unix seconds at which the deployer last asked it for another release or more pods: the roll-out's
beginning, of which Kubernetes' own time of progress tells only once its controller has taken it up."""
NUDGED_UNTIL = PREFIX + "nudged-until"
"""Unix seconds by which the clients that were asked to leave should have left."""

OF_DRAINING = (QUIET_SINCE, DRAINED_AT, NOTIFIED, NUDGED_UNTIL, DESELECTED_AT)
"""Cleared once a Deployment is selected again; DESELECTED_AT last, so that a torn clearing is resumed."""


def is_selected(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether the Service points at this Deployment; never so where it selects the whole app."""
    return deployment.release == fleet.selected and deployment.slot == fleet.selected_slot


def is_wanted(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether it is to serve: it bears the wanted release, and no other slot serves with it already."""
    in_another_slot = fleet.selected == fleet.wanted and fleet.selected_slot not in (None, deployment.slot)
    return deployment.release == fleet.wanted and not in_another_slot


def whole(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether all its pods are there, ready and of its release.

    The pods must agree with the Deployment's own numbers, which may lag behind its template.
    """
    pods = [p for p in fleet.pods_of(deployment.name) if p.state is not PodState.TERMINATING]
    fit = [p for p in pods if p.state is PodState.READY and p.release == deployment.release]
    return deployment.complete and len(fit) == len(pods) == deployment.desired


def selected_before(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether it serves, or has served, with the release that it bears now, so that users may be on it."""
    if is_selected(fleet, deployment) or _mark(deployment)[0] == deployment.release:
        return True
    return deployment.slot is None and DESELECTED_AT in deployment.annotations


def abandoned(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether it was made for a deploy that came to nothing before any user could reach it.

    A Deployment of which no request tells is not: someone else's, it drains like any other. A slot is
    never abandoned, only free.
    """
    if deployment.slot is not None or is_wanted(fleet, deployment) or selected_before(fleet, deployment):
        return False
    outcomes = {r.outcome for r in fleet.requests if r.release == deployment.release}
    return bool(outcomes) and outcomes.isdisjoint({None, Outcome.DONE})


def drains(fleet: Fleet, deployment: Deployment) -> bool:
    """Whether a verdict is due on it: neither selected nor wanted, and users may be on it."""
    if (
        fleet.selected is None
        or is_selected(fleet, deployment)
        or is_wanted(fleet, deployment)
        or abandoned(fleet, deployment)
    ):
        return False
    return deployment.slot is None or selected_before(fleet, deployment)


def failed(fleet: Fleet, release: Release) -> bool:
    """Whether the newest settled request for this release failed."""
    outcomes = [r.outcome for r in fleet.requests if r.release == release and r.outcome is not None]
    return bool(outcomes) and outcomes[-1] is Outcome.FAILED


def serving(fleet: Fleet, selects_release: bool) -> Deployment | None:
    """The Deployment that users reach: the selected one, or the only one once its roll-out was complete."""
    if selects_release:
        return next((d for d in fleet.deployments.values() if is_selected(fleet, d)), None)
    only = fleet.deployments.get(fleet.app)
    if only is None or not is_wanted(fleet, only):
        return None
    return only if whole(fleet, only) or _mark(only)[0] == only.release else None


def crashes(fleet: Fleet, deployment: Deployment) -> int:
    """Restarts of its containers since it serves with its present release; 0 where that is not marked yet."""
    release, at_the_switch = _mark(deployment)
    if release != deployment.release or at_the_switch is None or DESELECTED_AT in deployment.annotations:
        return 0
    return max(0, _restarts(fleet, deployment) - at_the_switch)


def marks(fleet: Fleet, selects_release: bool, now_s: float) -> tuple[Annotate, ...]:
    """What has to be written or cleared so that the next look, by whomever, knows what this one knows."""
    wanted: list[Annotate] = []
    at = serving(fleet, selects_release)
    for deployment in fleet.deployments.values():
        if deployment == at:
            wanted += _on_serving(fleet, deployment)
        elif not selects_release:
            if _mark(deployment)[0] not in (None, deployment.release):
                wanted.append(_clear(deployment, SELECTED_AS, "another release is rolled out"))
                wanted.append(_clear(deployment, CRASHES, "another release is rolled out"))
        elif drains(fleet, deployment):
            since_s = now_s if fleet.selected_since_s is None else min(fleet.selected_since_s, now_s)
            if DESELECTED_AT not in deployment.annotations:
                value = repr(float(max(since_s, deployment.created_s)))
                wanted.append(Annotate(deployment.name, DESELECTED_AT, value, because="it is deselected"))
        elif deployment.slot is not None and not selected_before(fleet, deployment):
            wanted += [_clear(deployment, key, "the slot has another release now") for key in OF_DRAINING]
        else:
            wanted.append(_clear(deployment, QUIET_SINCE, "its release is wanted again"))
    return tuple(a for a in wanted if fleet.deployments[a.deployment].annotations.get(a.key) != a.value)


def annotated(fleet: Fleet, annotations: Iterable[Annotate]) -> Fleet:
    """The fleet as it is once these annotations are written."""
    deployments = dict(fleet.deployments)
    for a in annotations:
        found = deployments.get(a.deployment)
        if found is None:
            continue
        kept = {key: value for key, value in found.annotations.items() if key != a.key}
        if a.value is not None:
            kept[a.key] = a.value
        deployments[a.deployment] = replace(found, annotations=kept)
    return replace(fleet, deployments=deployments)


def told_text(names: Iterable[str]) -> str | None:
    """Pods for NOTIFIED, None for none: `<common beginning>: <end> <end> …`, once for each beginning.

    All annotations of an object may have 256 KiB together. A Deployment's pods differ in the last five letters
    only, so that tens of thousands of them find room.
    """
    ends: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        beginning, dash, end = name.rpartition("-")
        ends.setdefault(beginning + dash, []).append(end)
    return " ".join(f"{beginning}: {' '.join(found)}" for beginning, found in ends.items()) or None


def told_names(text: str) -> tuple[str, ...]:
    """The pods in NOTIFIED, an AGAIN kept; whole names with spaces between, as written once, are read too."""
    names, beginning = [], ""
    for word in text.split():
        if word.endswith(":"):
            beginning = word[:-1]
        else:
            names.append(beginning + word)
    return tuple(names)


def _on_serving(fleet: Fleet, deployment: Deployment) -> list[Annotate]:
    release, at_the_switch = _mark(deployment)
    if release != deployment.release or at_the_switch is None or DESELECTED_AT in deployment.annotations:
        value = f"{deployment.release}/{_restarts(fleet, deployment)}"
        return [
            Annotate(deployment.name, SELECTED_AS, value, because="users reach it from now on"),
            _clear(deployment, CRASHES, "users reach it from now on"),
            *(_clear(deployment, key, "it is selected again") for key in OF_DRAINING),
        ]
    seen, noted = crashes(fleet, deployment), _whole(deployment.annotations.get(CRASHES, "0"))
    if noted is not None and seen <= noted:
        return []
    because = f"containers of {deployment.release} restarted {seen} times since the switch to it"
    return [Annotate(deployment.name, CRASHES, str(seen) if seen else None, because=because)]


def _restarts(fleet: Fleet, deployment: Deployment) -> int:
    pods = fleet.pods_of(deployment.name)
    return sum(p.restarts for p in pods if p.state is not PodState.TERMINATING)


def _mark(deployment: Deployment) -> tuple[Release | None, int | None]:
    """What SELECTED_AS says; restarts are None where they are no number, and are then noted anew."""
    text = deployment.annotations.get(SELECTED_AS)
    if text is None:
        return None, 0
    release, _, restarts = text.partition("/")
    return release, _whole(restarts or "0")


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _clear(deployment: Deployment, key: str, because: str) -> Annotate:
    return Annotate(deployment.name, key, None, because=because)
