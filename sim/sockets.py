"""What the exact crowd keeps of a pod's server, of one connection, and of one user."""

from __future__ import annotations

import math
from collections.abc import Callable

from deployer.fleet import Count, Release
from loadgen.behaviour.attempts import ClosedBy, How
from loadgen.behaviour.place import Place
from sim.clock import Call
from sim.crowd import Cut
from sim.pods import Fifo

SERVICE_RESTART = 1012
"""The close code with which the server sends clients away."""
SILENT_PINGS = 3
"""A connection without traffic for so many ping intervals is silent; the chat server's default."""
TCP_GIVES_UP_S = 924.6
"""Linux resends an unanswered ping 15 times (tcp_retries2) before it ends the connection."""
INTERNAL_ERROR = 1011
"""The close code of a server that has lost the backend."""
ENDS = {
    Cut.SERVER: (ClosedBy.SERVER, How.CLOSE_FRAME, SERVICE_RESTART),
    Cut.POD_GONE: (ClosedBy.POD_GONE, How.RESET, None),
    Cut.BACKEND: (ClosedBy.SERVER, How.CLOSE_FRAME, INTERNAL_ERROR),
}


class Listener:
    """A pod's server as the crowd needs it."""

    def __init__(self, pod: str, release: Release, emptied: Callable[[], None]) -> None:
        self.pod, self.release, self.emptied = pod, release, emptied
        self.cpu = Fifo()
        self.listening = True
        self.not_accepted: dict[Connection, None] = {}  # the backlog
        self.open: dict[Connection, None] = {}  # accepted, in that order
        self.zombies: dict[Connection, float] = {}  # open, their clients gone without a word; since when
        self.frozen_until_s = -math.inf
        self.paces = 0  # how often a pace was set: an old one sees that it is over

    def count(self, silent_since_s: float) -> Count:
        """What it has accepted; silent are those whose clients were gone by then."""
        silent = sum(since_s < silent_since_s for since_s in self.zombies.values()) if self.zombies else 0
        return Count(len(self.open), silent)


class Connection:
    """One attempt, and the connection that it may become."""

    __slots__ = ("accepted_s", "cut_s", "left", "listener", "user")

    def __init__(self, user: User) -> None:
        self.user = user
        self.listener: Listener | None = None
        self.accepted_s = math.inf
        self.cut_s = math.inf  # when the server's side of it ended
        self.left = False  # the client's side has ended


class User:
    """A place, its timer and its present connection."""

    __slots__ = ("connection", "place", "timer", "timer_s")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.connection: Connection | None = None
        self.timer: Call | None = None
        self.timer_s = math.inf
