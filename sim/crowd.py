"""What the world asks of its users, however they are simulated: one by one (`oracle`) or all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import simpy

from deployer.fleet import Count, Release
from loadgen.behaviour.attempts import Attempt

if TYPE_CHECKING:
    import polars as pl  # what a run of the oracle alone does without


class Cut(StrEnum):
    """How a whole pod's connections end at once."""

    SERVER = "server"  # the server closes each with 1012
    POD_GONE = "pod_gone"  # the process dies, the kernel resets what it held
    BACKEND = "backend"  # the server lost the backend, and closes each with 1011


@dataclass(frozen=True, slots=True)
class Log:
    """What a crowd remembers of a run.

    Either attempts in order of request, with Unix times, or the table `connections` with times since time
    zero. `series` is None where it is to be counted from them.
    """

    connections: Sequence[Attempt] | pl.DataFrame
    series: pl.DataFrame | None = None


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

    def watch(self, pod: str) -> None:
        """From now on `emptied` has to be called in time; before, it may be left out."""
        ...

    def stop_listening(self, pod: str) -> None:
        """A pod's server refuses new connections from now on, those that wait in its backlog too."""
        ...

    def cut(self, pod: str, how: Cut) -> None:
        """All of a pod's connections end now, those that are not logged in yet too; it listens no more."""
        ...

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        """A pod asks its clients to leave, oldest first: one now, the next 1/per_s later … until all have.

        Without `newcomers` only those are asked who are connected now. A new rate replaces the old one, and
        0 ends the asking.
        """
        ...

    def lose_backend(self, until_s: float) -> None:
        """The backend is away up to this moment: servers close all connections, and each that wants in."""
        ...

    def freeze(self, pod: str, until_s: float) -> None:
        """A pod stands still up to this moment: the kernel still accepts for it, but nobody answers.

        Its clients find out one by one, each at its next sign of life, and come back elsewhere.
        """
        ...

    def count(self, pod: str) -> Count:
        """What a pod's server would say of itself now."""
        ...

    def counts(self, pods: Sequence[str]) -> Sequence[Count]:
        """As `count`, of many."""
        ...

    def open_connections(self, pods: Sequence[str]) -> Sequence[int]:
        """How many connections each of these has now."""
        ...

    def ahead(self, until_s: float) -> float | None:
        """The world's next event is at this moment: a crowd that keeps its own events lives up to it.

        It returns the moment, this one at the latest, at which `tell` is to be called, and has stopped
        there; None: there is nothing to tell.
        """
        ...

    def tell(self) -> None:
        """The moment that `ahead` gave has come: the crowd calls `emptied`, or `online` happens."""
        ...

    def end(self) -> Log:
        """The run is over; what is open is censored."""
        ...
