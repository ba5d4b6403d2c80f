"""Real users outside this process: started, told when time zero is, and asked for what they logged."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, Team, to_json
from loadgen.connection_log import read_log
from scenarios.housekeeping import MARK
from scenarios.processes import Child
from scenarios.worlds import Event, Front

PASSWORD = "chat"
DOMAIN = "chat.local"


class Load(ABC):
    """The users of one run. Their life: start → zero → stop → rows; `stop` is safe at any moment, and twice."""

    def __init__(self, behaviour: Behaviour, seed: int, folder: Path) -> None:
        """`folder` gets its configuration, its log and the log of connections."""
        self._behaviour, self._seed, self._folder = behaviour, seed, folder

    @property
    def population(self) -> int:
        """How many users there are at once; 0 where they arrive by a process."""
        population = self._behaviour.population
        return population.count if isinstance(population, Fixed) else 0

    @property
    def ramp_s(self) -> float:
        """How long the first logins take at the least."""
        return self.population / self._behaviour.ramp_per_s

    @property
    def log(self) -> Path:
        """What it had to say."""
        return self._folder / "load.log"

    @property
    def events(self) -> Sequence[Event]:
        """What happened to it by itself."""
        return ()

    @property
    def notes(self) -> Sequence[str]:
        """What one has to know of its rows, once it has stopped."""
        return ()

    @property
    @abstractmethod
    def latest(self) -> Mapping[str, Any]:
        """The newest progress it told."""

    @property
    @abstractmethod
    def all_online(self) -> bool:
        """The whole fixed population is logged in; at once where there is none."""

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it runs, or before it was started."""

    @abstractmethod
    def start(self, front: Front) -> None:
        """Start the users; they come online at the ramp's rate."""

    @abstractmethod
    def zero(self, zero_s: float) -> float | None:
        """Tell the users when time zero is, in Unix seconds; returns when it is, None where they cannot be told now.

        It may be earlier than this: when they were told before and nobody heard that they were.
        """

    @abstractmethod
    def read(self) -> None:
        """Take in what it has told since the last time."""

    @abstractmethod
    def stop(self, patience_s: float = 20.0) -> None:
        """The run is over for the users: they note what is still open, and end."""

    @abstractmethod
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Every attempt as table `connections` has it, times in Unix seconds."""

    @abstractmethod
    def last_words(self) -> str:
        """Why it ended, as far as it said."""

    def _config(self, front: Front, connections: str, team: Team | None = None) -> LoadConfig:
        return LoadConfig(
            url=f"ws://{front.host}:{front.port}/xmpp-websocket",
            behaviour=self._behaviour,
            seed=self._seed,
            connections=connections,
            domain=DOMAIN,
            password=PASSWORD,
            team=team,
        )


class HostLoad(Load):
    """On Locust in one process of this machine."""

    def __init__(self, behaviour: Behaviour, seed: int, folder: Path) -> None:
        super().__init__(behaviour, seed, folder)
        self._child: Child | None = None
        self._latest: dict[str, Any] = {}
        self._all_online = False

    @property
    def latest(self) -> Mapping[str, Any]:
        """As in Load."""
        return self._latest

    @property
    def all_online(self) -> bool:
        """As in Load."""
        self.read()
        return self._all_online

    @property
    def exit_code(self) -> int | None:
        """As in Load."""
        return self._child.exit_code if self._child else None

    def start(self, front: Front) -> None:
        """As in Load."""
        path = self._folder / "load.json"
        path.write_bytes(to_json(self._config(front, str(self._connections))))
        command = [sys.executable, "-m", "loadgen", str(path)]
        self._child = Child("load", command, self.log, {MARK: str(self._folder)})

    def zero(self, zero_s: float) -> float | None:
        """As in Load."""
        assert self._child is not None
        self._child.send({"zero_s": zero_s})
        return zero_s

    def read(self) -> None:
        """As in Load."""
        while self._child is not None and (told := self._child.next_document(0.0)) is not None:
            if told.get("event") == "progress":
                self._latest = told
            elif told.get("event") == "all_online":
                self._all_online = True

    def stop(self, patience_s: float = 20.0) -> None:
        """As in Load."""
        if self._child is None:
            return
        self._child.send({"stop": True})
        self._child.wait(patience_s)
        self._child.stop()

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """As in Load."""
        return (
            [asdict(attempt) for attempt in read_log(self._connections)] if self._connections.exists() else []
        )

    def last_words(self) -> str:
        """As in Load: the last line of its log."""
        return self._child.last_words() if self._child else "(it was not started)"

    @property
    def _connections(self) -> Path:
        return self._folder / "connections.jsonl"
