"""The users of a spec: how many, how long they stay, how they come back."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from scenarios.spec.base import Choice, Part, Word
from scenarios.spec.units import Duration, Percent, Rate

PositiveDuration = Annotated[Duration, Field(gt=0)]
PositiveRate = Annotated[Rate, Field(gt=0)]


class Exponential(Part):
    """Memoryless: however long it has lasted, what is left has the same law."""

    short: ClassVar[str] = "mean"
    mean: PositiveDuration = Field(description="mean length")


class Lognormal(Part):
    """Many short ones and a few very long ones; give the median or the mean."""

    median: PositiveDuration | None = Field(default=None, description="half are shorter")
    mean: PositiveDuration | None = Field(default=None, description="mean length, median·exp(σ²/2)")
    sigma: float = Field(gt=0, le=5, description="standard deviation of the logarithm")

    @model_validator(mode="after")
    def _one(self) -> Lognormal:
        if (self.median is None) == (self.mean is None):
            raise ValueError("give either median or mean")
        return self


class Weibull(Part):
    """A typical length (shape > 1) or a heavy tail (shape < 1); shape 1 is exponential."""

    mean: PositiveDuration = Field(description="mean length")
    shape: float = Field(ge=0.1, le=100, description="above 1: lengths gather around the mean")


def _file(value: str, info: ValidationInfo) -> str:
    """Names a file relative to the scenario's own folder, once that is known."""
    folder = (info.context or {}).get("folder")
    if folder is None:
        return value
    path = (folder / value).resolve()
    if not path.is_file():
        raise ValueError(f"{path} is not there; name a CSV file, relative to the scenario's")
    return str(path)


File = Annotated[str, Field(min_length=1), AfterValidator(_file)]
Column = Annotated[
    str | None,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(
        min_length=1,
        description="of the file: a header, or a number from 1; left out: the only one, or the only one whose "
        "header ends in a unit, such as duration_ms or length_min; without a header the first",
    ),
]


class Empirical(Part):
    """Lengths as measured."""

    short: ClassVar[str] = "file"
    file: File = Field(
        description="CSV, a length in each row, in the unit that the header ends in, else in seconds; "
        "relative to the scenario's file"
    )
    column: Column = None
    speed: float = Field(default=1.0, gt=0, description="its times are divided by this")


class Length(Choice):
    """A distribution of durations."""

    exponential: Exponential | None = None
    lognormal: Lognormal | None = None
    weibull: Weibull | None = None
    empirical: Empirical | None = None
    forever: Word | None = Field(default=None, description="nobody ever leaves")


class MixturePart(Part):
    """One kind of users in a mixture: its weight and its one distribution."""

    weight: float = Field(gt=0, description="share of new sessions, relative to the other parts'")
    exponential: Exponential | None = None
    lognormal: Lognormal | None = None
    weibull: Weibull | None = None
    empirical: Empirical | None = None

    @model_validator(mode="after")
    def _one(self) -> MixturePart:
        if len(self.chosen) != 1:
            names = ", ".join(name for name in type(self).model_fields if name != "weight")
            raise ValueError(f"give exactly one of {names}")
        return self

    @property
    def chosen(self) -> dict[str, Any]:
        """The distribution under its name."""
        names = (name for name in type(self).model_fields if name != "weight")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class Session(Length):
    """How long a user wishes to be online."""

    mixture: Annotated[tuple[MixturePart, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None, description="several kinds of users, each with a weight and a distribution"
    )


GiveUp = Annotated[
    int | None, Field(ge=1, description="attempts in a row without a login; never if left out")
]


class Backoff(Part):
    """Exponential backoff: up to min(cap, base·2^retry), spread by the jitter."""

    base: PositiveDuration = Field(default=1.0, description="highest first wait")
    cap: PositiveDuration = Field(default=60.0, description="no wait is longer")
    jitter: Literal["none", "equal", "full", "decorrelated"] = Field(
        default="full", description="how waits are spread"
    )
    give_up: GiveUp = None

    @model_validator(mode="after")
    def _cap(self) -> Backoff:
        if self.cap < self.base:
            raise ValueError(f"cap={self.cap:g}s must be at least base={self.base:g}s")
        return self


class Immediate(Part):
    """A first retry at once, further ones 100 ms apart."""

    give_up: GiveUp = None


class Fixed(Part):
    """The same wait before every retry."""

    short: ClassVar[str] = "wait"
    wait: PositiveDuration = Field(description="before every retry; for none at all take `immediate`")
    give_up: GiveUp = None


class Reconnect(Choice):
    """How a user who lost the connection tries again."""

    exponential: Backoff | None = None
    fixed: Fixed | None = None
    immediate: Immediate | None = None
    xmpp_js: Word | None = Field(
        default=None, alias="xmpp.js", description="as xmpp.js does: every second, for ever"
    )
    converse: Word | None = Field(default=None, description="as Converse does: at once, then every 3 s")
    slixmpp: Word | None = Field(default=None, description="as slixmpp does: at once, then 1, 3, 7 … 300 s")


class Poisson(Part):
    """Independent arrivals at a constant rate."""

    per_s: float = Field(gt=0, description="arrivals a second")


class Diurnal(Part):
    """Independent arrivals at a rate that swings as a cosine."""

    per_s: float = Field(gt=0, description="arrivals a second, mean over a period")
    swing: float = Field(
        default=0.8, ge=0, le=1, description="how far it swings, relative to the mean; 1: down to nobody"
    )
    period: PositiveDuration = Field(default=86_400.0, description="from peak to peak")
    peak: Duration = Field(default=43_200.0, description="when the rate is highest, since time zero")


class Trace(Part):
    """Arrivals as measured."""

    short: ClassVar[str] = "file"
    file: File = Field(
        description="CSV, in each row a time since time zero, in the unit that the header ends in, else in "
        "seconds; relative to the scenario's file"
    )
    column: Column = None
    speed: float = Field(default=1.0, gt=0, description="its times are divided by this")


class Arrivals(Choice):
    """Users who come, stay for a session and leave for good."""

    poisson: Poisson | None = None
    diurnal: Diurnal | None = None
    trace: Trace | None = None


class Users(Part):
    """Who uses the service; either a fixed `count` or `arrivals`."""

    count: int | None = Field(
        default=None, ge=0, description="fixed population: who leaves is replaced at once"
    )
    arrivals: Arrivals | None = Field(
        default=None, description="instead of count: who comes when; starts empty"
    )
    session: Session = Field(
        default_factory=lambda: Session.model_validate({"exponential": {"mean": "1h"}}),
        description="how long a user wishes to be online",
    )
    reconnect: Reconnect = Field(
        default_factory=lambda: Reconnect.model_validate("exponential"),
        description="how a user who lost the connection tries again",
    )
    ramp: PositiveRate = Field(
        default=100.0, description="first logins of a fixed population, before time zero"
    )
    connect_timeout: PositiveDuration = Field(
        default=10.0, description="to TCP's connect, and again to the handshake's end"
    )
    messages_per_min: float = Field(default=2.0, ge=0, description="that each user sends while online")
    vanish: Percent = Field(
        default="0%",
        description="sessions that end without a word to the server: their connections stay open, and silent",
    )

    @model_validator(mode="after")
    def _population(self) -> Users:
        if (self.count is None) == (self.arrivals is None):
            raise ValueError("give either count or arrivals; --set users.count=null takes a count away")
        if self.arrivals is not None and "ramp" in self.model_fields_set:
            raise ValueError("ramp goes with count; who arrives by a process is not ramped up, leave it out")
        return self

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        written = handler(self)
        if self.arrivals is not None:
            written.pop("ramp", None)
        return written
