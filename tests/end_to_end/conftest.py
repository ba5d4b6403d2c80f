"""Real runs of the program as a person starts it: a process, its folder, and what must not outlive it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scenarios.housekeeping import MARK

# so that what they assert is shown with its values
pytest.register_assert_rewrite("tests.end_to_end.promises")

PROGRAM = [sys.executable, "-c", "from scenarios.cli import main; main()"]


def start(*arguments: str, out: Path) -> subprocess.Popen[str]:
    command = [*PROGRAM, *arguments, "--out", str(out)]
    # its own session: a test's Ctrl-C must not reach pytest
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 600.0) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def run(*arguments: str, out: Path) -> dict[str, object]:
    """Run a scenario to its end and return its summary with `run_dir`."""
    code, told, err = finish(start("run", *arguments, "--json", out=out))
    assert code == 0, err
    return json.loads(told)


def processes_of(out: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(MARK, "").startswith(str(out))
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def wait_for_phase(process: subprocess.Popen[str], words: str) -> None:
    """Read what it says until these words are said."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if words in line:
            return
        said.append(line)
    raise AssertionError(f"it never said {words!r}, but {''.join(said)}")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Where runs go; nothing that belongs to one may be left after the test."""
    before = set(Path("/tmp").glob("drainbow-local-*"))
    yield tmp_path
    wait_until(lambda: not processes_of(tmp_path), 20.0)
    mine = [
        path
        for path in Path("/tmp").glob("drainbow-local-*")
        if path not in before and _pid(path) not in psutil.pids()
    ]
    assert mine == []


def _pid(path: Path) -> int:
    digits = path.name.removeprefix("drainbow-local-").split("-")[0]
    return int(digits) if digits.isdigit() else os.getpid()
