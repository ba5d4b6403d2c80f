"""What happened, written as it happens: a killed cluster leaves all lines but the one it was writing.

`pods.jsonl` has one line for each change of a pod, the whole row each time, so that its last line is what is
known of it; `events.jsonl` has `t_s, kind, target, detail`. Times are Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from deployer.clusters.controlplane.objects import PodObject

PODS = "pods.jsonl"
EVENTS = "events.jsonl"
FINAL = "final.json"


class Journal:
    """The files of one run, opened anew."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._dir = run_dir
        self._pods = (run_dir / PODS).open("w")
        self._events = (run_dir / EVENTS).open("w")
        self._rows: dict[str, dict[str, Any]] = {}  # of the pods that are not gone

    def pods(self, old: Mapping[str, PodObject], new: Mapping[str, PodObject], now_s: float) -> None:
        """Note every pod that differs between two states."""
        for name, pod in new.items():
            if old.get(name) is not pod:
                self._note(name, _row(pod, self._rows.get(name)))
        for name in old.keys() - new.keys():
            row = self._rows[name]
            terminating_s = row["t_terminating_s"]
            self._note(
                name,
                row
                | {"t_terminating_s": now_s if terminating_s is None else terminating_s, "t_gone_s": now_s},
            )
            del self._rows[name]

    def event(self, t_s: float, kind: str, target: str, detail: str = "") -> None:
        """Note something that happened to `target`."""
        _write(self._events, {"t_s": t_s, "kind": kind, "target": target, "detail": detail})

    def final(self, state: Mapping[str, Any], now_s: float) -> None:
        """Dump the state at the end, and the rows of the pods that were there then: theirs have no end."""
        dump = {"t_s": now_s, "pods": list(self._rows.values()), "state": state}
        (self._dir / FINAL).write_text(json.dumps(dump, indent=1) + "\n")

    def close(self) -> None:
        """Nothing more is noted."""
        self._pods.close()
        self._events.close()

    def _note(self, name: str, row: dict[str, Any]) -> None:
        if self._rows.get(name) != row:
            self._rows[name] = row
            _write(self._pods, row)


def _row(pod: PodObject, before: Mapping[str, Any] | None) -> dict[str, Any]:
    first_ready_s = before["t_ready_s"] if before else None
    return {
        "pod": pod.name,
        "release": pod.release,
        "deployment": pod.deployment,
        "node": pod.node,
        "t_created_s": pod.created_s,
        "t_scheduled_s": pod.scheduled_s,
        "t_ready_s": pod.ready_since_s if first_ready_s is None else first_ready_s,
        "t_terminating_s": pod.deleted_s,
        "t_gone_s": None,
        "restarts": pod.restarts,
        "why": pod.why,
    }


def _write(file: TextIO, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()
