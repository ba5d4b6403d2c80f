"""A small real server in a pod's place: the admin port's paths, and a line protocol on the gateway port.

A client gets `POD RELEASE` and a newline, then its own bytes back; a line that is one of the words below
makes the server do that instead. It needs a fraction of the chat server's start-up time.
"""

import argparse
import asyncio
import os
import signal
import socket
import struct

connections: set[asyncio.StreamWriter] = set()


async def serve(
    options: argparse.Namespace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    connections.add(writer)
    try:
        writer.write(f"{options.pod} {options.release}\n".encode())
        while data := await reader.read(65536):
            match data:
                case b"reset\n":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                case b"finish\n":
                    writer.write_eof()
                    rest = await reader.read()
                    print("after my end", rest.decode(), flush=True)
                case b"stop reading\n":
                    await asyncio.sleep(600)
                case b"close\n":
                    break
                case _:
                    writer.write(data)
                    await writer.drain()
        else:
            if not writer.is_closing() and writer.can_write_eof():
                writer.write(b"goodbye")
    except OSError:
        print("reset by client", flush=True)
    finally:
        connections.discard(writer)
        writer.close()


async def answer(
    options: argparse.Namespace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target = head.split()[:2]
    status, body = "200 OK", ""
    if target == "/readyz" and options.never_ready:
        status = "503 Service Unavailable"
    elif target == "/metrics":
        body = f"chat_open_connections {len(connections)}\nchat_silent_connections 0\n"
    elif target == "/deselected" and options.hook_fails:
        options.hook_fails -= 1
        status = "500 Internal Server Error"
    elif method in ("POST", "DELETE"):
        print(target if method == "POST" else f"{method} {target}", flush=True)
    writer.write(f"HTTP/1.0 {status}\r\n\r\n{body}".encode())
    writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--pod", "--release", "--address"):
        parser.add_argument(name)
    parser.add_argument("--gateway-port", type=int)
    parser.add_argument("--admin-port", type=int)
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--hook-fails", type=int, default=0)
    options = parser.parse_args()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("started", os.getpid(), flush=True)
    async with (
        await asyncio.start_server(
            lambda r, w: serve(options, r, w), options.address, options.gateway_port, backlog=1024
        ),
        await asyncio.start_server(
            lambda r, w: answer(options, r, w), options.address, options.admin_port
        ) as admin,
    ):
        await admin.serve_forever()


asyncio.run(main())
