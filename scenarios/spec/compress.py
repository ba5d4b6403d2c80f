"""A scenario lived through in less time."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from scenarios.spec.shape import Spec

_HOLD_S, _CHECK_EVERY_S = 2.0, 1.0
_DIVIDED = {
    "Spec": ("duration", "warm_up"),
    "Exponential": ("mean",),
    "Lognormal": ("median", "mean"),
    "Weibull": ("mean",),
    "Diurnal": ("period", "peak"),
    "Deploy": ("at", "every", "first", "rollback_at", "keep"),
    "Fault": ("at", "duration"),
    "Graceful": ("grace", "grace_cut"),
    "Nudge": ("after",),
    "After": ("duration",),
    "Drain": ("deadline", "keep_warm"),
}
"""Which keys of which part are times that shrink."""
_MULTIPLIED = {"Poisson": ("per_s",), "Diurnal": ("per_s",), "Trace": ("speed",), "Empirical": ("speed",)}
"""Which are rates that grow."""
_PASSED = {"Fleet", "Server", "Network", "Kubernetes", "Reconnect", "Bound"}
"""Parts that stay as they are, with all that is in them."""

M = TypeVar("M", bound=BaseModel)


def compressed(spec: Spec) -> Spec:
    """The scenario as it is run: `spec.compress` times as fast, with `compress` 1.

    Divided: the duration and warm_up, session lengths, all times of deploys and faults, the drain policy's
    time, deadline and keep_warm, a deploy's keep, a nudge's time, graceful's grace and its cut. Multiplied: arrival rates.
    As they are: backoff, timeouts, progress_deadline, min_ready, probes, start-up, other graces, linger,
    login and message rates. `hold` and `check_every` stay as given; where not given they become 2 s and 1
    s.
    """
    if spec.compress == 1:
        return spec
    faster = _faster(spec, spec.compress)
    drain = faster.drain.model_copy(
        update={
            "hold": _HOLD_S if spec.drain.hold is None else spec.drain.hold,
            "check_every": _CHECK_EVERY_S if spec.drain.check_every is None else spec.drain.check_every,
        }
    )
    return faster.model_copy(update={"compress": 1.0, "drain": drain})


def _faster(part: M, factor: float) -> M:
    """A part with its times divided and its rates multiplied, and so with all parts in it."""
    name = type(part).__name__
    if name in _PASSED:
        return part
    changed: dict[str, Any] = {}
    for key in type(part).model_fields:
        value = getattr(part, key)
        new = _value(value, factor)
        if isinstance(value, float) and key in _DIVIDED.get(name, ()):
            new = value / factor
        elif isinstance(value, float) and key in _MULTIPLIED.get(name, ()):
            new = value * factor
        if new is not value:
            changed[key] = new
    return part.model_copy(update=changed) if changed else part


def _value(value: Any, factor: float) -> Any:
    if isinstance(value, BaseModel):
        return _faster(value, factor)
    if isinstance(value, tuple):
        return tuple(_value(one, factor) for one in value)
    return value
