"""What a reader of a run should know besides its numbers: sentences made from its spec and summary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from scenarios.spec.shape import Spec
from scenarios.spec.units import duration_text

HOUR_S = 3600.0
NOT_PROBED = "not probed"
"""For the data plane's answer, where nobody has asked this cluster."""
_NAMED = 8
"""Pods or nodes that a sentence names at most."""

KEPT = "kept"
"""What an answer begins with on a cluster that leaves the connections of deselected pods alone."""


def notes_of(spec: Spec, strategy: str, summary: Mapping[str, Any]) -> list[str]:
    """The notes on a finished run, in the order in which they are read; none where there is nothing to say."""
    found = (_against_fixed_colours(spec, strategy, summary),)
    return [note for note in found if note is not None]


def doubts_of(run: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """What must stand beside "nobody was disconnected"; `run` is run.json.

    On a cluster that is not known to keep the connections of deselected pods, it may have been luck.
    """
    answer = run.get("versions", {}).get("data_plane")
    if answer is None or summary.get("forced_reconnects") != 0 or not summary.get("deploys_done"):
        return []
    if answer == NOT_PROBED:
        asked = "drainbow doctor --data-plane" + (" --world kind" if run["world"] == "kind" else "")
        why = (
            f"whether this cluster keeps the connections of deselected pods was not probed: `{asked}` asks it"
        )
    elif answer.partition(",")[0] != KEPT:
        why = f"its data plane does not keep the connections of deselected pods (probe: {answer})"
    else:
        return []
    return [f"not promised: nobody was disconnected in this run, but {why}."]


def vain_faults(spec: Spec, pods: pl.DataFrame) -> list[str]:
    """What must be told of faults that name a pod or a node where there was none: they broke nothing."""
    found = []
    for fault in spec.faults:
        column = {"kill_pod": "pod", "node_loss": "node"}.get(fault.kind)
        if column is None or fault.target == "random":
            continue
        there = (pl.col("t_created_s") <= fault.at) & (pl.col("t_gone_s").fill_null(math.inf) > fault.at)
        names = sorted(name for name in pods.filter(there)[column].unique() if name is not None)
        if fault.target not in names:
            known = f": {', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}" if names else ""
            what = "no such pod was there" if column == "pod" else "no pod was on such a node"
            found.append(
                f"{fault.kind} {fault.target} at {duration_text(fault.at)} broke nothing: {what}. "
                f"Take random, or one of those that were there{known}."
            )
    return found


def mean_pods(spec: Spec, summary: Mapping[str, Any]) -> float | None:
    """Pods there were on average after the warm-up: pod-hours over hours."""
    hours = (spec.duration - spec.warm_up) / HOUR_S
    return None if summary.get("pod_hours") is None else float(summary["pod_hours"]) / hours


def _against_fixed_colours(spec: Spec, strategy: str, summary: Mapping[str, Any]) -> str | None:
    """A Deployment for each release is not always the cheaper one: 1 + λD of them live at a time."""
    pods = mean_pods(spec, summary)
    if strategy not in ("rainbow", "immutable") or pods is None or not summary.get("deploys_done"):
        return None
    count = spec.strategy.colors.count
    fixed = count * spec.fleet.replicas
    said = f"{strategy} had {pods:.1f} pods on average (peak {summary['peak_pods']:.0f})"
    if pods > fixed:
        return (
            f"{said}, more than the {fixed} of {count} fixed colours: at this rate of deploys more releases "
            "drain at the same time than there are colours. Colours would have blocked deploys instead."
        )
    return f"{said}; {count} fixed colours are {fixed} pods at all times."
