"""What the controller did and why; it becomes the tables `actions` and `verdicts` of a record."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, get_args

from pydantic import TypeAdapter

from deployer.actions import Action
from deployer.fleet import Decision, Verdict

_ACTIONS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Action)}
_NUMBERS = re.compile(r"\d+(\.\d+)?")


class Journal(Protocol):
    """Where a controller writes what it did; called with every verdict, it keeps the ones that changed."""

    def action(self, t_s: float, action: Action) -> None:
        """An action was carried out at Unix time `t_s`."""
        ...

    def verdict(self, t_s: float, verdict: Verdict) -> None:
        """A verdict was given at Unix time `t_s`."""
        ...


class Changes:
    """Tells new verdicts from repeated ones: the decision, or more than numbers in the reason, changed."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, Decision, str]] = {}

    def note(self, verdict: Verdict) -> bool:
        """Whether this verdict says something new of its Deployment; it is remembered."""
        kind = (verdict.release, verdict.decision, _NUMBERS.sub("#", verdict.reason))
        changed = self._last.get(verdict.deployment) != kind
        self._last[verdict.deployment] = kind
        return changed


@dataclass
class MemoryJournal:
    """Keeps everything in lists, for simulated worlds and tests."""

    actions: list[tuple[float, Action]] = field(default_factory=list)
    verdicts: list[tuple[float, Verdict]] = field(default_factory=list)
    _changes: Changes = field(default_factory=Changes)

    def action(self, t_s: float, action: Action) -> None:
        """Keep it."""
        self.actions.append((t_s, action))

    def verdict(self, t_s: float, verdict: Verdict) -> None:
        """Keep it if it is new."""
        if self._changes.note(verdict):
            self.verdicts.append((t_s, verdict))


class JsonlJournal:
    """Appends one JSON object a line to a file, each in one write, so that a kill tears one line at most.

    An action's line has `t_s, action` (its name), `reason` and `fields`; a verdict's has `t_s, verdict` (the
    decision), `release, deployment, reason, evidence`. Opened again, it knows the last verdicts and doubles
    none.
    Raises OSError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._changes = Changes()
        torn = False
        if path.exists():
            for entry in read_journal(path):
                if "verdict" in entry:
                    self._changes.note(verdict_of(entry))
            content = path.read_bytes()
            torn = bool(content) and not content.endswith(b"\n")
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if torn:
            os.write(self._fd, b"\n")

    def action(self, t_s: float, action: Action) -> None:
        """Write it."""
        told = {f.name: getattr(action, f.name) for f in fields(action) if f.name != "because"}
        self._write({"t_s": t_s, "action": type(action).__name__, "reason": action.because, "fields": told})

    def verdict(self, t_s: float, verdict: Verdict) -> None:
        """Write it if it is new."""
        if self._changes.note(verdict):
            self._write(
                {
                    "t_s": t_s,
                    "verdict": verdict.decision,
                    "release": verdict.release,
                    "deployment": verdict.deployment,
                    "reason": verdict.reason,
                    "evidence": dict(verdict.evidence),
                }
            )

    def close(self) -> None:
        """Close the file; nothing can be written after that."""
        os.close(self._fd)

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a JsonlJournal's file in their order; a line that a kill tore is left out."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def action_of(entry: Mapping[str, Any]) -> Action:
    """The action that a line tells of. Raises ValueError for a line that tells of none."""
    adapter = _ACTIONS.get(entry.get("action", ""))
    if adapter is None:
        raise ValueError(f"{entry.get('action')!r} is no action; one of {', '.join(_ACTIONS)}")
    action: Action = adapter.validate_python({**entry["fields"], "because": entry["reason"]})
    return action


def verdict_of(entry: Mapping[str, Any]) -> Verdict:
    """The verdict that a line tells of."""
    return Verdict(
        entry["release"], entry["deployment"], Decision(entry["verdict"]), entry["reason"], entry["evidence"]
    )
