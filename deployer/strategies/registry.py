"""Strategies by name, made from settings as a user writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deployer.strategies.base import Base, StrategyError
from deployer.strategies.bluegreen import BlueGreen
from deployer.strategies.colors import Colors
from deployer.strategies.graceful import Graceful
from deployer.strategies.immutable import Immutable
from deployer.strategies.leaving import Nudge
from deployer.strategies.rainbow import Rainbow
from deployer.strategies.recreate import Recreate
from deployer.strategies.rolling import Rolling
from deployer.strategies.single import Single

AnyStrategy = Single | Colors | Rainbow

STRATEGIES: Mapping[str, type[Single] | type[Colors] | type[Rainbow]] = MappingProxyType(
    {kind.name: kind for kind in (Recreate, Rolling, Graceful, BlueGreen, Colors, Rainbow, Immutable)}
)
"""Every strategy by its name on the command line."""


def make(name: str, settings: Mapping[str, Any] = MappingProxyType({})) -> AnyStrategy:
    """The strategy of this name. Times are in seconds; a key may leave its `_s` out.

    Raises StrategyError, with the nearest name or key, for what there is not.
    """
    kind = STRATEGIES.get(name)
    if kind is None:
        raise StrategyError(f"no strategy {name!r}; {_nearest(name, STRATEGIES)}")
    given = _named(name, kind, settings)
    if isinstance(given.get("nudge"), Mapping):
        given["nudge"] = _named("nudge", Nudge, given["nudge"])
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        raise StrategyError(_one_line(name, error)) from None


def _named(owner: str, kind: type[Base] | type[Nudge], settings: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name: f.name for f in fields(kind)}
    known |= {f.removesuffix("_s"): f for f in known if f.endswith("_s") and f != "per_s"}
    named = {}
    for key, value in settings.items():
        if key not in known:
            raise StrategyError(f"{owner}: no setting {key!r}; {_nearest(key, known)}")
        named[known[key]] = value
    return named


def _nearest(word: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _one_line(owner: str, error: ValidationError) -> str:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, StrategyError):
        return str(cause)
    where = ".".join(str(part) for part in first["loc"])
    return f"{owner}: {where}={first['input']!r}: {first['msg'].lower()}"
