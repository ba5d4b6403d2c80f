"""What plain HTTP gets on the websocket port: the chat page, and where to find the websocket (XEP-0156)."""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import cached_property
from pathlib import Path

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from chatserver.namespaces import escape

_WEBSOCKET_LINK = "urn:xmpp:alt-connections:websocket"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Pages:
    """The pages of one pod."""

    def __init__(self, pod: str, release: str, domain: str) -> None:
        self._pod = pod
        self._release = release
        self._domain = domain

    @cached_property
    def _page(self) -> bytes:
        settings = {"pod": self._pod, "release": self._release, "domain": self._domain}
        page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return page.replace('"SETTINGS"', json.dumps(settings).replace("<", "\\u003c")).encode()

    def answer(self, ws: ServerProtocol, request: Request, path: str) -> Response:
        """The response to a request for anything but the websocket."""
        if request.method != "GET":
            return ws.reject(405, f"{path} takes GET.\n")
        if path == "/":
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _PAGE_POLICY}
            return _response(self._page, headers)
        url = f"{_scheme(request)}://{_first(request, 'Host')}/xmpp-websocket"
        if path == "/.well-known/host-meta.json":
            links = {"links": [{"rel": _WEBSOCKET_LINK, "href": url}]}
            return _response(json.dumps(links).encode(), {"Content-Type": "application/json"} | _ANYONE)
        if path == "/.well-known/host-meta":
            xrd = (
                '<?xml version="1.0" encoding="utf-8"?>\n<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">'
                f'<Link rel="{_WEBSOCKET_LINK}" href="{escape(url)}"/></XRD>\n'
            )
            return _response(xrd.encode(), {"Content-Type": "application/xrd+xml"} | _ANYONE)
        return ws.reject(404, "The chat page is at /, the websocket at /xmpp-websocket.\n")


_ANYONE = {"Access-Control-Allow-Origin": "*"}


def _scheme(request: Request) -> str:
    return "wss" if _first(request, "X-Forwarded-Proto") in ("https", "wss") else "ws"


def _first(request: Request, name: str) -> str:
    values = request.headers.get_all(name)
    return values[0] if values else ""


def _response(body: bytes, headers: dict[str, str]) -> Response:
    common = {
        "Date": formatdate(usegmt=True),
        "Connection": "close",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(200, "OK", Headers(common | headers), body)
