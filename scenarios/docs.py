"""The reference pages, made from the code: `python -m scenarios.docs` writes them, `--check` compares them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from scenarios.columns import MEANINGS
from scenarios.errors import EXIT_MEANINGS
from scenarios.labels import LABELS, SECTIONS
from scenarios.metrics import balance, deploys, pods, users
from scenarios.record import LEVELS, SCHEMA
from scenarios.spec import catalog, load
from scenarios.spec.base import Choice, Word, models_in
from scenarios.spec.shape import Spec
from scenarios.spec.users import MixturePart
from scenarios.thresholds import METRICS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_HEAD = "<!-- Made by `python -m scenarios.docs` from the code; edit there. -->\n\n"
_SEVERAL: Mapping[str, Callable[..., Any]] = {
    **{key: users.per_client_deploy for key in METRICS if key.startswith("forced_reconnects_per_client")},
    "hit_more_than_once_ratio": users.per_client_deploy,
    **{key: users.way_back for key in METRICS if key.startswith("reconnect_s_")},
    "offline_user_s": users.way_back,
    **{key: deploys.counts for key in METRICS if key.startswith("deploys_")},
}
"""Functions that give several metrics; every other one is called as its metric."""
_UNITS = {"90s": "duration", "100/s": "rate", "2Gi": "memory", "1": "CPUs", "2": "count or share"}
"""What a value with these examples is; the page's head tells how the first two are written."""


def pages() -> dict[str, str]:
    """Each reference page by the name of its file."""
    return {
        "spec.md": _spec(),
        "record.md": _record(),
        "metrics.md": _metrics(),
        "cli.md": _cli(),
        "exit-codes.md": _exit_codes(),
    }


def stale(folder: Path = FOLDER) -> list[Path]:
    """The files that are missing, or say another thing than the code."""
    found = []
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(path)
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with --check write nothing, and name those that are stale with exit code 1."""
    if list(arguments) == ["--check"]:
        for path in (late := stale()):
            print(f"{path} is stale; run python -m scenarios.docs", file=sys.stderr)
        return 1 if late else 0
    if arguments:
        print(f"unknown argument {arguments[0]}; the only one is --check", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _paragraphs(function: Callable[..., Any]) -> str:
    """A docstring as Markdown: its paragraphs, each on one line."""
    text = inspect.getdoc(function) or ""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


# ── the scenario ──


def _spec() -> str:
    parts = [
        _HEAD + "# Scenario: every key\n",
        "A scenario is YAML. Durations have a unit (`90s`, `24h`, `1h30m`, `500ms`), rates their time (`100/s`, `5/min`), "
        "CPUs and memory are written as Kubernetes writes them (`500m`, `2Gi`), shares with a percent sign (`25%`). "
        "An unknown key is an error that names the nearest known one. Every key can be overridden on the command line: "
        "`--set users.count=500`. A release is quoted, for YAML reads `012345` and `1e5000` as numbers.\n",
        "Where a key takes *one of* several, write the one: `session: {exponential: {mean: 1h}}`; one without settings may be "
        "a bare word: `policy: empty`. `[]` stands for an entry of a list.\n",
        "## Top level\n",
        _table(("key", "default", "value", "meaning"), list(_rows(Spec, "", deep=False))),
    ]
    for name, info in Spec.model_fields.items():
        inner = models_in(info.annotation)
        if inner and name != "thresholds":
            told = _first_line(inner[0])
            many = "[]" if "tuple" in str(info.annotation) else ""
            parts.append(f"## {name}\n\n{told}\n")
            parts.append(
                _table(("key", "default", "value", "meaning"), list(_rows(inner[0], f"{name}{many}.")))
            )
    parts.append(
        "## thresholds\n\nEach a metric (see [metrics](metrics.md)) with `max`, `min` or both, such as "
        "`forced_reconnects: {max: 0}`. One that is missed makes the exit code 3; a metric that is null misses its bound.\n"
    )
    listed = [(f"`{name}`", load(name).description) for name in catalog()]
    parts.append("## The catalog\n\nNames that stand for a file.\n")
    parts.append(_table(("name", "what it shows"), listed))
    return "\n".join(parts)


def _rows(model: type[BaseModel], path: str, deep: bool = True) -> Iterator[tuple[str, str, str, str]]:
    for name, info in model.model_fields.items():
        key = f"{path}{info.alias or name}"
        inner = models_in(info.annotation)
        told = info.description or (_first_line(inner[0]) if inner else "")
        yield f"`{key}`", _default(info, inner), _value(info, inner), told
        # the parts of a mixture repeat what stands above them
        if deep and inner and not issubclass(inner[0], Word) and model is not MixturePart:
            many = "[]" if "tuple" in str(info.annotation) else ""
            yield from _rows(inner[0], f"{key}{many}.")


def _first_line(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n\n")[0].replace("\n", " ")


def _default(info: FieldInfo, inner: Sequence[type[BaseModel]]) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    if default is None or default is PydanticUndefined or default in ("", (), {}):
        return "–"
    if isinstance(default, BaseModel):
        # what it holds is told below, key by key; a choice is told here
        return (
            f"`{_flow(default.model_dump(mode='json', exclude_none=True))}`"
            if isinstance(default, Choice)
            else ""
        )
    written = TypeAdapter(_annotated(info)).dump_python(default, mode="json")
    return f"`{_flow(written)}`"


def _flow(value: Any) -> str:
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("...").strip()


def _annotated(info: FieldInfo) -> Any:
    annotation: Any = info.annotation
    for one in info.metadata:
        annotation = Annotated[annotation, one]
    return annotation


def _value(info: FieldInfo, inner: Sequence[type[BaseModel]]) -> str:
    many = "list" if "tuple" in str(info.annotation) else ""
    if inner and "dict" in str(info.annotation):
        return "bounds by metric"
    if inner:
        if issubclass(inner[0], Word):
            return "a bare word"
        if issubclass(inner[0], Choice):
            keys = ", ".join(f"`{f.alias or n}`" for n, f in inner[0].model_fields.items())
            return f"one of {keys}"
        short = getattr(inner[0], "short", None)
        return many or ("mapping" if short is None else f"mapping, or its `{short}`")
    return _told(TypeAdapter(_annotated(info)).json_schema())


def _told(schema: Mapping[str, Any]) -> str:
    """What a value of a JSON schema is, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_told(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const']).strip(chr(34))}`"
    words = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false"}
    found = words.get(str(schema.get("type")), str(schema.get("type")))
    if "examples" in schema:
        found = _UNITS.get(schema["examples"][0]) or "such as " + ", ".join(
            f"`{one}`" for one in schema["examples"]
        )
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f"{found}, {' and '.join(bounds)}" if bounds else found


# ── the record ──


def _record() -> str:
    parts = [
        _HEAD + "# Record: every table\n",
        f"A run's folder holds `run.json` and Parquet tables; this is schema version {SCHEMA}. It is written once and never "
        "edited. Times are seconds since time zero: when the first release is selected and the whole fixed population is "
        "logged in. What lies before it (the ramp) has negative times. `summary.json`, `report.html` and, on "
        "`drainbow report RUN --figures`, `figures/` are made from the tables and from nothing else.\n",
        f"`record:` in the scenario ({', '.join(f'`{level}`' for level in LEVELS)}) says how much of `connections` is kept: all of it; "
        "connections that were cut, with the same user's attempts until logged in again; or nothing. A metric that a level "
        "cannot give is null.\n",
    ]
    for name, table in MEANINGS.items():
        parts.append(f"## {name}.parquet\n\nA row is {table.row}.\n")
        rows = [(f"`{c}`", f"{one.type}", one.meaning) for c, one in table.columns.items()]
        rows += [
            (f"`{c}`", f"{one.type}", f"{one.meaning}. Not in every world") for c, one in table.extra.items()
        ]
        parts.append(_table(("column", "type", "meaning"), rows))
    return "\n".join(parts)


# ── the metrics ──


def _metrics() -> str:
    parts = [
        _HEAD + "# Metrics: every key of summary.json\n",
        "What counts lies in the window from the end of the warm-up to the end of the run. A metric is null where the record "
        "cannot give it, never guessed.\n",
    ]
    for title, labels in SECTIONS:
        parts.append(f"## {title}\n")
        done: list[Callable[..., Any]] = []
        for label in labels:
            function = _function_of(label.key)
            if function in done:
                continue
            done.append(function)
            keys = [one.key for one in labels if _function_of(one.key) is function]
            rows = [(f"`{key}`", _unit(key), _better(key), METRICS[key]) for key in keys]
            parts.append(_table(("key", "unit", "better", "meaning"), rows))
            parts.append(f"{_paragraphs(function)}\n")
    return "\n".join(parts)


def _function_of(key: str) -> Callable[..., Any]:
    if key in _SEVERAL:
        return _SEVERAL[key]
    modules: Sequence[ModuleType] = (users, pods, balance, deploys)
    found: Callable[..., Any] = next(getattr(module, key) for module in modules if hasattr(module, key))
    return found


def _unit(key: str) -> str:
    unit = LABELS[key].unit
    return "share" if unit == "%" else unit or "–"


def _better(key: str) -> str:
    return LABELS[key].better or "–"


# ── the command line ──


def _cli() -> str:
    from scenarios.cli import app

    program: Any = get_command(app)
    parts = [
        _HEAD + "# Command line\n",
        "`drainbow`, and the same program as the kubectl plugin `kubectl drainbow`. What a command prints with `--json` goes "
        "to stdout alone; progress and errors go to stderr. See [exit codes](exit-codes.md).\n",
    ]
    for name, command in program.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(_usage(one) for one in arguments)
        parts.append(f"## drainbow {name}\n\n{' '.join((command.help or '').split())}\n")
        parts.append(
            f"    drainbow {name} {f'{usage} ' if usage else ''}{'[OPTIONS]' if options else ''}".rstrip()
            + "\n"
        )
        rows = [(f"`{_usage(one)}`", _set_by_default(one), one.help or "") for one in arguments]
        rows += [(_names(one), _set_by_default(one), one.help or "") for one in options]
        if rows:
            parts.append(_table(("argument or option", "default", "meaning"), rows))
    return "\n".join(parts)


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or option.name.strip('_').upper()}`"


def _set_by_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == [] or value == ():
        return "–"
    return f"`{' '.join(map(str, value)) if isinstance(value, list | tuple) else value}`"


# ── the exit codes ──


def _exit_codes() -> str:
    rows = [(f"{int(code)}", meaning) for code, meaning in EXIT_MEANINGS.items()]
    return _HEAD + "# Exit codes\n\n" + _table(("code", "meaning"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
