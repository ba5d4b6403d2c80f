"""What a load within the cluster has logged and how its pods are: read from what the cluster says, and judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt
from loadgen.behaviour.settings import Behaviour
from loadgen.config import part_of
from scenarios.worlds.objects import LOAD, LOAD_MASTER, Object

MASTER = -1
"""The master's place among the workers' indexes."""
_INDEX = "batch.kubernetes.io/job-completion-index"
TROUBLE_S = 60.0
"""So long the kubelet may try again, waiting 10, 20, 40 s between: a registry may be away for a moment."""
_PATIENCE_S = {
    "ErrImagePull": TROUBLE_S,
    "ImagePullBackOff": TROUBLE_S,
    "CreateContainerConfigError": TROUBLE_S,
    "InvalidImageName": 0.0,
    "ErrImageNeverPull": 0.0,
}
"""For what a pod may be in trouble so long; anything else it may wait for as long as the run does."""


@dataclass(frozen=True, slots=True)
class LoadPod:
    """A pod of the load as the cluster sees it."""

    index: int  # of a worker; MASTER
    name: str
    runs: bool
    ended: str = ""  # why, once it did
    waits: str = ""  # for what, while it does not run yet
    patience_s: float = math.inf  # how long that may last

    @property
    def title(self) -> str:
        """As a person would call it."""
        return "load master" if self.index == MASTER else f"load worker {self.index}"


@dataclass(frozen=True, slots=True)
class WorkerLog:
    """One worker's connections."""

    rows: int | None  # how many it says that there are; None: it could not be asked
    attempts: Sequence[Attempt]


def load_pods(pods: Sequence[Object]) -> list[LoadPod]:
    """The load's pods among others."""
    return [pod for raw in pods if (pod := _load_pod(raw)) is not None]


def troubled_since(before: Mapping[int, float], pods: Iterable[LoadPod], now_s: float) -> Mapping[int, float]:
    """Since when each pod has had trouble to start, by index; `before`: the same at the last look.

    One that the kubelet tries anew is still in trouble, until it runs or has ended.
    """
    return {
        pod.index: before.get(pod.index, now_s)
        for pod in pods
        if not pod.runs and not pod.ended and (pod.index in before or pod.patience_s < math.inf)
    }


def given_up(pods: Iterable[LoadPod], since_s: Mapping[int, float], now_s: float) -> str:
    """Of the first pod whose trouble to start has lasted for too long, a line that says so; else empty."""
    for pod in pods:
        lasts_s = now_s - since_s.get(pod.index, now_s)
        if lasts_s >= pod.patience_s:
            tried = f" (tried for {lasts_s:.0f} s)" if pod.patience_s else ""
            return f"{pod.title} cannot start{tried}: {pod.waits}"
    return ""


def doubts(logs: Mapping[int, WorkerLog], behaviour: Behaviour, ended: Mapping[int, str]) -> list[str]:
    """What is missing of the workers' logs, a sentence for each; `ended`: why, of those that ended early."""
    said = []
    for index, log in sorted(logs.items()):
        found = len(log.attempts)
        if log.rows is not None and found == log.rows:
            continue
        share = part_of(behaviour, index, len(logs))
        users = (
            f"places {share.first_place} to {share.first_place + share.count - 1}"
            if isinstance(behaviour.population, Fixed)
            else f"{share.count} of {share.total} arrivals"
        )
        why = f" ended early ({ended[index]}) and" if index in ended else ""
        kept = f"{found} of {'an unknown number of' if log.rows is None else log.rows} connections in its log"
        lack = f"a part of {users}" if found else users
        said.append(f"Load worker {index}{why} gave {kept}: the figures lack {lack}.")
    return said


def _load_pod(raw: Object) -> LoadPod | None:
    meta, status = raw["metadata"], raw.get("status", {})
    labels = meta.get("labels") or {}
    if labels.get("app") == LOAD_MASTER:
        index = MASTER
    elif labels.get("app") == LOAD and _INDEX in labels:
        index = int(labels[_INDEX])
    else:
        return None
    phase = status.get("phase", "Pending")
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state") or {}
    ended = _ended(status, state.get("terminated") or {}) if phase in ("Failed", "Succeeded") else ""
    if not ended and meta.get("deletionTimestamp"):
        ended = "it was deleted"
    waiting = state.get("waiting") or {}
    waits = _waits(status, waiting) if phase == "Pending" and not ended else ""
    runs = "running" in state and not ended
    patience_s = _PATIENCE_S.get(waiting.get("reason", ""), math.inf) if waits else math.inf
    return LoadPod(index, meta["name"], runs, ended, waits, patience_s)


def _ended(status: Mapping[str, Any], terminated: Mapping[str, Any]) -> str:
    reason = terminated.get("reason") or status.get("reason") or "it ended"
    words = str(terminated.get("message") or status.get("message") or "").strip().splitlines()
    return f"{reason}: {words[-1]}" if words else str(reason)


def _waits(status: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    if waiting:
        return " ".join(f"{waiting.get('reason', '')} {waiting.get('message', '')}".split())
    conditions = status.get("conditions") or ()
    return next((str(c.get("message", "")) for c in conditions if c.get("status") == "False"), "")
