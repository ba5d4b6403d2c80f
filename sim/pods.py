"""One simulated chat server process: what it does when it is told to end, and the queues of its logins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Generic, TypeVar

import simpy

from deployer.fleet import Release
from sim.clock import Call
from sim.crowd import Crowd, Cut
from sim.setup import Deselected, Sigterm

Login = TypeVar("Login")

CLOSE_BEFORE_KILL_S = 1.5
"""How long before SIGKILL a server begins to close what it still holds; as the chat server does."""


class Phase(StrEnum):
    """The life of a server process."""

    STARTING = "starting"
    SERVING = "serving"
    LINGERING = "lingering"  # SIGTERM came; still accepts while routing catches up
    LEAVING = "leaving"  # linger is over, no listener; waits for its clients
    CLOSING = "closing"  # no listener, no connection
    EXITED = "exited"


NEXT = {
    Phase.STARTING: {Phase.SERVING, Phase.EXITED},
    Phase.SERVING: {Phase.LINGERING, Phase.CLOSING, Phase.EXITED},
    Phase.LINGERING: {Phase.LEAVING, Phase.CLOSING, Phase.EXITED},
    Phase.LEAVING: {Phase.CLOSING, Phase.EXITED},
    Phase.CLOSING: {Phase.EXITED},
    Phase.EXITED: set[Phase](),
}
ALIVE = (Phase.SERVING, Phase.LINGERING, Phase.LEAVING)


class Fifo:
    """One worker with a queue in the order of asking: Lindley's recursion instead of events.

    Ask it in the order of arrivals. Who gives up while waiting is served all the same: a server finds
    out only when it reads, after the work.
    """

    __slots__ = ("free_s",)

    def __init__(self) -> None:
        self.free_s = -float("inf")

    def serve(self, now_s: float, work_s: float) -> float:
        """When work that arrives now will be done."""
        self.free_s = max(self.free_s, now_s) + work_s
        return self.free_s


class Limiter(Generic[Login]):
    """The backend's login queue: turns are `1/per_s` apart, none is saved up, and who has left takes none."""

    def __init__(
        self,
        env: simpy.Environment,
        per_s: float,
        is_there: Callable[[Login], bool],
        serve: Callable[[Login], None],
    ) -> None:
        """`per_s` 0 is no limit."""
        self._env, self._interval_s = env, 1 / per_s if per_s else 0.0
        self._is_there, self._serve = is_there, serve
        self._waiting: deque[Login] = deque()
        self._next_s = -float("inf")

    def enter(self, login: Login) -> None:
        """Queue up; served at once where it is its turn."""
        self._waiting.append(login)
        if len(self._waiting) == 1:
            self._turn()

    def _turn(self) -> None:
        while self._waiting:
            if not self._is_there(self._waiting[0]):
                self._waiting.popleft()
            elif self._next_s > self._env.now:
                Call(self._env, self._next_s - self._env.now, self._turn)
                return
            else:
                self._next_s = self._env.now + self._interval_s
                self._serve(self._waiting.popleft())


class ChatServer:
    """A server process from its start to its exit; its connections are the crowd's."""

    def __init__(
        self,
        env: simpy.Environment,
        pod: str,
        release: Release,
        on_sigterm: Sigterm,
        linger_s: float,
        pace_per_s: float,
        exit_s: float,
        crowd: Crowd,
        exited: Callable[[], None],
        on_deselected: Deselected = Deselected.LEAVE_WHEN_EMPTY,
    ) -> None:
        """`exited` is called once, when the process has ended, however it did."""
        self._env, self._crowd, self._exited = env, crowd, exited
        self._on_sigterm, self._linger_s = on_sigterm, linger_s
        self._pace_per_s, self._exit_s = pace_per_s, exit_s
        self._on_deselected = on_deselected
        self._told = 0  # how often the hook was called or taken back
        self._deselected = False
        self.pod, self.release = pod, release
        self.phase = Phase.STARTING
        self.reaches_backend = True

    @property
    def ready(self) -> bool:
        """What its readiness endpoint says: not before it listens, nor from SIGTERM on, nor without backend."""
        return self.phase is Phase.SERVING and self.reaches_backend

    def listen(self) -> None:
        """It has started and accepts connections."""
        self._become(Phase.SERVING)
        self._crowd.listen(self.pod, self.release, self._emptied)

    def close_paced(self, per_s: float) -> None:
        """Asked by the deployer to have those who are connected now leave at this rate."""
        if self.phase in ALIVE:
            self._crowd.pace(self.pod, per_s, newcomers=False)

    def deselected(self) -> None:
        """The hook: it gets no new connections, and ends when the last has left, not before linger."""
        if self.phase is not Phase.SERVING or self._told % 2 or self._on_deselected is Deselected.NOTHING:
            return
        self._told += 1
        if self._on_deselected is Deselected.PACE:
            self._crowd.pace(self.pod, self._pace_per_s, newcomers=True)
        Call(self._env, self._linger_s, partial(self._may_leave, self._told))

    def selected(self) -> None:
        """The hook is taken back: it serves on, empty or not. Who is asked to leave by then has been."""
        if self.phase is Phase.SERVING and self._told % 2:
            self._told += 1
            self._deselected = False
            if self._on_deselected is Deselected.PACE:
                self._crowd.pace(self.pod, 0.0, newcomers=False)

    def sigterm(self, left_s: float) -> None:
        """Asked by the kubelet to end; SIGKILL comes `left_s` from now."""
        if self.phase is Phase.STARTING:
            self._exit()
        elif self.phase is Phase.SERVING:
            self._become(Phase.LINGERING)
            longest_s = max(left_s - CLOSE_BEFORE_KILL_S, 0.0)
            Call(self._env, min(self._linger_s, longest_s), self._leave)
            if self._on_sigterm is not Sigterm.CLOSE:
                Call(self._env, longest_s, self._close)
            if self._on_sigterm is Sigterm.PACE:
                self._crowd.pace(self.pod, self._pace_per_s, newcomers=True)

    def kill(self) -> None:
        """SIGKILL, or a crash: the process is gone, and the kernel resets its connections."""
        if self.phase is Phase.EXITED:
            return
        listened = self.phase in ALIVE
        self._become(Phase.EXITED)
        if listened:
            self._crowd.stop_listening(self.pod)
            self._crowd.cut(self.pod, Cut.POD_GONE)
        self._exited()

    def _leave(self) -> None:
        if self.phase is not Phase.LINGERING:
            return
        if self._on_sigterm is Sigterm.CLOSE:
            self._close()
            return
        self._become(Phase.LEAVING)
        self._crowd.stop_listening(self.pod)
        self._crowd.watch(self.pod)
        self._emptied()

    def _may_leave(self, told: int) -> None:
        if told != self._told:
            return
        self._deselected = True
        self._crowd.watch(self.pod)
        self._emptied()

    def _emptied(self) -> None:
        leaving = self.phase is Phase.LEAVING or (self.phase is Phase.SERVING and self._deselected)
        if leaving and self._crowd.count(self.pod).open == 0:
            self._close()

    def _close(self) -> None:
        if self.phase not in ALIVE:
            return
        self._become(Phase.CLOSING)
        self._crowd.stop_listening(self.pod)
        self._crowd.cut(self.pod, Cut.SERVER)
        Call(self._env, self._exit_s, self._exit)

    def _exit(self) -> None:
        if self.phase is not Phase.EXITED:
            self._become(Phase.EXITED)
            self._exited()

    def _become(self, phase: Phase) -> None:
        if phase not in NEXT[self.phase]:
            raise RuntimeError(f"server of pod {self.pod} is {self.phase} and cannot become {phase}")
        self.phase = phase
