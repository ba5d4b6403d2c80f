"""The limiter: logins beyond a rate wait their turn, first come, first served."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class LoginQueue(Generic[T]):
    """A token a login, one token every 1/per_s seconds, none saved up. Who leaves the queue takes no token.

    `per_s` 0 is no limit.
    """

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._waiting: dict[T, None] = {}
        self._next_s = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, login: T, now_s: float) -> None:
        """Queue up."""
        if not self._waiting:
            self._next_s = max(self._next_s, now_s)  # an idle while saves up no tokens
        self._waiting[login] = None

    def leave(self, login: T) -> None:
        """Give up; who is not in the queue leaves it unchanged."""
        self._waiting.pop(login, None)

    def due(self, now_s: float) -> list[T]:
        """Those whose turn has come, in order; they leave the queue."""
        due: list[T] = []
        while self._waiting and self._next_s <= now_s:
            login = next(iter(self._waiting))
            del self._waiting[login]
            due.append(login)
            self._next_s += self._interval_s  # not from now: a late look must not slow the rate down
        return due

    @property
    def next_s(self) -> float | None:
        """When to look again, None while nobody waits."""
        return self._next_s if self._waiting else None
