"""Quantiles of durations of which some were not seen to end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import CensoredData, ecdf


def quantile(ended_s: Sequence[float], censored_s: Sequence[float], q: float) -> float | None:
    """The smallest t by which at least a share `q` has ended, by the Kaplan-Meier estimate.

    `censored_s` are durations after which one was last seen not ended. Without censored ones it is the
    smallest value that at least a share `q` does not exceed. None where the estimate never reaches `q`.
    """
    if len(ended_s) == 0:
        return None
    found = ecdf(CensoredData(uncensored=np.asarray(ended_s, float), right=np.asarray(censored_s, float)))
    # products of the estimate may miss q by rounding alone
    reached = np.flatnonzero(found.cdf.probabilities >= q - 1e-9)
    return float(found.cdf.quantiles[reached[0]]) if len(reached) else None
