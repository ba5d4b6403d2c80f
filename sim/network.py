"""The way in: kube-proxy's table of backends, which follows the endpoints at its own pace."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random

import simpy

from deployer.clusters.controlplane.endpoints import Endpoints, backends, next_sync_s
from sim.clock import Call
from sim.setup import Throttled

SAME_MOMENT_S = 1e-6
"""Unix times are held to about 0.2 µs; nothing in a model is closer together than this."""
NOWHERE = ""
"""In a table of backends: the address of a pod that is gone. Nobody answers there, not even to say no."""


class Answer(Enum):
    """What a SYN gets that meets no pod."""

    REFUSED = "refused"
    SILENCE = "silence"  # its retransmission may be luckier
    LOST = "lost"  # sent to an address that is gone, and so will be its retransmissions


class Refusals:
    """Linux's limit on ICMP errors to one address: a token bucket, full at first (`inet_peer_xrlim_allow`)."""

    def __init__(self, limit: Throttled) -> None:
        self._limit, self._tokens, self._since_s = limit, limit.burst, -float("inf")

    def take(self, now_s: float) -> bool:
        """Whether one more may be sent now."""
        limit = self._limit
        self._tokens = min(limit.burst, self._tokens + (now_s - self._since_s) * limit.per_s)
        self._since_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Door:
    """What answers a new connection: a random backend of the proxy's table, or what there is instead of one."""

    def __init__(self, rng: Random, throttled: Throttled | None) -> None:
        self._rng = rng
        self._refusals = None if throttled is None else Refusals(throttled)
        self.backends: tuple[str, ...] = ()

    def knock(self, now_s: float) -> str | Answer:
        """The pod to which a SYN is sent that comes now, or its answer.

        A connection keeps the pod it was given, with all retransmissions: conntrack remembers it.
        """
        if self.backends:
            chosen = self.backends[int(self._rng.random() * len(self.backends))]
            return chosen if chosen != NOWHERE else Answer.LOST
        if self._refusals is None or self._refusals.take(now_s):
            return Answer.REFUSED
        return Answer.SILENCE


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
        told_s: float | None = None,
    ) -> None:
        """`told_s`: a sync takes in what changed until so long before its rules are in; None: `latency_s`."""
        self._told_s = latency_s if told_s is None else told_s
        self._env, self._period_s, self._latency_s, self._route = env, period_s, latency_s, route
        self._last_sync_s = -float("inf")
        self._waiting: list[tuple[float, tuple[str, ...]]] = []  # changes not yet applied, oldest first
        self._newest = Endpoints((), ())
        self._gone: set[str] = set()
        self.table: tuple[str, ...] = ()

    def changed(self, endpoints: Endpoints) -> None:
        """The endpoints are these from now on."""
        if endpoints == self._newest:
            return
        # a change of any endpoint makes kube-proxy sync, and the next one wait, whether or not it moves traffic
        self._newest = endpoints
        newest = backends(endpoints)
        if self._period_s == 0:
            self._apply(newest)
            return
        self._waiting.append((self._env.now, newest))
        if len(self._waiting) == 1:
            self._schedule()

    def address_gone(self, pod: str) -> None:
        """The pod's address is gone; as long as it stands in the table, it leads nowhere."""
        self._gone.add(pod)
        if pod in self.table:
            self._route_table()

    def _schedule(self) -> None:
        changed_s = self._waiting[0][0]
        at_s = next_sync_s(changed_s, self._last_sync_s, self._period_s, self._latency_s)
        Call(self._env, at_s - self._env.now, self._sync)

    def _sync(self) -> None:
        now_s = self._env.now
        self._last_sync_s = now_s
        seen_until_s = now_s - self._told_s + SAME_MOMENT_S
        seen = [table for changed_s, table in self._waiting if changed_s <= seen_until_s]
        self._waiting = self._waiting[len(seen) :]
        if seen:
            self._apply(seen[-1])
        if self._waiting:
            self._schedule()

    def _apply(self, table: tuple[str, ...]) -> None:
        if table != self.table:
            self.table = table
            self._route_table()

    def _route_table(self) -> None:
        self._route(tuple(NOWHERE if pod in self._gone else pod for pod in self.table))
