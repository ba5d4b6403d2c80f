"""Forecasts from the number of open connections alone, as it fell over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import xlog1py, xlogy

from deployer.forecast.lives import Floats, ForecastError
from deployer.forecast.outlook import Forecast, Outlook

_MOST = 48  # samples kept
_NEAR, _LEFT = 0.5, 30  # the fit begins when so many times as many more, and so many more, were open than now
_TRUST = 0.7  # power of the likelihood: the past of a drain is not quite of the shape of its end
_LEAST_S = 1e-3
_REACH = 100.0  # times the time watched
_SHAPES = np.linspace(-1.6, 1.9, 28) + 1e-7
_SHAPE_SD, _FLAT = 0.4, 0.5  # prior: normal about 0, exponential, over a flat floor of this share of its peak
_SIZE = 24


def outlook_from_counts(samples: Sequence[tuple[float, int]]) -> Outlook:
    """What the connections open at the last sample will do, from samples (seconds, open), oldest first.

    For services that tell no ages. Nobody connects any more; each of those open leaves independently, and
    their residual lives are generalised Pareto, which holds exponential, heavy-tailed and evenly spread ones
    (the residual of a fixed duration). Fitted to the last stretch, since half as many again were open, for
    that is where the shape of what comes shows; early in a drain the interval is therefore wide, often with
    no upper bound. Times count from the last sample.

    Raises ForecastError where samples are missing, unordered or negative.
    """
    times, counts = _checked(samples)
    n = int(counts[-1])
    many = np.flatnonzero(counts >= n + max(_NEAR * n, _LEFT))
    begin = int(many[-1]) if len(many) else 0
    times, counts = times[begin:] - times[begin], counts[begin:]
    left = int(counts[0] - n)
    watched = float(times[-1])
    shapes, scales, weights = _posterior(times, counts)

    def sums(later_s: Floats) -> tuple[Floats, Floats]:
        inner_now = 1.0 + shapes * watched / scales
        inner = np.maximum(1.0 + shapes[:, None] * (watched + later_s) / scales[:, None], 1e-300)
        chances = np.exp(-(np.log(inner) - np.log(inner_now)[:, None]) / shapes[:, None])
        chances = np.minimum(chances, 1.0)
        return n * chances, n * chances**2

    low, high = _shape_range(shapes, weights)
    return Outlook(
        open=n,
        sums=sums,
        weights=weights,
        first_s=max(watched, _LEAST_S) * 1e-6,
        reach_s=max(watched, _LEAST_S) * _REACH,
        method=f"counts alone: {left} left in {watched:.3g} s; residual lives generalised Pareto "
        f"of shape {low:.2f} to {high:.2f}"
        if left
        else "counts alone: none left yet, only a lower bound",
        ends=left,
    )


def from_counts(samples: Sequence[tuple[float, int]], m: int, level: float = 0.9) -> Forecast:
    """When at most `m` will be open, in seconds from the last sample; see `outlook_from_counts`."""
    return outlook_from_counts(samples).until(m, level)


def _checked(samples: Sequence[tuple[float, int]]) -> tuple[Floats, Floats]:
    if not samples:
        raise ForecastError("samples must hold at least one (seconds, open)")
    times, counts = np.asarray(samples, dtype=np.float64).T
    if not (np.isfinite(times).all() and (np.diff(times) >= 0).all() and (counts >= 0).all()):
        raise ForecastError("samples must be in order of time, with 0 or more open")
    # Before its peak it did not drain. Whoever comes later hides someone who left: what counts from then on
    # is how few there have been yet.
    peak = int(np.argmax(counts))
    times, counts = times[peak:], counts[peak:]
    return times, np.maximum.accumulate(counts[::-1])[::-1]


def _posterior(times: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Shapes, scales and weights; of each interval's survivors the likelihood is binomial."""
    keep = np.unique(
        np.searchsorted(-counts, -np.linspace(counts[0], counts[-1], _MOST)).clip(0, len(counts) - 1)
    )
    keep = np.unique([0, *keep, len(counts) - 1])
    times, counts = times[keep], counts[keep]
    stayed, gone = counts[1:], -np.diff(counts)
    rate = (counts[0] - counts[-1] + 0.5) / max(float(np.diff(times) @ (counts[1:] + counts[:-1])) / 2, 1e-9)
    span = (-4.0, 4.0)
    for _ in range(2):
        shapes, logs = (
            grid.ravel() for grid in np.meshgrid(_SHAPES, np.linspace(*span, _SIZE), indexing="ij")
        )
        scales = np.exp(logs) / rate
        inner = 1.0 + np.outer(shapes / scales, times)
        hazard = np.log(np.maximum(inner, 1e-300)) / shapes[:, None]
        chances = np.exp(-np.diff(hazard, axis=1))
        fit = (xlogy(stayed, chances) + xlog1py(gone, -chances)).sum(axis=1)
        fit = _TRUST * np.where(np.isfinite(fit) & (inner[:, -1] > 0), fit, -np.inf)
        fit += np.log(np.exp(-0.5 * (shapes / _SHAPE_SD) ** 2) + _FLAT)
        weights = np.exp(fit - fit.max())
        near = logs[weights > 1e-4]
        step = (span[1] - span[0]) / (_SIZE - 1)
        span = (float(near.min()) - step, float(near.max()) + step)
    used = weights > 1e-5
    return shapes[used], scales[used], weights[used] / weights[used].sum()


def _shape_range(shapes: Floats, weights: Floats) -> tuple[float, float]:
    order = np.argsort(shapes)
    cumulative = np.cumsum(weights[order])
    low, high = np.searchsorted(cumulative, (0.05, 0.95)).clip(0, len(order) - 1)
    return float(shapes[order[low]]), float(shapes[order[high]])
