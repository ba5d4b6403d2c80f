"""The admin port: HTTP/1.1 for probes, Prometheus and the deployer; one request a connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from chatserver.gateway import Gateway
from chatserver.metrics import render
from chatserver.options import Address

HEAD_LIMIT_BYTES = 16 * 1024
REQUEST_TIMEOUT_S = 5.0


class Answer(NamedTuple):
    """What a request gets."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, f"{text}\n".encode())


class Admin:
    """The routes, by method and path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._routes: dict[str, dict[str, Callable[[str], Answer]]] = {
            "/metrics": {"GET": self._metrics},
            "/healthz": {"GET": lambda _: _text("alive")},
            "/readyz": {"GET": self._ready},
            "/drain": {"POST": self._drain},
            "/deselected": {"POST": self._deselected, "DELETE": self._selected},
            "/quit": {"POST": self._quit},
        }

    async def start(self, address: Address) -> tuple[asyncio.Server, Address]:
        """Listen. Raises OSError."""
        loop = self._gateway.loop
        server = await loop.create_server(lambda: _AdminConnection(self), address.host, address.port)
        return server, Address(*server.sockets[0].getsockname()[:2])

    def answer(self, method: str, target: str) -> Answer:
        """Carry out one request."""
        try:
            url = urlsplit(target)
        except ValueError:
            return _text("no such path", HTTPStatus.BAD_REQUEST)
        methods = self._routes.get(url.path)
        if methods is None:
            return _text(f"no such path; there are {', '.join(self._routes)}", HTTPStatus.NOT_FOUND)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            return _text(f"{url.path} takes {', '.join(methods)}", HTTPStatus.METHOD_NOT_ALLOWED)
        return route(url.query)

    def _metrics(self, _: str) -> Answer:
        body, content_type = render(self._gateway.counts, self._gateway.snapshot())
        return Answer(HTTPStatus.OK, body, content_type)

    def _ready(self, _: str) -> Answer:
        because = self._gateway.not_ready_because
        if not because:
            self._gateway.found_ready()
        return _text(because, HTTPStatus.SERVICE_UNAVAILABLE) if because else _text("ready")

    def _drain(self, query: str) -> Answer:
        text = parse_qs(query).get("per_s", [""])[-1]
        per_s = self._gateway.options.policy.per_s
        if text:
            try:
                per_s = float(text)
            except ValueError:
                per_s = math.nan
            if not (math.isfinite(per_s) and per_s >= 0):
                return _text(f"per_s={text}: expected a number a second, 0 or more", HTTPStatus.BAD_REQUEST)
        self._gateway.drain(per_s)
        return _text(
            f"asking clients to leave, {per_s:g} a second" if per_s else "asking nobody", HTTPStatus.ACCEPTED
        )

    def _deselected(self, _: str) -> Answer:
        self._gateway.deselect()
        return _text(f"deselected: {self._gateway.options.policy.on_deselected}", HTTPStatus.ACCEPTED)

    def _selected(self, _: str) -> Answer:
        self._gateway.select()
        return _text("selected again", HTTPStatus.ACCEPTED)

    def _quit(self, _: str) -> Answer:
        # after the answer is on its way
        self._gateway.loop.call_soon(self._gateway.quit)
        return _text("closing every connection", HTTPStatus.ACCEPTED)


class _AdminConnection(asyncio.Protocol):
    """One request; its body, if any, is not read."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._answer()
        elif len(self._head) > HEAD_LIMIT_BYTES:
            self._write("GET", _text("request too large", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _answer(self) -> None:
        line = self._head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            self._write("GET", _text("not an HTTP/1.1 request", HTTPStatus.BAD_REQUEST))
        else:
            self._write(line[0], self._admin.answer(line[0], line[1]))

    def _write(self, method: str, answer: Answer) -> None:
        assert self._transport is not None
        head = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n"
        )
        self._transport.write(head.encode() + (b"" if method == "HEAD" else answer.body))
        self._transport.close()
