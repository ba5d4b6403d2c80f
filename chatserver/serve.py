"""The programs: an event loop, what runs on it, and the signals that end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import uvloop

from chatserver.options import Address, Options

T = TypeVar("T")


class ListenError(Exception):
    """An address is taken or is not this machine's; the message is for the user."""


def serve(options: Options) -> int:
    """Run one program until it is told to stop; returns the exit code."""
    _raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_xmppd(options) if options.program == "xmppd" else _gateway(options))
    except ListenError as error:
        print(f"chatserver: {error}", file=sys.stderr)
        return 2
    return 0


async def _gateway(options: Options) -> None:
    from chatserver import deselection
    from chatserver.admin import Admin
    from chatserver.gateway import Gateway

    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        backend = None
        if options.program == "all":
            backend = await stack.enter_async_context(_embedded(options))
        gateway = Gateway(options, loop, backend)
        stack.push_async_callback(gateway.stop)
        admin, admin_address = await _listening("--admin", options.admin, Admin(gateway).start(options.admin))
        stack.callback(admin.close)
        address = await _listening("--listen", options.listen, gateway.start())
        loop.add_signal_handler(signal.SIGTERM, gateway.sigterm)
        loop.add_signal_handler(signal.SIGINT, gateway.quit)
        _tell(
            f"gateway {options.pod} of release {options.release} at ws://{address}/xmpp-websocket, "
            f"admin at http://{admin_address}/, XMPP server at {backend or options.backend}"
        )
        if options.deselected_file is not None:
            watching = loop.create_task(
                deselection.watch(options.deselected_file, gateway.deselect, gateway.select)
            )
            stack.callback(watching.cancel)
        await gateway.finished.wait()


async def _xmppd(options: Options) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with _embedded(options) as address:
        _tell(f"XMPP server of {options.domain} at {address}")
        await stopped.wait()


@contextlib.asynccontextmanager
async def _embedded(options: Options) -> AsyncIterator[Address]:
    """The embedded XMPP server, listening; its streams are closed at the end."""
    from chatserver.xmppd.server import Server

    server = Server(options, asyncio.get_running_loop())
    address = await _listening("--xmpp", options.xmpp, server.start())
    try:
        yield address
    finally:
        await server.stop()


async def _listening(flag: str, address: Address, started: Awaitable[T]) -> T:
    try:
        return await started
    except OSError as error:
        raise ListenError(
            f"{flag}={address}: {os.strerror(error.errno) if error.errno else error}; choose another address"
        ) from None


def _tell(line: str) -> None:
    print(f"chatserver: {line}", file=sys.stderr, flush=True)


def _raise_file_limit() -> None:
    """Each user is two descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
