"""What happens in a spec: deploys, faults, the strategies' settings, draining."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from scenarios.spec.base import Choice, Part, Word
from scenarios.spec.units import Duration, Share, duration_s, duration_text
from scenarios.spec.users import PositiveDuration

_RELEASE = re.compile(r"[0-9a-f]{6}([0-9a-f]{34})?")


def _release(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("YAML reads this as a number (so are 012345 and 1e5000); put the release in quotes")
    if not _RELEASE.fullmatch(value):
        raise ValueError(f"{value!r} is no release; give the first six characters of a git SHA, or all forty")
    return value[:6]


Release = Annotated[str, BeforeValidator(_release)]
Bad = Literal["never_ready", "crashes", "crashes_after_switch"]


def _duration_or(word: str, at_zero: str) -> Callable[[Any], float | str]:
    """Reads a duration above 0, or the word; `at_zero` is said of 0."""

    def read(value: Any) -> float | str:
        if value == word:
            return word
        seconds = duration_s(value)
        if seconds == 0:
            raise ValueError(at_zero)
        return seconds

    return read


_AS_WRITTEN = PlainSerializer(lambda value: value if isinstance(value, str) else duration_text(value))
_read_keep = _duration_or("always", "0 would keep nothing; leave keep out")

Keep = Annotated[
    float | Literal["always"],
    BeforeValidator(lambda value: _read_keep("always" if value is True else value)),
    _AS_WRITTEN,
    WithJsonSchema({"type": "string", "examples": ["6h", "always"]}),
]


class Deploy(Part):
    """One deploy, several evenly spaced ones, or a rollback; exactly one of at, every, rollback_at."""

    at: Duration | None = Field(default=None, description="a new release is requested")
    every: PositiveDuration | None = Field(
        default=None, description="a new release again and again, `count` times"
    )
    count: int | None = Field(default=None, ge=1, le=10_000, description="with every: how many")
    first: Duration | None = Field(
        default=None, description="with every: when the first one comes; after one `every` if not given"
    )
    rollback_at: Duration | None = Field(
        default=None, description="back to the release that was selected before"
    )
    release: Release | None = Field(default=None, description="with at: this one, and not a drawn one")
    bad: Bad | None = Field(
        default=None,
        description="with at or every: what is wrong with the release: it never gets ready; it crashes before "
        "it listens; or it crashes 5 s after it was found ready, again and again",
    )

    keep: Keep | None = Field(
        default=None,
        description="with at or every: the release is pinned (annotation drainbow.dev/keep): when it is an old one it "
        "stays, whatever `drain` says, for so long after it was deselected; or always, which `true` means too",
    )

    @model_validator(mode="after")
    def _forms(self) -> Deploy:
        given = [name for name in ("at", "every", "rollback_at") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of at, every, rollback_at")
        allowed = {
            "at": ("release", "bad", "keep"),
            "every": ("count", "first", "bad", "keep"),
            "rollback_at": (),
        }[given[0]]
        for name in ("count", "first", "release", "bad", "keep"):
            if getattr(self, name) is not None and name not in allowed:
                raise ValueError(f"{name} does not go with {given[0]}")
        if self.every is not None and self.count is None:
            raise ValueError("every needs a count")
        return self


class Fault(Part):
    """One fault; exactly one of the kinds."""

    KINDS: ClassVar[Mapping[str, float | None]] = {
        "kill_pod": None,  # it needs no end: the kubelet starts the server again
        "node_loss": 60.0,
        "backend_down": 10.0,
        "api_down": 30.0,
        "deployer_killed": 1.0,
    }
    """Each kind's duration where none is given."""

    at: Duration = Field(description="when it begins")
    duration: PositiveDuration | None = Field(
        default=None, description="how long it lasts; not with kill_pod"
    )
    kill_pod: str | None = Field(
        default=None, min_length=1, description="SIGKILL to a server: a pod's name, or random"
    )
    node_loss: str | None = Field(default=None, min_length=1, description="a node stops: its name, or random")
    backend_down: Literal[True] | None = Field(default=None, description="the XMPP backend is away")
    api_down: Literal[True] | None = Field(default=None, description="the cluster's API is away")
    deployer_killed: Literal[True] | None = Field(
        default=None, description="the deployer dies, and is back afterwards"
    )

    @model_validator(mode="before")
    @classmethod
    def _durations(cls, value: Any) -> Any:
        """`backend_down: 10s` is a short form of `backend_down: true, duration: 10s`."""
        if not isinstance(value, Mapping) or "duration" in value:
            return value
        for kind in ("backend_down", "api_down", "deployer_killed"):
            if isinstance(value.get(kind), str):
                duration_s(value[kind])
                return {**value, kind: True, "duration": value[kind]}
        return value

    @model_validator(mode="after")
    def _one(self) -> Fault:
        given = [kind for kind in self.KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(self.KINDS)}")
        if self.kill_pod is not None and self.duration is not None:
            raise ValueError("kill_pod has no duration: the server starts again by itself")
        return self

    @property
    def kind(self) -> str:
        """Which fault it is."""
        return next(kind for kind in self.KINDS if getattr(self, kind) is not None)

    @property
    def target(self) -> str:
        """The pod or node that is hit; empty where a kind has none."""
        value = getattr(self, self.kind)
        return "" if value is True else str(value)

    @property
    def lasts_s(self) -> float | None:
        """How long it lasts; None for kill_pod."""
        return self.duration if self.duration is not None else self.KINDS[self.kind]


class Nudge(Part):
    """Close what is left at a pace, asking the clients to come back elsewhere."""

    after: Duration = Field(description="since the release was deselected")
    per_s: float = Field(
        default=5.0, gt=0, description="connections closed in a second, over all pods together"
    )


class EveryStrategy(Part):
    """What each strategy may set for itself."""

    progress_deadline: PositiveDuration | None = Field(
        default=None,
        description="without progress for so long, a deploy has failed; 600s if it is given nowhere",
    )
    min_ready: Duration = Field(
        default=0.0, description="how long a new pod must have been ready before it counts"
    )
    auto_rollback: int = Field(
        default=0, ge=0, description="crashes after the switch that make it roll back; 0: never"
    )


class Recreate(EveryStrategy):
    """All old pods go, then new ones come."""

    grace: PositiveDuration = Field(default=30.0, description="from SIGTERM to SIGKILL")


class Rolling(EveryStrategy):
    """One Deployment whose template is patched."""

    max_surge: Share = Field(default="25%", description="pods beyond the replicas")
    max_unavailable: Share = Field(default="25%", description="pods below the replicas")
    grace: PositiveDuration = Field(default=30.0, description="from SIGTERM to SIGKILL")

    @model_validator(mode="after")
    def _moves(self) -> Rolling:
        if all(value in (0, "0%") for value in (self.max_surge, self.max_unavailable)):
            raise ValueError("max_surge and max_unavailable cannot both be 0: nothing could move")
        return self


class Graceful(Rolling):
    """Rolling, with hours of grace: pods wait for their last connection."""

    grace: PositiveDuration = Field(default=48 * 3600.0, description="from SIGTERM to SIGKILL")
    grace_cut: PositiveDuration | None = Field(
        default=None,
        description="someone else ends the grace so early: node drain, autoscaler (10m), load balancer",
    )


class Switching(EveryStrategy):
    """What the strategies that move the Service's selector have in common."""

    shrink: bool = Field(default=False, description="scale a draining Deployment down as its pods empty")
    nudge: Nudge | None = Field(default=None, description="close the leftovers at a pace")
    grace: PositiveDuration = Field(default=30.0, description="from SIGTERM to SIGKILL")


class Bluegreen(Switching):
    """Two fixed slots."""

    when_busy: Literal["block", "wait", "force"] = Field(
        default="block", description="when the free slot still drains"
    )


class Colors(Bluegreen):
    """A fixed number of slots, all at full size at all times."""

    count: int = Field(default=8, ge=2, description="slots")


class Rainbow(Switching):
    """A Deployment for each release."""

    max_releases: int | None = Field(
        default=None, ge=2, description="live releases at most; no cap if left out"
    )
    at_cap: Literal["refuse", "retire_oldest"] = Field(
        default="refuse", description="what a deploy does at that cap"
    )


class Immutable(Rainbow):
    """The wished-for native strategy, emulated."""


class Strategies(Part):
    """Settings for all strategies, and for each by its name."""

    progress_deadline: PositiveDuration = Field(
        default=600.0, description="without progress for so long, a deploy has failed"
    )
    recreate: Recreate = Field(default_factory=Recreate)
    rolling: Rolling = Field(default_factory=Rolling)
    graceful: Graceful = Field(default_factory=Graceful)
    bluegreen: Bluegreen = Field(default_factory=Bluegreen)
    colors: Colors = Field(default_factory=Colors)
    rainbow: Rainbow = Field(default_factory=Rainbow)
    immutable: Immutable = Field(default_factory=Immutable)


class After(Part):
    """A fixed time after it was deselected, whoever is still connected."""

    short: ClassVar[str] = "duration"
    duration: Duration = Field(description="since it was deselected")


class Few(Part):
    """When few enough connections are left."""

    short: ClassVar[str] = "left"
    left: Share = Field(description="this many, or this share of what it had when it was deselected")


class WorthIt(Part):
    """When waiting costs more in pods than it spares in reconnects."""

    reconnect_price: float = Field(gt=0, description="of one forced reconnect, in dollars")
    pod_hour_price: float | None = Field(
        default=None, gt=0, description="of one pod for an hour; fleet.pod.price_per_hour if left out"
    )


class Policy(Choice):
    """When an old release may go."""

    manual: Word | None = Field(default=None, description="never by itself")
    empty: Word | None = Field(default=None, description="when no connection is left")
    after: After | None = None
    few: Few | None = None
    worth_it: WorthIt | None = None


Deadline = Annotated[
    float | Literal["never"],
    BeforeValidator(_duration_or("never", "a deadline of 0 leaves no time; for that use policy {after: 0s}")),
    _AS_WRITTEN,
    WithJsonSchema({"type": "string", "examples": ["48h", "never"]}),
]


class Drain(Part):
    """How old releases drain."""

    policy: Policy = Field(
        default_factory=lambda: Policy.model_validate("empty"), description="when an old release may go"
    )
    deadline: Deadline | None = Field(
        default=None,
        description="since it was deselected, then it goes anyway; or never. 48h, but never under manual and "
        "after, where not given",
    )
    hold: Annotated[Duration, Field(ge=2)] | None = Field(
        default=None, description="the condition must have held so long; at least 2s, 60s if not given"
    )
    check_every: PositiveDuration | None = Field(
        default=None, description="how often connections are counted while something drains; 60s if not given"
    )
    keep_warm: Duration = Field(
        default=0.0, description="an old release stays at least so long, for a quick rollback"
    )
    discount_silent: bool = Field(
        default=False, description="connections silent for several pings do not count"
    )

    @model_validator(mode="after")
    def _deadline(self) -> Drain:
        after = self.policy.after
        if isinstance(self.deadline, float) and after is not None and after.duration > self.deadline:
            raise ValueError(
                f"policy after {duration_text(after.duration)} must not exceed "
                f"deadline={duration_text(self.deadline)}; leave the deadline out"
            )
        if self.deadline_s is not None and self.keep_warm > self.deadline_s:
            raise ValueError(f"keep_warm={duration_text(self.keep_warm)} must not exceed the deadline")
        return self

    @property
    def deadline_s(self) -> float | None:
        """After so long it goes anyway; None: never."""
        if isinstance(self.deadline, float):
            return self.deadline
        return None if self.deadline == "never" or self.policy.kind in ("manual", "after") else 48 * 3600.0
