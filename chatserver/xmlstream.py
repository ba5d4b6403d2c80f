"""An XMPP stream over TCP (RFC 6120) taken apart: bytes in, whole elements out. No I/O.

Elements keep their inner bytes as they came, and an element can be written as a document of its own, which
is what a websocket frame has to be (RFC 7395).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from xml.parsers import expat

from chatserver.namespaces import XML, attributes_xml

_SEPARATOR = "}"
_START_TAG = re.compile(rb"""<[^\s/>]+(?:[^>"']|"[^"]*"|'[^']*')*>""")


class StreamError(Exception):
    """The peer broke the stream's rules; `condition` is the defined condition of RFC 6120, section 4.9.3."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(f"{condition}: {text}" if text else condition)
        self.condition = condition
        self.text = text


class Opened(NamedTuple):
    """The stream's header has come."""

    attributes: Mapping[str, str]


class Element(NamedTuple):
    """One child of the stream's root: a stanza or a nonza."""

    namespace: str
    name: str
    tag: str  # as written, with its prefix
    attributes: dict[str, str]  # names as written; no namespace declarations
    declarations: dict[str, str]  # prefix ("" is the default) to namespace: the stream's and its own
    inherited: frozenset[str]  # prefixes that only the stream's header declares
    inner: bytes  # between start and end tag, as it came
    child: tuple[str, str] | None  # namespace and name of the first child

    def xml(self) -> bytes:
        """The element as a document that stands alone."""
        tag, inner = self.tag, self.inner
        declared = {}
        for prefix, namespace in self.declarations.items():
            if not prefix:
                declared["xmlns"] = namespace
            elif (
                prefix not in self.inherited or tag.startswith(f"{prefix}:") or f"{prefix}:".encode() in inner
            ):
                declared[f"xmlns:{prefix}"] = namespace
        start = f"<{tag}{attributes_xml(declared)}{attributes_xml(self.attributes)}".encode()
        if not inner:
            return start + b"/>"
        return b"%b>%b</%b>" % (start, inner, tag.encode())

    def changed(self, **attributes: str) -> Element:
        """The same element with other attributes; a trailing underscore of a keyword is dropped (`from_`)."""
        new = {name.rstrip("_"): value for name, value in attributes.items()}
        return self._replace(attributes={**self.attributes, **new})


class Closed(NamedTuple):
    """The stream's end tag has come; what follows is ignored."""


Event = Opened | Element | Closed


class _RestartError(Exception):
    """Stops expat after the element that ends this document; the rest is a new one."""


def new_parser() -> expat.XMLParserType:
    """An expat parser that knows namespaces, takes UTF-8 only and, where it can be told so, defers nothing."""
    parser = expat.ParserCreate("UTF-8", _SEPARATOR)
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
    return parser


def _defers() -> bool:
    """Whether expat may keep a complete token until more comes, which could be the next stanza.

    It does so since 2.6, and in distributions that mended an older one (CVE-2023-52425) under a Python that
    cannot switch it off, as Debian 12's 3.11.2.
    """
    seen: list[str] = []
    parser = new_parser()
    parser.StartElementHandler = lambda name, _: seen.append(name)
    parser.Parse(b"<a ", False)
    parser.Parse(b">", False)
    return not seen


DEFERS = _defers()


class StreamParser:
    """Splits one direction of an XMPP stream. However the bytes are cut into chunks, the events are the same.

    Between elements it holds no parser: an idle stream costs only its header. `restart_after` is namespace
    and name of an element after which a new document begins in the same connection, as after SASL success.
    """

    __slots__ = (
        "_attributes",
        "_base",
        "_buffer",
        "_child",
        "_closed",
        "_declared",
        "_depth",
        "_events",
        "_header",
        "_limit_bytes",
        "_name",
        "_parser",
        "_restart_after",
        "_start",
        "_stream_declared",
    )

    def __init__(self, limit_bytes: int, restart_after: tuple[str, str] | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._restart_after = restart_after
        self._events: list[Event] = []
        self.restart()

    def restart(self) -> None:
        """Forget the stream; the next bytes begin a new document."""
        self._header = b""
        self._stream_declared: dict[str, str] = {}
        self._buffer = bytearray()
        self._base = 0  # the parser's byte index of the buffer's first byte
        self._depth = 0
        self._closed = False
        self._parser: expat.XMLParserType | None = None
        self._declared: dict[str, str] = {}
        self._start = 0
        self._name = ""
        self._attributes: dict[str, str] = {}
        self._child: tuple[str, str] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take some bytes and return what they completed.

        Raises StreamError; what came before the offence is lost, and the stream is to be closed.
        """
        while data and not self._closed:
            data = self._feed(data)
        events, self._events = self._events, []
        return events

    def _feed(self, data: bytes) -> bytes:
        """Parse, and return what is left where a new document begins."""
        if not self._buffer:
            if self._depth == 1 and not data.strip():
                return b""  # whitespace between stanzas keeps connections alive
            if not self._header:
                data = (
                    data.lstrip()
                )  # before a document nothing else may stand, and XML allows no space there
        if DEFERS and self._parser is not None and b">" in data:
            # a new parser takes what is there at once: what is not complete begins again
            data = bytes(self._buffer) + data
            self._buffer.clear()
            self._parser, self._declared, self._depth = None, {}, int(bool(self._header))
        parser = self._parser or self._primed()
        self._buffer += data
        try:
            parser.Parse(data, False)
        except _RestartError:
            rest = bytes(self._buffer)
            self.restart()
            return rest
        except expat.ExpatError as error:
            if self._closed:
                return b""
            raise StreamError("not-well-formed", str(error)) from None
        if self._depth == 1 and not self._buffer.strip():
            self._buffer.clear()
            self._parser = None
        elif len(self._buffer) > self._limit_bytes:
            raise StreamError("policy-violation", f"an element is larger than {self._limit_bytes} bytes")
        return b""

    def _primed(self) -> expat.XMLParserType:
        parser = self._parser = new_parser()
        parser.namespace_prefixes = True
        if self._header:
            parser.Parse(self._header, False)
        self._base = len(self._header)
        parser.StartNamespaceDeclHandler = self._on_namespace
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.StartDoctypeDeclHandler = self._on_restricted
        parser.CommentHandler = self._on_restricted
        parser.ProcessingInstructionHandler = self._on_restricted
        return parser

    def _on_restricted(self, *_: object) -> None:
        raise StreamError("restricted-xml", "no comments, processing instructions or document types")

    def _on_namespace(self, prefix: str | None, uri: str) -> None:
        if self._depth <= 1:
            self._declared[prefix or ""] = uri or ""

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > 3:
            return
        if self._depth == 3:
            if self._child is None:
                self._child = split_name(name)[:2]
            return
        assert self._parser is not None
        start = self._parser.CurrentByteIndex - self._base
        tag = _START_TAG.match(self._buffer, start)
        assert tag is not None, "expat reports a start tag only once it is complete"
        if self._depth == 1:
            self._header = bytes(tag[0])
            self._stream_declared, self._declared = self._declared, {}
            self._events.append(Opened({_as_written(key): value for key, value in attributes.items()}))
            self._cut(tag.end())
        else:
            self._cut(start)
            self._start = tag.end() - start
            self._name = name
            self._attributes = {_as_written(key): value for key, value in attributes.items()}
            self._child = None

    def _on_end(self, _: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._closed = True
            self._parser = None
            self._buffer.clear()
            self._events.append(Closed())
        elif self._depth == 1:
            assert self._parser is not None
            if self._buffer[self._start - 2 : self._start] == b"/>":
                inner, end = b"", self._start
            else:
                index = self._parser.CurrentByteIndex - self._base
                inner, end = bytes(self._buffer[self._start : index]), self._buffer.index(b">", index) + 1
            if end > self._limit_bytes:
                raise StreamError("policy-violation", f"an element is larger than {self._limit_bytes} bytes")
            namespace, local, tag = split_name(self._name)
            self._events.append(
                Element(
                    namespace,
                    local,
                    tag,
                    self._attributes,
                    self._stream_declared | self._declared,
                    frozenset(self._stream_declared.keys() - self._declared.keys()),
                    inner,
                    self._child,
                )
            )
            self._declared = {}
            self._cut(end)
            if (namespace, local) == self._restart_after:
                raise _RestartError

    def _cut(self, size: int) -> None:
        del self._buffer[:size]
        self._base += size


def split_name(name: str) -> tuple[str, str, str]:
    """Namespace, local name and the name as written, of a name as expat gives it."""
    parts = name.split(_SEPARATOR)
    if len(parts) == 1:
        return "", name, name
    namespace, local = parts[0], parts[1]
    return namespace, local, f"{parts[2]}:{local}" if len(parts) > 2 else local


def _as_written(name: str) -> str:
    namespace, local, written = split_name(name)
    return f"xml:{local}" if namespace == XML else written
