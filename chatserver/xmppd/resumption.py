"""XEP-0198's counters: what was handled, what is acknowledged, what must be sent again. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from chatserver.xmlstream import StreamError

T = TypeVar("T")

_MODULUS = 2**32
UNACKNOWLEDGED_LIMIT = 1000
ASK_EVERY = 5
"""Unacknowledged stanzas after which the server asks for an acknowledgement again."""


class Counters(Generic[T]):
    """One session's counters; they outlive its connections."""

    def __init__(self) -> None:
        self.handled = 0  # stanzas of the client, modulo 2**32
        self._acknowledged = 0
        self._unacknowledged: deque[T] = deque()

    def count_handled(self) -> None:
        """A stanza of the client was handled."""
        self.handled = (self.handled + 1) % _MODULUS

    def sent(self, item: T) -> bool:
        """A stanza was sent; returns whether to ask for an acknowledgement now.

        Raises StreamError (policy-violation) for a client that never acknowledges.
        """
        self._unacknowledged.append(item)
        if len(self._unacknowledged) > UNACKNOWLEDGED_LIMIT:
            raise StreamError("policy-violation", f"{UNACKNOWLEDGED_LIMIT} stanzas are not acknowledged")
        return len(self._unacknowledged) % ASK_EVERY == 0

    def acknowledge(self, handled: int) -> None:
        """The client has handled so many. A count below an earlier one changes nothing: some undercount.

        Raises StreamError for more than were sent.
        """
        news = (handled - self._acknowledged) % _MODULUS
        if news > _MODULUS // 2:
            return
        if news > len(self._unacknowledged):
            raise StreamError("undefined-condition", f"h={handled} counts stanzas that were never sent")
        for _ in range(news):
            self._unacknowledged.popleft()
        self._acknowledged = handled % _MODULUS

    @property
    def unacknowledged(self) -> tuple[T, ...]:
        """What the client may not have got, oldest first."""
        return tuple(self._unacknowledged)
