"""What waiting for a draining Deployment will bring, from the burn-down that its annotations remember.

Apart from the rest, because what it stands on takes long to import and most policies never ask for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deployer.draining import wording
from deployer.draining.memory import Marks
from deployer.draining.policies import WorthIt
from deployer.forecast import Forecast, Outlook, outlook_from_counts

Evidence = dict[str, float | int | str | None]

_HORIZONS = 64
_FIRST_S, _AT_LEAST_S = 1.0, 3600.0


def _outlook(marks: Marks, now_s: float, open_: int) -> Outlook:
    return outlook_from_counts([*(m for m in marks.marks if m[0] < now_s), (now_s, open_)])


def forecast_evidence(marks: Marks, now_s: float, open_: int, at_most: int) -> Evidence:
    """When at most so many will be open, from now; None where the data cannot tell."""
    found: Forecast = _outlook(marks, now_s, open_).until(at_most)
    times = {"median": found.median_s, "low": found.low_s, "high": found.high_s}
    told: Evidence = {f"forecast_{k}_s": v if math.isfinite(v) else None for k, v in times.items()}
    return told | {"forecast_method": found.method}


@dataclass(frozen=True, slots=True)
class Bargain:
    """Whether waiting pays."""

    waits: bool
    reason: str
    evidence: Evidence


def bargain(
    policy: WorthIt, marks: Marks, now_s: float, open_: int, counted: int, pods: int, left_s: float | None
) -> Bargain:
    """Reconnects spared by waiting a while against the pod-hours that it takes, for every such while.

    Waiting for t pays when reconnect_price · (expected leaves within t) > pod_hour_price · pods · t. It waits
    as long as any t up to the deadline (`left_s`) pays; else it goes now. Of `open_` connections `counted`
    matter. All for connections that leave as `outlook_from_counts` expects of them.
    """
    if not any(t_s < now_s for t_s, _ in marks.marks):
        return Bargain(True, ", and how fast they leave is not known yet", {})
    outlook = _outlook(marks, now_s, open_)
    longest_s = max(outlook.reach_s, _AT_LEAST_S)
    longest_s = longest_s if left_s is None else max(min(longest_s, left_s), _FIRST_S)
    whiles_s = np.geomspace(_FIRST_S, longest_s, _HORIZONS) if longest_s > _FIRST_S else np.array([_FIRST_S])
    leaves = counted * (1.0 - outlook.expected_open(whiles_s) / max(open_, 1))
    spared = policy.reconnect_price * leaves
    pod_hours = pods * whiles_s / 3600.0
    paid = policy.pod_hour_price * pod_hours
    gains = spared - paid
    waits = bool((gains > 0).any())
    # Told of the best while if one pays, else of the while in which half of them would leave.
    told = int(np.argmax(gains)) if waits else min(int(np.searchsorted(leaves, counted / 2)), len(leaves) - 1)
    spares = f"spare {leaves[told]:.3g} reconnects ({spared[told]:.2g})"
    costs = f"for {pod_hours[told]:.3g} pod-hours ({paid[told]:.2g})"
    return Bargain(
        waits,
        f", and waiting another {wording.span(float(whiles_s[told]))} would {spares} {costs}",
        {
            "wait_s": float(whiles_s[told]),
            "reconnects_spared": float(leaves[told]),
            "pod_hours": float(pod_hours[told]),
            "spared": float(spared[told]),
            "paid": float(paid[told]),
        },
    )
