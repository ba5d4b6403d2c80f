"""A run's deployer as a process: killed by a fault or dead by itself, it is started again and that is noted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from deployer.process import Config
from scenarios.processes import Child
from scenarios.worlds import Event

RESTART_S = 1.0
"""After so long a deployer that died by itself is started again."""


class Deployer:
    """`python -m deployer` with its configuration in `folder` and its log in `folder/logs`; all times are Unix time."""

    def __init__(self, folder: Path, mark: Mapping[str, str]) -> None:
        self._config = folder / "deployer.json"
        self._log = folder / "logs" / "deployer.log"
        self._mark = dict(mark)
        self._child: Child | None = None
        self._restart_s: float | None = None  # when it is started again, while that is planned

    def start(self, config: Config) -> None:
        """Write down its configuration, from which every start is made, and start it."""
        self._config.write_bytes(config.to_json())
        self._child = self._started()

    def kill(self, until_s: float) -> None:
        """SIGKILL; `supervise` starts it again from `until_s` on."""
        assert self._child is not None
        self._child.kill()
        self._restart_s = until_s

    def supervise(self, now_s: float) -> list[Event]:
        """Start it again where that is due; what happened to it since the last call."""
        assert self._child is not None
        if self._child.exit_code is None:
            return []
        events = []
        if self._restart_s is None:
            events.append(Event(now_s, "deployer_died", f"exit code {self._child.exit_code}"))
            self._restart_s = now_s + RESTART_S
        if now_s >= self._restart_s:
            self._restart_s = None
            self._child.stop()  # it has ended; its pipes have not
            self._child = self._started()
            events.append(Event(now_s, "deployer_started", ""))
        return events

    def stop(self) -> None:
        """End it, for good; safe where it was never started, and twice."""
        if self._child is not None:
            self._child.stop()

    def _started(self) -> Child:
        return Child("deployer", [sys.executable, "-m", "deployer", str(self._config)], self._log, self._mark)
