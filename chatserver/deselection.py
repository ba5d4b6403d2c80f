"""The hook as a label: a file that the Downward API keeps equal to a pod label's value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 1.0
"""Often enough: a kubelet takes up to a minute or so to bring a changed label into the file."""


def says_deselected(text: str) -> bool:
    """Whether a label with this value says that its pod is deselected: neither empty nor `false`."""
    return text.strip().strip('"').lower() not in ("", "false")


async def watch(
    path: Path, deselect: Callable[[], None], select: Callable[[], None], every_s: float = LOOK_EVERY_S
) -> None:
    """Call `deselect` when the file begins to say so and `select` when it ends to, until cancelled.

    Only changes count, so that a call to the admin port is not undone by a label that nobody has set. A file
    that cannot be read says nothing new.
    """
    was = False
    while True:
        try:
            now = says_deselected(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            now = was
        if now != was:
            was = now
            (deselect if now else select)()
        await asyncio.sleep(every_s)
