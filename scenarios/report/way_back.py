"""How long users took to come back, with those who were not seen to come back kept as censored."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.stats import CensoredData, ecdf

from scenarios.metrics.run import Run
from scenarios.metrics.survival import quantile
from scenarios.metrics.users import waits
from scenarios.record import Record

QUANTILES = (0.5, 0.95, 0.99)
_POINTS = 400
"""Steps of the curve at most; the ones left out lie between two that are closer than a pixel."""


@dataclass(frozen=True)
class WayBack:
    """The Kaplan-Meier estimate of the share that is back within `t_s`, with its 95 % band."""

    t_s: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quantiles_s: tuple[float | None, ...]
    losses: int
    censored: int


def way_back(record: Record) -> WayBack | None:
    """From each loss to logged in again; None where nothing was lost or the record's level keeps no losses.

    The band is Greenwood's, on the log-log scale, point by point.
    """
    ended_s, censored_s = waits(Run(record))
    if not ended_s and not censored_s:
        return None
    losses, censored = len(ended_s) + len(censored_s), len(censored_s)
    quantiles = tuple(quantile(ended_s, censored_s, q) for q in QUANTILES)
    if not ended_s:
        t_s = np.array([0.0, max(censored_s)])
        return WayBack(t_s, np.zeros(2), np.zeros(2), np.ones(2), quantiles, losses, censored)
    found = ecdf(CensoredData(uncensored=np.asarray(ended_s, float), right=np.asarray(censored_s, float)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # it warns where the share is 0 or 1: the band has no width there
        warnings.simplefilter("ignore", RuntimeWarning)
        band = found.cdf.confidence_interval(0.95, method="log-log")
    share = found.cdf.probabilities
    low = np.where(np.isnan(band.low.probabilities), share, band.low.probabilities)
    high = np.where(np.isnan(band.high.probabilities), share, band.high.probabilities)
    t_s = found.cdf.quantiles
    kept = np.unique(np.linspace(0, len(t_s) - 1, min(len(t_s), _POINTS)).round().astype(int))
    t_s, share, low, high = (np.concatenate(([0.0], values[kept])) for values in (t_s, share, low, high))
    return WayBack(t_s, share, low, high, quantiles, losses, censored)
