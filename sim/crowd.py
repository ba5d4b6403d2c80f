"""What the world asks of its users, however they are simulated: one by one (`oracle`) or all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

import simpy

from deployer.fleet import Count, Release
from loadgen.behaviour.attempts import Attempt


class Cut(StrEnum):
    """How a whole pod's connections end at once."""

    SERVER = "server"  # the server closes each with 1012
    POD_GONE = "pod_gone"  # the process dies, the kernel resets what it held


class Crowd(Protocol):
    """The users, their connections, and the queues that their logins stand in.

    The world owns the pods and says which of them listen and are routed to; the crowd owns every
    connection from the first SYN to the close.
    """

    @property
    def online(self) -> simpy.Event:
        """Happens when the fixed population is logged in; at once where there is none."""
        ...

    def start(self) -> None:
        """The first users come, at the ramp's rate."""
        ...

    def zero(self) -> None:
        """Now is time zero: the population's residual lives, or the arrivals, run from here."""
        ...

    def route(self, backends: tuple[str, ...]) -> None:
        """New connections go to a random one of these from now on, and are refused where there is none."""
        ...

    def listen(self, pod: str, release: Release, emptied: Callable[[], None]) -> None:
        """A pod's server accepts from now on; `emptied` is called whenever its last connection has left."""
        ...

    def stop_listening(self, pod: str) -> None:
        """A pod's server refuses new connections from now on, those that wait in its backlog too."""
        ...

    def cut(self, pod: str, how: Cut) -> None:
        """All of a pod's connections end now, those that are not logged in yet too; it listens no more."""
        ...

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        """A pod asks its clients to leave, oldest first: one now, the next 1/per_s later … until all have.

        Without `newcomers` only those are asked who are connected now. A new rate replaces the old one.
        """
        ...

    def count(self, pod: str) -> Count:
        """What a pod's server would say of itself now."""
        ...

    def end(self) -> Sequence[Attempt]:
        """The run is over: all attempts in order of request, open ones censored; Unix seconds."""
        ...
