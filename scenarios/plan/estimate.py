"""Each strategy in numbers: pods, money, forced reconnects, the storm, and how often one can deploy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scenarios.errors import UserMistake
from scenarios.plan.burndown import drain_of
from scenarios.plan.drains import Drains
from scenarios.plan.rolling import roll
from scenarios.plan.service import DAY_S, MOST_PER_DAY, Service
from scenarios.plan.storm import Storm, storm
from scenarios.plan.text import time_text
from scenarios.spec.base import nearest

HOURS_PER_MONTH = 730.5
ROUTING_LAG_S = 1.1
"""From a pod's end until no proxy routes to it any more."""
_STEP = 1.2
"""Between the deploy rates that a search looks at first."""


@dataclass(frozen=True)
class Estimate:
    """One strategy for one service, in the steady state."""

    name: str
    how: str  # in words
    pods_mean: float
    pods_peak: int
    memory_peak_bytes: float
    cpu_peak: float
    nodes_peak: int
    dollars_per_month: float  # every pod paid from created to gone
    dollars_per_month_at_peak: float  # as many pods paid all the time as there are at the peak
    forced_per_user_deploy: float
    storm: Storm
    max_deploys_per_day: float  # inf: nothing bounds it
    bound_by: str  # what bounds it
    drain_mean_s: float  # from the switch until an old release is gone
    live_mean: float  # releases with pods, on average
    fits: bool  # the peak fits on the nodes
    keeps_up: bool  # the wanted deploy rate is sustainable


def estimates(service: Service) -> list[Estimate]:
    """Every strategy, the plainest first."""
    service = replace(service, drain_s=drain_of(service))
    return [estimate(service, name) for name in STRATEGIES]


def estimate(service: Service, name: str) -> Estimate:
    """One strategy by its name in `STRATEGIES`. Raises UserMistake."""
    if name not in STRATEGIES:
        raise UserMistake(f"strategy {name!r} is unknown{nearest(name, STRATEGIES)}")
    service = replace(service, drain_s=drain_of(service))
    return _complete(service, name, STRATEGIES[name](service))


@dataclass(frozen=True)
class _Sketch:
    """What differs between strategies."""

    how: str
    pods_mean: float
    pods_peak: int
    forced: float
    cut: float  # connections cut at one moment, not exceeded at 99 % of the deploys
    took_s: float  # a deploy, from request to all on the new release
    drain_mean_s: float = 0.0
    live_mean: float = 1.0
    outage_s: float = 0.0  # nobody answers for so long
    slots_s: float | None = None  # with fixed slots: the shortest spacing
    drains: Drains | None = None  # without: how old releases drain
    more: int = 0  # pods that a deploy adds to those


def _complete(service: Service, name: str, sketch: _Sketch) -> Estimate:
    brought = storm(service, sketch.cut, sketch.outage_s)
    capacity = service.capacity_pods
    fits = capacity is None or sketch.pods_peak <= capacity
    most, bound = _max_deploys_per_day(service, sketch, brought)
    per_pod = service.price_per_pod_hour * HOURS_PER_MONTH
    return Estimate(
        name=name,
        how=sketch.how,
        pods_mean=sketch.pods_mean,
        pods_peak=sketch.pods_peak,
        memory_peak_bytes=sketch.pods_peak * service.pod_memory_bytes,
        cpu_peak=sketch.pods_peak * service.pod_cpu,
        nodes_peak=math.ceil(sketch.pods_peak / max(service.pods_per_node, 1)),
        dollars_per_month=sketch.pods_mean * per_pod,
        dollars_per_month_at_peak=sketch.pods_peak * per_pod,
        forced_per_user_deploy=sketch.forced,
        storm=brought,
        max_deploys_per_day=most,
        bound_by=bound,
        drain_mean_s=sketch.drain_mean_s,
        live_mean=sketch.live_mean,
        fits=fits,
        keeps_up=service.deploys_per_day <= most * (1 + 1e-9),
    )


def _max_deploys_per_day(service: Service, sketch: _Sketch, brought: Storm) -> tuple[float, str]:
    """The highest rate up to which no deploy is blocked, refused, superseded or starts into the last one's storm.

    With C slots, or nodes for C releases, and a drain of D: (C − 1)/D. Else by a search on the peak.
    """
    one_s = sketch.took_s + (brought.queue_s if brought.cut >= 0.5 else 0.0)
    if math.isinf(one_s):
        return 0.0, "logins"
    fastest = DAY_S / one_s
    capacity, drains = service.capacity_pods, sketch.drains
    if (
        capacity is not None
        and (sketch.slots_s is not None or drains is None)
        and sketch.pods_peak > capacity
    ):
        return 0.0, "nodes"
    if sketch.slots_s is not None:
        return min((DAY_S / sketch.slots_s, "drain"), (fastest, "roll-out"))
    if capacity is None or drains is None:
        return fastest, "roll-out"
    low = min(service.deploys_per_day, DAY_S / max(drains.cut_s, one_s)) / 100
    if drains.at(low).peak(sketch.more) > capacity:
        return 0.0, "nodes"
    enough = min(fastest, 2 * MOST_PER_DAY)  # who asks for more, or for twice as many, has been refused
    while (high := low * _STEP) < enough and drains.at(high).peak(sketch.more) <= capacity:
        low = high
    if high >= enough:
        return fastest, "roll-out"
    while high / low > 1.0005:
        middle = math.sqrt(high * low)
        low, high = (middle, high) if drains.at(middle).peak(sketch.more) <= capacity else (low, middle)
    return low, "nodes"


# ---- strategies that patch one Deployment


def _recreate(service: Service) -> _Sketch:
    return _Sketch(
        "all old pods go, then new ones come",
        service.replicas,
        service.replicas,
        1.0,
        service.connections,
        service.linger_s + service.startup_s,
        outage_s=service.startup_s,
    )


def _rolling(service: Service) -> _Sketch:
    surge, unavailable = service.rolling
    rolled = roll(service.replicas, surge, unavailable)
    took_s = rolled.batches * service.startup_s
    # a pod that terminates is there for its linger and while the routing lags; several batches may overlap
    batch = surge + unavailable
    overlapping = math.ceil((service.linger_s + ROUTING_LAG_S) / service.startup_s)
    terminating = min(batch * overlapping, service.replicas)
    busy = min(took_s / service.spacing_s, 1.0)
    return _Sketch(
        f"{rolled.batches} batches, {surge} pods more and {unavailable} fewer at a time",
        service.replicas + surge * busy,
        service.replicas + surge + terminating,
        rolled.hits,
        rolled.largest_batch * service.connections,
        took_s,
    )


def _graceful(service: Service) -> _Sketch:
    """Old pods terminate for as long as they have connections: as `immutable`, with the grace for a deadline."""
    surge, unavailable = service.rolling
    rolled = roll(service.replicas, surge, unavailable)
    grace_s = min(service.grace_s, service.grace_cut_s or math.inf)
    drains = Drains(service, "graceful", grace_s, None, shrink=True, floor=0)
    took_s = rolled.batches * service.startup_s
    cut = "" if drains.cut_s >= service.grace_s else ", cut short"
    return _Sketch(
        f"pods wait for their last user for {time_text(drains.cut_s)} at most{cut}",
        service.replicas + drains.draining_mean + surge * min(took_s / service.spacing_s, 1.0),
        drains.peak(service.replicas),  # the last of the roll-out's old pods have just begun to terminate
        drains.forced,
        drains.cut_at_once,
        took_s,
        drains.mean_s,
        drains.live_mean,
        drains=drains,
        more=service.replicas,
    )


# ---- strategies that move the Service


def _switching(service: Service, strategy: str, how: str, drains: Drains) -> _Sketch:
    starting = service.replicas * service.startup_s / service.spacing_s
    return _Sketch(
        how,
        service.replicas + starting + drains.draining_mean,
        drains.peak(service.replicas),
        drains.forced,
        drains.cut_at_once,
        service.startup_s,
        drains.mean_s,
        drains.live_mean,
        drains=drains,
        more=service.replicas,
    )


def _rainbow(m: Callable[[Service], int | None], shrink: bool) -> Callable[[Service], _Sketch]:
    def sketch(service: Service) -> _Sketch:
        left = m(service)
        wanted_s = drain_of(service) if left is None else service.deadline_s
        drains = Drains(service, "rainbow", wanted_s, left, shrink, floor=1)
        if left is None:
            how = f"an old release goes after {time_text(drains.cut_s)}"
        elif left:
            how = f"an old release goes when {left} or fewer are left, after {time_text(drains.cut_s)} anyway"
        else:
            how = f"an old release goes when it is empty, after {time_text(drains.cut_s)} anyway"
        return _switching(service, "rainbow", how + ("; empty pods go before" if shrink else ""), drains)

    return sketch


def _immutable(service: Service) -> _Sketch:
    drains = Drains(service, "immutable", service.deadline_s, 0, shrink=True, floor=0)
    how = f"old pods leave one by one when empty, after {time_text(drains.cut_s)} anyway"
    return _switching(service, "immutable", how, drains)


def _slots(service: Service, count: int, strategy: str) -> _Sketch:
    """C slots at full size at all times. A slot is taken again (C − 1) deploys after it was deselected.

    Only then are its users cut, so that they have that window and not just the drain time.
    """
    window_s = (count - 1) * service.spacing_s
    least = Drains(service, strategy, drain_of(service), None, shrink=False, floor=1)
    drains = replace(least, wanted_s=max(window_s, least.wanted_s))
    pods = count * service.replicas
    return _Sketch(
        f"{count} slots at full size; {count - 1} deploys last {time_text(window_s)}, "
        f"and a slot must have drained for {time_text(least.cut_s)}",
        pods,
        pods,
        drains.forced,
        drains.cut_at_once,
        service.startup_s,
        least.cut_s,
        count,
        slots_s=least.cut_s / (count - 1),
    )


STRATEGIES: dict[str, Callable[[Service], _Sketch]] = {
    "recreate": _recreate,
    "rolling": _rolling,
    "graceful": _graceful,
    "bluegreen": lambda service: _slots(service, 2, "bluegreen"),
    "colors": lambda service: _slots(service, service.colors, "colors"),
    "rainbow after": _rainbow(lambda service: None, False),
    "rainbow after, shrink": _rainbow(lambda service: None, True),
    "rainbow empty": _rainbow(lambda service: 0, False),
    "rainbow few": _rainbow(lambda service: service.few_left, False),
    "rainbow few, shrink": _rainbow(lambda service: service.few_left, True),
    "immutable": _immutable,
}
"""The strategies of `deployer.strategies`, rainbow with each policy and with shrink."""
