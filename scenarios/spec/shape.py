"""The shape of a scenario: every key, its type, its default, and what must fit together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from scenarios.record import Level
from scenarios.spec.base import Part, nearest
from scenarios.spec.deploying import Bad, Deploy, Drain, Fault, Strategies
from scenarios.spec.fleet import Fleet, Kubernetes, Network, Server
from scenarios.spec.releases import releases
from scenarios.spec.units import Duration, duration_text
from scenarios.spec.users import PositiveDuration, Users
from scenarios.thresholds import METRICS

LONGEST_S = 3650 * 86_400.0
"""Of a run: no plan for a service looks further ahead, and a simulation must come to an end."""


@dataclass(frozen=True, slots=True)
class PlannedDeploy:
    """One deploy of the run, with its release; `release` is empty for a rollback."""

    at_s: float
    kind: Literal["deploy", "rollback"]
    release: str = ""
    bad: Bad | None = None
    keep_s: float | None = None  # pinned for so long after its deselection; inf: to the end; None: not pinned


class Bound(Part):
    """What a metric must keep to; a metric that is null keeps to nothing."""

    max: float | None = Field(default=None, description="it must not be above this")
    min: float | None = Field(default=None, description="it must not be below this")

    @model_validator(mode="after")
    def _some(self) -> Bound:
        if self.max is None and self.min is None:
            raise ValueError("give max, min or both")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min={self.min:g} must not exceed max={self.max:g}")
        return self


def _not_too_long(duration_s: float) -> float:
    if duration_s > LONGEST_S:
        longest = duration_text(LONGEST_S)
        raise ValueError(
            f"{duration_text(duration_s)} is longer than {longest}, ten years; give a shorter one"
        )
    return duration_s


def _listed(value: Any) -> Any:
    """One mapping stands for a list of it."""
    return [value] if isinstance(value, Mapping) else value


class Spec(Part):
    """A scenario: what runs, who uses it, what is deployed and what breaks."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60, description="part of the run folder's name"
    )
    description: str = Field(default="", description="what it shows, in a sentence")
    duration: Annotated[PositiveDuration, AfterValidator(_not_too_long)] = Field(
        description="of the run, from time zero; 3650d at most"
    )
    warm_up: Duration = Field(default=0.0, description="from time zero; in no metric")
    compress: float = Field(
        default=1.0, ge=1, description="real worlds: how many times as fast the scenario is lived through"
    )
    seed: int = Field(default=7, ge=0, description="of every random stream")
    record: Level = Field(
        default="full", description="how much of the connections is kept: full, lost or series"
    )
    crowd: Literal["auto", "oracle", "fast"] = Field(
        default="auto",
        description="sim: users one by one with their messages (oracle), or in arrays without messages (fast); "
        "auto: oracle for few users with few messages",
    )
    fleet: Fleet = Field(default_factory=Fleet)
    users: Users = Field(description="who uses the service")
    server: Server = Field(default_factory=Server)
    network: Network = Field(default_factory=Network)
    deploys: Annotated[tuple[Deploy, ...], BeforeValidator(_listed), Field(strict=False)] = Field(
        default=(), description="what is deployed and when"
    )
    strategy: Strategies = Field(
        default_factory=Strategies, description="settings for all strategies, and by name"
    )
    drain: Drain = Field(default_factory=Drain)
    kubernetes: Kubernetes = Field(default_factory=Kubernetes)
    faults: Annotated[tuple[Fault, ...], Field(strict=False)] = Field(
        default=(), description="what breaks and when"
    )
    thresholds: dict[str, Bound] = Field(
        default_factory=dict, description="bounds on metrics; a missed one makes the exit code 3"
    )

    @model_validator(mode="after")
    def _fits(self) -> Spec:
        if self.warm_up >= self.duration:
            raise ValueError(
                f"warm_up={duration_text(self.warm_up)} must be shorter than "
                f"duration={duration_text(self.duration)}"
            )
        for number, deploy in enumerate(self.deploys):
            last_s = max(_times(deploy))
            if last_s >= self.duration:
                raise ValueError(
                    f"deploys.{number} comes at {duration_text(last_s)}, which must be before the end at "
                    f"duration={duration_text(self.duration)}"
                )
        for number, fault in enumerate(self.faults):
            if fault.at >= self.duration:
                raise ValueError(
                    f"faults.{number} comes at {duration_text(fault.at)}, which must be before the end at "
                    f"duration={duration_text(self.duration)}"
                )
        if self._agenda() and self._agenda()[0][1] == "rollback":
            raise ValueError("a rollback needs a deploy before it; there is nothing to go back to")
        unknown = [name for name in self.thresholds if name not in METRICS]
        if unknown:
            raise ValueError(f"thresholds.{unknown[0]}: unknown metric{nearest(unknown[0], METRICS)}")
        return self

    def _agenda(self) -> list[tuple[float, Literal["deploy", "rollback"], Deploy]]:
        found: list[tuple[float, Literal["deploy", "rollback"], Deploy]] = []
        for deploy in self.deploys:
            kind: Literal["deploy", "rollback"] = "deploy" if deploy.rollback_at is None else "rollback"
            found.extend((at_s, kind, deploy) for at_s in _times(deploy))
        return sorted(found, key=lambda one: one[0])

    def releases(self) -> tuple[str, ...]:
        """The initial release and then each new one in the order of its deploy: six hex digits, a colour.

        A release is drawn from the seed alone, whatever the strategy, unless its deploy names one.
        """
        named = [deploy.release for _, kind, deploy in self._agenda() if kind == "deploy"]
        drawn = iter(releases(self.seed, len(named) + 1, avoid=tuple(name for name in named if name)))
        return tuple(name or next(drawn)[:6] for name in (None, *named))

    def planned_deploys(self) -> tuple[PlannedDeploy, ...]:
        """Every deploy and rollback of the run in order, without the initial one."""
        new = iter(self.releases()[1:])
        return tuple(
            PlannedDeploy(at_s, kind, next(new) if kind == "deploy" else "", deploy.bad, _kept_s(deploy))
            for at_s, kind, deploy in self._agenda()
        )

    def data(self) -> dict[str, Any]:
        """Plain values for JSON, every default written out; `spec_of` reads them back as the same spec."""
        written: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return written

    def to_yaml(self) -> str:
        """The whole spec as YAML; releases and other texts that YAML would read as numbers are quoted."""
        return str(yaml.dump(self.data(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _times(deploy: Deploy) -> tuple[float, ...]:
    """When this deploy, or each of these deploys, is requested."""
    for at_s in (deploy.at, deploy.rollback_at):
        if at_s is not None:
            return (at_s,)
    every_s, count = deploy.every or 0.0, deploy.count or 1
    first_s = every_s if deploy.first is None else deploy.first
    return tuple(first_s + number * every_s for number in range(count))


def _kept_s(deploy: Deploy) -> float | None:
    return math.inf if deploy.keep == "always" else deploy.keep


class _Dumper(yaml.SafeDumper):
    """Quotes every text that begins like a number: readers differ on 1e5000 and 012345."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    numeric = value[:1].isdigit() and not value[-1:].isalpha()
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if numeric else None)


_Dumper.add_representer(str, _text)
