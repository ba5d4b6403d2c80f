"""RFC 7395 on one side, RFC 6120 on the other: what a gateway tells both for what it hears. No I/O.

One `Translator` is one user's stream. It returns a list of things to do; the connection that owns it does
them in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.parsers import expat

from chatserver.namespaces import CLIENT, FRAMING, POD, SASL, STREAM_ERRORS, STREAMS, attributes_xml, escape
from chatserver.xmlstream import (
    Closed,
    Element,
    Event,
    Opened,
    StreamError,
    StreamParser,
    new_parser,
    split_name,
)

CLOSE_FRAME = f'<close xmlns="{FRAMING}" />'
"""Byte for byte what Strophe's fast path looks for."""

STREAM_END = b"</stream:stream>"
BACKEND_ELEMENT_LIMIT_BYTES = 4 * 1024 * 1024

_OPEN_ATTRIBUTES = ("id", "from", "to", "version", "xml:lang")
_STARTTLS = re.compile(rb"<starttls\b[^>]*?(?:/>|>.*?</starttls\s*>)", re.DOTALL)


class ToClient(NamedTuple):
    """A text frame."""

    text: str


class ToBackend(NamedTuple):
    """Bytes for the XMPP server; the first ones call for a connection to it."""

    data: bytes


class LogIn(NamedTuple):
    """The client hands in credentials: a login's work is due before what follows in the list."""


class StreamOpen(NamedTuple):
    """The backend has answered the client's first `<open/>`."""


class LoggedIn(NamedTuple):
    """The backend has accepted the credentials."""


class End(NamedTuple):
    """Close the websocket with this code once the frames before it are written."""

    code: int
    cause: str


Step = ToClient | ToBackend | LogIn | StreamOpen | LoggedIn | End


class FrameError(Exception):
    """The frame is no XML text at all: the websocket is closed with `code` and without a word of XMPP."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Root(NamedTuple):
    """The root of a frame."""

    namespace: str
    name: str
    attributes: dict[str, str]


def read_frame(text: str) -> Root:
    """Check that a frame is one well-formed element without DTD and processing instructions; return its root.

    Raises FrameError for what doesn't start with `<`, StreamError for the rest.
    """
    if not text.startswith("<"):
        raise FrameError(1007, "a frame starts with <")
    if "<!" in text or "<?" in text:
        raise StreamError("restricted-xml", "no comments, processing instructions, document types or CDATA")
    parser = new_parser()
    roots: list[Root] = []

    def on_start(name: str, attributes: dict[str, str]) -> None:
        parser.StartElementHandler = None
        roots.append(Root(*split_name(name)[:2], attributes))

    parser.StartElementHandler = on_start
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise StreamError("not-well-formed", str(error)) from None
    return roots[0]


def error_frame(condition: str, text: str = "") -> str:
    """A stream error as a frame."""
    told = f'<text xmlns="{STREAM_ERRORS}">{escape(text)}</text>' if text else ""
    return (
        f'<stream:error xmlns:stream="{STREAMS}"><{condition} xmlns="{STREAM_ERRORS}"/>{told}</stream:error>'
    )


class Translator:
    """One user's stream through the gateway.

    `domain` is whom to ask for where the client's `<open/>` names nobody; `pod` and `release` are told to the
    client on every `<open/>`, for browsers.
    """

    __slots__ = ("_backend_open", "_domain", "_ended", "_opens", "_parser", "_signature", "_successes")

    def __init__(self, domain: str, pod: str, release: str) -> None:
        self._domain = domain
        self._signature = attributes_xml({"xmlns:pod": POD, "pod:name": pod, "pod:release": release})
        self._parser = StreamParser(BACKEND_ELEMENT_LIMIT_BYTES, restart_after=(SASL, "success"))
        self._opens = 0
        self._successes = 0
        self._backend_open = False
        self._ended = False

    @property
    def is_open(self) -> bool:
        """The client has opened the stream, and it has not ended."""
        return self._opens > 0 and not self._ended

    def from_client(self, text: str) -> Sequence[Step]:
        """Take one text frame.

        Raises FrameError.
        """
        if self._ended:
            return ()
        try:
            root = read_frame(text)
            if root.namespace == FRAMING:
                return self._framing(root)
            if root.namespace == STREAMS:
                raise StreamError("bad-format", f"<{root.name}/> has no place in a frame")
            if self._opens != self._successes + 1:
                raise StreamError("not-authorized", "the stream is not open")
        except StreamError as error:
            return self.end("client_error", error.condition, 1002, str(error.text))
        stanza = ToBackend(text.encode())
        if root.namespace == SASL and root.name == "auth":
            return (LogIn(), stanza)
        return (stanza,)

    def _framing(self, root: Root) -> Sequence[Step]:
        if root.name == "close":
            self._ended = True
            steps: list[Step] = [ToClient(CLOSE_FRAME), End(1000, "client")]
            return [ToBackend(STREAM_END), *steps] if self._opens else steps
        if root.name != "open":
            raise StreamError("bad-format", f"<{root.name}/> is no framing element")
        if self._opens != self._successes:
            raise StreamError("policy-violation", "the stream is open already")
        if root.attributes.get("version") != "1.0":
            raise StreamError("unsupported-version", "this is XMPP 1.0")
        self._opens += 1
        self._backend_open = False
        header = {"to": root.attributes.get("to", self._domain), "version": "1.0"}
        language = root.attributes.get("http://www.w3.org/XML/1998/namespace}lang")
        if language:
            header["xml:lang"] = language
        start = f'<?xml version="1.0"?><stream:stream xmlns="{CLIENT}" xmlns:stream="{STREAMS}"'
        return (ToBackend(f"{start}{attributes_xml(header)}>".encode()),)

    def from_backend(self, data: bytes) -> Sequence[Step]:
        """Take some bytes of the backend's stream."""
        if self._ended:
            return ()
        steps: list[Step] = []
        try:
            for event in self._parser.feed(data):
                steps += self._backend_event(event)
        except StreamError:
            steps += self.end("backend", "internal-server-error", 1011)
        return steps

    def _backend_event(self, event: Event) -> Sequence[Step]:
        if self._ended:
            return ()
        if isinstance(event, Opened):
            first, self._backend_open = self._opens == 1, True
            told = {name: event.attributes[name] for name in _OPEN_ATTRIBUTES if name in event.attributes}
            frame = ToClient(f'<open xmlns="{FRAMING}"{attributes_xml(told)}{self._signature}/>')
            return (frame, StreamOpen()) if first else (frame,)
        if isinstance(event, Closed):
            self._ended = True
            return (ToClient(CLOSE_FRAME), End(1000, "backend"))
        return self._backend_element(event)

    def _backend_element(self, element: Element) -> Sequence[Step]:
        if element.namespace == SASL and element.name == "success":
            self._successes += 1
            return (ToClient(element.xml().decode()), LoggedIn())
        if element.namespace == STREAMS and element.name == "features":
            # TLS belongs to the websocket (RFC 7395, 3.9); a client that saw the offer would try it inside
            element = element._replace(inner=_STARTTLS.sub(b"", element.inner))
        frame = ToClient(element.xml().decode())
        if element.namespace == STREAMS and element.name == "error":
            self._ended = True
            code = 1012 if element.child == (STREAM_ERRORS, "system-shutdown") else 1000
            return (frame, ToClient(CLOSE_FRAME), End(code, "backend"))
        return (frame,)

    def backend_lost(self) -> Sequence[Step]:
        """The connection to the backend broke, or was never made."""
        return self.end("backend", "remote-connection-failed", 1011)

    def end(self, cause: str, condition: str, code: int, text: str = "") -> Sequence[Step]:
        """End the stream from this side with a stream error.

        The backend is told nothing: it may keep the session for a resumption, as for any that breaks.
        """
        if self._ended:
            return ()
        self._ended = True
        steps: list[Step] = []
        if not self._backend_open:  # a stream error stands in a stream: it must have been opened
            steps.append(
                ToClient(f'<open xmlns="{FRAMING}" version="1.0"{attributes_xml({"from": self._domain})}/>')
            )
        return [*steps, ToClient(error_frame(condition, text)), ToClient(CLOSE_FRAME), End(code, cause)]
