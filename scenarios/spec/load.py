"""From a name or a path and overrides to a spec, or to one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scenarios.spec.base import SpecError, known_keys, nearest
from scenarios.spec.built import require_built
from scenarios.spec.shape import Spec
from scenarios.spec.text import read_yaml

_SHOWN = 8
"""Problems told at once."""


def catalog() -> tuple[str, ...]:
    """The names of the scenarios that come with the program."""
    folder = files("scenarios") / "catalog"
    return tuple(
        sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    )


def load(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Spec:
    """The scenario of that name in the catalog, or in that file, with overrides such as `users.count=5000`.

    What ends in .yaml or .yml, or has a folder in it, is a path. Raises SpecError: one line that names the
    scenario and every problem found in it.
    """
    where = str(name_or_path)
    text, folder = _read(where)
    data = read_yaml(text, where)
    if data is None:
        raise SpecError(f"{where} is empty; a scenario begins with the keys name, duration and users")
    if not isinstance(data, Mapping):
        raise SpecError(
            f"{where}: a scenario is a mapping with name, duration, users …; this is {_short(data)}"
        )
    data = dict(data)
    for override in overrides:
        _override(data, override)
    spec = spec_of(data, where, folder)
    require_built(spec)
    return spec


def spec_of(data: Any, where: str = "scenario", folder: Path | None = None) -> Spec:
    """The spec of plain values, such as the ones in a record. Raises SpecError.

    With a `folder`, files that it names are looked for there and must be there.
    """
    try:
        return Spec.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        problems = [_line(problem) for problem in error.errors(include_url=False)]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise SpecError(f"{where}: {'; '.join(problems[:_SHOWN])}{more}") from None


def _read(where: str) -> tuple[str, Path]:
    path = Path(where)
    if path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
        if where not in catalog():
            raise SpecError(
                f"no scenario {where!r} in the catalog{nearest(where, catalog())}; "
                "the path of a file ends in .yaml"
            )
        return (files("scenarios") / "catalog" / f"{where}.yaml").read_text(encoding="utf-8"), Path()
    try:
        return path.read_text(encoding="utf-8"), path.parent
    except OSError as error:
        raise SpecError(
            f"{where} cannot be read: {error.strerror}; give a YAML file or a name of the catalog"
        ) from None
    except UnicodeDecodeError:
        raise SpecError(f"{where} cannot be read: it is not UTF-8 text") from None


def _override(data: dict[str, Any], override: str) -> None:
    """Set one value in place; mappings on the way that are missing are made."""
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise SpecError(f"--set {override}: write it as KEY=VALUE, such as users.count=500")
    at: Any = data
    for number, step in enumerate(steps[:-1]):
        so_far = ".".join(steps[: number + 1])
        if isinstance(at, list):
            at = at[_index(at, step, override)]
        else:
            if at.get(step) is None:
                at[step] = {}
            at = at[step]
        if not isinstance(at, dict | list):
            raise SpecError(f"--set {override}: {so_far} is {_short(at)} here; set {so_far} as a whole")
    value = read_yaml(text, f"--set {override}")
    if isinstance(at, list):
        at[_index(at, steps[-1], override)] = value
    else:
        at[steps[-1]] = value


def _index(at: list[Any], step: str, override: str) -> int:
    if not step.isdecimal() or int(step) >= len(at):
        raise SpecError(f"--set {override}: {step!r} is no place in a list of {len(at)}; they count from 0")
    return int(step)


def _line(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic found, with its key's path."""
    path = tuple(step for step in problem["loc"])
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    at = ".".join(str(step) for step in path)
    if kind == "extra_forbidden":
        space = "; write a space after the colon" if ":" in str(path[-1]) else ""
        return f"{at}: unknown key{space or nearest(str(path[-1]), known_keys(Spec, path[:-1]))}"
    if kind == "missing":
        return f"{at}: is missing"
    told = {
        "greater_than": "{value} must be above {gt}",
        "greater_than_equal": "{value} must be at least {ge}",
        "less_than": "{value} must be below {lt}",
        "less_than_equal": "{value} must be at most {le}",
        "int_type": "{value} is not a whole number",
        "int_from_float": "{value} is not a whole number",
        "float_type": "{value} is not a number",
        "finite_number": "{value} is not a finite number",
        "string_type": "{value} is not a text; put it in quotes",
        "bool_type": "{value} is neither true nor false",
        "tuple_type": "{value} is not a list",
        "string_pattern_mismatch": "{value!r} is no name; use lower-case letters, digits, - and _",
        "literal_error": "{value} is not one of {expected}",
    }.get(kind)
    if told is not None:
        text = told.format(**{**context, "value": _short(value)})
    elif kind == "value_error":
        text = str(context["error"])
    else:
        text = problem["msg"]
    text = " ".join(text.split())
    return f"{at}: {text}" if at else text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
