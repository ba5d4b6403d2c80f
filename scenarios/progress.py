"""What a person sees while a run goes on: a live panel on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run."""

    t_s: float  # since time zero; negative while the users ramp up
    duration_s: float
    online: int = 0
    connecting: int = 0
    offline: int = 0
    reconnects: int = 0  # attempts with that reason, since the start
    forced: int = 0  # connections that somebody else than their user closed
    by_release: Mapping[str, int] = field(default_factory=dict)
    selected: str | None = None
    pods: Mapping[str, int] = field(default_factory=dict)  # by state


class Progress(Protocol):
    """Shows a run; each call is cheap and may be ignored."""

    def phase(self, text: str) -> None:
        """What goes on now."""

    def update(self, snapshot: Snapshot) -> None:
        """How it stands."""

    def note(self, text: str) -> None:
        """Something that happened and stays visible."""

    def close(self) -> None:
        """The end; whatever was drawn stays as it is."""


class Silent:
    """Shows nothing."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainLines:
    """A line for each phase and note, and one every few seconds in between."""

    def __init__(self, stream: IO[str], every_s: float = 5.0) -> None:
        self._stream, self._every_s = stream, every_s
        self._last_s = float("-inf")
        self._begun_s = time.monotonic()

    def phase(self, text: str) -> None:
        """A line of its own."""
        self._print(text)

    def update(self, snapshot: Snapshot) -> None:
        """A line, unless the last one is fresh."""
        now_s = time.monotonic()
        if now_s - self._last_s < self._every_s:
            return
        self._last_s = now_s
        releases = " ".join(
            f"{release}{'*' if release == snapshot.selected else ''}:{open_}"
            for release, open_ in sorted(snapshot.by_release.items())
        )
        self._print(
            f"t={snapshot.t_s:+.0f}s of {snapshot.duration_s:.0f}s  online {snapshot.online}  [{releases}]  "
            f"forced {snapshot.forced}  reconnects {snapshot.reconnects}"
        )

    def note(self, text: str) -> None:
        """A line of its own."""
        self._print(text)

    def close(self) -> None:
        """Nothing is open."""

    def _print(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun_s:6.1f}s] {text}", file=self._stream, flush=True)


class Panel:
    """A live panel: phase, time left, connections per release in the releases' colours, reconnects."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._phase = ""
        self._snapshot: Snapshot | None = None
        self._live = Live(self._draw(), console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def phase(self, text: str) -> None:
        """Replaces the phase line."""
        self._phase = text
        self._live.update(self._draw())

    def update(self, snapshot: Snapshot) -> None:
        """Redraws."""
        self._snapshot = snapshot
        self._live.update(self._draw())

    def note(self, text: str) -> None:
        """Printed above the panel."""
        self._console.print(Text(text))

    def close(self) -> None:
        """Takes the panel away; notes stay."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        head = Text.assemble((self._title, "bold"), "  ", self._phase)
        seen = self._snapshot
        if seen is None:
            return head
        left_s = max(seen.duration_s - max(seen.t_s, 0.0), 0.0)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=seen.duration_s, completed=max(seen.t_s, 0.0), width=40),
            f"{left_s:.0f} s left" if seen.t_s >= 0 else "users come online",
        )
        rows = Table.grid(padding=(0, 1))
        most = max(seen.by_release.values(), default=1) or 1
        for release, open_ in seen.by_release.items():
            mark = "selected" if release == seen.selected else "draining" if open_ else "empty"
            blocks = Text("█" * max(round(36 * open_ / most), 1 if open_ else 0), style=f"#{release}")
            rows.add_row(
                Text(release, style=f"bold #{release}"), f"{open_:>6}", blocks, Text(mark, style="dim")
            )
        pods = ", ".join(f"{count} {state}" for state, count in seen.pods.items() if count)
        foot = Text(
            f"online {seen.online}   connecting {seen.connecting}   offline {seen.offline}   "
            f"forced reconnects {seen.forced}   reconnect attempts {seen.reconnects}   pods: {pods or '–'}"
        )
        return Group(head, bar, rows, foot)


def for_person(title: str, quiet: bool = False) -> Progress:
    """The panel on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    console = Console(stderr=True)
    return Panel(console, title) if console.is_terminal else PlainLines(sys.stderr)
