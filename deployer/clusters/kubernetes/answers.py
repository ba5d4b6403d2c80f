"""What an answer of the API server says besides its object, and how long a passing refusal is waited out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import urllib3

BELIEVED_S = 6.0
"""An API server that has just started knows no rights yet: that we have none is believed after so long."""


def knows_nobody(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether it denies a right, which is other than a quota or a webhook that denies the object."""
    if response.status == 401:
        return True
    return response.status == 403 and re.search(r'User ".*" cannot ', message(response.data)) is not None


def in_time(ask: Callable[[], urllib3.BaseHTTPResponse], busy_s: float) -> urllib3.BaseHTTPResponse:
    """The answer, asked for again while the server denies a right that it may only not know of yet, or is busy.

    `busy_s` bounds how long a busy one is waited for, and 6 s one that denies.
    """
    began_s = time.monotonic()
    while True:
        response = ask()
        if knows_nobody(response):
            pause_s, longest_s = 0.5, BELIEVED_S
        elif response.status == 429:
            pause_s, longest_s = retry_after_s(response), busy_s
        else:
            return response
        if time.monotonic() - began_s + pause_s > longest_s:
            return response
        time.sleep(pause_s)


def retry_after_s(response: urllib3.BaseHTTPResponse) -> float:
    """How long a busy server asks to be left alone, a minute at most; a second where it names no number."""
    found = re.fullmatch(r"\d+(\.\d+)?", response.headers.get("Retry-After", ""))
    return min(float(found[0]), 60.0) if found else 1.0


def lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Each line as soon as it is there."""
    rest = b""
    while chunk := response.read1():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (each for each in whole if each.strip())


def message(body: bytes) -> str:
    """What an answer says in words, in one line: of a Status, of an ERROR in a watch, or whatever is there."""
    try:
        found = json.loads(body)
    except ValueError:
        return line(body.decode("utf-8", "replace"))
    if isinstance(found, dict) and found.get("type") == "ERROR":
        found = found["object"]
    return line(found.get("message", "")) if isinstance(found, dict) else ""


def line(error: object) -> str:
    """Any text in one line that is not too long."""
    return " ".join(str(error).split())[:400]
