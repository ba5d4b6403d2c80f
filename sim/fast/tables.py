"""From the event loop's rows and counters to the record's tables, without an object a row."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from loadgen.behaviour.attempts import ClosedBy, Failure, Reason
from sim.fast.counted import something
from sim.fast.layout import (
    BACKEND,
    EOF,
    NETWORK,
    NO_CUT,
    POD_GONE,
    RESET,
    ROW,
    SERVER,
    SILENCE,
    Array,
)  # fmt: skip

DIGITS = 6
"""As in `sim.outcome`: whole microseconds."""
_REASONS = [Reason.ARRIVAL, Reason.RECONNECT]
_CLOSERS = [
    ClosedBy.USER, ClosedBy.SERVER, ClosedBy.POD_GONE, ClosedBy.NETWORK, ClosedBy.NEVER_OPENED, ClosedBy.RUN_END,
]  # fmt: skip
_FAILURES = [None, Failure.REFUSED, Failure.CONNECT_TIMEOUT, Failure.HANDSHAKE, Failure.LOGIN]
_HOW = {SERVER: "close_frame", EOF: "eof", RESET: "reset", NETWORK: "reset", POD_GONE: "reset",
    BACKEND: "close_frame", SILENCE: "timeout"}  # fmt: skip
_SERVICE_RESTART, _INTERNAL_ERROR = 1012, 1011
ROWS_AT_ONCE = 1 << 19
"""Room for so many rows is taken at a time: a few large pieces of memory, which the table then consists of.

So large that the kernel gives it out in huge pages: 4 KiB at a time would take as long as filling it.
"""
ROWS_A_BIN = 4
"""… or for so many releases at once, in a short run."""
_NUMBERS = ("open", "arrivals", "reconnect_requests", "logins", "user_closes", "forced_closes")


def connections(rows: Array, pods: Sequence[str], releases: Sequence[str], zero_s: float) -> pl.DataFrame:
    """Rows of table `connections`; `pods` and `releases` are the names by pod number. No messages: null."""
    return _connections(rows, pods, releases, zero_s) if len(rows) else _no_connections().clone()


@functools.cache
def _no_connections() -> pl.DataFrame:
    return _connections(np.zeros(0, ROW), [""], [""], 0.0)


def _connections(rows: Array, pods: Sequence[str], releases: Sequence[str], zero_s: float) -> pl.DataFrame:
    times = {
        name: pl.Series(np.round(rows[name] - zero_s, DIGITS)).fill_nan(None)
        for name in ("t_request_s", "t_open_s", "t_ready_s", "t_close_s", "t_end_s")
    }
    how = [_HOW.get(cut) for cut in range(SILENCE + 1)]
    timed_out = (rows["failure"] > 0) & (rows["cut"] == NO_CUT)
    frame = pl.DataFrame(
        {
            "place": rows["place"],
            "occupant": rows["occupant"],
            "attempt": rows["attempt"].astype(np.int64),
            "reason": _named(rows["reason"], [str(name) for name in _REASONS]),
            **times,
            "release": _named(rows["pod"], releases),
            "pod": _named(rows["pod"], pods),
            "closed_by": _named(rows["closed_by"], [str(name) for name in _CLOSERS]),
            "failure": _named(rows["failure"], [name and str(name) for name in _FAILURES]),
            "close_code": pl.Series(
                np.select(
                    [rows["cut"] == SERVER, rows["cut"] == BACKEND], [_SERVICE_RESTART, _INTERNAL_ERROR], 0
                )
            ).replace(0, None),
            "how": _named(rows["cut"], how).set(pl.Series(timed_out), "timeout"),
            "gave_up": rows["gave_up"].astype(bool),
        }
    )
    nothing = pl.lit(None, dtype=pl.Int64)
    return frame.select(
        pl.format("u{}-{}", "place", "occupant").alias("user"),
        *("attempt", "reason", "t_request_s", "t_open_s", "t_ready_s", "t_close_s", "release", "pod"),
        *("closed_by", "failure", "close_code"),
        nothing.alias("messages_sent"),
        nothing.alias("messages_lost"),
        *("how", "t_end_s", "gave_up"),
    )


def _named(numbers: Array, names: Sequence[str | None]) -> pl.Series:
    """Names by number; -1 is null."""
    at = np.where(numbers < 0, len(names), numbers).astype(np.int64)
    return pl.Series([*names, None], dtype=pl.String).gather(at)


def _room(size: int) -> tuple[Array, Array, Array]:
    """Columns for so many rows: times, releases and numbers, all in one piece."""
    raw = np.empty(size * (8 + 4 + 4 * len(_NUMBERS)), np.uint8)
    numbers = raw[12 * size :].view(np.int32).reshape(len(_NUMBERS), size)
    return raw[: 8 * size].view(np.float64), raw[8 * size : 12 * size].view(np.uint32), numbers


class Series:
    """The table `series`, made from one window of bins after the other."""

    def __init__(self, duration_s: float) -> None:
        self._bins = math.ceil(duration_s)
        self._rooms: list[tuple[Array, ...]] = []
        self._rows = 0  # in the last of them
        self._open = np.zeros(1, np.int64)  # by release, the first for none

    def begin(self, open_now: Array) -> None:
        """Time zero: so many connections are open of each release."""
        self._open = open_now.astype(np.int64)

    def add(self, first: int, bins: Array, done: int) -> None:
        """So many bins are done, the first of them `first`: release, bin, counter. The window moves on by those."""
        if len(self._open) < len(bins):
            self._open = np.concatenate((self._open, np.zeros(len(bins) - len(self._open), np.int64)))
        complete = max(min(done, self._bins - first), 0)
        cells = len(bins) * complete + 1  # what is nothing is overwritten, the last one too
        if not self._rooms or len(self._rooms[-1][0]) < self._rows + cells:
            self._close()
            self._rooms.append(_room(max(cells, min(ROWS_AT_ONCE, ROWS_A_BIN * self._bins))))
        flat = bins.reshape(len(bins), -1)
        self._rows = something(flat, first, done, complete, self._open, self._rows, *self._rooms[-1])

    def _close(self) -> None:
        """What has been filled of the last room is all that there will be in it."""
        if self._rooms:
            self._rooms[-1] = tuple(column[..., : self._rows] for column in self._rooms[-1])
        self._rows = 0

    def table(self, releases: Sequence[str]) -> pl.DataFrame:
        """All of it, with the releases' names; their order is that of their first pods."""
        self._close()
        names = pl.Series([None, *releases], dtype=pl.String)
        parts = [
            pl.DataFrame(
                [
                    pl.Series("t_s", times_s),
                    names.gather(pl.Series(of)).alias("release"),
                    *map(pl.Series, _NUMBERS, numbers),
                ]
            )
            for times_s, of, numbers in self._rooms
        ]
        return pl.concat(parts, rechunk=False) if parts else pl.DataFrame()
