"""Templates to HTML, and how times are written in it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape

_DAY_S = 86_400


def render(template: str, **values: Any) -> str:
    """A page of this folder's template, with its style inside; it refers to nothing outside of itself."""
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = sentence
    room = files("scenarios.report")
    return environment.from_string((room / template).read_text(encoding="utf-8")).render(
        css=(room / "page.css").read_text(encoding="utf-8"), **values
    )


def sentence(text: str) -> str:
    """Every note on a page begins with a capital letter and ends with a full stop, whoever wrote it."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def clock(t_s: float | None, duration_s: float) -> str:
    """A moment of a run as a person reads it: seconds in a short run, days and time of day in a long one."""
    if t_s is None:
        return "–"
    if duration_s < 2 * 3600:
        return f"{t_s:.1f} s".replace("-", "−")
    seconds = round(abs(t_s))
    days, rest = divmod(seconds, _DAY_S)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    if t_s < 0:
        return f"−{text}"
    return f"{days} d {text}" if duration_s > _DAY_S else text
