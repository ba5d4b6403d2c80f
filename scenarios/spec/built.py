"""What of the spec the program can do: one table, widened as things are built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scenarios.spec.base import SpecError, nearest
from scenarios.spec.shape import Spec

BUILT: Mapping[str, frozenset[str]] = {
    "strategy": frozenset({"recreate", "rolling", "graceful", "bluegreen", "colors", "rainbow", "immutable"}),
    "world": frozenset({"sim", "local"}),
    "record": frozenset({"full", "lost", "series"}),
    "drain.policy": frozenset({"empty", "after", "manual", "few", "worth_it"}),
    "fault": frozenset({"kill_pod", "deployer_killed"}),
    "users.arrivals": frozenset({"poisson", "diurnal", "trace"}),
    "deploys.bad": frozenset({"never_ready", "crashes"}),
    "server.on_sigterm": frozenset({"auto", "close", "hold", "pace"}),
    "modifier": frozenset({"shrink", "nudge", "keep_warm"}),  # to come: auto_rollback, discount_silent
}
"""What each kind of setting may be; everything else in the spec is refused in one line."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "strategy": ("recreate", "rolling", "graceful", "bluegreen", "colors", "rainbow", "immutable"),
    "world": ("sim", "local", "kind", "current"),
}
"""Names that are right even if they are not built yet."""


def require_built(spec: Spec, strategy: str | None = None, world: str | None = None) -> None:
    """Refuse what is not built of a spec, and of what it shall run with. Raises SpecError."""
    for kind, name in _used(spec, strategy, world):
        if name in BUILT[kind]:
            continue
        if kind in KNOWN and name not in KNOWN[kind]:
            raise SpecError(f"{kind} {name!r} is unknown{nearest(name, KNOWN[kind])}")
        can = ", ".join(sorted(BUILT[kind])) or "none"
        raise SpecError(f"{kind} {name} is not built yet; this version can do: {can}")


def _used(spec: Spec, strategy: str | None, world: str | None) -> Iterable[tuple[str, str]]:
    if strategy is not None:
        yield "strategy", strategy
    if world is not None:
        yield "world", world
    yield "record", spec.record
    yield "drain.policy", spec.drain.policy.kind
    yield "server.on_sigterm", spec.server.on_sigterm
    if spec.users.arrivals is not None:
        yield "users.arrivals", spec.users.arrivals.kind
    for deploy in spec.deploys:
        if deploy.bad is not None:
            yield "deploys.bad", deploy.bad
    for fault in spec.faults:
        yield "fault", fault.kind
    if spec.drain.keep_warm > 0:
        yield "modifier", "keep_warm"
    if spec.drain.discount_silent:
        yield "modifier", "discount_silent"
    if strategy is not None and hasattr(settings := getattr(spec.strategy, strategy, None), "shrink"):
        for name in ("shrink", "nudge", "auto_rollback"):
            if getattr(settings, name):
                yield "modifier", name
