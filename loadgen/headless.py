"""Real users under another program's control: Locust as a library, orders on stdin, news on stdout."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event as Signal
from gevent.socket import wait_read
from locust import html
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter, stats_history

from loadgen.behaviour.arrivals import Fixed
from loadgen.config import LoadConfig
from loadgen.load import ChatLoad, ChatUser

_STDIN, _STDOUT = 0, 1


class Channel:
    """Lines of JSON to whoever started us, and from it."""

    def __init__(self) -> None:
        self.broken = False
        """Nobody listens any more."""
        self._rest = b""

    def tell(self, event: str, **facts: object) -> None:
        """One event; dropped if nobody listens any more."""
        if self.broken:
            return
        line = memoryview((json.dumps({"event": event, **facts}) + "\n").encode())
        try:
            while line:
                line = line[os.write(_STDOUT, line) :]
        except BrokenPipeError:
            self.broken = True

    def orders(self) -> list[Mapping[str, Any]] | None:
        """Wait for orders; None at the end of file. What is no JSON object is answered with a warning."""
        wait_read(_STDIN)
        data = os.read(_STDIN, 65_536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Mapping[str, Any]] = []
        for line in filter(None, lines):
            try:
                order = json.loads(line)
            except ValueError:
                order = None
            if isinstance(order, dict):
                found.append(order)
            else:
                self.tell("warning", text=f"no order: {line[:80].decode(errors='replace')}")
        return found


class _Headless:
    def __init__(self, config: LoadConfig) -> None:
        self._config = config
        self._channel = Channel()
        self._stop = Signal()
        environment: Any = Environment(user_classes=[ChatUser])
        self._load = environment.chat_load = ChatLoad(environment, config, resized=False)
        self._environment = environment
        self._zero_s: float | None = None

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop.set)
        runner = self._environment.create_local_runner()
        population = self._config.behaviour.population
        share = self._config.share
        spawned = 1  # stands for all arrivals together
        if isinstance(population, Fixed):
            spawned = population.count if share is None else share.count
        helpers = [gevent.spawn(self._obey), gevent.spawn(stats_history, runner)]
        if self._config.csv_prefix is not None:
            writer = StatsCSVFileWriter(self._environment, PERCENTILES_TO_REPORT, self._config.csv_prefix)
            helpers.append(gevent.spawn(writer.stats_writer))
        runner.start(max(spawned, 1), spawn_rate=max(spawned, 1))
        self._tell_until_stopped()
        users = self._load.users
        self._load.end()
        runner.quit()
        if self._config.html is not None:
            report: str = html.get_html_report(self._environment)  # type: ignore[no-untyped-call]
            Path(self._config.html).write_text(report, encoding="utf-8")
        gevent.killall(helpers)
        if users is not None and users.failed is not None:
            raise users.failed
        self._channel.tell("done")
        return 0

    def _obey(self) -> None:
        while (orders := self._channel.orders()) is not None:
            for order in orders:
                if order.get("stop"):
                    self._stop.set()
                elif isinstance(order.get("zero_s"), int | float):
                    self._zero_at(float(order["zero_s"]))
                else:
                    self._channel.tell("warning", text=f"no order: {json.dumps(order)[:80]}")
        self._stop.set()

    def _zero_at(self, zero_s: float) -> None:
        users = self._load.users
        if users is None or self._zero_s is not None:
            self._channel.tell(
                "warning", text=f"time zero at {zero_s} was ignored: too early or not the first"
            )
            return
        self._zero_s = zero_s
        users.zero(zero_s)

    def _tell_until_stopped(self) -> None:
        was_all_online = False
        next_s = time.monotonic()
        while not (self._stop.is_set() or self._channel.broken):
            users = self._load.users
            if users is not None:
                if users.ended:
                    return
                while users.warnings:
                    self._channel.tell("warning", text=users.warnings.popleft())
                if not was_all_online and users.crowd.all_online:
                    was_all_online = True
                    self._channel.tell("all_online", t_s=time.time())
                if time.monotonic() >= next_s:
                    next_s = max(next_s + self._config.progress_s, time.monotonic())
                    self._channel.tell("progress", t_s=time.time(), **asdict(users.crowd.tally()))
            self._stop.wait(min(0.05, self._config.progress_s))


def run(config: LoadConfig) -> int:
    """Run real users until told to stop; returns the exit code. Raises LoadError."""
    # Locust warns of a high spawn rate, which is not our ramp.
    logging.getLogger("locust").setLevel(logging.ERROR)
    return _Headless(config).run()
