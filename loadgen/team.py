"""Users spread over many processes by Locust's own master and workers, each worker with its share of the places.

The master is told what to do over HTTP and passes it on; the workers tell it twice a second how their users
are. Orders are repeated to a worker until what it tells shows that it has them. Each worker keeps the log of its
own connections and is asked for it at the end.

* master: GET /state; POST /zero?at=UNIX_S, with for_s=SECONDS where they are to end by themselves so long after;
  POST /end. Time zero is said once: who asks again is told when it is. One that comes long after its own moment,
  kept back on the way, is refused
* worker: GET /state, with `rows`: how many its log has; GET /log?from=BYTE, compressed parts of it
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event as Signal
from locust import runners
from locust.env import Environment

from loadgen.behaviour.arrivals import Fixed
from loadgen.config import LoadConfig, LoadError, Team, part_of
from loadgen.control import Answer, Query, as_json, chunk_of, serve
from loadgen.load import ChatLoad, ChatUser
from loadgen.news import News, Orders, read_news, together
from loadgen.places import Users
from loadgen.reaching import reach_master

_ORDERS, _NEWS = "chat_orders", "chat_news"  # Locust's messages of ours: from the master, and to it
_MISSING_AFTER = 60
"""Heartbeats, one a second: a worker on a busy node is not given up by Locust, which would stop the rest."""
_LOOK_EVERY_S = 0.1
_TOO_LATE_S = 5.0
"""Whoever says a time zero has long given up waiting for the answer when it comes so late: users that took it
would do at once all that lies between."""


def run_master(config: LoadConfig) -> int:
    """Lead the workers until SIGTERM or SIGINT; the exit code. Raises LoadError."""
    return _Master(config, _team(config)).run()


def run_worker(config: LoadConfig, index: int) -> int:
    """Drive a share of the users until told to end, then give out the log until SIGTERM or SIGINT.

    Returns the exit code. Raises LoadError.
    """
    return _Worker(config, _team(config), index).run()


class _Master:
    def __init__(self, config: LoadConfig, team: Team) -> None:
        self._config, self._team = config, team
        self._orders = Orders()
        self._news: dict[int, News] = {}

    def run(self) -> int:
        stop = _stop_on_signals()
        runners.HEARTBEAT_LIVENESS = _MISSING_AFTER
        environment: Any = Environment(user_classes=[ChatUser])
        runner = environment.create_master_runner("*", self._team.port)
        runner.register_message(_NEWS, self._heard)
        self._runner = runner
        answers = {"GET /state": self._state, "POST /zero": self._zero, "POST /end": self._end}
        server = _serve(self._team, answers)
        while len(runner.clients.ready) < self._team.workers and not stop.is_set():
            stop.wait(_LOOK_EVERY_S)
        if not stop.is_set():
            population = self._config.behaviour.population
            # of arrivals, one user of each worker stands for its part of them
            users = population.count if isinstance(population, Fixed) else 0
            users = max(users, self._team.workers)
            gevent.spawn(runner.start, users, spawn_rate=users)
        stop.wait()
        server.stop(timeout=1)
        _leave(runner, runner.server)
        return 0

    def _heard(self, msg: Any, **_: Any) -> None:
        index, news = read_news(msg.data)
        self._news[index] = news
        if news.orders != self._orders:
            self._runner.send_message(_ORDERS, asdict(self._orders), client_id=msg.node_id)

    def _give(self, orders: Orders) -> None:
        self._orders = orders
        self._runner.send_message(_ORDERS, asdict(orders))

    def _state(self, _: Query) -> bytes:
        return as_json(asdict(together(self._news, self._team.workers)))

    def _zero(self, query: Query) -> bytes:
        zero_s = float(query.get("at", ""))
        until_s = zero_s + float(query["for_s"]) if "for_s" in query else None
        if self._orders.zero_s is None:
            if (late_s := time.time() - zero_s) > _TOO_LATE_S:
                raise ValueError(f"at={zero_s:.3f} is {late_s:.1f} s ago, more than {_TOO_LATE_S:g} s")
            self._give(replace(self._orders, zero_s=zero_s, until_s=until_s))
        return as_json({"zero_s": self._orders.zero_s})

    def _end(self, _: Query) -> bytes:
        self._give(replace(self._orders, end=True))
        return b""


class _Worker:
    def __init__(self, config: LoadConfig, team: Team, index: int) -> None:
        try:
            share = part_of(config.behaviour, index, team.workers)
        except ValueError as error:
            raise LoadError(str(error)) from None
        self._config, self._team, self._index = replace(config, share=share), team, index
        self._orders = Orders()
        self._users: Users | None = None
        self._has_zero = self._ended = False
        self._warnings: list[str] = []

    def run(self) -> int:
        environment: Any = Environment(user_classes=[ChatUser])
        self._load = environment.chat_load = ChatLoad(environment, self._config, resized=False)
        log = Path(self._config.connections)
        answers = {"GET /state": self._state, "GET /log": lambda query: chunk_of(log, query)}
        server = _serve(self._team, answers)
        reach_master(self._team)
        try:
            runner = environment.create_worker_runner(self._team.master, self._team.port)
        except ConnectionError:
            raise LoadError(f"no master answers on {self._team.master}:{self._team.port}") from None
        stop = _stop_on_signals()
        runner.register_message(_ORDERS, self._told)
        next_s = time.monotonic()
        while not stop.is_set():
            self._follow()
            if time.monotonic() >= next_s:
                next_s = max(next_s + self._config.progress_s, time.monotonic())
                runner.send_message(_NEWS, {"index": self._index, **asdict(self._news())})
            stop.wait(_LOOK_EVERY_S)
        self._end()
        server.stop(timeout=1)
        _leave(runner, runner.client)
        return 0

    def _told(self, msg: Any, **_: Any) -> None:
        self._orders = Orders(**msg.data)

    def _follow(self) -> None:
        """Do what is ordered. Raises what the users failed on."""
        users = self._users = self._users or self._load.users
        if users is not None:
            if users.failed is not None:
                raise users.failed
            while users.warnings:
                self._warnings.append(users.warnings.popleft())
            if self._orders.zero_s is not None and not self._has_zero:
                self._has_zero = True
                users.zero(self._orders.zero_s)
        until_s = self._orders.until_s
        over = self._orders.end or (until_s is not None and time.time() >= until_s)
        if over and not self._ended:
            self._end()

    def _end(self) -> None:
        self._load.end()
        self._ended = True

    def _news(self) -> News:
        users = self._users
        return News(
            orders=replace(self._orders, zero_s=self._orders.zero_s if self._has_zero else None),
            all_online=users is not None and users.crowd.all_online,
            tally=None if users is None else users.crowd.tally(),
            warnings=tuple(self._warnings),
        )

    def _state(self, _: Query) -> bytes:
        return as_json({"ended": self._ended, "rows": self._load.rows})


def _team(config: LoadConfig) -> Team:
    if config.team is None:
        raise LoadError("the config has no team; give one with the number of its workers")
    # Locust warns of a high spawn rate, which is not our ramp.
    logging.getLogger("locust").setLevel(logging.ERROR)
    return config.team


def _serve(team: Team, answers: Mapping[str, Answer]) -> Any:
    try:
        return serve(team.control_port, answers)
    except OSError as error:
        raise LoadError(f"control_port={team.control_port} cannot be served: {error.strerror}") from error


def _leave(runner: Any, socket: Any) -> None:
    """End Locust's part at once: what the other side has not taken by now must not keep this process."""
    runner.greenlet.kill(block=True)
    socket.close(linger=0)


def _stop_on_signals() -> Any:
    stop = Signal()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    return stop
