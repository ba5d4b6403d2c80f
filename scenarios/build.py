"""From a spec to what the rooms below take: behaviour, strategy, drain settings, a simulation's setup."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel

from deployer.clusters.controlplane.objects import Timing
from deployer.clusters.local.config import Startup
from deployer.draining import After, DrainSettings, Empty, Few, Manual, Pin, Policy, WorthIt
from deployer.fleet import Kind, Limits
from deployer.strategies.registry import AnyStrategy, make
from loadgen.behaviour import arrivals, backoff, sessions
from loadgen.behaviour.files import read_sessions, read_trace
from loadgen.behaviour.settings import Behaviour
from scenarios.assemble import action_rows, frame, verdict_rows
from scenarios.record import RUN_END, RUN_START
from scenarios.spec import Spec, SpecError, users
from scenarios.spec.units import duration_text, share_of

if TYPE_CHECKING:
    from sim.outcome import Outcome
    from sim.setup import Setup

_NOT_GIVEN_S = 60.0
"""`drain.hold` and `drain.check_every` where the spec gives none."""


def behaviour_of(spec: Spec) -> Behaviour:
    """The users' settings. Raises SpecError for a file that holds no times and for values that cannot be."""
    try:
        return Behaviour(
            population=_population(spec),
            session=_session(spec.users.session),
            reconnect=_reconnect(spec.users.reconnect),
            ramp_per_s=spec.users.ramp,
            connect_timeout_s=spec.users.connect_timeout,
            messages_per_min=spec.users.messages_per_min,
            vanish_ratio=share_of(spec.users.vanish),
        )
    except ValueError as error:
        raise SpecError(f"users: {error}") from None


def strategy_settings(spec: Spec, name: str) -> dict[str, Any]:
    """The settings of one strategy as `deployer.strategies.make` takes them, times in seconds."""
    own: BaseModel = getattr(spec.strategy, name)
    found = {key: getattr(own, key) for key in type(own).model_fields}
    if found["progress_deadline"] is None:
        found["progress_deadline"] = spec.strategy.progress_deadline
    nudge = found.pop("nudge", None)
    if nudge is not None:
        found["nudge"] = {"after": nudge.after, "per_s": nudge.per_s}
    return {key: value for key, value in found.items() if value is not None}


def strategy_of(spec: Spec, name: str) -> AnyStrategy:
    """The strategy of that name with the spec's settings. Raises StrategyError."""
    return make(name, strategy_settings(spec, name))


def drain_of(spec: Spec) -> DrainSettings:
    """How old releases drain. Raises DrainError."""
    drain = spec.drain
    return DrainSettings(
        policy=_policy(spec),
        deadline_s=drain.deadline_s,
        hold_s=_NOT_GIVEN_S if drain.hold is None else drain.hold,
        check_every_s=_NOT_GIVEN_S if drain.check_every is None else drain.check_every,
        keep_warm_s=drain.keep_warm,
        discount_silent=drain.discount_silent,
        pinned=tuple(
            Pin(deploy.release, None if deploy.keep_s == math.inf else deploy.keep_s)
            for deploy in spec.planned_deploys()
            if deploy.keep_s is not None
        ),
    )


def limits_of(spec: Spec) -> Limits:
    """What bounds the fleet."""
    return Limits(replicas=spec.fleet.replicas, capacity_pods=spec.fleet.capacity_pods)


def startup_of(spec: Spec) -> Startup:
    """How long pods take to start."""
    startup = spec.fleet.startup
    if startup.lognormal is None:
        assert startup.fixed is not None
        return Startup(startup.fixed, 0.0)
    return Startup(startup.lognormal.median, startup.lognormal.sigma)


def setup_of(spec: Spec, strategy: str) -> Setup:
    """A simulated run of the spec. Raises SpecError, StrategyError, DrainError and SetupError."""
    from sim import setup

    fleet, server, network = spec.fleet, spec.server, spec.network
    throttled = None if network.no_endpoints is None else network.no_endpoints.throttled
    return setup.Setup(
        seed=spec.seed,
        duration_s=spec.duration,
        fleet=setup.FleetSetup(
            startup=startup_of(spec),
            probe_period_s=fleet.probe.period,
            nodes=setup.Nodes(fleet.nodes.count, fleet.nodes.cpu, fleet.nodes.memory),
            pod_cpu=fleet.pod.cpu,
            pod_memory_bytes=fleet.pod.memory,
        ),
        behaviour=behaviour_of(spec),
        strategy=strategy_of(spec, strategy),
        limits=limits_of(spec),
        drain=drain_of(spec),
        initial=spec.releases()[0],
        level=setup.Level(spec.record),
        crowd=setup.CrowdKind(spec.crowd),
        server=setup.ServerSetup(
            login_cpu_s=server.login_cpu,
            backlog=server.backlog,
            handshake_timeout_s=server.handshake_timeout,
            backend_logins_per_s=server.backend_logins_per_s,
            on_sigterm=setup.Sigterm(server.on_sigterm),
            linger_s=server.linger,
            on_deselected=setup.Deselected(server.on_deselected),
            ping_interval_s=server.ping_interval,
            pace_per_s=server.pace_per_s,
        ),
        timing=Timing(gone_after_exit_s=fleet.removal),
        network=setup.NetworkSetup(
            sync_period_s=network.sync_period,
            no_endpoints=None if throttled is None else setup.Throttled(throttled.per_s, throttled.burst),
        ),
        deploys=tuple(
            setup.PlannedDeploy(
                deploy.at_s,
                deploy.release or None,
                Kind(deploy.kind),
                None if deploy.bad is None else setup.Bad(deploy.bad),
            )
            for deploy in spec.planned_deploys()
        ),
        faults=tuple(
            setup.Fault(fault.at, setup.FaultKind(fault.kind), fault.target, fault.lasts_s or 0.0)
            for fault in spec.faults
        ),
    )


def frames_of(outcome: Outcome) -> dict[str, pl.DataFrame]:
    """The tables of a simulated run; `series` only where it was counted during the run."""
    kinds = {"run_start": RUN_START, "run_end": RUN_END}
    events = frame("events", outcome.events)
    counted = {} if outcome.series is None else {"series": outcome.series}
    rows = outcome.connections
    return {
        **counted,
        "connections": rows if isinstance(rows, pl.DataFrame) else frame("connections", rows),
        "pods": frame("pods", outcome.pods),
        "deploys": frame("deploys", outcome.deploys),
        "samples": outcome.samples.table(),
        "actions": action_rows(outcome.actions),
        "verdicts": verdict_rows(outcome.verdicts),
        "events": events.with_columns(pl.col("kind").replace(kinds)),
    }


def _population(spec: Spec) -> arrivals.Population:
    given = spec.users
    if given.arrivals is None:
        return arrivals.Fixed(given.count or 0)
    chosen = given.arrivals.chosen
    if isinstance(chosen, users.Poisson):
        return arrivals.Poisson(chosen.per_s)
    if isinstance(chosen, users.Diurnal):
        return arrivals.Diurnal(chosen.per_s, chosen.swing, chosen.period, chosen.peak)
    trace = read_trace(Path(chosen.file), chosen.column)
    trace = trace if chosen.speed == 1 else trace.compressed(chosen.speed)
    if trace.times_s[0] >= spec.duration:
        raise ValueError(
            f"{chosen.file}: the first arrival is at {trace.times_s[0]:,.10g} s, and the run ends at "
            f"{duration_text(spec.duration)}; write times as seconds since time zero"
        )
    return trace


def _session(given: users.Session) -> sessions.Session:
    if given.forever is not None:
        return sessions.Forever()
    if given.mixture is not None:
        return sessions.Mixture(
            tuple((part.weight, _length(next(iter(part.chosen.values())))) for part in given.mixture)
        )
    return _length(given.chosen)


def _length(
    given: BaseModel,
) -> sessions.Exponential | sessions.Weibull | sessions.Lognormal | sessions.Empirical:
    if isinstance(given, users.Exponential):
        return sessions.Exponential(given.mean)
    if isinstance(given, users.Weibull):
        return sessions.Weibull(given.mean, given.shape)
    if isinstance(given, users.Lognormal):
        if given.mean is not None:
            return sessions.Lognormal.of_mean(given.mean, given.sigma)
        assert given.median is not None
        return sessions.Lognormal(given.median, given.sigma)
    assert isinstance(given, users.Empirical)
    lengths = read_sessions(Path(given.file), given.column)
    return lengths if given.speed == 1 else lengths.scaled(1 / given.speed)


def _reconnect(given: users.Reconnect) -> backoff.Reconnect:
    if given.kind in backoff.PRESETS:
        return backoff.PRESETS[given.kind]
    chosen = given.chosen
    if isinstance(chosen, users.Immediate):
        return backoff.Immediate(chosen.give_up)
    if isinstance(chosen, users.Fixed):
        return backoff.Fixed(chosen.wait, chosen.give_up)
    assert isinstance(chosen, users.Backoff)
    return backoff.Backoff(chosen.base, chosen.cap, chosen.jitter, chosen.give_up)


def _policy(spec: Spec) -> Policy:
    policy = spec.drain.policy
    if policy.after is not None:
        return After(policy.after.duration)
    if policy.few is not None:
        left = policy.few.left
        return Few(count=left) if isinstance(left, int) else Few(share=share_of(left))
    if policy.worth_it is not None:
        price = policy.worth_it.pod_hour_price
        return WorthIt(
            pod_hour_price=spec.fleet.pod.price_per_hour if price is None else price,
            reconnect_price=policy.worth_it.reconnect_price,
        )
    return Manual() if policy.manual is not None else Empty()
