"""The way in: kube-proxy's table of backends, which follows the endpoints at its own pace."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from deployer.clusters.controlplane.endpoints import Endpoints, backends, next_sync_s
from sim.clock import Call

SAME_MOMENT_S = 1e-6
"""Unix times are held to about 0.2 µs; nothing in a model is closer together than this."""


class ServiceProxy:
    """Applies changed endpoints not before `latency_s`, and not more often than once a `period_s`.

    A period of 0 means that changes count at once. Established connections are none of its business:
    a change moves new ones only.
    """

    def __init__(
        self,
        env: simpy.Environment,
        period_s: float,
        latency_s: float,
        route: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._env, self._period_s, self._latency_s, self._route = env, period_s, latency_s, route
        self._last_sync_s = -float("inf")
        self._waiting: list[tuple[float, tuple[str, ...]]] = []  # changes not yet applied, oldest first
        self._newest: tuple[str, ...] = ()
        self.table: tuple[str, ...] = ()

    def changed(self, endpoints: Endpoints) -> None:
        """The endpoints are these from now on."""
        newest = backends(endpoints)
        if newest == self._newest:
            return
        self._newest = newest
        if self._period_s == 0:
            self._apply(newest)
            return
        self._waiting.append((self._env.now, newest))
        if len(self._waiting) == 1:
            self._schedule()

    def _schedule(self) -> None:
        changed_s = self._waiting[0][0]
        at_s = next_sync_s(changed_s, self._last_sync_s, self._period_s, self._latency_s)
        Call(self._env, at_s - self._env.now, self._sync)

    def _sync(self) -> None:
        now_s = self._env.now
        self._last_sync_s = now_s
        seen_until_s = now_s - self._latency_s + SAME_MOMENT_S
        seen = [table for changed_s, table in self._waiting if changed_s <= seen_until_s]
        self._waiting = self._waiting[len(seen) :]
        if seen:
            self._apply(seen[-1])
        if self._waiting:
            self._schedule()

    def _apply(self, table: tuple[str, ...]) -> None:
        if table != self.table:
            self.table = table
            self._route(table)
