"""Ctrl-C and SIGTERM: they end a run early and in order, and never disturb its putting away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """While it is entered, both signals are noted, and `check` raises KeyboardInterrupt, until `defer` is called.

    Nothing is raised out of the signal handler itself: where it comes in a place that cannot raise (a fork's
    callback, a destructor) it would be lost, and in the middle of a start it would leave half a child. Only
    inside `raising`, for long calculations and waits, it comes at once.
    """

    def __init__(self) -> None:
        self._asked = False
        self._deferred = False
        self._raising = False
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise KeyboardInterrupt if one was asked for and is not deferred."""
        if self._asked and not self._deferred:
            raise KeyboardInterrupt

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Within the block a signal raises at once."""
        self._raising = True
        try:
            self.check()
            yield
        finally:
            self._raising = False

    def defer(self) -> None:
        """From now on they are ignored: what was measured is being kept."""
        self._deferred = True

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._raising:
            self.check()
