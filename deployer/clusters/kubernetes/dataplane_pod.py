"""Runs in the probe's pods with nothing but Python: NAME SERVICE-ADDRESS ADMIN-PORT.

Every pod echoes lines on the Service's port after saying its name. The one named "client" holds connections
and opens new ones once it is told to (POST /begin on the admin port), and reports what it saw (GET /report).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

HELD = 10
NEW_EVERY_S = 0.02
ECHO_EVERY_S = 0.5
PATIENCE_S = 2.0
BEGIN_S = 3.0

name, target, admin_port = sys.argv[1], sys.argv[2], int(sys.argv[3])
host, _, port = target.rpartition(":")
host = host.strip("[]")
held: list[list[float | None]] = []
tries: list[tuple[float, str | None]] = []
tasks: set[asyncio.Task[None]] = set()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say the name, then echo."""
    try:
        writer.write(f"{name}\n".encode())
        while line := await reader.readline():
            writer.write(line)
    except OSError:
        pass
    finally:
        writer.close()


async def hold() -> None:
    """One long-lived connection: when it was closed, and when it last echoed; nothing where it does not come about."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 1.0)
    except (OSError, asyncio.TimeoutError):  # noqa: UP041 (one only since Python 3.11)
        return
    await reader.readline()
    mine: list[float | None] = [None, time.time()]
    held.append(mine)
    asking = asyncio.ensure_future(ask(writer))
    try:
        while await reader.readline():
            mine[1] = time.time()
    except OSError:
        pass
    mine[0] = time.time()
    asking.cancel()


async def ask(writer: asyncio.StreamWriter) -> None:
    """Something to echo, again and again."""
    while True:
        writer.write(b"?\n")
        await asyncio.sleep(ECHO_EVERY_S)


async def try_once() -> None:
    """One new connection: which pod answers, None where none does in time."""
    answered: str | None = None
    began_s = time.time()
    # The two TimeoutErrors are one only since Python 3.11.
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        answered = await asyncio.wait_for(name_of_answering(), PATIENCE_S)
    tries.append((began_s, answered))


async def name_of_answering() -> str | None:
    """Connect and read the name."""
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        return (await reader.readline()).decode().strip() or None
    finally:
        writer.close()


async def keep_trying() -> None:
    """New connections at a steady rate, however long each takes."""
    while True:
        tasks.add(asyncio.ensure_future(try_once()))
        for done in [task for task in tasks if task.done()]:
            tasks.discard(done)
        await asyncio.sleep(NEW_EVERY_S)


async def admin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """GET /time, POST /begin, GET /report."""
    words = (await reader.readline()).decode().split()
    while (await reader.readline()).strip():
        pass
    path = words[1] if len(words) > 1 else ""
    if path == "/begin":
        until_s = time.time() + BEGIN_S
        while len(held) < HELD and time.time() < until_s:
            await hold_started()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: running.append(asyncio.ensure_future(keep_trying())))
        body = "begun"
    elif path == "/report":
        body = json.dumps({"now_s": time.time(), "held": held, "tries": sorted(tries)})
    else:
        body = repr(time.time())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body.encode())
    await writer.drain()
    writer.close()


async def hold_started() -> None:
    """Return once the connection stands or was refused: the node may not know the Service's endpoints yet."""
    before = len(held)
    running.append(asyncio.ensure_future(hold()))
    for _ in range(50):
        await asyncio.sleep(0.02)
        if len(held) > before or running[-1].done():
            return


running: list[asyncio.Future[None]] = []


async def main() -> None:
    """Serve until killed."""
    if name != "client":
        await asyncio.start_server(serve, None, int(port))
    await asyncio.start_server(admin, None, admin_port)
    await asyncio.Event().wait()


asyncio.run(main())
