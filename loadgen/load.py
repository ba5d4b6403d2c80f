"""Real users as Locust users: Locust starts, stops and counts them, their behaviour paces them.

One Locust user is one place in the population. All are spawned at once; the ramp starts when the last one is,
each place with its own slot, because Locust itself starts each second's users in one burst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event as Signal
from locust import User, task
from locust.exception import LocustError

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.crowd import Crowd, Share
from loadgen.config import LoadConfig, LoadError, expected_users, reserve_files, server
from loadgen.connection_log import ConnectionLog
from loadgen.places import Users

_REPORT_EVERY_S = 0.2


class ChatLoad:
    """The real users of one Locust environment, whose `chat_load` it has to be.

    `users` is None before the last Locust user is spawned and a `Users` from then on. With `resized`, a fixed
    population is as large as Locust's number of users, and grows and shrinks with it.
    """

    def __init__(
        self,
        environment: Any,
        config: LoadConfig,
        *,
        resized: bool,
        started: Callable[[Users], None] = lambda users: None,
    ) -> None:
        """Raises LoadError: too few open files, an unknown server, a log that cannot be written."""
        self.users: Users | None = None
        self._environment, self._config, self._resized, self._started = environment, config, resized, started
        self._uri = server(config.url)
        self._pending: deque[tuple[str, str, float, str | None]] = deque()
        if not resized:
            reserve_files(expected_users(config.behaviour, config.share))
        try:
            self._log: ConnectionLog = ConnectionLog(Path(config.connections))
        except OSError as error:
            raise LoadError(
                f"the connection log {config.connections} cannot be written: {error.strerror}"
            ) from error
        environment.events.spawning_complete.add_listener(self._spawned)
        environment.events.test_stopping.add_listener(self._stopping)
        self._reporter = gevent.spawn(self._report_for_ever)

    @property
    def rows(self) -> int:
        """How many the connection log has of this process."""
        return self._log.rows

    def join(self, locust_user: ChatUser) -> None:
        """One more Locust user: after the start of the ramp, one more place if the population is resized."""
        if self._resized and self.users is not None and self._has_fixed_size:
            locust_user.place = self.users.add()

    def part(self, locust_user: ChatUser) -> None:
        """A Locust user was stopped: its place goes with it."""
        if self._resized and self.users is not None and locust_user.place is not None:
            self.users.remove(locust_user.place)

    def end(self) -> None:
        """Write what is left to write; idempotent."""
        if self.users is not None:
            self.users.end()
        self._log.flush()
        self._report()

    @property
    def _has_fixed_size(self) -> bool:
        return isinstance(self._config.behaviour.population, Fixed)

    def _spawned(self, user_count: int, **_: Any) -> None:
        if self.users is not None:
            return
        behaviour, share = self._config.behaviour, self._config.share
        if self._resized and self._has_fixed_size:
            behaviour, share = (
                replace(behaviour, population=Fixed(user_count)),
                Share(0, user_count, user_count),
            )
            reserve_files(user_count)
            for place, locust_user in enumerate(self._locust_users()):
                locust_user.place = place
        self.users = Users(
            Crowd(behaviour, self._config.seed, share),
            self._uri,
            self._log,
            domain=self._config.domain,
            password=self._config.password,
            report=lambda *request: self._pending.append(request),
        )
        self._started(self.users)
        self.users.start()

    def _locust_users(self) -> list[ChatUser]:
        runner = self._environment.runner
        assert runner is not None
        return [greenlet.args[0] for greenlet in runner.user_greenlets]

    def _stopping(self, **_: Any) -> None:
        self.end()
        self.users = None  # a test that is started again starts with new users

    def _report_for_ever(self) -> None:
        while True:
            gevent.sleep(_REPORT_EVERY_S)
            self._report()

    def _report(self) -> None:
        """Tell Locust's listeners, from a greenlet, where they may block, not from the loop's callbacks."""
        while self._pending:
            kind, name, seconds, wrong = self._pending.popleft()
            self._environment.events.request.fire(
                request_type=kind,
                name=name,
                response_time=max(seconds, 0.0) * 1000,
                response_length=0,
                exception=None if wrong is None else LocustError(wrong),
                context={},
            )


class ChatUser(User):
    """One place in the population; all it does is be there until Locust stops it."""

    place: int | None = None

    @task
    def be_there(self) -> None:
        """Join, and wait to be stopped."""
        load: ChatLoad = self.environment.chat_load
        load.join(self)
        try:
            Signal().wait()
        finally:
            load.part(self)
