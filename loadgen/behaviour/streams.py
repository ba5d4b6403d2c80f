"""Named random streams: one per purpose, all from one seed."""

from __future__ import annotations

from random import Random


class Streams:
    """The random streams of one seed: a draw in one never shifts another.

    `Streams(7)["session/12"]` is `random.Random("7/session/12")`, made once and kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._made: dict[str, Random] = {}

    def __getitem__(self, name: str) -> Random:
        """The stream of that name, where it stands."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self.fresh(name)
        return made

    def fresh(self, name: str) -> Random:
        """The stream of that name from its start, not kept: for the many short-lived ones."""
        return Random(f"{self.seed}/{name}")
