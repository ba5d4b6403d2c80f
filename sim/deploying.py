"""The deployer in a simulated world: the real controller, woken as the real one is; it may die, too."""

from __future__ import annotations

import simpy

from deployer import controller
from deployer.draining import DrainSettings
from deployer.journal import MemoryJournal
from deployer.strategies import Strategy
from sim.clock import Call, until
from sim.cluster import VirtualCluster


class Deployer:
    """Steps when an object has changed, after its reaction time, and at the moments that a step asks for."""

    def __init__(
        self,
        env: simpy.Environment,
        cluster: VirtualCluster,
        strategy: Strategy,
        drain: DrainSettings,
        reaction_s: float,
    ) -> None:
        self._env, self._cluster, self._strategy, self._drain = env, cluster, strategy, drain
        self._reaction_s = reaction_s
        self._next: Call | None = None
        self._next_s = float("inf")
        self._down_until_s = -float("inf")
        self._backoff_s = controller.FIRST_BACKOFF_S  # of looks at a cluster that is out of reach
        self.journal = MemoryJournal()

    def changed(self) -> None:
        """An object of the cluster has changed."""
        self._wake_at(self._env.now + self._reaction_s)

    def die(self, duration_s: float) -> None:
        """It dies now and knows nothing any more; another one starts after this time, and looks at once."""
        self._down_until_s = max(self._down_until_s, self._env.now + duration_s)
        if self._next:
            self._next.cancel()
        self._next_s = float("inf")
        self._wake_at(self._down_until_s)

    def _wake_at(self, at_s: float) -> None:
        at_s = max(at_s, self._down_until_s)
        if at_s >= self._next_s:
            return
        if self._next:
            self._next.cancel()
        self._next_s = at_s
        self._next = Call(self._env, until(self._env, at_s), self._step)

    def _step(self) -> None:
        self._next_s = float("inf")
        if self._env.now < self._cluster.down_until_s:
            self._wake_at(self._env.now + self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, controller.LAST_BACKOFF_S)
            return
        self._backoff_s = controller.FIRST_BACKOFF_S
        step = controller.step(self._cluster, self._strategy, self._drain, self._env.now, self.journal)
        if step.look_again_s is not None:
            self._wake_at(step.look_again_s)
