"""What a load's master orders and its workers tell, and what the workers' news make together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.behaviour.crowd import Tally


@dataclass(frozen=True)
class Orders:
    """What the workers are to know; each field is given once."""

    zero_s: float | None = None
    until_s: float | None = None  # when they end by themselves, if nobody has told them to by then; Unix time
    end: bool = False


@dataclass(frozen=True)
class News:
    """How one worker's users are."""

    orders: Orders
    all_online: bool
    tally: Tally | None  # None: its users have not started
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TeamState:
    """The whole population, as far as its workers have told."""

    joined: int
    all_online: bool
    zeroed: int  # workers that know time zero
    tally: Tally
    warnings: tuple[str, ...] = field(default=())


def together(news: Mapping[int, News], workers: int) -> TeamState:
    """The sum over workers, of which some may not have told anything yet."""
    told = [each.tally for each in news.values() if each.tally is not None]
    by_release = Counter[str]()
    for tally in told:
        by_release.update(tally.by_release)
    numbers = ("online", "connecting", "offline", "attempts", "reconnects", "forced")
    sums = {name: sum(getattr(tally, name) for tally in told) for name in numbers}
    return TeamState(
        joined=len(news),
        all_online=len(news) == workers and all(each.all_online for each in news.values()),
        zeroed=sum(each.orders.zero_s is not None for each in news.values()),
        tally=Tally(**sums, by_release=dict(by_release)),
        warnings=tuple(
            f"worker {index}: {text}" for index, each in sorted(news.items()) for text in each.warnings
        ),
    )


def read_news(data: Mapping[str, Any]) -> tuple[int, News]:
    """A worker's index and its news, from the message that holds them."""
    tally = data["tally"]
    news = News(
        orders=Orders(**data["orders"]),
        all_online=data["all_online"],
        tally=None if tally is None else Tally(**tally),
        warnings=tuple(data["warnings"]),
    )
    return data["index"], news
