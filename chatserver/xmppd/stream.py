"""One TCP stream of the XMPP server: login, binding, stream management, then stanzas, until its end."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, cast

from chatserver.namespaces import (
    BIND,
    CLIENT,
    SASL,
    SESSION,
    STANZA_ERRORS,
    STREAM_ERRORS,
    STREAM_MANAGEMENT,
    STREAMS,
    attributes_xml,
    escape,
)
from chatserver.xmlstream import Closed, Element, Event, Opened, StreamError, StreamParser
from chatserver.xmppd import sasl
from chatserver.xmppd.session import Session
from chatserver.xmppd.stanzas import Jid, error, result, token, tree

if TYPE_CHECKING:
    from chatserver.xmppd.server import Server

ELEMENT_LIMIT_BYTES = 1024 * 1024
WRITE_LIMIT_BYTES = 4 * 1024 * 1024
"""A peer that lets so much pile up is cut."""

_STREAM_END = b"</stream:stream>"


class Stream(asyncio.Protocol):
    """One connection: nobody's, then a user's, then a session's."""

    __slots__ = (
        "_header_sent",
        "_mechanism",
        "_parser",
        "_server",
        "_success",
        "_transport",
        "session",
        "user",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = StreamParser(ELEMENT_LIMIT_BYTES)
        self._transport: asyncio.Transport | None = None
        self._header_sent = False
        self._mechanism: sasl.Mechanism | None = None
        self._success: sasl.Success | None = None  # while the login waits its turn
        self.user = ""  # once logged in
        self.session: Session | None = None  # once bound or resumed

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP accept."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._transport = transport
        self._server.on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        try:
            for event in self._parser.feed(data):
                if self._transport is None:
                    return
                self._on_event(event)
        except StreamError as problem:
            self.fail(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a session with stream management waits for its resumption."""
        self._transport = None
        self._server.on_disconnected(self)

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > WRITE_LIMIT_BYTES:
                self._transport.abort()

    def fail(self, problem: StreamError) -> None:
        """Say a stream error and close; the session ends."""
        if self._transport is None:
            return
        if not self._header_sent:
            self._write_header()
        told = f'<text xmlns="{STREAM_ERRORS}">{escape(problem.text)}</text>' if problem.text else ""
        self.write(
            f'<stream:error><{problem.condition} xmlns="{STREAM_ERRORS}"/>{told}</stream:error>'.encode()
        )
        self.close()

    def close(self) -> None:
        """End the stream and, with it, the session."""
        self._server.end_session(self)
        transport, self._transport = self._transport, None
        if transport is not None and not transport.is_closing():
            transport.write(_STREAM_END)
            transport.close()

    def cut(self) -> None:
        """Close the connection and leave the session to its new stream."""
        self.session = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    # What comes

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._on_header(event)
        elif isinstance(event, Closed) or event.namespace == STREAMS:  # the latter is the peer's stream error
            self.close()
        else:
            self._on_element(event)

    def _on_header(self, header: Opened) -> None:
        self._write_header()
        to = header.attributes.get("to", self._server.domain).lower()
        if to != self._server.domain:
            raise StreamError("host-unknown", f"this is {self._server.domain}")
        if header.attributes.get("version", "0.9").split(".")[0] == "0":
            raise StreamError("unsupported-version", "this is XMPP 1.0")
        if self.user:
            offered = f'<bind xmlns="{BIND}"/><session xmlns="{SESSION}"><optional/></session>'
            if self._server.resume_for_s:
                offered += f'<sm xmlns="{STREAM_MANAGEMENT}"/>'
        else:
            mechanisms = "".join(
                f"<mechanism>{name}</mechanism>" for name in self._server.accounts.mechanisms
            )
            offered = f'<mechanisms xmlns="{SASL}">{mechanisms}</mechanisms>'
        self.write(f"<stream:features>{offered}</stream:features>".encode())

    def _write_header(self) -> None:
        self._header_sent = True
        told = attributes_xml(
            {"id": token(), "from": self._server.domain, "version": "1.0", "xml:lang": "en"}
        )
        self.write(
            f'<?xml version="1.0"?><stream:stream xmlns="{CLIENT}" xmlns:stream="{STREAMS}"{told}>'.encode()
        )

    def _on_element(self, element: Element) -> None:
        if not self.user:
            if element.namespace != SASL:
                raise StreamError("not-authorized")
            self._on_sasl(element)
        elif element.namespace == STREAM_MANAGEMENT and self._server.resume_for_s:
            self._on_stream_management(element)
        elif self.session is None:
            self._on_unbound(element)
        elif element.namespace == CLIENT and element.name in ("message", "presence", "iq"):
            if self.session.counters is not None:
                self.session.counters.count_handled()
            self._server.on_stanza(self.session, element)
        else:
            raise StreamError("unsupported-stanza-type", f"{element.name} of {element.namespace}")

    # Login

    def _on_sasl(self, element: Element) -> None:
        if self._success is not None:
            raise StreamError("policy-violation", "the login waits its turn")
        try:
            match element.name:
                case "auth":
                    self._mechanism = self._server.accounts.begin(element.attributes.get("mechanism", ""))
                case "response" if self._mechanism is not None:
                    pass
                case "abort":
                    raise sasl.SaslError("aborted")
                case _:
                    raise sasl.SaslError("malformed-request")
            answer = self._mechanism.step(sasl.decode(element.inner))
        except sasl.SaslError as failure:
            self._mechanism = None
            self.write(f'<failure xmlns="{SASL}"><{failure.condition}/></failure>'.encode())
            return
        if isinstance(answer, sasl.Challenge):
            self.write(f'<challenge xmlns="{SASL}">{_encode(answer.data)}</challenge>'.encode())
        else:
            self._success = answer
            self._server.on_login(self)

    def log_in(self) -> None:
        """The login's turn has come."""
        assert self._success is not None
        self.user = self._success.user
        data = _encode(self._success.data) if self._success.data else ""
        self._success = self._mechanism = None
        self._parser.restart()
        self.write(f'<success xmlns="{SASL}">{data}</success>'.encode())

    # Binding and stream management

    def _on_unbound(self, element: Element) -> None:
        if element.name != "iq" or element.child != (BIND, "bind") or element.attributes.get("type") != "set":
            if element.name == "iq" and (refusal := error(element, "not-authorized", "auth")) is not None:
                self.write(refusal.xml())
                return
            raise StreamError("not-authorized", "bind a resource first")
        resource = (tree(element).findtext(f"{{{BIND}}}bind/{{{BIND}}}resource") or "").strip() or token()
        if len(resource) > 1023:
            refusal = error(element, "bad-request", "modify")
            assert refusal is not None
            self.write(refusal.xml())
            return
        self.session = self._server.bind(self, Jid(self.user, self._server.domain, resource))
        told = f'<bind xmlns="{BIND}"><jid>{escape(str(self.session.jid))}</jid></bind>'
        self.write(result(element, told).xml())

    def _on_stream_management(self, element: Element) -> None:
        session = self.session
        match element.name:
            case "enable" if session is not None and session.counters is None:
                resumable = element.attributes.get("resume") in ("true", "1")
                self._server.enable(session, resumable)
                told = {"id": session.resume_id, "resume": "true", "max": str(int(self._server.resume_for_s))}
                self._nonza("enabled", told if resumable else {})
            case "resume" if session is None:
                self._resume(element)
            case "r" if session is not None and session.counters is not None:
                self._nonza("a", {"h": str(session.counters.handled)})
            case "a" if session is not None:
                session.acknowledge(element.attributes.get("h", ""))
            case _:
                self._nonza("failed", {}, "unexpected-request")

    def _resume(self, element: Element) -> None:
        previous = element.attributes.get("previd", "")
        session = self._server.resume(self, previous)
        if session is None or session.counters is None:
            self._nonza("failed", {}, "item-not-found")
            return
        self.session = session
        self._nonza("resumed", {"h": str(session.counters.handled), "previd": previous})
        session.acknowledge(element.attributes.get("h", ""))
        for missed in session.counters.unacknowledged:
            self.write(missed.xml())

    def _nonza(self, name: str, attributes: dict[str, str], condition: str = "") -> None:
        inner = f'<{condition} xmlns="{STANZA_ERRORS}"/>' if condition else ""
        self.write(
            f'<{name} xmlns="{STREAM_MANAGEMENT}"{attributes_xml(attributes)}>{inner}</{name}>'.encode()
        )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
