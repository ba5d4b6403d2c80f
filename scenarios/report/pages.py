"""The self-contained page of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import yaml

from scenarios.labels import LABELS, SECTIONS, hint, written
from scenarios.record import Record
from scenarios.report.figures import PAINTERS, figure_of, nothing_lost, time_unit
from scenarios.report.files import HEIGHTS_IN
from scenarios.report.render import clock, render
from scenarios.report.states import shares_by_state
from scenarios.report.style import STATES, svg_of
from scenarios.report.timeline import duration_of, span_s
from scenarios.report.way_back import way_back

Summary = Mapping[str, Any]
ROWS = 400
"""A log on the page has so many rows at most; the whole of it is in the run's tables."""
_PICTURES = {
    "connections": "Open connections over time, stacked by release",
    "reconnects": "Reconnects and arrivals per second over time",
    "pods": "Pods over time by what they are there for",
    "way-back": "Share of the users cut off who are back, over the time since their loss",
}


def run_page(record: Record, summary: Summary) -> str:
    """`report.html` of one run, from its tables and summary alone."""
    run = record.run
    shares = shares_by_state(record)
    whole = sum(share.pod_hours for share in shares)
    seconds = span_s(record)
    return render(
        "run.html.j2",
        title=f"{run['spec']['name']}: {run['strategy']} in {run['world']}",
        description=run["spec"].get("description", ""),
        sentence=_sentence(summary),
        notes=_notes(record),
        connections=_picture("connections", record),
        reconnects=_picture("reconnects", record),
        way_back=_picture("way-back", record) if way_back(record) is not None else "",
        nothing_lost=nothing_lost(record),
        pods=_picture("pods", record),
        span=None if seconds == 1 else _length(seconds),
        states=[
            {
                "name": share.state,
                "colour": STATES[share.state][0],
                "hours": f"{share.pod_hours:,.3f}",
                "cost": f"${share.cost:,.4f}",
                "ratio": f"{100 * share.pod_hours / whole:.1f} %" if whole else "–",
            }
            for share in shares
        ],
        sections=[
            (title, [{"hint": hint(w), "text": w.text, "value": written(w, summary.get(w.key))} for w in labels])
            for title, labels in SECTIONS
        ],
        deploys=[_deploy_row(row, record) for row in record.deploys.iter_rows(named=True)],
        logs={name: _log(record, name) for name in ("verdicts", "actions", "events")},
        lengths={name: record.tables[name].height for name in ("verdicts", "actions", "events")},
        rows=ROWS,
        command=run.get("command", ""),
        spec=yaml.safe_dump(dict(run["spec"]), sort_keys=False, allow_unicode=True, width=100),
        versions=", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items()),
        commit=run.get("git_commit") or "",
    )  # fmt: skip


def _picture(name: str, record: Record) -> str:
    return svg_of(figure_of(PAINTERS[name], record, height_in=HEIGHTS_IN[name]), name, _PICTURES[name])


def _sentence(summary: Summary) -> str:
    done, requested = summary.get("deploys_done"), summary.get("deploys_requested")
    deploys = f"{done} of {requested} deploys done" if requested else "No deploy"
    forced = summary.get("forced_reconnects")
    if forced is None:
        return f"{deploys}; the record's level does not tell how many users were cut off."
    if forced == 0:
        return f"{deploys}; nobody was disconnected."
    ratio = summary.get("forced_reconnects_per_client_deploy")
    each = (
        f", {written(LABELS['forced_reconnects_per_client_deploy'], ratio)} per client and deploy"
        if ratio
        else ""
    )
    peak = summary.get("peak_reconnects_per_s")
    storm = f"; {peak:,} reconnect attempts in the busiest second" if peak is not None else ""
    connections = "connection" if forced == 1 else "connections"
    return f"{deploys}; {forced:,} {connections} cut{each}{storm}."


def _length(seconds: float) -> str:
    unit_s, unit = time_unit(seconds)
    return f"{seconds / unit_s:.3g} {unit}"


def _notes(record: Record) -> list[str]:
    notes = [str(note) for note in record.run.get("notes", ())]
    if record.run.get("interrupted"):
        notes.insert(0, "The run was interrupted; this is what was measured until then.")
    return notes


def _log(record: Record, name: str) -> list[dict[str, Any]]:
    """The log's rows with their times written; of a long one the first and the last."""
    table, duration_s = record.tables[name], duration_of(record)
    if table.height > ROWS:
        table = pl.concat([table.head(ROWS // 2), table.tail(ROWS // 2)])
    return [{**row, "t": clock(row["t_s"], duration_s)} for row in table.iter_rows(named=True)]


def _deploy_row(row: Mapping[str, Any], record: Record) -> dict[str, Any]:
    duration_s = duration_of(record)
    outcome = row["outcome"] or "under way at the end"
    reason = f": {row['reason']}" if row["reason"] and row["outcome"] != "done" else ""
    return {
        **row,
        **{name: clock(row[f"t_{name}_s"], duration_s) for name in ("requested", "selected", "drained", "deleted")},
        "outcome": outcome + reason,
    }  # fmt: skip
