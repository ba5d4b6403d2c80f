"""What was seen of connections' lives: ages, whether they ended, and from which age on they were watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ForecastError(ValueError):
    """Data from which no forecast can be made; says in one line what is wrong with them."""


def floats(what: str, values: ArrayLike) -> Floats:
    """A flat array of finite numbers, 0 or more. Raises ForecastError."""
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any():
        raise ForecastError(f"{what} must be finite numbers of seconds, 0 or more")
    return array


@dataclass(frozen=True, eq=False)
class Lives:
    """Connections seen so far, one place each in three arrays of the same length.

    `until_s` is the age at which one was last seen, `ended` whether its user ended it then; otherwise it is
    censored there: still open, or cut by something that says nothing of its user's wish. `watched_from_s` is
    the age at which watching began: above 0 for those that were open already. Had they ended before, nobody
    would have seen them (left truncation): taking them as seen from birth makes lives look longer than they
    are, which is the inspection paradox.
    """

    until_s: Floats
    ended: Bools
    watched_from_s: Floats

    @classmethod
    def of(cls, until_s: ArrayLike, ended: ArrayLike | bool = True, watched_from_s: ArrayLike = 0.0) -> Lives:
        """Lives from plain sequences; single values hold for all. Raises ForecastError."""
        until = floats("until_s", until_s)
        since = np.broadcast_to(floats("watched_from_s", watched_from_s), until.shape)
        if (since > until).any():
            raise ForecastError("watched_from_s must not exceed until_s: watching begins before it ends")
        return cls(until, np.broadcast_to(np.asarray(ended, dtype=np.bool_), until.shape), since)

    @classmethod
    def watched(cls, born_s: ArrayLike, gone_s: ArrayLike, from_s: float, until_s: float) -> Lives:
        """What someone sees who watches from one time to another; infinite `gone_s`: it never ended."""
        born, gone = np.asarray(born_s, dtype=np.float64), np.asarray(gone_s, dtype=np.float64)
        seen = (gone > from_s) & (born < until_s)
        born, gone = born[seen], gone[seen]
        return cls.of(np.minimum(gone, until_s) - born, gone <= until_s, np.maximum(from_s - born, 0.0))

    def __add__(self, other: Lives) -> Lives:
        return Lives(
            np.concatenate([self.until_s, other.until_s]),
            np.concatenate([self.ended, other.ended]),
            np.concatenate([self.watched_from_s, other.watched_from_s]),
        )


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between the edge before and `edges_s[i]`; the last edge is inf."""

    edges_s: tuple[float, ...]
    counts: tuple[float, ...]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges_s)
        fits = len(edges) == len(self.counts) and len(edges) >= 2
        if not fits or (np.diff(edges) <= 0).any() or edges[0] <= 0 or edges[-1] != np.inf:
            raise ForecastError(
                f"histogram edges {self.edges_s} must rise from above 0 to inf, one per count"
            )
        if not all(np.isfinite(c) and c >= 0 for c in self.counts):
            raise ForecastError(
                f"histogram counts {self.counts} must be 0 or more; cumulative ones must not fall"
            )

    @classmethod
    def of_cumulative(cls, buckets: Mapping[float, float]) -> Histogram:
        """From Prometheus' buckets: `le` to the number of values up to it. Raises ForecastError."""
        edges = tuple(sorted(buckets))
        totals = [buckets[edge] for edge in edges]
        return cls(edges, tuple(float(d) for d in np.diff(totals, prepend=0.0)))

    @classmethod
    def merged(cls, parts: Sequence[Histogram]) -> Histogram:
        """Several pods' histograms as one; their edges must agree. Raises ForecastError."""
        if len({part.edges_s for part in parts}) != 1:
            raise ForecastError("histograms to merge must be at least one, all with the same edges")
        totals = np.sum([part.counts for part in parts], axis=0)
        return cls(parts[0].edges_s, tuple(float(c) for c in totals))

    def values_s(self) -> tuple[Floats, int]:
        """Values spread evenly within their buckets, and how many lie beyond the last finite edge."""
        lows = (0.0, *self.edges_s[:-2])
        spread = [
            low + (high - low) * (np.arange(round(count)) + 0.5) / max(round(count), 1)
            for low, high, count in zip(lows, self.edges_s[:-1], self.counts[:-1], strict=True)
        ]
        return np.concatenate(spread), round(self.counts[-1])
