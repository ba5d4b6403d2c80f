"""All the settings of users' behaviour in one value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from loadgen.behaviour.arrivals import Fixed, Population
from loadgen.behaviour.backoff import Backoff, Reconnect
from loadgen.behaviour.errors import require
from loadgen.behaviour.sessions import Exponential, Session


@dataclass(frozen=True)
class Behaviour:
    """What users want and how they take not getting it; serialisable with a pydantic TypeAdapter."""

    population: Population = field(default_factory=lambda: Fixed(300))
    session: Session = field(default_factory=lambda: Exponential(3600.0))
    reconnect: Reconnect = field(default_factory=Backoff)
    ramp_per_s: float = 100.0  # a fixed population's first logins
    connect_timeout_s: float = 10.0  # to TCP's connect, and again from there to logged in
    messages_per_min: float = 2.0  # that each user sends while online; 0: none
    vanish_ratio: float = 0.0  # of sessions that end without the server being told: a zombie is left
    keepalive_s: float = 60.0  # quiet for so long, a client asks the server whether it lives (XEP-0199)

    def __post_init__(self) -> None:
        _positive("users' ramp", self.ramp_per_s, "/s")
        _positive("users' connect_timeout", self.connect_timeout_s, "s")
        _positive("users' keepalive", self.keepalive_s, "s")
        require(
            0 <= self.vanish_ratio <= 1,
            f"users' vanish={self.vanish_ratio} must be a share from 0 to 1",
        )
        require(
            0 <= self.messages_per_min < math.inf,
            f"users' messages_per_min={self.messages_per_min} must be >= 0 and finite",
        )

    def compressed(self, factor: float) -> Behaviour:
        """The same users in a time that runs `factor` times as fast.

        Sessions are as much shorter and arrivals as much more frequent; backoff, timeouts, the ramp and the
        gaps between messages stay.
        """
        _positive("compress", factor, "")
        return replace(
            self, population=self.population.compressed(factor), session=self.session.scaled(1 / factor)
        )


def _positive(what: str, value: float, unit: str) -> None:
    require(0 < value < math.inf, f"{what}={value}{unit} must be > 0 and finite")
