"""What a load within the cluster has logged and how its pods are: read from what the cluster says, and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
}


@dataclass(frozen=True, slots=True)
class LoadPod:
    """A pod of the load as the cluster sees it."""

    index: int  # of a worker; MASTER
    name: str
    runs: bool
    ended: str = ""  # why, once it did
    waits: str = ""  # for what, while it does not run yet
    hopeless: bool = False  # what it waits for does not come by itself

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
    return LoadPod(index, meta["name"], runs, ended, waits, waiting.get("reason") in _HOPELESS)


def _ended(status: Mapping[str, Any], terminated: Mapping[str, Any]) -> str:
    reason = terminated.get("reason") or status.get("reason") or "it ended"
    words = str(terminated.get("message") or status.get("message") or "").strip().splitlines()
    return f"{reason}: {words[-1]}" if words else str(reason)


def _waits(status: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    if waiting:
        return " ".join(f"{waiting.get('reason', '')} {waiting.get('message', '')}".split())
    conditions = status.get("conditions") or ()
    return next((str(c.get("message", "")) for c in conditions if c.get("status") == "False"), "")
