"""A user's session on the XMPP server: it has an address, and may outlive its connection (XEP-0198)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatserver.namespaces import STREAM_MANAGEMENT
from chatserver.xmlstream import Element, StreamError
from chatserver.xmppd.resumption import Counters
from chatserver.xmppd.stanzas import Jid, token

if TYPE_CHECKING:
    from chatserver.xmppd.stream import Stream

ASK = f'<r xmlns="{STREAM_MANAGEMENT}"/>'.encode()


class Session:
    """Bound to a full JID. `stream` is None while it waits to be resumed."""

    __slots__ = ("counters", "jid", "presence", "resume_id", "stream")

    def __init__(self, jid: Jid, stream: Stream) -> None:
        self.jid = jid
        self.stream: Stream | None = stream
        self.presence: Element | None = None  # the last available one; None: not available
        self.counters: Counters[Element] | None = None  # None: stream management is off
        self.resume_id = ""  # "": can't be resumed

    def enable(self, resumable: bool) -> None:
        """Switch stream management on."""
        self.counters = Counters()
        self.resume_id = token() if resumable else ""

    def deliver(self, element: Element) -> None:
        """Send one stanza, or keep it for the resumption."""
        ask = False
        if self.counters is not None:
            try:
                ask = self.counters.sent(element)
            except StreamError as error:
                self.resume_id = ""
                if self.stream is not None:
                    self.stream.fail(error)
                return
        if self.stream is not None:
            self.stream.write(element.xml() + ASK if ask else element.xml())

    def acknowledge(self, text: str) -> None:
        """Take the client's count. Raises StreamError."""
        if self.counters is None or not text.isdecimal():
            raise StreamError("undefined-condition", f"h={text}")
        self.counters.acknowledge(int(text))
