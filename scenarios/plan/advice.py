"""From the numbers of each strategy to one recommendation with its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadgen.behaviour.sessions import Empirical
from scenarios.errors import UserMistake
from scenarios.plan.burndown import Left, drain_of, when_left
from scenarios.plan.estimate import Estimate, estimates
from scenarios.plan.limits import LIMITS
from scenarios.plan.sensitivity import Moved, sensitivity
from scenarios.plan.service import MOST_PER_DAY, Service
from scenarios.plan.text import time_text


@dataclass(frozen=True)
class Plan:
    """What to do for one service, and why."""

    service: Service
    estimates: tuple[Estimate, ...]
    recommended: Estimate
    reason: str
    alternatives: tuple[tuple[str, Estimate], ...]  # (what it is best at, which)
    drain_s: float  # what fixed-time strategies give an old release
    left: tuple[Left, ...]  # when an old release may go
    warnings: tuple[str, ...]
    moved: tuple[Moved, ...]  # the sensitivity of the recommended one


def plan(service: Service) -> Plan:
    """The cheapest strategy that fits, keeps up, lets everyone back in and cuts no more than is tolerated.

    Where none does all of that, the one that fits, keeps up and cuts the fewest; where none fits, the gentlest.
    Raises UserMistake for more than `MOST_PER_DAY` deploys.
    """
    if service.deploys_per_day > MOST_PER_DAY:
        raise UserMistake(
            f"deploys-per-day={service.deploys_per_day:g} must be at most {MOST_PER_DAY:,.0f}, one a second"
        )
    found = tuple(estimates(service))
    recommended, reason = _choose(service, found)
    few = service.few_left
    counts = sorted({0, few, max(service.connections // 100, 1)})
    return Plan(
        service=service,
        estimates=found,
        recommended=recommended,
        reason=reason,
        alternatives=_alternatives(found, recommended),
        drain_s=drain_of(service),
        left=tuple(when_left(service, m) for m in reversed(counts)),
        warnings=tuple(_warnings(service, recommended)),
        moved=tuple(sensitivity(service, recommended.name)),
    )


def is_gentle(service: Service, one: Estimate) -> bool:
    """Whether it cuts no more users than is tolerated."""
    return one.forced_per_user_deploy <= service.tolerated


def _choose(service: Service, found: Sequence[Estimate]) -> tuple[Estimate, str]:
    possible = [one for one in found if one.fits and one.keeps_up]
    good = [one for one in possible if is_gentle(service, one) and one.storm.verdict != "overloads"]
    if good:
        best = min(good, key=lambda one: (round(one.dollars_per_month, 2), one.forced_per_user_deploy))
        return best, (
            f"of the strategies that fit, keep up with the deploys and cut at most {service.tolerated:g} of the "
            "users, it costs the least"
        )
    calm = [one for one in possible if one.storm.verdict != "overloads"]
    pool = calm or possible or list(found)
    best = min(pool, key=lambda one: (round(one.forced_per_user_deploy, 6), one.dollars_per_month))
    lack = (
        f"none that fits and keeps up cuts as few as {service.tolerated:g} of the users; it cuts the fewest"
        if calm
        else "every strategy that fits and keeps up overloads the logins; it cuts the fewest"
        if possible
        else "none fits on the nodes and keeps up with the deploys; it would cut the fewest"
    )
    return best, lack


def _alternatives(found: Sequence[Estimate], recommended: Estimate) -> tuple[tuple[str, Estimate], ...]:
    usable = [one for one in found if one.fits and one.keeps_up] or list(found)
    told = {
        "cheapest": min(usable, key=lambda one: one.dollars_per_month),
        "fewest pods at the peak": min(usable, key=lambda one: (one.pods_peak, one.dollars_per_month)),
        "gentlest": min(
            usable, key=lambda one: (round(one.forced_per_user_deploy, 9), one.dollars_per_month)
        ),
        "most deploys a day without cutting more": max(
            (
                one
                for one in usable
                if one.forced_per_user_deploy <= recommended.forced_per_user_deploy + 1e-9
            ),
            key=lambda one: one.max_deploys_per_day,
            default=recommended,
        ),
    }
    kept: dict[str, tuple[str, Estimate]] = {}
    for what, one in told.items():
        if one.name == recommended.name:
            continue
        before = kept.get(one.name)
        kept[one.name] = (what if before is None else f"{before[0]}, {what}", one)
    return tuple(kept.values())


def _warnings(service: Service, recommended: Estimate) -> list[str]:
    told = []
    if service.limit is not None:
        limit = service.limit
        told.append(f"{limit.name} ends drains after {time_text(limit.cut_s)}: {limit.why}; {limit.way_out}")
    else:
        strategy = recommended.name.split()[0]
        short = [
            f"{limit.name} {time_text(limit.cut_s)}"
            for limit in LIMITS.values()
            if strategy in limit.hits and limit.cut_s < recommended.drain_mean_s
        ]
        if short:
            told.append(
                f"drains last {time_text(recommended.drain_mean_s)} on average; where one of these is in the way, it "
                f"ends them sooner (try --limit): {', '.join(short)}"
            )
    if isinstance(service.session, Empirical):
        told.append(
            "pods are for sessions no longer than the longest measured one; the times at which an old release may "
            "go look beyond it"
        )
    if recommended.storm.verdict == "overloads":
        told.append(
            f"the largest cut, {recommended.storm.cut:,.0f} connections at once, needs "
            + (
                "more logins than there are"
                if math.isinf(recommended.storm.queue_s)
                else f"{time_text(recommended.storm.queue_s)} of logins"
            )
            + f", and clients hang up after {time_text(service.connect_timeout_s)}: close them at a pace (nudge), or "
            "make the reconnect waits longer"
        )
    return told
