"""One clock for a simulated run, in Unix seconds, and calls at a later time on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import simpy

EPOCH_S = 1_500_000_000.0
"""Where every simulated run begins; fixed, so that a seed gives the same bytes on any day."""


def until(env: simpy.Environment, at_s: float) -> float:
    """The delay after which it is `at_s`, and not the last moment before it by a rounding."""
    delay_s = max(at_s - env.now, 0.0)
    return delay_s if env.now + delay_s >= at_s else delay_s + math.ulp(at_s)


class Call:
    """One call at a later time; calls due at the same time come in the order in which they were made."""

    __slots__ = ("_do",)

    def __init__(self, env: simpy.Environment, delay_s: float, do: Callable[[], object]) -> None:
        self._do: Callable[[], object] | None = do
        env.timeout(max(delay_s, 0.0)).callbacks.append(self._ring)

    def cancel(self) -> None:
        """Nothing happens any more; harmless after the call."""
        self._do = None

    def _ring(self, _: simpy.Event) -> None:
        do, self._do = self._do, None
        if do is not None:
            do()
