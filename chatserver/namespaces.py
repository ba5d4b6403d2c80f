"""XML namespaces of XMPP, and the escaping that keeps a value inside its quotes."""

from __future__ import annotations

CLIENT = "jabber:client"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
STREAM_MANAGEMENT = "urn:xmpp:sm:3"
ROSTER = "jabber:iq:roster"
PING = "urn:xmpp:ping"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = "http://jabber.org/protocol/muc#user"
XML = "http://www.w3.org/XML/1998/namespace"
POD = "urn:drainbow:pod:0"
"""Attributes on the gateway's `<open/>`: they tell a browser, which can't read headers, who serves it."""

_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


def escape(text: str) -> str:
    """The text as it may stand in an element or between quotes of either kind."""
    return text.translate(_ESCAPES)


def attributes_xml(attributes: dict[str, str]) -> str:
    """The attributes as they stand in a tag, each with a space before it."""
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
