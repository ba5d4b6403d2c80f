"""How many come back at once after a cut, and whether the logins can stand it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from random import Random
from typing import Literal

from loadgen.behaviour.backoff import Backoff, Fixed, Immediate, Reconnect, Schedule
from scenarios.plan.service import Service

_SAMPLE = 2000
_WATCHED_S = 30.0

Verdict = Literal["stands", "queues", "overloads"]


@dataclass(frozen=True, slots=True)
class Storm:
    """What the largest cut of a deploy brings."""

    cut: float  # connections cut at one moment
    peak_per_s: float  # attempts to come back in the busiest second
    capacity_per_s: float  # logins
    ordinary_per_s: float  # logins of users who come anyway
    queue_s: float  # until the last of them is in; inf: never
    verdict: Verdict


def first_second_ratio(reconnect: Reconnect) -> float:
    """The largest share of the cut clients whose first attempts fall into one second.

    Full jitter spreads the first attempt evenly over the base, equal jitter over its second half, decorrelated
    jitter from the base to three times the base; without jitter all come together.
    """
    if isinstance(reconnect, Backoff):
        base_s = reconnect.base_s
        width_s = {
            "none": 0.0,
            "equal": base_s / 2,
            "full": base_s,
            "decorrelated": min(3 * base_s, reconnect.cap_s) - base_s,
        }[reconnect.jitter]
        return min(1.0, 1.0 / width_s) if width_s > 0 else 1.0
    assert isinstance(reconnect, Immediate | Fixed | Schedule)
    return 1.0


def busiest_second(reconnect: Reconnect, outage_s: float) -> float:
    """Attempts per cut client in the busiest second after the cut, if nobody answers for `outage_s`.

    Every attempt in that time fails at once and the client waits again, by the policy's own code; a mean over
    a sample of clients.
    """
    if outage_s <= 0:
        return first_second_ratio(reconnect)
    rng = Random("plan/storm")
    seconds = [0] * (int(min(outage_s, _WATCHED_S)) + 1)
    for _ in range(_SAMPLE):
        at_s = previous_s = 0.0
        for retry in itertools.count():
            delay_s = reconnect.delay_s(retry, previous_s, rng)
            if delay_s is None:
                break
            at_s, previous_s = at_s + delay_s, delay_s
            if at_s >= len(seconds):
                break
            seconds[int(at_s)] += 1
            if at_s > outage_s:
                break
    return max(max(seconds) / _SAMPLE, first_second_ratio(reconnect))


def ordinary_logins_per_s(service: Service) -> float:
    """Little's law: connections over the mean session."""
    return service.connections / service.session.mean_s


def storm(service: Service, cut: float, outage_s: float = 0.0) -> Storm:
    """What it takes to let `cut` connections back in that were cut at one moment, after an outage.

    In the fluid limit the queue of n clients at c logins a second is gone after n / (c − ordinary logins).
    `queues`: within the time after which clients hang up; `overloads`: later than that, so that they come
    again and again, which may keep the service down by itself.
    """
    capacity, ordinary = service.logins_per_s, ordinary_logins_per_s(service)
    peak = cut * busiest_second(service.reconnect, outage_s)
    free = capacity - ordinary
    queue_s = 0.0 if cut < 0.5 else cut / free if free > 0 else math.inf
    if free <= 0:
        verdict: Verdict = "overloads"
    elif peak + ordinary <= capacity:
        verdict = "stands"
    else:
        verdict = "queues" if queue_s <= service.connect_timeout_s else "overloads"
    return Storm(cut, peak, capacity, ordinary, queue_s, verdict)
