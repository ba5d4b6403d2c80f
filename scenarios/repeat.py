"""Whether a run on Kubernetes measured the deploys or a node's mishap: then it is repeated, once."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from scenarios.spec.shape import Spec

SLOW_START_S = 10.0
"""A pod that takes longer met a node that failed to make its cgroup and tries again only after about 10 s."""
WORLDS = ("kind", "current")
HOLDING_UP = ("node_loss", "backend_down", "api_down")
"""Faults during which pods cannot become ready."""


@dataclass(frozen=True, slots=True)
class SlowStart:
    """The pod of a run that took longest to start, and too long."""

    pod: str
    took_s: float

    def __str__(self) -> str:
        return f"pod {self.pod} took {self.took_s:.1f} s to start"


def slow_start(pods: pl.DataFrame, spec: Spec) -> SlowStart | None:
    """The slowest start of more than `SLOW_START_S` from created to ready, times in seconds since time zero.

    What says nothing of a node is left out: releases that are bad by the scenario's wish, pods that were ready
    before time zero (they are in no metric, and the first one may have waited for its image), and those whose
    start was held up by a fault of the scenario, or by its aftermath of as many seconds.
    """
    bad = [deploy.release for deploy in spec.planned_deploys() if deploy.bad is not None]
    found = pods.filter(
        pl.col("t_ready_s") - pl.col("t_created_s") > SLOW_START_S,
        pl.col("t_ready_s") >= 0,
        pl.col("release").is_in(bad).not_(),
        *(
            (pl.col("t_ready_s") < fault.at)
            | (pl.col("t_created_s") > fault.at + (fault.lasts_s or 0.0) + SLOW_START_S)
            for fault in spec.faults
            if fault.kind in HOLDING_UP
        ),
    )
    starts = (
        SlowStart(row["pod"], row["t_ready_s"] - row["t_created_s"]) for row in found.iter_rows(named=True)
    )
    return max(starts, key=lambda start: start.took_s, default=None)


def note_of(slow: SlowStart | None, repeated: bool, repeats: str | None) -> str | None:
    """What a reader of the run should know of slow starts, in it and in the run that it repeats (its folder's name)."""
    why = "a node that fails to make a pod's cgroup tries again only after about 10 s"
    if repeats is not None:
        again = f"; here {slow} again, and it is not repeated any more" if slow else ""
        return f"This run repeats {repeats}, in which a pod took longer than {SLOW_START_S:.0f} s to start{again}."
    if slow is None:
        return None
    end = "so the run is repeated; the next one counts" if repeated else "and the run was not repeated"
    return f"{slow} ({why}), {end}.".replace("pod", "Pod", 1)
