"""Actions, fleets and counts as JSON and back: the words of the cluster's API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from pydantic import TypeAdapter

from deployer.actions import Action
from deployer.clusters.controlplane.objects import State
from deployer.fleet import Count, Fleet

_ACTIONS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Action)}
_STATE: TypeAdapter[State] = TypeAdapter(State)
_FLEET: TypeAdapter[Fleet] = TypeAdapter(Fleet)
_COUNTS: TypeAdapter[dict[str, Count | None]] = TypeAdapter(dict[str, Count | None])


def action_to_json(action: Action) -> dict[str, Any]:
    """Name the action's class beside its fields: several have the same fields."""
    kind = type(action).__name__
    return {"kind": kind, "fields": _ACTIONS[kind].dump_python(action, mode="json")}


def action_from_json(data: Mapping[str, Any]) -> Action:
    """Undo `action_to_json`; raises ValueError for what is no action."""
    adapter = _ACTIONS.get(data.get("kind", ""))
    if adapter is None:
        raise ValueError(f"{data.get('kind')!r} is no action; one of {', '.join(_ACTIONS)}")
    action: Action = adapter.validate_python(data.get("fields", {}))
    return action


def fleet_to_json(fleet: Fleet) -> dict[str, Any]:
    """A fleet as plain data."""
    data: dict[str, Any] = _FLEET.dump_python(fleet, mode="json")
    return data


def fleet_from_json(data: Mapping[str, Any]) -> Fleet:
    """Undo `fleet_to_json`; sequences come back as tuples, so that fleets compare."""
    fleet = _FLEET.validate_python(data)
    return replace(
        fleet,
        requests=tuple(fleet.requests),
        pods=tuple(fleet.pods),
        verdicts=tuple(fleet.verdicts),
    )


def state_to_json(state: State) -> dict[str, Any]:
    """The whole state as plain data."""
    data: dict[str, Any] = _STATE.dump_python(state, mode="json")
    return data


def counts_to_json(counts: Mapping[str, Count | None]) -> dict[str, Any]:
    """Counts by pod as plain data."""
    data: dict[str, Any] = _COUNTS.dump_python(dict(counts), mode="json")
    return data


def counts_from_json(data: Mapping[str, Any]) -> dict[str, Count | None]:
    """Undo `counts_to_json`."""
    return _COUNTS.validate_python(dict(data))
