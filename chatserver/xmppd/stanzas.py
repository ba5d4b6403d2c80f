"""Addresses, and stanzas made here."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple
from xml.etree import ElementTree

from chatserver.namespaces import CLIENT, STANZA_ERRORS
from chatserver.xmlstream import Element

_LOCAL_PART = re.compile(r"[^\s\"&'/:<>@\x00-\x1f\x7f]{1,256}")


class Jid(NamedTuple):
    """An XMPP address."""

    local: str
    domain: str
    resource: str = ""

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Read an address; letter case of everything but the resource doesn't count."""
        bare, _, resource = text.partition("/")
        local, at, domain = bare.rpartition("@")
        return cls(local.lower() if at else "", domain.lower(), resource)

    @property
    def bare(self) -> str:
        """Without the resource."""
        return f"{self.local}@{self.domain}" if self.local else self.domain

    def __str__(self) -> str:
        return f"{self.bare}/{self.resource}" if self.resource else self.bare


def is_local_part(text: str) -> bool:
    """May this be a user's name?"""
    return _LOCAL_PART.fullmatch(text) is not None


def token() -> str:
    """A name that nobody can guess."""
    return secrets.token_urlsafe(12)


def stanza(name: str, inner: str = "", **attributes: str) -> Element:
    """A stanza; a keyword's trailing underscore is dropped (`from_`), empty attributes are left out."""
    told = {key.rstrip("_"): value for key, value in attributes.items() if value}
    return Element(CLIENT, name, name, told, {"": CLIENT}, frozenset(), inner.encode(), None)


def result(request: Element, inner: str = "") -> Element:
    """The result of an iq request."""
    asked = request.attributes
    return stanza(
        "iq",
        inner,
        type="result",
        id=asked.get("id", ""),
        from_=asked.get("to", ""),
        to=asked.get("from", ""),
    )


def error(refused: Element, condition: str, kind: str = "cancel") -> Element | None:
    """The error for a stanza, None for what must not be answered with one (errors and results)."""
    asked = refused.attributes
    if asked.get("type") in ("error", "result"):
        return None
    inner = f'<error type="{kind}"><{condition} xmlns="{STANZA_ERRORS}"/></error>'
    return stanza(
        refused.name,
        inner,
        type="error",
        id=asked.get("id", ""),
        from_=asked.get("to", ""),
        to=asked.get("from", ""),
    )


def tree(element: Element) -> ElementTree.Element:
    """The element parsed."""
    return ElementTree.fromstring(element.xml())
