"""A service with long-lived connections, small enough to be a command line: it echoes lines and counts.

Port 8080: says its pod's name, then echoes. Port 9090: GET /count (a number), GET /metrics, POST /deselected
and /drain, GET /told (what was posted), GET /hang (never answers).
"""

import asyncio
import os
import signal

open_connections = 0
told = []


async def serve(reader, writer):
    global open_connections
    open_connections += 1
    try:
        writer.write(os.environ["HOSTNAME"].encode() + b"\n")
        while line := await reader.readline():
            writer.write(line)
    except OSError:
        pass
    finally:
        open_connections -= 1
        writer.close()


async def admin(reader, writer):
    method, target, _ = (await reader.readline()).decode().split()
    while (await reader.readline()).strip():
        pass
    if method == "POST":
        told.append(target)
    if target == "/hang":
        await asyncio.sleep(3600)
    if target == "/metrics":
        body = f"# TYPE chat_open_connections gauge\nchat_open_connections {open_connections}\n"
    elif target == "/told":
        body = " ".join(told)
    else:
        body = str(open_connections)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
    writer.write(f"{head}\r\n\r\n{body}".encode())
    writer.close()


async def main():
    await asyncio.start_server(serve, "", 8080)
    await asyncio.start_server(admin, "", 9090)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


asyncio.run(main())
