"""Which assumption matters most: every input halved and doubled, and what moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.sessions import Forever
from scenarios.plan.burndown import drain_of
from scenarios.plan.estimate import Estimate, estimate
from scenarios.plan.lengths import other_tail
from scenarios.plan.service import Service

Change = Callable[[Service, float], Service | None]


@dataclass(frozen=True, slots=True)
class Moved:
    """One input at half and at twice its value (or replaced), and what becomes of one strategy."""

    assumption: str
    low: Estimate | None  # at half
    high: Estimate | None  # at twice
    size: float  # the largest factor by which a result moves; sorts the table
    moves: str  # which result that is


RESULTS: Sequence[tuple[str, Callable[[Estimate], float]]] = (
    ("cost", lambda e: e.dollars_per_month),
    ("peak pods", lambda e: float(e.pods_peak)),
    ("forced reconnects", lambda e: e.forced_per_user_deploy),
    ("login queue", lambda e: e.storm.queue_s),
)


def sensitivity(service: Service, strategy: str) -> list[Moved]:
    """Each input × ½ and × 2 for one strategy, what moves most first.

    Results are compared by their factor; those that stay below a floor (one forced reconnect in a thousand
    users, a queue of a second) move nothing.
    """
    base = estimate(service, strategy)
    service = replace(service, drain_s=drain_of(service), few=service.few_left)
    found = []
    for assumption, change in _CHANGES.items():
        changed = [change(service, factor) for factor in (0.5, 2.0)]
        low, high = (None if one is None else estimate(one, strategy) for one in changed)
        if low is None and high is None:
            continue
        size, moves = max(
            ((_factor(base, other, name, result), name) for other in (low, high) if other is not None
             for name, result in RESULTS),
        )  # fmt: skip
        found.append(Moved(assumption, low, high, size, moves if size > 1.005 else "nothing"))
    return sorted(found, key=lambda moved: -moved.size)


_FLOOR = {"cost": 1e-9, "peak pods": 0.5, "forced reconnects": 1e-3, "login queue": 1.0}


def _factor(base: Estimate, other: Estimate, name: str, result: Callable[[Estimate], float]) -> float:
    one, two = (max(result(e), _FLOOR[name]) for e in (base, other))
    if math.isinf(one) or math.isinf(two):
        return 1.0 if one == two else math.inf
    return max(one, two) / min(one, two)


def _connections(service: Service, factor: float) -> Service | None:
    # what is few stays the same number: it is a promise to people
    return replace(service, connections=max(round(service.connections * factor), 1))


def _session(service: Service, factor: float) -> Service | None:
    session = service.session
    return None if isinstance(session, Forever) else replace(service, session=session.scaled(factor))


def _tail(service: Service, factor: float) -> Service | None:
    session = other_tail(service.session) if factor > 1 else None
    return None if session is None else replace(service, session=session)


def _backoff(service: Service, factor: float) -> Service | None:
    reconnect = service.reconnect
    if not isinstance(reconnect, Backoff):
        return None
    base_s = reconnect.base_s * factor
    return replace(service, reconnect=replace(reconnect, base_s=base_s, cap_s=max(reconnect.cap_s, base_s)))


_CHANGES: dict[str, Change] = {
    "connections": _connections,
    "session length": _session,
    "the sessions' tail (the other law through the median and the 99th percentile)": _tail,
    "deploys a day": lambda s, f: replace(s, deploys_per_day=s.deploys_per_day * f),
    "pods of a release": lambda s, f: replace(s, replicas=max(round(s.replicas * f), 1)),
    "drain time": lambda s, f: replace(s, drain_s=None if s.drain_s is None else s.drain_s * f),
    "deadline of waiting policies": lambda s, f: replace(s, deadline_s=s.deadline_s * f),
    "what counts as few": lambda s, f: replace(s, few=round(s.few_left * f)),
    "start-up time": lambda s, f: replace(s, startup_s=s.startup_s * f),
    "logins a second": lambda s, f: replace(s, logins_per_s=s.logins_per_s * f),
    "first reconnect wait": _backoff,
    "price of a pod": lambda s, f: replace(s, price_per_pod_hour=s.price_per_pod_hour * f),
}
