"""Self-contained HTML pages of one run and of several side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, select_autoescape

from scenarios.labels import LABELS, SECTIONS, best, written
from scenarios.record import Record
from scenarios.report.figures import (
    draw_connections,
    draw_pods,
    draw_reconnects,
    figure_of,
    side_by_side,
)
from scenarios.report.style import svg_of

Summary = Mapping[str, Any]


def run_page(record: Record, summary: Summary) -> str:
    """`report.html` of one run, from its tables and summary alone."""
    run = record.run
    return _render(
        "run.html.j2",
        title=f"{run['spec']['name']}: {run['strategy']} in {run['world']}",
        sentence=_sentence(summary),
        notes=_notes(record),
        connections=svg_of(figure_of(draw_connections, record, height_in=4.2)),
        reconnects=svg_of(figure_of(draw_reconnects, record, height_in=2.4)),
        pods=svg_of(figure_of(draw_pods, record, height_in=2.6)),
        sections=[
            (title, [{"key": w.key, "text": w.text, "value": written(w, summary.get(w.key))} for w in labels])
            for title, labels in SECTIONS
        ],
        deploys=[_deploy_row(row) for row in record.deploys.iter_rows(named=True)],
        verdicts=[{**row, "t": _time(row["t_s"])} for row in record.verdicts.iter_rows(named=True)],
        actions=[{**row, "t": _time(row["t_s"])} for row in record.actions.iter_rows(named=True)],
        events=[{**row, "t": _time(row["t_s"])} for row in record.events.iter_rows(named=True)],
        command=run.get("command", ""),
        spec=yaml.safe_dump(dict(run["spec"]), sort_keys=False, allow_unicode=True),
        versions=", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items()),
    )


def compare_page(records: Sequence[Record], summaries: Sequence[Summary], folders: Sequence[str]) -> str:
    """`compare.html`: small multiples on shared axes and one table, the best value of each row marked."""
    names = _names(records)
    scenarios = ", ".join(dict.fromkeys(record.run["spec"]["name"] for record in records))
    return _render(
        "compare.html.j2",
        title=f"{scenarios}: {', '.join(dict.fromkeys(record.run['strategy'] for record in records))}",
        sentence=_verdict(names, summaries),
        notes=_differences(records),
        connections=svg_of(side_by_side(draw_connections, records, names, height_in=3.0)),
        reconnects=svg_of(side_by_side(draw_reconnects, records, names, height_in=2.2)),
        pods=svg_of(side_by_side(draw_pods, records, names, height_in=2.4)),
        names=names,
        sections=[(title, [_row(label.key, summaries) for label in labels]) for title, labels in SECTIONS],
        runs=[
            (folder, record.run.get("command", "")) for folder, record in zip(folders, records, strict=True)
        ],
    )


def _render(template: str, **values: Any) -> str:
    environment = Environment(undefined=StrictUndefined, autoescape=select_autoescape(default=True))
    room = files("scenarios.report")
    return environment.from_string((room / template).read_text(encoding="utf-8")).render(
        css=(room / "page.css").read_text(encoding="utf-8"), **values
    )


def _sentence(summary: Summary) -> str:
    done, requested = summary.get("deploys_done"), summary.get("deploys_requested")
    deploys = f"{done} of {requested} deploys done" if requested else "No deploy"
    forced = summary.get("forced_reconnects")
    if forced is None:
        return f"{deploys}; the record's level does not tell how many users were cut off."
    if forced == 0:
        return f"{deploys}; nobody was disconnected."
    each = written(
        LABELS["forced_reconnects_per_client_deploy"], summary.get("forced_reconnects_per_client_deploy")
    )
    peak = written(LABELS["peak_reconnects_per_s"], summary.get("peak_reconnects_per_s"))
    return f"{deploys}; {forced:,} connections cut, {each} per client and deploy, and up to {peak} came back at once."


def _verdict(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    known = [
        (summary["forced_reconnects"], summary["pod_hours"], name)
        for name, summary in zip(names, summaries, strict=True)
        if summary.get("forced_reconnects") is not None and summary.get("pod_hours") is not None
    ]
    if len(known) < 2:
        return "Too little is known of these runs to rank them."
    gentlest, cheapest = min(known), min(known, key=lambda k: k[1])
    if gentlest[2] == cheapest[2]:
        return f"{gentlest[2]} cut the fewest connections ({gentlest[0]:,}) and cost the fewest pod-hours ({gentlest[1]:.3g})."
    return (
        f"{gentlest[2]} cut the fewest connections ({gentlest[0]:,}, for {gentlest[1]:.3g} pod-hours); "
        f"{cheapest[2]} cost the least ({cheapest[1]:.3g} pod-hours, and cut {cheapest[0]:,})."
    )


def _notes(record: Record) -> list[str]:
    notes = [str(note) for note in record.run.get("notes", ())]
    if record.run.get("interrupted"):
        notes.insert(0, "The run was interrupted; this is what was measured until then.")
    return notes


def _differences(records: Sequence[Record]) -> list[str]:
    specs = {json.dumps(record.run["spec"], sort_keys=True) for record in records}
    return ["These runs are of different specs: compare with care."] if len(specs) > 1 else []


def _names(records: Sequence[Record]) -> list[str]:
    several_worlds = len({record.run["world"] for record in records}) > 1
    names = [
        f"{r.run['strategy']} ({r.run['world']})" if several_worlds else str(r.run["strategy"])
        for r in records
    ]
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if names.count(name) == 1 else f"{name} #{seen[name]}")
    return numbered


def _row(key: str, summaries: Sequence[Summary]) -> dict[str, Any]:
    label = LABELS[key]
    values = [summary.get(key) for summary in summaries]
    winner = best(label, values)
    cells = [
        {"text": written(label, value), "best": value is not None and value == winner} for value in values
    ]
    return {"key": key, "text": label.text, "cells": cells}


def _deploy_row(row: Mapping[str, Any]) -> dict[str, Any]:
    outcome = row["outcome"] or "under way at the end"
    reason = f": {row['reason']}" if row["reason"] and row["outcome"] != "done" else ""
    return {
        **row,
        "requested": _time(row["t_requested_s"]),
        "selected": _time(row["t_selected_s"]),
        "drained": _time(row["t_drained_s"]),
        "deleted": _time(row["t_deleted_s"]),
        "outcome": outcome + reason,
    }


def _time(t_s: float | None) -> str:
    if t_s is None:
        return "–"
    if abs(t_s) < 3 * 3600:
        return f"{t_s:.1f} s"
    return f"{t_s / 3600:.2f} h"
