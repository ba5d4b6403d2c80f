"""A chat service in this process, and a client that speaks RFC 7395 step by step."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chatserver.admin import Admin
from chatserver.gateway import Gateway
from chatserver.options import Address, Options, parse
from chatserver.xmppd.server import Server

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
OPEN = f'<open xmlns="{FRAMING}" to="chat.local" version="1.0"/>'
WAIT_S = 10.0


class Client:
    """One websocket; `jid` is set by `log_in`."""

    def __init__(self, ws: ClientConnection, domain: str) -> None:
        self.ws = ws
        self.domain = domain
        self.jid = ""
        self._ids = itertools.count()

    async def say(self, frame: str) -> None:
        await self.ws.send(frame)

    async def hear(self) -> str:
        heard = await asyncio.wait_for(self.ws.recv(), WAIT_S)
        assert isinstance(heard, str)
        ElementTree.fromstring(heard)  # every frame is a document of its own
        return heard

    async def hear_until(self, part: str) -> str:
        while part not in (heard := await self.hear()):
            pass
        return heard

    async def ask(self, frame: str) -> str:
        await self.say(frame)
        return await self.hear()

    async def open(self) -> tuple[str, str]:
        opened = await self.ask(f'<open xmlns="{FRAMING}" to="{self.domain}" version="1.0"/>')
        return opened, await self.hear()

    async def authenticate(self, name: str, password: str = "pw") -> str:
        credentials = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        return await self.ask(f'<auth xmlns="{SASL}" mechanism="PLAIN">{credentials}</auth>')

    async def bind(self, resource: str = "") -> str:
        wish = f"<resource>{resource}</resource>" if resource else ""
        heard = await self.iq("set", f'<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">{wish}</bind>')
        match = re.search("<jid>(.*)</jid>", heard)
        assert match is not None, heard
        self.jid = match[1]
        return self.jid

    async def log_in(self, name: str, password: str = "pw", resource: str = "") -> Client:
        await self.open()
        assert "<success" in await self.authenticate(name, password)
        await self.open()
        await self.bind(resource)
        assert f'from="{self.jid}"' in await self.ask('<presence xmlns="jabber:client"/>')
        return self

    async def iq(self, kind: str, inner: str, to: str = "") -> str:
        number = f"iq{next(self._ids)}"
        addressed = f' to="{to}"' if to else ""
        await self.say(f'<iq xmlns="jabber:client" type="{kind}" id="{number}"{addressed}>{inner}</iq>')
        return await self.hear_until(f'id="{number}"')

    async def message(self, to: str, body: str, kind: str = "chat") -> None:
        await self.say(
            f'<message xmlns="jabber:client" to="{to}" type="{kind}" id="m"><body>{body}</body></message>'
        )

    async def join(self, room: str, nick: str) -> None:
        await self.say(
            f'<presence xmlns="jabber:client" to="{room}/{nick}"><x xmlns="http://jabber.org/protocol/muc"/></presence>'
        )
        await self.hear_until("<subject")

    async def closed(self) -> tuple[int, list[str]]:
        """The close code, and the frames before it."""
        heard = []
        try:
            while True:
                heard.append(await self.hear())
        except ConnectionClosed as end:
            return (end.rcvd.code if end.rcvd else 1006), heard


class Service:
    """One XMPP server and one or more gateways in this process."""

    def __init__(
        self, server: Server | None, gateways: list[Gateway], urls: list[str], admins: list[str]
    ) -> None:
        self.server = server
        self.gateways = gateways
        self.urls = urls
        self.admins = admins
        self.stack = contextlib.AsyncExitStack()

    async def client(self, number: int = 0, domain: str = "chat.local", **options: Any) -> Client:
        options = {"subprotocols": ["xmpp"], "ping_interval": None, "close_timeout": 1} | options
        return Client(await self.stack.enter_async_context(connect(self.urls[number], **options)), domain)

    async def user(self, name: str, number: int = 0, **options: Any) -> Client:
        return await (await self.client(number)).log_in(name, **options)

    async def admin(self, request: str, number: int = 0) -> tuple[int, str]:
        """Status and body of one request to the admin port, as in `POST /quit`."""
        return await http(self.admins[number], request)


async def http(authority: str, request: str) -> tuple[int, str]:
    host, _, port = authority.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{request} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), WAIT_S)).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def options(*flags: str) -> Options:
    return parse(["all", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--xmpp=127.0.0.1:0", *flags], {})


@contextlib.asynccontextmanager
async def service(*flags: str, gateways: int = 1, backend: Address | None = None) -> AsyncIterator[Service]:
    """A running service; `backend` is another XMPP server's address."""
    chosen, loop = options(*flags), asyncio.get_running_loop()
    server = None
    if backend is None:
        server = Server(chosen, loop)
        backend = await server.start()
    made, urls, admins, admin_servers = [], [], [], []
    for _ in range(gateways):
        gateway = Gateway(chosen, loop, backend)
        urls.append(f"ws://{await gateway.start()}/xmpp-websocket")
        admin_server, address = await Admin(gateway).start(chosen.admin)
        admins.append(str(address))
        admin_servers.append(admin_server)
        made.append(gateway)
    running = Service(server, made, urls, admins)
    try:
        async with running.stack:
            yield running
    finally:
        for admin_server in admin_servers:
            admin_server.close()
        for gateway in made:
            await gateway.stop()
        if server is not None:
            await server.stop()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on the loop that the service has; a test that hangs fails."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def chat() -> SimpleNamespace:
    return SimpleNamespace(
        service=service,
        run=run,
        until=until,
        options=options,
        http=http,
        Client=Client,
        OPEN=OPEN,
        FRAMING=FRAMING,
    )
