"""The locustfile as people use it: `locust -f loadgen/locustfile.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import loadgen
from loadgen.behaviour.attempts import ClosedBy
from loadgen.connection_log import read_log

LOCUSTFILE = Path(loadgen.__file__).parent / "locustfile.py"


def locust(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_locusts_users_are_places(server: Any, tmp_path: Path) -> None:
    log = tmp_path / "connections.jsonl"
    url = f"ws://127.0.0.1:{server.port}/xmpp-websocket"
    done = locust("-u", "5", "-r", "5", "-t", "3s", "--chat-url", url, "--chat-log", str(log))
    assert done.returncode == 0, done.stderr
    rows = list(read_log(log))
    assert {row.user for row in rows} == {f"u{place}-0" for place in range(5)}
    assert {row.closed_by for row in rows} == {ClosedBy.RUN_END}
    assert "login" in done.stdout + done.stderr


def test_a_failing_service_fails_the_locust_run(tmp_path: Path) -> None:
    log = tmp_path / "connections.jsonl"
    done = locust(
        "-u", "2", "-r", "2", "-t", "3s", "--chat-url", "ws://127.0.0.1:9/x", "--chat-log", str(log)
    )
    assert done.returncode == 1
    # the end may find one under way
    over = [row for row in read_log(log) if row.closed_by is not ClosedBy.RUN_END]
    assert {row.failure for row in over} == {"refused"}


def test_a_mistake_is_one_clear_line(tmp_path: Path) -> None:
    done = locust("-u", "1", "-t", "2s", "--chat-url", "http://127.0.0.1:9/")
    assert done.returncode != 0
    assert "no websocket address" in done.stderr
    assert "Traceback" not in done.stderr
