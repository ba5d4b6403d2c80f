"""The real programs, told to stop in each way."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol


@contextlib.asynccontextmanager
async def program(chat: SimpleNamespace, *flags: str) -> AsyncIterator[tuple[Process, SimpleNamespace]]:
    """`chatserver all` as its own process, and the means to talk to it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatserver", "all"),
        *("--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--xmpp=127.0.0.1:0", *flags),
        stderr=PIPE,
    )
    try:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        match = re.search(r"(ws://\S+/xmpp-websocket), admin at http://([^/]+)/", line)
        assert match is not None, line
        async with contextlib.AsyncExitStack() as stack:

            async def user(name: str) -> Any:
                ws = await stack.enter_async_context(
                    connect(match[1], subprotocols=[Subprotocol("xmpp")], ping_interval=None, close_timeout=1)
                )
                return await chat.Client(ws, "chat.local").log_in(name)

            async def admin(request: str) -> Any:
                return await chat.http(match[2], request)

            yield process, SimpleNamespace(user=user, admin=admin)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        _, rest = await process.communicate()
    assert rest.decode() == ""


async def listens(client: Any) -> bool:
    """Does the address that the client is connected to accept connections?"""
    try:
        _, writer = await asyncio.open_connection(*client.ws.remote_address[:2])
    except OSError:
        return False
    writer.close()
    return True


def test_close_serves_and_accepts_for_linger_then_closes_all_with_1012(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--on-sigterm=close", "--linger=2s") as (process, service):
            ann = await service.user("ann")
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
            while (await service.admin("GET /readyz"))[1] != "terminating\n":
                pass
            late = await service.user("late")
            await ann.message(late.jid, "still here")
            assert "still here" in await late.hear()
            for user in (ann, late):
                code, heard = await user.closed()
                assert code == 1012
                assert "system-shutdown" in heard[-2]
                assert heard[-1] == '<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />'
            assert await asyncio.wait_for(process.wait(), 10) == 0

    chat.run(main)


def test_hold_waits_for_the_last_client(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--on-sigterm=hold", "--linger=0s") as (process, service):
            ann, bob = await service.user("ann"), await service.user("bob")
            process.send_signal(signal.SIGTERM)
            await ann.ws.close()
            async with asyncio.timeout(10):
                while await listens(ann):  # the listener goes when the signal is handled
                    await asyncio.sleep(0.01)
            assert 'type="result"' in await bob.iq("get", '<ping xmlns="urn:xmpp:ping"/>')
            assert process.returncode is None
            await bob.ws.close()
            assert await asyncio.wait_for(process.wait(), 10) == 0

    chat.run(main)


def test_hold_closes_what_is_left_just_before_the_grace_ends(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--on-sigterm=hold", "--grace=2s") as (process, service):
            ann = await service.user("ann")
            process.send_signal(signal.SIGTERM)
            assert (await ann.closed())[0] == 1012
            assert await asyncio.wait_for(process.wait(), 10) == 0

    chat.run(main)


def test_pace_asks_at_a_rate_and_exits_when_all_have_left(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--on-sigterm=pace", "--per-s=10", "--linger=0s") as (process, service):
            users = [await service.user(f"u{number}") for number in range(4)]
            loop = asyncio.get_running_loop()
            process.send_signal(signal.SIGTERM)
            start_s = loop.time()
            assert [(await user.closed())[0] for user in users] == [1012] * 4
            assert loop.time() - start_s >= 0.25
            assert await asyncio.wait_for(process.wait(), 10) == 0

    chat.run(main)


def test_a_client_that_answers_nothing_does_not_hold_up_the_exit(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--linger=0s") as (process, service):
            deaf = await service.user("deaf")
            deaf.ws.transport.pause_reading()
            _, idle = await asyncio.open_connection(*deaf.ws.remote_address[:2])
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
            idle.close()
            deaf.ws.transport.resume_reading()

    chat.run(main)


def test_quit_ends_a_process_that_holds(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with program(chat, "--on-sigterm=hold", "--grace=1h") as (process, service):
            ann = await service.user("ann")
            process.send_signal(signal.SIGTERM)
            assert (await service.admin("POST /quit"))[0] == 202
            assert (await ann.closed())[0] == 1012
            assert await asyncio.wait_for(process.wait(), 10) == 0

    chat.run(main)


@pytest.mark.parametrize("flag", ["--listen", "--admin", "--xmpp"])
def test_a_busy_port_is_one_line_and_exit_code_2(chat: SimpleNamespace, flag: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            address = f"127.0.0.1:{busy.getsockname()[1]}"
            others = [f"{other}=127.0.0.1:0" for other in ("--listen", "--admin", "--xmpp") if other != flag]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chatserver", "all", f"{flag}={address}", *others), stderr=PIPE
            )
            _, told = await process.communicate()
            assert process.returncode == 2
            assert told.decode() == (
                f"chatserver: {flag}={address}: Address already in use; choose another address\n"
            )

    chat.run(main)
