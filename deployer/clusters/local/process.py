"""Processes that die with their parent, and the news of their end."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PF_EXITING = 0x4
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies (prctl(2), PR_SET_PDEATHSIG)."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


class Process:
    """One running program in a session of its own, killed when this process dies.

    The parent's end that counts is that of the thread which starts it: start it from the main thread.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        """Start it, its output appended to `log`; raises OSError where the program cannot be run."""
        parent = os.getpid()

        def before_exec() -> None:
            die_with_parent(signal.SIGKILL)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=before_exec,  # the cluster has one thread, so this is safe
            )
        self.pid = self._popen.pid
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exited.set_result(self._popen.wait())

    @property
    def running(self) -> bool:
        """Whether it was not reaped yet."""
        return not self._exited.done()

    @property
    def dying(self) -> bool:
        """Whether it has ended or is ending, so that an end of file from it is its death's.

        The kernel closes a dying process's connections like any others, and before anyone hears of the
        death; the flag PF_EXITING in /proc/PID/stat is set earlier.
        """
        if not self.running:
            return True
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return True
        fields = stat.rpartition(b")")[2].split()
        return fields[0] in (b"Z", b"X") or bool(int(fields[6]) & _PF_EXITING)

    async def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; the return code as `subprocess` has it (-9: killed by signal 9).

        None where it still runs after `timeout_s`.
        """
        await asyncio.wait([self._exited], timeout=timeout_s)
        return self._exited.result() if self._exited.done() else None

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have this called as soon as the end is known."""
        self._exited.add_done_callback(lambda _: call())

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it has ended."""
        if self.running:
            self._popen.send_signal(number)
