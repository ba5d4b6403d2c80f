"""A worker's way to its master, before Locust's own connection goes it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from loadgen.config import LoadError, Team

WITHIN_S = 300.0
_TRY_S = 2.0
_PAUSE_S = 0.1

Connect = Callable[[tuple[str, int], float], socket.socket]
"""As socket.create_connection: to an address, within so many seconds. Raises OSError."""


def reach_master(team: Team, within_s: float = WITHIN_S, connect: Connect = socket.create_connection) -> None:
    """Return once the master takes a connection from here. Raises LoadError where it takes none in time.

    Locust begins one connection and waits for it as long as the kernel does. One that was begun before the node
    knew the master's Service leads nowhere for its whole life, 130 s and more: connection tracking keeps to where
    its first packet went. A new one gets through.
    """
    until_s = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError):
            connect((team.master, team.port), _TRY_S).close()
            return
        if time.monotonic() >= until_s:
            raise LoadError(
                f"no master answers on {team.master}:{team.port} (tried for {within_s:g} s); see why the load's "
                "master does not start, or whether something keeps this pod from it"
            )
        time.sleep(_PAUSE_S)
