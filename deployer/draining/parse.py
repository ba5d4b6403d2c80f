"""Drain settings from plain values, as a scenario, a command line or a JSON file gives them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields

from deployer.draining.policies import (
    DEFAULT_DEADLINE_S,
    After,
    DrainError,
    DrainSettings,
    Empty,
    Few,
    Manual,
    Policy,
    WorthIt,
)

FORMS = 'manual, empty, {after: seconds}, {few: 5}, {few: "1%"} or {worth_it: {pod_hour_price: …, …}}'


def policy_of(value: object) -> Policy:
    """A policy from "manual", "empty", {"after": seconds}, {"few": 5}, {"few": "1%"} or {"worth_it": prices}.

    A policy stays as it is. Raises DrainError.
    """
    if isinstance(value, Policy):
        return value
    if value == "manual":
        return Manual()
    if value == "empty":
        return Empty()
    if isinstance(value, Mapping) and len(value) == 1:
        name, given = next(iter(value.items()))
        if name in _MADE_FROM:
            return _MADE_FROM[name](given)
    raise DrainError(f"policy {value!r} is not known; it can be {FORMS}")


def settings_of(values: Mapping[str, object]) -> DrainSettings:
    """Settings from a mapping whose keys are DrainSettings' fields but `pinned`, each of them optional.

    Without a deadline, policies that count connections get one of 48 h; `manual` and `after` get none.
    Raises DrainError.
    """
    known = {f.name for f in fields(DrainSettings)} - {"pinned"}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            raise DrainError(f"drain: {key!r} is not known{hint}")
    policy = policy_of(values.get("policy", "empty"))
    given: dict[str, object] = {
        "deadline_s": None if isinstance(policy, Manual | After) else DEFAULT_DEADLINE_S
    }
    for key, value in values.items():
        if key.endswith("_s"):
            optional = key == "deadline_s"
            given[key] = None if value is None and optional else _number(f"drain: {key}", value)
        elif key == "discount_silent":
            if not isinstance(value, bool):
                raise DrainError(f"drain: {key}={value!r} must be true or false")
            given[key] = value
        elif key == "pin_annotation":
            if not isinstance(value, str) or not value.strip():
                raise DrainError(f"drain: {key}={value!r} must be the name of an annotation")
            given[key] = value
    return DrainSettings(policy=policy, **given)  # type: ignore[arg-type]


def _number(what: str, value: object) -> float:
    # A bool is an int to Python, and never meant as one here.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DrainError(f"{what}={value!r} must be a number")
    return float(value)


def _after(value: object) -> After:
    return After(_number("policy after: duration_s", value))


def _few(value: object) -> Few:
    if isinstance(value, int) and not isinstance(value, bool):
        return Few(count=value)
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            percent = float(value.strip()[:-1])
        except ValueError:
            pass
        else:
            return Few(share=percent / 100)
    raise DrainError(f'policy few: {value!r} must be a whole number of connections or a share such as "1%"')


def _worth_it(value: object) -> WorthIt:
    needed = {"pod_hour_price", "reconnect_price"}
    if not isinstance(value, Mapping) or set(value) != needed:
        raise DrainError(f"policy worth_it: {value!r} must give {' and '.join(sorted(needed))}, nothing else")
    pod_hour, reconnect = (_number(f"policy worth_it: {key}", value[key]) for key in sorted(needed))
    return WorthIt(pod_hour_price=pod_hour, reconnect_price=reconnect)


_MADE_FROM: Mapping[object, Callable[[object], Policy]] = {
    "after": _after,
    "few": _few,
    "worth_it": _worth_it,
}
