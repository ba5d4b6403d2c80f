"""The record's tables: every column with its type and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    type: pl.DataType
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what a row is, its columns in order, and those that a world may add."""

    row: str
    columns: Mapping[str, Column]
    extra: Mapping[str, Column] = field(default_factory=dict)


def _text(meaning: str) -> Column:
    return Column(pl.String(), meaning)


def _time(meaning: str) -> Column:
    return Column(pl.Float64(), meaning)


def _count(meaning: str) -> Column:
    return Column(pl.Int64(), meaning)


MEANINGS: Mapping[str, Table] = {
    "connections": Table(
        "an attempt to connect",
        {
            "user": _text("who; `u<place>-<occupant>` in a fixed population"),
            "attempt": _count("of this user, in order"),
            "reason": _text("arrival or reconnect"),
            "t_request_s": _time("the client began to connect"),
            "t_open_s": _time("the websocket handshake finished; TCP alone is not open"),
            "t_ready_s": _time("logged in"),
            "t_close_s": _time("closed; null: still open at the end (censored)"),
            "release": _text("of the pod; null: never reached one"),
            "pod": _text("that served it; null: never reached one"),
            "closed_by": _text("user, server, pod_gone, network, never_opened or run_end"),
            "failure": _text("refused, connect_timeout, handshake or login; null: none"),
            "close_code": _count("of the websocket's close frame (RFC 6455); null: there was none"),
            "messages_sent": _count("by this user over this connection"),
            "messages_lost": _count("sent to a user online, and not received because a connection was cut"),
        },
        {
            "how": _text("it ended as the socket told it: close_frame, eof, reset or timeout"),
            "t_end_s": _time("this user's wish to be online ends; null: never"),
            "gave_up": Column(pl.Boolean(), "whether the reconnect policy allowed no further attempt"),
        },
    ),
    "pods": Table(
        "a pod",
        {
            "pod": _text("its name"),
            "release": _text("of its template"),
            "deployment": _text("that it belongs to"),
            "node": _text("that it runs on; null: none yet"),
            "t_created_s": _time("created"),
            "t_ready_s": _time("ready for the first time"),
            "t_terminating_s": _time("told to go"),
            "t_gone_s": _time("gone; null: still there at the end"),
            "why": _text("it ended: deploy 2, scale-down deploy 2, fault kill_pod, end; null: it did not"),
        },
        {"t_scheduled_s": _time("got its node")},
    ),
    "deploys": Table(
        "a request for a release; the initial one is number 0",
        {
            "deploy": _count("its number, in the order of the requests"),
            "release": _text("that was asked for"),
            "kind": _text("initial, deploy or rollback"),
            "t_requested_s": _time("asked for"),
            "t_selected_s": _time(
                "the Service selects it and all its pods are ready; with one Deployment: the roll-out is complete"
            ),
            "waited_s": _time("how long it waited before it began"),
            "t_drained_s": _time("the release that it replaced was drained"),
            "t_deleted_s": _time("the release that it replaced was gone"),
            "outcome": _text("done, refused, blocked, superseded or failed; null: under way at the end"),
            "reason": _text("of the outcome"),
        },
    ),
    "samples": Table(
        "what a pod said when it was asked for its connections",
        {
            "t_s": _time("when"),
            "pod": _text("who"),
            "open_connections": _count("accepted, logged in or not; null: it could not be asked"),
        },
    ),
    "actions": Table(
        "something that the deployer did",
        {"t_s": _time("when"), "action": _text("what"), "reason": _text("why")},
    ),
    "verdicts": Table(
        "a verdict on an old release, when it changed",
        {
            "t_s": _time("when"),
            "release": _text("that it is about"),
            "decision": _text("keep, drained, overdue or unknown"),
            "reason": _text("in a sentence"),
            "evidence": _text("the numbers behind it, as JSON"),
        },
    ),
    "events": Table(
        "a fault or what came of one, and the run's start and end",
        {
            "t_s": _time("when"),
            "kind": _text("start, end, interrupted, or which fault"),
            "target": _text("the pod or node"),
        },
    ),
    "series": Table(
        "a second and a release; one in which a release has nothing is left out",
        {
            "t_s": _time("the second's start"),
            "release": _text("null: attempts that never reached a pod"),
            "open": _count("connections open at its start"),
            "arrivals": _count("first attempts"),
            "reconnect_requests": _count("attempts to come back, retries too"),
            "logins": _count("logged in"),
            "user_closes": _count("closed by their users"),
            "forced_closes": _count("opened, and closed by server, pod_gone or network"),
        },
    ),
}
