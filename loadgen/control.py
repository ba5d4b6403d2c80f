"""What a process of a team is asked and told over HTTP, by whoever runs it: a table of few, small answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gevent.pywsgi import WSGIServer

Query = Mapping[str, str]
Answer = Callable[[Query], bytes]
"""Makes an answer's body. Raises ValueError for a question that is none."""

CHUNK_BYTES = 3 << 20
"""Of a log in one answer, before it is compressed: what passes on the way may be limited to a few megabytes."""


def serve(port: int, answers: Mapping[str, Answer]) -> WSGIServer:
    """Answer on every address from now on; `answers` by method and path, as "GET /state".

    Raises OSError where the port is taken.
    """
    server = WSGIServer(("0.0.0.0", port), _application(answers), log=None)
    server.start()
    return server


def as_json(document: object) -> bytes:
    """A body that is JSON."""
    return json.dumps(document).encode()


def chunk_of(log: Path, query: Query) -> bytes:
    """A part of a log from byte `from` on, compressed; of nothing where it ends there. Raises ValueError."""
    start = int(query.get("from", "0"))
    if start < 0:
        raise ValueError(f"from={start} must be >= 0")
    with log.open("rb") as file:
        file.seek(start)
        return gzip.compress(file.read(CHUNK_BYTES), compresslevel=4)


def _application(answers: Mapping[str, Answer]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = answers.get(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        status, body = "404 Not Found", b"there is no such question\n"
        if found is not None:
            try:
                status, body = "200 OK", found(query)
            except ValueError as error:
                status, body = "400 Bad Request", f"{error}\n".encode()
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]

    return answer
