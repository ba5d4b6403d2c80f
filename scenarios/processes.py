"""Child processes of a run: they die with the runner, never hear its Ctrl-C, and speak JSON lines."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    # only this one system call between fork and exec: Python code there could deadlock with threads
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One child process, its log file, and the JSON documents it prints.

    What it prints is read by a thread into a queue, so that a slow reader never blocks the child.
    """

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._documents: queue.Queue[dict[str, Any]] = queue.Queue()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """The last line of its log, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "(it said nothing)"

    def send(self, document: Mapping[str, Any]) -> None:
        """Write one line to its standard input; a child that is gone is no error."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()

    def next_document(self, timeout_s: float) -> dict[str, Any] | None:
        """The next document it printed, None when none came in time."""
        try:
            return (
                self._documents.get(timeout=max(timeout_s, 0.0))
                if timeout_s > 0
                else self._documents.get_nowait()
            )
        except queue.Empty:
            return None

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within this time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace_s: float = 5.0) -> None:
        """End it: its input is closed and it gets SIGTERM, then SIGKILL when the grace is over."""
        for end in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(end)
            self.wait(grace_s)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._reader.join(1.0)

    def kill(self) -> None:
        """SIGKILL, as a fault would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                try:
                    document = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if isinstance(document, dict):
                    self._documents.put(cast(dict[str, Any], document))


def wait_for_document(child: Child, timeout_s: float) -> dict[str, Any] | None:
    """The child's first document; None when it ended or stayed silent for that long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        document = child.next_document(0.1)
        if document is not None:
            return document
        if child.exit_code is not None:
            return child.next_document(0.0)
    return None
