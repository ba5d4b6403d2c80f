"""The pods' admin ports: probes, connection counts and the two hooks, each one short HTTP exchange."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from deployer.fleet import Count

OPEN = "chat_open_connections"
SILENT = "chat_silent_connections"
LARGEST_ANSWER_BYTES = 4 << 20


class NoAnswerError(Exception):
    """The pod did not answer in time, or not with HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod answered."""

    status: int
    body: bytes


async def exchange(address: str, port: int, method: str, target: str, timeout_s: float) -> Answer:
    """Do one HTTP/1.0 request; raises NoAnswerError.

    HTTP/1.0 has no chunks and ends with the connection, which is all that a probe needs.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, port, limit=LARGEST_ANSWER_BYTES)
            try:
                head = f"{method} {target} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"
                writer.write(head.encode())
                answer = await reader.read(LARGEST_ANSWER_BYTES)
                while more := await reader.read(LARGEST_ANSWER_BYTES):
                    answer += more
                    if len(answer) > LARGEST_ANSWER_BYTES:
                        raise NoAnswerError(
                            f"{address}:{port} answered more than {LARGEST_ANSWER_BYTES} bytes"
                        )
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise NoAnswerError(f"{address}:{port}{target}: {error or 'no answer in time'}") from error
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    words = head_bytes.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise NoAnswerError(f"{address}:{port}{target}: the answer is not HTTP")
    return Answer(int(words[1]), body)


async def passes(address: str, port: int, path: str, timeout_s: float) -> bool:
    """One probe: whether the pod answers with a status from 200 to 399, as the kubelet has it."""
    try:
        answer = await exchange(address, port, "GET", path, timeout_s)
    except NoAnswerError:
        return False
    return 200 <= answer.status < 400


async def count(address: str, port: int, timeout_s: float) -> Count | None:
    """Ask a pod for its connections; None where it cannot be asked or answers nonsense."""
    try:
        answer = await exchange(address, port, "GET", "/metrics", timeout_s)
    except NoAnswerError:
        return None
    return count_of(answer.body) if answer.status == 200 else None


def count_of(metrics: bytes) -> Count | None:
    """Read the counts from a Prometheus exposition; None unless both are there and whole numbers ≥ 0."""
    found: dict[str, int] = {}
    try:
        for family in text_string_to_metric_families(metrics.decode()):
            if family.name not in (OPEN, SILENT):
                continue
            for sample in family.samples:
                if not math.isfinite(sample.value) or sample.value < 0 or sample.value % 1:
                    return None
                found[sample.name] = found.get(sample.name, 0) + int(sample.value)
    except (ValueError, KeyError, IndexError):
        return None
    if OPEN not in found or SILENT not in found:
        return None
    return Count(found[OPEN], found[SILENT])
