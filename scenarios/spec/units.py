"""Values with units, as a scenario writes them: durations, rates, quantities of CPU and memory, shares."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+"
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE = re.compile(rf"({_NUMBER})\s*/\s*(s|min|m|h|d|day)")
_PER = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "day": 86_400.0}
_BYTES = {
    "": 1,
    **{unit: 1000**n for n, unit in enumerate(("k", "M", "G", "T"), 1)},
    **{unit: 1024**n for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_MEMORY = re.compile(rf"({_NUMBER})(k|M|G|T|Ki|Mi|Gi|Ti)?")
_CPU = re.compile(rf"({_NUMBER})(m)?")
_PERCENT = re.compile(rf"({_NUMBER})\s*%")


def duration_s(value: Any) -> float:
    """Seconds of a duration such as 90s, 24h, 1h30m, 500ms, 7d or a bare 0. Raises ValueError."""
    if _is_number(value) and value == 0:
        return 0.0
    if _is_number(value):
        raise ValueError(f"{value} has no unit; write {value}s, or use ms, m, h or d")
    if isinstance(value, str):
        text = value.replace(" ", "")
        parts = _PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            total = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
            if math.isfinite(total):
                return total
    raise ValueError(f"{value!r} is no duration; write it as 90s, 24h, 1h30m or 500ms")


def duration_text(seconds: float) -> str:
    """The shortest text that `duration_s` reads as exactly these seconds."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0 and (unit != "d" or seconds >= 3 * size):
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds!r}s"


def rate_per_s(value: Any) -> float:
    """A rate per second from 100/s, 5/min, 20/h or 4/day. Raises ValueError."""
    if isinstance(value, str) and (found := _RATE.fullmatch(value.strip())):
        rate = float(found[1]) / _PER[found[2]]
        if math.isfinite(rate):
            return rate
    raise ValueError(f"{value!r} is no rate; write it as 100/s, 5/min or 20/h")


def cpus(value: Any) -> float:
    """CPUs from 2, 0.5 or 500m. Raises ValueError."""
    if _is_number(value):
        return float(value)
    if isinstance(value, str) and (found := _CPU.fullmatch(value.strip())):
        return float(found[1]) / (1000 if found[2] else 1)
    raise ValueError(f"{value!r} is no amount of CPU; write it as 2, 0.5 or 500m")


def memory_bytes(value: Any) -> float:
    """Bytes from 2Gi, 512Mi, 1G or a plain number. Raises ValueError."""
    if _is_number(value):
        return float(value)
    if isinstance(value, str) and (found := _MEMORY.fullmatch(value.strip())):
        return float(float(found[1]) * _BYTES[found[2] or ""])
    raise ValueError(f"{value!r} is no amount of memory; write it as 2Gi, 512Mi or 1G")


def memory_text(count: float) -> str | int:
    """The shortest quantity that `memory_bytes` reads as exactly these bytes."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count and count % _BYTES[unit] == 0:
            return f"{int(count // _BYTES[unit])}{unit}"
    return int(count)


def share_or_count(value: Any) -> int | str:
    """A count from 0 up, or a share from 0% to 100% kept as a text. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())) and float(found[1]) <= 100:
        return f"{found[1]}%"
    raise ValueError(f"{value!r} is neither a count nor a share; write it as 2 or 25%")


def percentage(value: Any) -> str:
    """A share from 0% to 100%, kept as a text. Raises ValueError."""
    if isinstance(value, str) and isinstance(found := share_or_count(value), str):
        return found
    raise ValueError(f"{value!r} is no share; write it as 5%")


def share_of(value: str) -> float:
    """0.25 from "25%", as `share_or_count` leaves it."""
    return float(value.removesuffix("%")) / 100


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _schema(*examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": list(examples)})


Duration = Annotated[
    float,
    BeforeValidator(duration_s),
    PlainSerializer(duration_text),
    _schema("90s", "24h", "1h30m", "500ms"),
]
"""Seconds; written with a unit."""

Rate = Annotated[
    float, BeforeValidator(rate_per_s), PlainSerializer(lambda rate: f"{rate!r}/s"), _schema("100/s", "5/min")
]
"""Per second; written with its time."""

Cpu = Annotated[float, BeforeValidator(cpus), _schema("1", "500m")]
"""CPUs."""

Memory = Annotated[
    float, BeforeValidator(memory_bytes), PlainSerializer(memory_text), _schema("2Gi", "512Mi", "1G")
]
"""Bytes; written as a Kubernetes quantity."""

Share = Annotated[int | str, BeforeValidator(share_or_count), _schema("2", "25%")]
"""A count, or a share such as 25%."""

Percent = Annotated[str, BeforeValidator(percentage), _schema("5%")]
"""A share such as 5%."""
