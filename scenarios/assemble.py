"""From what a real run saw, in Unix seconds, to the record's tables, in seconds since time zero."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from deployer.actions import Action, Block, Refuse, Settle
from deployer.clusters.controlplane.requests import settled
from deployer.fleet import Outcome, Request, Verdict
from deployer.history import PodSpan, deploy_rows
from deployer.journal import action_of, read_journal, verdict_of
from scenarios.metrics import attribute
from scenarios.real import Raw
from scenarios.record import EXTRA, TABLES, Level, classify_losses, kept, series_of
from scenarios.worlds import Event, Harvest


def tables_of(raw: Raw, selects_release: bool, level: Level) -> dict[str, pl.DataFrame]:
    """All tables of a real run's record at this level."""
    harvest = raw.harvest
    actions = [(row["t_s"], action_of(row)) for row in harvest.actions]
    verdicts = [(row["t_s"], verdict_of(row)) for row in harvest.verdicts]
    events = frame(
        "events", ({"t_s": e.t_s, "kind": e.kind, "target": e.target} for e in _in_order(raw.events))
    )
    pods = frame("pods", harvest.pods)
    deploys = _deploys(raw, actions, verdicts, selects_release)
    connections = frame("connections", raw.connections)
    frames = {
        "events": events,
        "pods": pods,
        "deploys": deploys,
        "connections": connections,
        "samples": frame("samples", ({"t_s": t, "pod": p, "open_connections": n} for t, p, n in raw.samples)),
        "actions": action_rows(actions),
        "verdicts": verdict_rows(verdicts),
    }
    shifted = {name: _since(raw.zero_s, frame) for name, frame in frames.items()}
    return finish(shifted, raw.end_s - raw.zero_s, level)


def finish(tables: Mapping[str, pl.DataFrame], duration_s: float, level: Level) -> dict[str, pl.DataFrame]:
    """Add what is derived: who ended each pod and each connection, and the series; keep what the level keeps.

    Where the tables have their series already, their connections are those of the level already.
    """
    pods = attribute(tables["pods"], tables["deploys"], tables["events"])
    connections = classify_losses(tables["connections"], pods, tables["events"])
    if "series" in tables:
        return {**tables, "pods": pods, "connections": connections}
    series = series_of(connections, duration_s)
    return {**tables, "pods": pods, "connections": kept(connections, level), "series": series}


def action_rows(actions: Iterable[tuple[float, Action]]) -> pl.DataFrame:
    """Table `actions`: what was done, written as a call, and why."""
    return frame(
        "actions",
        ({"t_s": t_s, "action": written(action), "reason": action.because} for t_s, action in actions),
    )


def verdict_rows(verdicts: Iterable[tuple[float, Verdict]]) -> pl.DataFrame:
    """Table `verdicts`, the evidence as JSON."""
    return frame(
        "verdicts",
        (
            {
                "t_s": t_s,
                "release": verdict.release,
                "decision": verdict.decision.value,
                "reason": verdict.reason,
                "evidence": json.dumps(dict(verdict.evidence), sort_keys=True),
            }
            for t_s, verdict in verdicts
        ),
    )


def written(action: Action) -> str:
    """An action as a person reads it: its name and what it was about, without the reason."""
    fields = (name for name in type(action).__slots__ if name != "because")
    parts = (
        f"{name}={_brief(getattr(action, name))}" for name in fields if getattr(action, name) is not None
    )
    return f"{type(action).__name__}({', '.join(parts)})"


def frame(name: str, rows: Iterable[Any]) -> pl.DataFrame:
    """A table of mappings or of objects with attributes, all of one kind, one a row; what they lack is null."""
    rows = list(rows)
    schema = {**TABLES[name], **EXTRA.get(name, {})}
    if rows and isinstance(rows[0], Mapping):
        columns = {key: [row.get(key) for row in rows] for key in schema}
    else:
        columns = {key: [getattr(row, key, None) for row in rows] for key in schema}
    return pl.DataFrame(columns, schema=schema)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON-lines file; a line that a kill tore is left out, and a file that is not there has none."""
    return list(read_journal(path)) if path.exists() else []


def _brief(value: object) -> str:
    if isinstance(value, tuple | Mapping) and len(value) > 4:
        return f"<{len(value)} pods>"
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{cost}" for key, cost in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _deploys(
    raw: Raw,
    actions: Sequence[tuple[float, Action]],
    verdicts: Sequence[tuple[float, Verdict]],
    selects_release: bool,
) -> pl.DataFrame:
    requests = _requests(raw.harvest, actions)
    spans = [PodSpan(row["release"], row["t_created_s"], row["t_gone_s"]) for row in raw.harvest.pods]
    rows = deploy_rows(requests, actions, verdicts, spans, selects_release)
    return frame("deploys", ({name: getattr(row, name) for name in TABLES["deploys"]} for row in rows))


def _requests(harvest: Harvest, actions: Sequence[tuple[float, Action]]) -> Sequence[Request]:
    """As they were when the cluster last answered, with what the deployer has done to them since."""
    found: Sequence[Request] = harvest.last.requests if harvest.last else ()
    for t_s, action in actions:
        match action:
            case Settle(deploy, outcome, because):
                found = settled(found, deploy, outcome, because, t_s)
            case Refuse(deploy, because):
                found = settled(found, deploy, Outcome.REFUSED, because, t_s)
            case Block(deploy, because, True):
                found = settled(found, deploy, Outcome.BLOCKED, because, t_s)
            case _:
                pass
    return found


def _in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.t_s)


def _since(zero_s: float, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(column) - zero_s for column in frame.columns if column.startswith("t_"))
