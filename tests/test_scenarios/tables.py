"""Small tables made by hand, for metrics whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from scenarios.record import EXTRA, TABLES, Record, kept, record_of, series_of
from scenarios.spec import spec_of

Row = dict[str, Any]
OLD, NEW = "aaaaaa", "bbbbbb"


def table(name: str, rows: Sequence[Row]) -> pl.DataFrame:
    schema = {**TABLES[name], **EXTRA.get(name, {})}
    return pl.DataFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def online(user: str, from_s: float, to_s: float | None, closed_by: str = "user", **more: Any) -> Row:
    """A connection that opened and logged in at once."""
    row: Row = {"user": user, "attempt": 1, "reason": "arrival", "t_request_s": from_s, "t_open_s": from_s}
    row |= {"t_ready_s": from_s, "t_close_s": to_s, "closed_by": "run_end" if to_s is None else closed_by}
    return {**row, "release": OLD, "pod": "old-1", "messages_sent": 0, "messages_lost": 0, **more}


def back(user: str, from_s: float, to_s: float | None = None, closed_by: str = "user", **more: Any) -> Row:
    return online(
        user, from_s, to_s, closed_by, **{"reason": "reconnect", "release": NEW, "pod": "new-1", **more}
    )


def failed(user: str, from_s: float, to_s: float, reason: str = "reconnect", **more: Any) -> Row:
    row: Row = {"user": user, "attempt": 1, "reason": reason, "t_request_s": from_s, "t_close_s": to_s}
    return {
        **row,
        "closed_by": "never_opened",
        "failure": "refused",
        "messages_sent": 0,
        "messages_lost": 0,
        **more,
    }


def pod(name: str, created_s: float, gone_s: float | None = None, **more: Any) -> Row:
    release = NEW if name.startswith("new") else OLD
    row: Row = {
        "pod": name,
        "release": release,
        "deployment": f"chat-{release}",
        "node": "n1",
        "t_created_s": created_s,
    }
    row |= {
        "t_scheduled_s": created_s,
        "t_ready_s": created_s + 1,
        "t_terminating_s": gone_s,
        "t_gone_s": gone_s,
    }
    return {**row, **more}


INITIAL: Row = {
    "deploy": 0,
    "release": OLD,
    "kind": "initial",
    "t_requested_s": -9.0,
    "t_selected_s": -5.0,
    "outcome": "done",
}


def deploy(number: int, release: str, requested_s: float, selected_s: float | None, **more: Any) -> Row:
    row: Row = {"deploy": number, "release": release, "kind": "deploy", "t_requested_s": requested_s}
    return {
        **row,
        "t_selected_s": selected_s,
        "waited_s": 0.0,
        "outcome": "done" if selected_s else None,
        **more,
    }


def record(
    level: str = "full", strategy: str = "rainbow", spec: Row | None = None, **rows: Sequence[Row]
) -> Record:
    data: Row = {
        "name": "by-hand",
        "duration": "100s",
        "users": {"count": 3, "session": "forever"},
        "record": level,
    }
    whole = spec_of({**data, "fleet": {"replicas": 1}, **(spec or {})})
    tables = {name: table(name, given) for name, given in rows.items()}
    tables.setdefault("deploys", table("deploys", [INITIAL]))
    full = tables.get("connections", table("connections", []))
    tables["series"] = series_of(full, whole.duration)
    tables["connections"] = kept(full, whole.record)
    return record_of({"spec": whole.data(), "strategy": strategy, "world": "sim"}, tables)


def samples(*rows: tuple[float, str, int | None]) -> list[Row]:
    return [{"t_s": t_s, "pod": name, "open_connections": count} for t_s, name, count in rows]
