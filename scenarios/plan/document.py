"""A plan as plain values, for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from loadgen.behaviour.sessions import Empirical
from scenarios.plan.advice import Plan


def as_document(plan: Plan) -> dict[str, Any]:
    """Everything a plan says; null stands for what has no end. Measured lengths are told by their number and mean."""
    return {
        "recommended": plan.recommended.name,
        "reason": plan.reason,
        "alternatives": {one.name: what for what, one in plan.alternatives},
        "strategies": {one.name: _plain(one) for one in plan.estimates},
        "drain_s": plan.drain_s,
        "old_release_may_go": [_plain(left) for left in plan.left],
        "warnings": list(plan.warnings),
        "sensitivity": [
            {
                "assumption": moved.assumption,
                "moves": moved.moves,
                "factor": _plain(moved.size),
                "at_half": None if moved.low is None else _plain(moved.low),
                "at_twice": None if moved.high is None else _plain(moved.high),
            }
            for moved in plan.moved
        ],
        "service": _plain(plan.service),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Empirical):
        return {"kind": value.kind, "count": len(value.lengths_s), "mean_s": value.mean_s}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value
