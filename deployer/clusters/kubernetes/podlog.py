"""When each pod was created, scheduled, ready, terminating and gone, finer than the whole seconds of the API."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import HASH_LABEL
from deployer.fleet import RELEASE_LABEL

RESOLUTION_S = 1.0  # of times in the API
LATE_S = 0.5  # an event that came later than this tells no better time than the API


@dataclass(frozen=True, slots=True)
class Times:
    """Unix seconds; None where it has not happened."""

    created_s: float
    ready_s: float | None = None  # since when it is ready
    first_ready_s: float | None = None
    terminating_s: float | None = None
    gone_s: float | None = None
    scheduled_s: float | None = None  # got its node


class PodLog:
    """Fed with each change of a pod; may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, Times] = {}  # by uid
        self._rows: dict[str, dict[str, Any]] = {}

    def note(self, found: Object | None, before: Object | None, now_s: float) -> None:
        """A pod is like this now (None: gone), seen at Unix time `now_s`."""
        pod = found or before
        if pod is None:
            return
        uid = pod["metadata"]["uid"]
        with self._lock:
            times = times_of(pod, self._times.get(uid), now_s)
            if found is None:
                times = replace(times, gone_s=now_s, terminating_s=times.terminating_s or now_s)
            self._times[uid] = times
            row = self._rows[uid] = _row(pod, times)
            if found is None:
                # The rows are for the record; what is planned from needs no times of pods that are gone.
                del self._times[uid]
                row["t_gone_s"] = now_s

    def times(self, pod: Object) -> Times:
        """What is known of this pod."""
        with self._lock:
            known = self._times.get(pod["metadata"]["uid"])
        return known or times_of(pod, None, None)

    def forget_gone(self) -> None:
        """Drop the rows of pods that are gone, for who makes no record of them."""
        with self._lock:
            self._rows = {uid: row for uid, row in self._rows.items() if row["t_gone_s"] is None}

    def rows(self) -> list[dict[str, Any]]:
        """Every pod seen so far, gone ones too: `pod, release, deployment, node, t_…_s, restarts, why`."""
        with self._lock:
            return [dict(row) for row in self._rows.values()]


def times_of(pod: Object, known: Times | None, now_s: float | None) -> Times:
    """The pod's times, kept from `known` where they stand, refined by the moment at which they were seen."""
    meta = pod["metadata"]
    created_s = known.created_s if known else _refined(seconds(meta["creationTimestamp"]), now_s)
    terminating_s = known.terminating_s if known else None
    if terminating_s is None and meta.get("deletionTimestamp"):
        # The API has the end of the grace, not its beginning.
        began_s = seconds(meta["deletionTimestamp"]) - (meta.get("deletionGracePeriodSeconds") or 0)
        terminating_s = _refined(began_s, now_s)
    ready = condition(pod, "Ready")
    ready_s = first_s = None
    if ready is not None and ready.get("status") == "True":
        ready_s = known.ready_s if known else None
        since_s = seconds(ready.get("lastTransitionTime") or meta["creationTimestamp"])
        if ready_s is None or ready_s < since_s:
            ready_s = _refined(since_s, now_s)
    first_s = known.first_ready_s if known and known.first_ready_s is not None else ready_s
    scheduled_s = known.scheduled_s if known else None
    got_node = condition(pod, "PodScheduled")
    if scheduled_s is None and got_node is not None and got_node.get("status") == "True":
        since_s = seconds(got_node.get("lastTransitionTime") or meta["creationTimestamp"])
        # whole seconds may come before the finer moment at which the pod was created
        scheduled_s = max(created_s, _refined(since_s, now_s))
    return Times(created_s, ready_s, first_s, terminating_s, scheduled_s=scheduled_s)


def condition(found: Object, kind: str) -> Mapping[str, Any] | None:
    """The condition of that type in an object's status."""
    for each in found.get("status", {}).get("conditions") or ():
        if each.get("type") == kind:
            assert isinstance(each, Mapping)
            return each
    return None


@lru_cache(maxsize=4096)
def seconds(text: str) -> float:
    """Unix seconds of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


def deployment_of(pod: Object) -> str:
    """The name of the Deployment that owns the pod through a ReplicaSet; "" where there is none."""
    made_for = (pod["metadata"].get("labels") or {}).get(HASH_LABEL)
    for owner in pod["metadata"].get("ownerReferences") or ():
        name = str(owner["name"])
        if (
            owner.get("controller")
            and owner["kind"] == "ReplicaSet"
            and made_for
            and name.endswith(f"-{made_for}")
        ):
            return name.removesuffix(f"-{made_for}")
    return ""


def _refined(whole_s: float, seen_s: float | None) -> float:
    if seen_s is not None and whole_s <= seen_s < whole_s + RESOLUTION_S + LATE_S:
        # the API cuts off what is finer: news that come in the next second are of this one's end
        return min(seen_s, whole_s + RESOLUTION_S)
    return whole_s


def _row(pod: Object, times: Times) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return {
        "pod": pod["metadata"]["name"],
        "release": (pod["metadata"].get("labels") or {}).get(RELEASE_LABEL, ""),
        "deployment": deployment_of(pod),
        "node": pod.get("spec", {}).get("nodeName"),
        "t_created_s": times.created_s,
        "t_scheduled_s": times.scheduled_s,
        "t_ready_s": times.first_ready_s,
        "t_terminating_s": times.terminating_s,
        "t_gone_s": times.gone_s,
        "restarts": sum(int(s.get("restartCount", 0)) for s in statuses),
        "why": "",
    }
