"""What a rolling update does to connections: how often each user is cut, and how uneven pods end up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roll:
    """A roll-out batch by batch."""

    hits: float  # forced reconnects per user
    batches: int
    largest_batch: float  # connections cut at once, as a share of all
    loads: tuple[float, ...]  # of the new pods when it is over, relative to the mean, oldest first


def roll(replicas: int, surge: int, unavailable: int) -> Roll:
    """A roll-out in batches: the next begins when all new pods of the last are ready and everyone is back.

    Kubernetes takes away `unavailable` old pods at once and adds new ones up to replicas + surge; when they
    are ready, it takes as many old ones. Users of a pod that goes spread evenly over the pods that are
    ready. In m even batches with nothing unavailable this is (1 + 1/m)^m − 1 forced reconnects per user: each
    batch takes as many as an old pod holds from each of its pods, and that grows by the factor 1 + 1/m a batch.
    It is less where terminations overlap (the displaced avoid all pods that go), and more where routing lags
    behind readiness (they pile onto the old ones).
    """
    old, old_load = replicas, 1.0
    new: list[float] = []
    starting = min(surge, replicas)
    moved = largest = 0.0
    batches = 0

    def take(count: int) -> None:
        nonlocal old, old_load, moved, largest, batches
        lost = count * old_load
        old -= count
        ready = old + len(new)
        if ready:
            old_load += lost / ready
            new[:] = [load + lost / ready for load in new]
        else:  # nobody is ready: they wait for the pods that start
            new[:] = [lost / starting] * starting
        moved += lost
        largest = max(largest, lost)
        batches += 1

    if unavailable:
        starting = min(surge + unavailable, replicas)
        take(unavailable)
        if old == 0:
            return Roll(moved / replicas, batches, largest / replicas, tuple(new))
    step = surge + unavailable
    while old:
        new += [0.0] * starting
        take(min(step, old))
        starting = min(step, replicas - len(new))
    return Roll(moved / replicas, batches, largest / replicas, tuple(new))
