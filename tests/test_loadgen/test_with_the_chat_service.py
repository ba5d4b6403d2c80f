"""Real users against the real chat service: two gateways, one XMPP server, one address."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import ClosedBy, How, Reason
from loadgen.behaviour.backoff import Fixed as EverySoOften
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def wait_until_it_listens(port: int) -> None:
    until_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until_s, f"nothing listens on {port}"
            time.sleep(0.05)


class Front:
    """A listener that spreads connections over backends in turn, and passes bytes and their end on."""

    def __init__(self) -> None:
        self.backends: list[int] = []
        self._turn = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._listener.sockets[0].getsockname()[1]

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.backends[next(self._turn) % len(self.backends)]
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        async def work() -> None:
            self._listener.close()
            serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

        self._do(work())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front()
    yield made
    made.close()


@pytest.fixture
def service(front: Front) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """An XMPP server and two gateways behind the front, by the names of their pods."""
    xmpp, ports = free_port(), {"pod-1": free_port(), "pod-2": free_port()}
    programs = {"xmppd": ["xmppd", "--xmpp", f"127.0.0.1:{xmpp}", "--password", "chat"]}
    for (pod, port), release in zip(ports.items(), ("abc123", "def456"), strict=True):
        programs[pod] = [
            "gateway", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}",
            "--backend", f"127.0.0.1:{xmpp}", "--pod", pod, "--release", release, "--linger", "0s",
        ]  # fmt: skip
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", "chatserver", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, arguments in programs.items()
    }
    try:
        for port in (xmpp, *ports.values()):
            wait_until_it_listens(port)
        front.backends = list(ports.values())
        yield running
    finally:
        for program in running.values():
            program.kill()
            program.wait()


def behaviour() -> Behaviour:
    return Behaviour(Fixed(20), Forever(), EverySoOften(0.3), ramp_per_s=100.0, messages_per_min=120.0)


def test_users_on_two_gateways_talk_and_come_back_when_one_shuts_down(
    front: Front, service: dict[str, subprocess.Popen[bytes]], load: Callable[..., Any]
) -> None:
    run = load(front.port, behaviour())
    run.all_online()
    run.wait_for(lambda event: event.get("by_release") == {"abc123": 10, "def456": 10})
    time.sleep(1)
    front.backends.pop(0)
    service["pod-1"].terminate()
    run.wait_for(lambda event: event.get("by_release") == {"def456": 20})
    time.sleep(1)
    rows = run.stop()
    lost = [row for row in rows if row.closed_by is not ClosedBy.RUN_END]
    assert {(row.pod, row.closed_by, row.close_code) for row in lost} == {("pod-1", ClosedBy.SERVER, 1012)}
    assert len(lost) == 10
    back = [row for row in rows if row.reason is Reason.RECONNECT]
    assert {(row.pod, row.release, row.attempt) for row in back} == {("pod-2", "def456", 2)}
    assert sum(row.messages_sent for row in rows) > 20


def test_users_of_a_killed_gateway_see_no_goodbye(
    front: Front, service: dict[str, subprocess.Popen[bytes]], load: Callable[..., Any]
) -> None:
    run = load(front.port, behaviour())
    run.all_online()
    front.backends.pop(1)
    service["pod-2"].send_signal(signal.SIGKILL)
    run.wait_for(lambda event: event.get("by_release") == {"abc123": 20})
    rows = run.stop()
    lost = [row for row in rows if row.closed_by is not ClosedBy.RUN_END]
    assert {(row.pod, row.closed_by, row.close_code) for row in lost} == {("pod-2", ClosedBy.NETWORK, None)}
    assert {row.how for row in lost} <= {How.EOF, How.RESET}


def test_a_frozen_gateway_is_noticed_by_its_silence(
    front: Front, service: dict[str, subprocess.Popen[bytes]], load: Callable[..., Any]
) -> None:
    quiet = Behaviour(
        Fixed(6), Forever(), EverySoOften(0.3), messages_per_min=0.0, keepalive_s=2.0, connect_timeout_s=3.0
    )
    run = load(front.port, quiet)
    run.all_online()
    front.backends.pop(0)
    service["pod-1"].send_signal(signal.SIGSTOP)
    run.wait_for(lambda event: event.get("by_release") == {"def456": 6})
    lost = [row for row in run.stop() if row.t_ready_s is not None and row.t_close_s is not None]
    assert {(row.pod, row.closed_by, row.how) for row in lost} == {("pod-1", ClosedBy.NETWORK, How.TIMEOUT)}
    assert len(lost) == 3
