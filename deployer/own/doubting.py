"""Annotations of ours that say what cannot be, as after an edit by hand: found out, so that someone is told."""

from __future__ import annotations

import math
from collections.abc import Mapping

from deployer.clusters.controlplane.objects import UnreadableError
from deployer.clusters.controlplane.requests import shown
from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import SELECTED_SINCE
from deployer.clusters.kubernetes.podlog import seconds
from deployer.clusters.kubernetes.reading import annotation
from deployer.clusters.kubernetes.writing import variants_of
from deployer.fleet import DESELECTED_AT, QUIET_SINCE, SKEW_S, unix_s
from deployer.marks import BEGUN_AT, NUDGED_UNTIL

OF_THE_PAST: Mapping[str, str] = {
    DESELECTED_AT: "nothing of it goes until then",
    QUIET_SINCE: "it counts for nothing",
    BEGUN_AT: "its roll-out fails only so long after it",
}
"""Times on a Deployment that cannot lie ahead, and what it means while one does or is none."""
LONGEST_NUDGE_S = 7 * 86_400.0
"""Clients that were asked to leave have no more time than this by any sensible pace."""


def doubts(service: Object, deployments: Mapping[str, Object], now_s: float) -> list[str]:
    """A line for each value that is none or cannot be: object, annotation, value, what it means, the way out.

    None of them stops a look: each is read as not there, or as what keeps a release for longer.
    """
    said = [_line("service", service, SELECTED_SINCE, now_s, "the moment of the last switch is not known")]
    try:
        variants_of(service)
    except UnreadableError as error:
        said.append(str(error))
    for _, found in sorted(deployments.items()):
        said += [_line("deployment", found, key, now_s, means) for key, means in OF_THE_PAST.items()]
        said.append(
            _line(
                "deployment",
                found,
                NUDGED_UNTIL,
                now_s + LONGEST_NUDGE_S,
                "a release that is overdue waits for it",
                since_creation=False,
            )
        )
    return [line for line in said if line is not None]


def _line(
    kind: str, found: Object, key: str, latest_s: float, means: str, since_creation: bool = True
) -> str | None:
    text = annotation(found, key)
    if text is None:
        return None
    meta = found["metadata"]
    created_s = seconds(meta["creationTimestamp"]) if since_creation else -math.inf
    at_s = unix_s(text)
    if at_s is None:
        wrong = "is no time in Unix seconds"
    elif created_s - SKEW_S <= at_s <= latest_s + SKEW_S:
        return None
    else:
        wrong = "lies in the future" if at_s > latest_s else f"lies before the {kind} was made"
    name = meta["name"]
    return (
        f"{kind.capitalize()} {name}: annotation {key}={shown(text)} {wrong}, so {means}; remove it: "
        f"kubectl annotate {kind} {name} {key}-"
    )
