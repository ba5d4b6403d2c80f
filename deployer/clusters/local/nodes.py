"""The cluster's nodes: names to spread pods over, which can freeze."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Node:
    """One node; what a kubelet does on it waits while it is frozen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pods = 0
        self.lost = False  # silent for so long that the cluster knows; it gets no new pods
        self.awake = asyncio.Event()
        self.awake.set()
        self._freezes = 0

    @property
    def frozen(self) -> bool:
        """Whether at least one freeze lasts."""
        return self._freezes > 0

    def freeze(self) -> None:
        """Stop the node; freezes nest."""
        self._freezes += 1
        self.awake.clear()

    def thaw(self) -> bool:
        """End one freeze; whether the node runs again."""
        self._freezes -= 1
        if self.frozen:
            return False
        self.lost = False
        self.awake.set()
        return True


def named(count: int) -> tuple[Node, ...]:
    """So many nodes: node-1, node-2 …"""
    return tuple(Node(f"node-{number}") for number in range(1, count + 1))


def least_loaded(nodes: Iterable[Node]) -> Node:
    """Where the next pod goes: fewest pods, the first of equals; a lost node only if all are lost."""
    return min(nodes, key=lambda node: (node.lost, node.pods))
