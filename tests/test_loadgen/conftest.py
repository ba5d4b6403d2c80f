"""A small XMPP-over-websocket server in a thread, made to fail in every way that clients must survive."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from loadgen.behaviour.attempts import Attempt
from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, to_json
from loadgen.connection_log import read_log

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
PLAIN_FEATURES = (
    '<stream:features xmlns:stream="http://etherx.jabber.org/streams">'
    '<mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms>'
    "</stream:features>"
)
BIND_FEATURES = (
    '<stream:features xmlns:stream="http://etherx.jabber.org/streams">'
    '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features>'
)
SHUTDOWN = (
    '<stream:error xmlns:stream="http://etherx.jabber.org/streams">'
    '<system-shutdown xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>'
)


class Chat:
    """What several servers share: who is where, and what was said."""

    def __init__(self) -> None:
        self.online: dict[str, ServerConnection] = {}
        self.pods: dict[str, str] = {}  # who serves whom
        self.crossed = 0  # messages that went from one server to another
        self.said: list[tuple[str, str]] = []  # (to, message id)
        self.swallow = False  # messages vanish instead of arriving


class ChatServer:
    """One server in a thread of its own."""

    def __init__(self, chat: Chat, pod: str, release: str, port: int = 0) -> None:
        self.chat, self.pod, self.release, self.port = chat, pod, release, port
        self.mute_login = False  # opens websockets, answers no `<open/>`
        self.pongs = 0
        self.answers: list[str] = []  # iq stanzas of type result or error
        self.farewells: list[str] = []  # `<close/>` frames that clients sent
        self._loop = asyncio.new_event_loop()
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        def named(_connection: ServerConnection, _request: Any, response: Any) -> None:
            response.headers["Chat-Pod"] = self.pod
            response.headers["Chat-Release"] = self.release

        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            subprotocols=["xmpp"],  # type: ignore[list-item]
            process_response=named,
            ping_interval=None,
            compression=None,
            reuse_port=True,  # several servers behind one address: the kernel spreads connections
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _serve(self, ws: ServerConnection) -> None:
        name, logged_in = "", False
        try:
            async for frame in ws:
                text = str(frame)
                if self.mute_login:
                    continue
                element = ElementTree.fromstring(text)
                tag = element.tag.rpartition("}")[2]
                if tag == "open":
                    await ws.send(f'<open xmlns="{FRAMING}" from="chat.local" id="s" version="1.0"/>')
                    await ws.send(BIND_FEATURES if logged_in else PLAIN_FEATURES)
                elif tag == "auth":
                    logged_in = True
                    _, user, password = base64.b64decode(element.text or "").decode().split("\0")
                    if password == "wrong":
                        await ws.send(
                            '<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><not-authorized/></failure>'
                        )
                        continue
                    name = user
                    await ws.send('<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>')
                elif tag == "close":
                    self.farewells.append(text)
                    await ws.send(f'<close xmlns="{FRAMING}" />')
                elif tag == "presence":
                    self.chat.online[name] = ws
                    self.chat.pods[name] = self.pod
                elif tag == "iq" and element.get("type") == "set":
                    await ws.send(f'<iq xmlns="jabber:client" type="result" id="{element.get("id")}"/>')
                elif tag == "iq":
                    self.answers.append(text)
                elif tag == "message":
                    await self._pass_on(text, element)
        except ConnectionClosed:
            pass
        finally:
            if self.chat.online.get(name) is ws:
                del self.chat.online[name]

    async def _pass_on(self, text: str, element: ElementTree.Element) -> None:
        to = (element.get("to") or "").partition("@")[0]
        self.chat.said.append((to, element.get("id") or ""))
        there = self.chat.online.get(to)
        if there is None or self.chat.swallow:
            return
        self.chat.crossed += self.chat.pods[to] != self.pod
        # The addressee may be on another server, whose thread owns its socket.
        there_loop = there.loop
        asyncio.run_coroutine_threadsafe(there.send(text), there_loop)

    def shut_out(self, code: int = 1012, farewell: bool = True) -> None:
        """Close every connection in so many words; the server goes on listening."""

        async def work() -> None:
            assert self._server is not None
            for ws in list(self._server.connections):
                if farewell:
                    await ws.send(SHUTDOWN)
                    await ws.send(f'<close xmlns="{FRAMING}" />')
                await ws.close(code)

        self._do(work())

    def tear(self, reset: bool = True) -> None:
        """Cut every connection without a word."""

        async def work() -> None:
            assert self._server is not None
            for ws in list(self._server.connections):
                if reset:
                    ws.transport.abort()
                else:
                    ws.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)

        self._do(work())

    def tell_all(self, text: str) -> None:
        """Send a frame to everybody."""

        async def work() -> None:
            assert self._server is not None
            for ws in list(self._server.connections):
                await ws.send(text)

        self._do(work())

    def ping_all(self) -> None:
        """Send a websocket ping to everybody and wait for every pong."""

        async def work() -> None:
            assert self._server is not None
            for ws in list(self._server.connections):
                await asyncio.wait_for(await ws.ping(), 5)
                self.pongs += 1

        self._do(work())

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open stay."""

        async def work() -> None:
            assert self._server is not None
            self._server.close(close_connections=False)

        self._do(work())

    def listen_again(self) -> None:
        """On the same port."""
        self._do(self._listen())

    def close(self) -> None:
        """End the server and its thread."""

        async def work() -> None:
            assert self._server is not None
            self._server.close()
            await self._server.wait_closed()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._do(work())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
def server(chat: Chat) -> Iterator[ChatServer]:
    made = ChatServer(chat, "pod-1", "abc123")
    yield made
    made.close()


@pytest.fixture
def second_server(chat: Chat, server: ChatServer) -> Iterator[ChatServer]:
    """Another one behind the same address."""
    made = ChatServer(chat, "pod-2", "def456", server.port)
    yield made
    made.close()


class Load:
    """`python -m loadgen` as a child, with its news and its log."""

    def __init__(self, folder: Path, url: str, behaviour: Behaviour, **more: Any) -> None:
        self.log = folder / "connections.jsonl"
        config = LoadConfig(url, behaviour, seed=7, connections=str(self.log), **more)
        path = folder / "load.json"
        path.write_bytes(to_json(config))
        self.stderr = folder / "stderr"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loadgen", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait_for(self, found: Callable[[dict[str, Any]], bool], timeout_s: float = 30) -> dict[str, Any]:
        """The first event that fits. Fails if there is none in time."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            for event in list(self.events):
                if found(event):
                    return event
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"not among {self.events[-3:]}; stderr: {self.stderr.read_text()}")

    def all_online(self) -> None:
        self.wait_for(lambda event: event["event"] == "all_online")

    def until_log(self, fits: Callable[[list[Attempt]], bool], timeout_s: float = 30) -> list[Attempt]:
        """The rows in the log once they fit. Fails if they never do."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            rows = self.rows()
            if fits(rows):
                return rows
            time.sleep(0.05)
        raise AssertionError(f"{self.rows()}; stderr: {self.stderr.read_text()}")

    def rows(self) -> list[Attempt]:
        return list(read_log(self.log)) if self.log.exists() else []

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def stop(self, how: str = "order") -> list[Attempt]:
        """End in order, and return all rows."""
        assert self.process.stdin is not None
        if how == "order":
            self.order(stop=True)
        elif how == "eof":
            self.process.stdin.close()
        else:
            os.kill(self.process.pid, getattr(signal, how))
        assert self.process.wait(20) == 0, self.stderr.read_text()
        self._reader.join(10)
        assert self.events[-1]["event"] == "done"
        return self.rows()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Load]]:
    made: list[Load] = []

    def start(port: int, behaviour: Behaviour, **more: Any) -> Load:
        made.append(Load(tmp_path, f"ws://127.0.0.1:{port}/xmpp-websocket", behaviour, **more))
        return made[-1]

    yield start
    for one in made:
        one.end()
