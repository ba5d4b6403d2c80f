"""What a gateway says of itself in Prometheus' text format.

Counting is plain Python; the client library, slow to import, is loaded at the first scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS_S = tuple(step * 2.0**power for power in range(-2, 19) for step in (1.0, 1.5))
"""Buckets of the two histograms: two for each doubling, from a quarter of a second to 4.5 days."""


@dataclass(slots=True)
class Histogram:
    """Counts of seconds in the buckets of `BOUNDS_S`."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them."""
        total, found = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


@dataclass(slots=True)
class Counts:
    """What is counted as it happens."""

    logins: int = 0
    closes: Counter[str] = field(default_factory=Counter)
    sessions: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is looked up at a scrape."""

    open_connections: int
    silent_connections: int
    ages_s: Iterable[float]
    ready: bool


def render(counts: Counts, now: Snapshot) -> tuple[bytes, str]:
    """The exposition and its content type."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

    class Gateway:
        def collect(self) -> Iterator[Metric]:
            return _metrics(counts, now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gateway())
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _metrics(counts: Counts, now: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    ages = Histogram()
    for age_s in now.ages_s:
        ages.add(age_s)
    yield GaugeMetricFamily(
        "chat_open_connections",
        "Connections accepted and not yet closed, logged in or not.",
        now.open_connections,
    )
    yield GaugeMetricFamily(
        "chat_silent_connections",
        "Open connections without traffic for several ping intervals.",
        now.silent_connections,
    )
    for name, told, histogram in (
        ("chat_connection_age_seconds", "Ages of the open connections.", ages),
        ("chat_session_seconds", "Lengths of the ended connections.", counts.sessions),
    ):
        yield HistogramMetricFamily(name, told, buckets=histogram.buckets(), sum_value=histogram.sum_s)
    yield CounterMetricFamily("chat_logins", "Logins that the backend accepted.", counts.logins)
    closes = CounterMetricFamily("chat_closes", "Ended connections by cause.", labels=["cause"])
    for cause, count in sorted(counts.closes.items()):
        closes.add_metric([cause], count)
    yield closes
    yield GaugeMetricFamily("chat_ready", "1 while the readiness probe succeeds.", float(now.ready))
