"""What of the spec the program can do in which world: one table, widened as things are built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scenarios.spec.base import SpecError, nearest
from scenarios.spec.deploying import Switching
from scenarios.spec.shape import Spec
from scenarios.spec.units import duration_text

EVERYWHERE: Mapping[str, frozenset[str]] = {
    "strategy": frozenset({"recreate", "rolling", "graceful", "bluegreen", "colors", "rainbow", "immutable"}),
    "record": frozenset({"full", "lost", "series"}),
    "drain.policy": frozenset({"empty", "after", "manual", "few", "worth_it"}),
    "fault": frozenset({"kill_pod", "deployer_killed"}),
    "users.arrivals": frozenset({"poisson", "diurnal", "trace"}),
    "deploys.bad": frozenset({"never_ready", "crashes", "crashes_after_switch"}),
    "server.on_sigterm": frozenset({"auto", "close", "hold", "pace"}),
    "network.no_endpoints": frozenset({"refuse", "throttled"}),
    "modifier": frozenset({"shrink", "nudge", "keep_warm", "auto_rollback", "discount_silent"}),
}
"""What each kind of setting may be in every world."""

BUILT: Mapping[str, Mapping[str, frozenset[str]]] = {
    "sim": {
        **EVERYWHERE,
        "fault": EVERYWHERE["fault"] | {"backend_down", "node_loss", "api_down"},
    },
    "local": {
        **EVERYWHERE,
        "network.no_endpoints": frozenset({"refuse"}),
        "fault": EVERYWHERE["fault"] | {"backend_down", "node_loss", "api_down"},
    },
    "kind": {
        **EVERYWHERE,
        "fault": EVERYWHERE["fault"] | {"backend_down", "node_loss", "api_down"},
    },
    "current": {**EVERYWHERE, "fault": EVERYWHERE["fault"] | {"backend_down"}},
}
"""The worlds that there are, and what each kind of setting may be in them; all else is refused in one line."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "strategy": ("recreate", "rolling", "graceful", "bluegreen", "colors", "rainbow", "immutable"),
    "world": ("sim", "local", "kind", "current"),
}
"""Names that are right even if they are not built yet."""


def require_built(spec: Spec, strategy: str | None = None, world: str | None = None) -> None:
    """Refuse what is not built of a spec, and of what it shall run with. Raises SpecError.

    Without a world it is enough that one can do it.
    """
    if world is not None and world not in BUILT:
        raise _not_built("world", world, BUILT)
    worlds = [BUILT[world]] if world is not None else list(BUILT.values())
    for kind, name in _used(spec, strategy):
        if not any(name in can[kind] for can in worlds):
            raise _not_built(kind, name, frozenset[str]().union(*(can[kind] for can in worlds)), world)
    _require_releases_that_can_be_kept(spec, strategy)


def _require_releases_that_can_be_kept(spec: Spec, strategy: str | None) -> None:
    """What has one Deployment keeps no old release, so that nothing could come of the wish."""
    switching = [name for name in KNOWN["strategy"] if isinstance(getattr(spec.strategy, name), Switching)]
    if strategy is None or strategy in switching:
        return
    for number, deploy in enumerate(spec.deploys):
        if deploy.keep is not None:
            kept = deploy.keep if isinstance(deploy.keep, str) else duration_text(deploy.keep)
            raise SpecError(
                f"deploys.{number}.keep={kept}: {strategy} has one Deployment and keeps no old release; "
                f"leave keep out, or choose one of {', '.join(switching)}"
            )


def _not_built(kind: str, name: str, can: Iterable[str], world: str | None = None) -> SpecError:
    if kind in KNOWN and name not in KNOWN[kind]:
        return SpecError(f"{kind} {name!r} is unknown{nearest(name, KNOWN[kind])}")
    there = f" in world {world}" if world is not None else ""
    words = ", ".join(sorted(can)) or "none"
    return SpecError(f"{kind} {name} is not built yet{there}; this version can do: {words}")


def _used(spec: Spec, strategy: str | None) -> Iterable[tuple[str, str]]:
    if strategy is not None:
        yield "strategy", strategy
    yield "record", spec.record
    yield "drain.policy", spec.drain.policy.kind
    yield "server.on_sigterm", spec.server.on_sigterm
    if spec.network.no_endpoints is not None:
        yield "network.no_endpoints", spec.network.no_endpoints.kind
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
    settings = getattr(spec.strategy, strategy, None) if strategy is not None else None
    for name in ("shrink", "nudge", "auto_rollback"):
        if getattr(settings, name, None):
            yield "modifier", name
