"""The connection log's rows: one a connection attempt, the same in every world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a user tried to connect."""

    ARRIVAL = "arrival"  # no connection of this user ever opened
    RECONNECT = "reconnect"  # one did, and was lost; retries too


class ClosedBy(StrEnum):
    """Who ended a connection."""

    USER = "user"
    SERVER = "server"  # it said so: a websocket close frame, `<close/>` or a stream error
    POD_GONE = "pod_gone"  # its pod ended without a word
    NETWORK = "network"  # end of file, reset or silence without a word, whatever the cause
    NEVER_OPENED = "never_opened"
    RUN_END = "run_end"  # still open, or still trying, when the run ended


class Failure(StrEnum):
    """How far an attempt came that never logged in."""

    REFUSED = "refused"  # TCP said no
    CONNECT_TIMEOUT = "connect_timeout"  # TCP said nothing
    HANDSHAKE = "handshake"  # TCP connected, the websocket did not open
    LOGIN = "login"  # the websocket opened, the user was not let in


class How(StrEnum):
    """What was seen of a connection's end on the wire."""

    CLOSE_FRAME = "close_frame"  # a websocket close frame, `<close/>` or a stream error
    EOF = "eof"
    RESET = "reset"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to connect and what came of it; times in seconds on the world's clock.

    `t_close_s` is also when an attempt failed that never opened, and None if the run ended first.
    """

    user: str
    attempt: int  # 1 for the user's first, counting up over its whole session
    reason: Reason
    t_request_s: float  # the moment at which the user wanted it
    t_open_s: float | None  # websocket handshake finished
    t_ready_s: float | None  # logged in
    t_close_s: float | None
    release: str | None  # of the pod that served it; None if it never opened
    pod: str | None
    closed_by: ClosedBy
    failure: Failure | None  # None if it logged in, or if the user or the run ended it first
    close_code: int | None  # RFC 6455; None if no close frame was seen
    messages_sent: int
    messages_lost: int
    how: How | None = None  # None if the client closed it, or TCP refused it
    t_end_s: float | None = None  # when the user's session ends; None: never, or before time zero was known
    gave_up: bool = False  # the last attempt that the reconnect policy allowed

    @property
    def forced(self) -> bool:
        """It had opened, and someone else than the user closed it."""
        return self.t_open_s is not None and self.closed_by in _FORCED


_FORCED = frozenset({ClosedBy.SERVER, ClosedBy.POD_GONE, ClosedBy.NETWORK})
