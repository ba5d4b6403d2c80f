"""One chat client's side of a connection: WebSocket and XMPP over it (RFC 6455, 7395), without I/O or clock.

Bytes in, events and bytes out: after every call, send what `outgoing` returns.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import Enum
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from loadgen.behaviour.attempts import Failure

_FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
_STREAMS = "http://etherx.jabber.org/streams"
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
_CLIENT = "jabber:client"
_PING = "urn:xmpp:ping"
_STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"

_CLOSE_STANZA = f'<close xmlns="{_FRAMING}" />'
_LARGEST_FRAME_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """The websocket handshake is finished; who serves, if the server's answer said so."""

    release: str | None
    pod: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Logged in: bound, and presence sent."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from another user came."""

    message: str  # its id


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered, but will not let this client in; close the socket."""

    failure: Failure
    detail: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The server ended the connection in so many words; send `outgoing`, then close the socket."""

    code: int | None  # of its close frame, None if it said so in XMPP alone


Event = Opened | Ready | Received | Refused | Closed


class _Stage(Enum):
    """What the client waits for."""

    HANDSHAKE = "the websocket"
    MECHANISMS = "features that offer SASL mechanisms"
    AUTHENTICATED = "the result of authentication"
    BINDING = "features that offer resource binding"
    BOUND = "the bound address"
    READY = "nothing: logged in"
    OVER = "nothing: over"


class XmppClient:
    """A client that logs one user in by SASL PLAIN, talks, answers pings, and says goodbye."""

    __slots__ = (
        "_domain", "_goodbye_sent", "_partial", "_password", "_pings", "_stage", "_user", "_ws",
        "goodbye_received",
    )  # fmt: skip

    def __init__(self, uri: WebSocketURI, user: str, domain: str, password: str) -> None:
        """The handshake request waits in `outgoing`."""
        self._ws = ClientProtocol(uri, subprotocols=[Subprotocol("xmpp")], max_size=_LARGEST_FRAME_BYTES)
        self._user, self._domain, self._password = user, domain, password
        self._stage = _Stage.HANDSHAKE
        self._partial: list[bytes] = []
        self._pings = 0
        self._goodbye_sent = False
        self.goodbye_received = False
        """The server sent a stream error or `<close/>`: its close frame should follow."""
        self._ws.send_request(self._ws.connect())

    @property
    def ready(self) -> bool:
        """Logged in, and neither side said goodbye."""
        return self._stage is _Stage.READY

    def outgoing(self) -> bytes:
        """Bytes to send, each once."""
        return b"".join(self._ws.data_to_send())

    def receive(self, data: bytes) -> list[Event]:
        """Bytes came from the server."""
        events: list[Event] = []
        if self._ws.state is State.CLOSED:
            return events
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Response):
                self._handshake(event, events)
            elif isinstance(event, Frame):
                self._frame(event, events)
        if self._ws.parser_exc is not None and self._stage is not _Stage.OVER:
            self._over(events, Closed(None))  # it broke the protocol; our close frame says how
        return events

    def say(self, to_user: str, message: str, body: str) -> None:
        """Send a message; only when `ready`."""
        to = quoteattr(f"{to_user}@{self._domain}")
        self._send(
            f'<message xmlns="{_CLIENT}" type="chat" to={to} id={quoteattr(message)}>'
            f"<body>{escape(body)}</body></message>"
        )

    def ping(self) -> None:
        """Ask whether the server lives (XEP-0199); any bytes that come are the answer. Only when `ready`."""
        self._pings += 1
        to = quoteattr(self._domain)
        self._send(
            f'<iq xmlns="{_CLIENT}" type="get" to={to} id="ping-{self._pings}"><ping xmlns="{_PING}"/></iq>'
        )

    def leave(self) -> bool:
        """Say goodbye. False if there is nobody to say it to: just close the socket."""
        if self._ws.state is not State.OPEN:
            return False
        self._goodbye()
        self._stage = _Stage.OVER
        return True

    def _handshake(self, response: Response, events: list[Event]) -> None:
        error = self._ws.handshake_exc
        if error is not None or self._ws.subprotocol != "xmpp":
            if isinstance(error, InvalidStatus):
                detail = f"HTTP status {error.response.status_code}"
            else:
                detail = str(error) if error is not None else "the server does not speak the subprotocol xmpp"
            self._over(events, Refused(Failure.HANDSHAKE, detail))
            return
        events.append(Opened(response.headers.get("Chat-Release"), response.headers.get("Chat-Pod")))
        self._stage = _Stage.MECHANISMS
        self._open_stream()

    def _frame(self, frame: Frame, events: list[Event]) -> None:
        if frame.opcode is Opcode.CLOSE:
            if self._stage is not _Stage.OVER or self.goodbye_received:
                code = self._ws.close_rcvd.code if self._ws.close_rcvd is not None else None
                self._over(events, Closed(code))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._partial.append(bytes(frame.data))
            if frame.fin:
                data, self._partial = b"".join(self._partial), []
                self._document(data, events)

    def _document(self, data: bytes, events: list[Event]) -> None:
        try:
            element = ElementTree.fromstring(data)
        except ElementTree.ParseError:
            # It speaks no XMPP any more: we end it, and take that for the server's end.
            self.goodbye_received = True
            self._stage = _Stage.OVER
            self._goodbye()
            return
        tag = element.tag
        if tag in (f"{{{_FRAMING}}}close", f"{{{_STREAMS}}}error"):
            if self._stage is _Stage.OVER and not self.goodbye_received:
                self._close_websocket()  # the answer to our own goodbye
            else:
                self.goodbye_received = True
                self._stage = _Stage.OVER
                self._goodbye()
        elif self._stage is _Stage.READY:
            self._stanza(element, events)
        elif self._stage is not _Stage.OVER:
            self._log_in(element, events)

    def _log_in(self, element: ElementTree.Element, events: list[Event]) -> None:
        tag = element.tag
        if tag == f"{{{_STREAMS}}}features" and self._stage is _Stage.MECHANISMS:
            mechanisms = [found.text for found in element.iter(f"{{{_SASL}}}mechanism")]
            if "PLAIN" not in mechanisms:
                offered = ", ".join(text or "" for text in mechanisms) or "none"
                self._refused(events, f"the server offers no SASL PLAIN, but {offered}")
                return
            plain = base64.b64encode(f"\0{self._user}\0{self._password}".encode()).decode()
            self._stage = _Stage.AUTHENTICATED
            self._send(f'<auth xmlns="{_SASL}" mechanism="PLAIN">{plain}</auth>')
        elif tag == f"{{{_SASL}}}success" and self._stage is _Stage.AUTHENTICATED:
            self._stage = _Stage.BINDING
            self._open_stream()
        elif tag == f"{{{_SASL}}}failure":
            reason = element[0].tag.rpartition("}")[2] if len(element) else "no reason given"
            self._refused(events, f"authentication failed: {reason}")
        elif tag == f"{{{_STREAMS}}}features" and self._stage is _Stage.BINDING:
            self._stage = _Stage.BOUND
            self._send(f'<iq xmlns="{_CLIENT}" type="set" id="bind"><bind xmlns="{_BIND}"/></iq>')
        elif tag == f"{{{_CLIENT}}}iq" and element.get("id") == "bind" and self._stage is _Stage.BOUND:
            if element.get("type") != "result":
                self._refused(events, "the server binds no resource")
                return
            self._stage = _Stage.READY
            self._send(f'<presence xmlns="{_CLIENT}"/>')
            events.append(Ready())

    def _stanza(self, element: ElementTree.Element, events: list[Event]) -> None:
        if element.tag == f"{{{_CLIENT}}}message":
            message = element.get("id")
            if message is not None and element.get("type") != "error":
                events.append(Received(message))
        elif element.tag == f"{{{_CLIENT}}}iq" and element.get("type") in ("get", "set"):
            self._answer(element)

    def _answer(self, iq: ElementTree.Element) -> None:
        known = iq.get("type") == "get" and iq.find(f"{{{_PING}}}ping") is not None
        sender = iq.get("from")
        to = "" if sender is None else f" to={quoteattr(sender)}"
        head = f'<iq xmlns="{_CLIENT}" id={quoteattr(iq.get("id", ""))}{to}'
        if known:
            self._send(f'{head} type="result"/>')
        else:
            self._send(
                f'{head} type="error"><error type="cancel">'
                f'<service-unavailable xmlns="{_STANZA_ERRORS}"/></error></iq>'
            )

    def _refused(self, events: list[Event], detail: str) -> None:
        self._goodbye()
        self._over(events, Refused(Failure.LOGIN, detail))

    def _over(self, events: list[Event], event: Event) -> None:
        self._stage = _Stage.OVER
        self.goodbye_received = False
        events.append(event)

    def _open_stream(self) -> None:
        self._send(f'<open xmlns="{_FRAMING}" to={quoteattr(self._domain)} version="1.0"/>')

    def _goodbye(self) -> None:
        if not self._goodbye_sent:
            self._goodbye_sent = True
            self._send(_CLOSE_STANZA)

    def _close_websocket(self) -> None:
        if self._ws.state is State.OPEN:
            self._ws.send_close(1000)

    def _send(self, text: str) -> None:
        if self._ws.state is State.OPEN:
            self._ws.send_text(text.encode())
