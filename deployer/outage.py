"""What a loop says of a cluster that goes away and comes back: one line each, however long it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable


class Outage:
    """Tells the first failure of a row of them, and the first success after it."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._since_s: float | None = None

    def failed(self, why: object) -> float:
        """Something did not reach the cluster; since when nothing does, on the clock."""
        if self._since_s is None:
            self._since_s = self._clock()
            self._tell(f"{why}; trying again until it answers")
        return self._since_s

    def answered(self) -> None:
        """It answers."""
        if self._since_s is not None:
            self._tell(f"the cluster answers again, after {self._clock() - self._since_s:.0f} s")
            self._since_s = None
