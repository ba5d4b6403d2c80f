"""Releases that were asked to be kept when they were deployed: their Deployments are pinned by annotation."""

from __future__ import annotations

from deployer.actions import Annotate
from deployer.draining import memory
from deployer.draining.policies import DrainSettings
from deployer.fleet import Deployment, Fleet

ASKED = "asked for with its deploy"
"""What the annotation says where it was written from here: another pin is a person's, and stays."""


def pins(fleet: Fleet, settings: DrainSettings, now_s: float) -> tuple[tuple[Annotate, ...], float | None]:
    """The annotations that pin what is to be kept and unpin what no longer is, and when to look again.

    A pin with a time ends so long after the release was deselected.
    """
    notes: list[Annotate] = []
    moments: list[float] = []
    key = settings.pin_annotation
    for deployment in fleet.deployments.values():
        keeps, until_s = _kept(deployment, settings, now_s)
        there = deployment.annotations.get(key)
        if keeps and there is None:
            notes.append(Annotate(deployment.name, key, ASKED, because=f"{deployment.release} is to be kept"))
        elif not keeps and there == ASKED:
            notes.append(Annotate(deployment.name, key, None, because="its time to be kept is over"))
        if keeps and until_s is not None:
            moments.append(until_s)
    return tuple(notes), min(moments, default=None)


def _kept(deployment: Deployment, settings: DrainSettings, now_s: float) -> tuple[bool, float | None]:
    """Whether it is to be pinned now, and until when; None: no end is known."""
    pin = next((pin for pin in settings.pinned if pin.release == deployment.release), None)
    if pin is None:
        return False, None
    deselected_s = memory.deselected_s(deployment)
    if pin.keep_s is None or deselected_s is None:
        return True, None
    until_s = deselected_s + pin.keep_s
    return now_s < until_s, until_s
