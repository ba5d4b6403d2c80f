"""One client's connection to the gateway: websocket in front, link to the XMPP server behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from chatserver.backend import Link
from chatserver.burn import burn_cpu
from chatserver.framing import (
    End,
    FrameError,
    LoggedIn,
    LogIn,
    Step,
    StreamOpen,
    ToBackend,
    ToClient,
    Translator,
)

if TYPE_CHECKING:
    from chatserver.gateway import Gateway

WEBSOCKET_PATH = "/xmpp-websocket"
HIGH_WATER_BYTES = 64 * 1024
CLOSING_TIMEOUT_S = 2.0
"""How long a client may take to answer the closing handshake."""

_SUBPROTOCOLS = (Subprotocol("xmpp"),)
_LOGGER = logging.getLogger("websockets.server")


class Connection(asyncio.Protocol):
    """From TCP accept to the connection's end.

    Counted as open from accept on, logged in or not, unless it turns out to ask for a page.
    """

    __slots__ = (
        "_client_full",
        "_closing",
        "_gateway",
        "_link",
        "_parts",
        "_translator",
        "_transport",
        "_ws",
        "accepted_s",
        "cause",
        "heard_s",
        "opened_s",
        "stream_is_open",
    )

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ws = ServerProtocol(
            subprotocols=_SUBPROTOCOLS, max_size=gateway.options.max_frame_bytes, logger=_LOGGER
        )
        self._translator = Translator(gateway.options.domain, gateway.options.pod, gateway.options.release)
        self._transport: asyncio.Transport | None = None
        self._link: Link | None = None
        self._parts: list[bytes] = []  # of a fragmented message
        self._client_full = False
        self._closing = False
        self.stream_is_open = False
        self.cause = ""  # of its end, once known
        self.accepted_s = self.heard_s = gateway.now_s()
        self.opened_s: float | None = None  # when the websocket handshake was finished

    @property
    def is_closing(self) -> bool:
        """Its end has begun."""
        return self._closing

    # What the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP accept."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._gateway.on_accepted(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self.heard_s = self._gateway.now_s()
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Request):
                self._on_request(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        self._flush()

    def eof_received(self) -> bool:
        """The client sends no more: without a closing handshake that is a lost connection."""
        self._ws.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is gone."""
        self._transport = None
        self._closing = True
        self._drop_link()
        self._gateway.on_closed(self)

    def pause_writing(self) -> None:
        """The client reads too slowly: read nothing more that would be written to it."""
        self._client_full = True
        if self._link is not None:
            self._link.pause(True)
        self._read_client(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._client_full = False
        if self._link is not None:
            self._link.pause(False)
        self._read_client(True)

    def _on_request(self, request: Request) -> None:
        path = request.path.partition("?")[0]
        if path != WEBSOCKET_PATH:
            self._gateway.on_page_request(self)
            self._closing = True
            self._ws.send_response(self._gateway.pages.answer(self._ws, request, path))
            return
        response = self._ws.accept(request)
        response.headers["Chat-Pod"] = self._gateway.options.pod
        response.headers["Chat-Release"] = self._gateway.options.release
        self._ws.send_response(response)
        if response.status_code == 101:
            self.opened_s = self.heard_s
        else:
            self._begin_closing("handshake")

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._begin_closing("client")
            self._drop_link()
        elif self._closing:
            pass
        elif frame.opcode is Opcode.BINARY:
            self._refuse(1003, "XMPP is text")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._on_message(message)

    def _on_message(self, message: bytes) -> None:
        try:
            self._carry_out(self._translator.from_client(message.decode()))
        except UnicodeDecodeError:
            self._refuse(1007, "not UTF-8")
        except FrameError as refused:
            self._refuse(refused.code, refused.reason)

    def _refuse(self, code: int, reason: str) -> None:
        self._ws.fail(code, reason)
        self._begin_closing("client_error")
        self._drop_link()

    # What the backend does

    def on_backend_data(self, data: bytes) -> None:
        """Bytes of the user's stream."""
        self._carry_out(self._translator.from_backend(data))
        self._flush()

    def on_backend_lost(self) -> None:
        """The stream broke, or the backend is not there."""
        self._link = None
        self._carry_out(self._translator.backend_lost())
        self._flush()

    def on_backend_full(self, is_full: bool) -> None:
        """The backend reads too slowly, or has caught up."""
        self._read_client(not is_full)

    # What the gateway does

    def ping(self) -> None:
        """Send a websocket ping, if there is a websocket and it takes more."""
        if self._ws.state is State.OPEN and not self._client_full:
            self._ws.send_ping(b"")
            self._flush()

    def end(self, cause: str, condition: str, code: int) -> None:
        """Close from this side: stream error, `<close/>`, websocket close; cut where no websocket is open."""
        if self._closing:
            return
        if self._ws.state is State.OPEN:
            self._carry_out(self._translator.end(cause, condition, code))
            self._flush()
        else:
            self.abort(cause)

    def abort(self, cause: str) -> None:
        """Cut at once."""
        self._begin_closing(cause)
        if self._transport is not None:
            self._transport.abort()

    # How it is done

    def _carry_out(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case ToClient(text):
                    if self._ws.state is State.OPEN:
                        self._ws.send_text(text.encode())
                case ToBackend(data):
                    if self._link is None:
                        self._link = Link(self._gateway.backend, self)
                    self._link.write(data)
                case LogIn():
                    burn_cpu(self._gateway.options.login_cpu_s)
                case StreamOpen():
                    self.stream_is_open = True
                    self._gateway.on_stream_open(self)
                case LoggedIn():
                    self._gateway.counts.logins += 1
                case End(code, cause):
                    self._drop_link()
                    if self._ws.state is State.OPEN:
                        self._ws.send_close(code)
                    self._begin_closing(cause)

    def _begin_closing(self, cause: str) -> None:
        self.cause = self.cause or cause
        if not self._closing:
            self._closing = True
            self._gateway.on_closing(self)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _read_client(self, go_on: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if go_on and not self._client_full:
            transport.resume_reading()
        elif not go_on:
            transport.pause_reading()

    def _flush(self) -> None:
        transport = self._transport
        writes = self._ws.data_to_send()
        if transport is None or transport.is_closing() or not writes:
            return
        at_end = writes[-1] == b""
        data = b"".join(writes)
        if data:
            transport.write(data)
        if at_end:
            # the client closes first: closing here with its bytes unread would reset what it has not read yet
            transport.write_eof()
            if not self._closing:
                self._begin_closing("client_error")  # the websocket layer refused something by itself
                self._drop_link()
            self._gateway.on_closing(self)
