"""How many connections a pod has, read from what it says: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from deployer.clusters.kubernetes.app import Counting
from deployer.fleet import Count

SOCKET_TABLES = ["cat", "/proc/net/tcp", "/proc/net/tcp6"]
"""What is run in a pod under `tcp`; a host without IPv6 lacks the second table."""
ESTABLISHED = "01"


def count_of(counting: Counting, answer: str) -> Count | None:
    """What a pod's answer means; None where it means nothing."""
    if counting.kind == "tcp":
        return established(answer, (counting.port, *counting.more_ports))
    if counting.kind == "endpoint":
        return _whole(answer.strip())
    return metrics(answer, counting.metric, counting.silent)


def metrics(exposition: str, open_: str, silent: str | None) -> Count | None:
    """Sums of a Prometheus exposition's samples by name; None unless they are there and whole numbers ≥ 0."""
    found: dict[str, float] = {}
    wanted = {open_} if silent is None else {open_, silent}
    try:
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name in wanted:
                    found[sample.name] = found.get(sample.name, 0.0) + sample.value
    except (ValueError, KeyError, IndexError):
        return None
    if found.keys() != wanted or not all(map(_is_count, found.values())):
        return None
    return Count(int(found[open_]), 0 if silent is None else int(found[silent]))


def established(tables: str, ports: Iterable[int]) -> Count | None:
    """Established sockets whose local port is one of these, from /proc/net/tcp and tcp6; None where it is no table.

    Clients are counted, and so are whoever else holds a connection at that moment, a probe for instance.
    """
    lines = [line.split() for line in tables.splitlines() if line.strip()]
    if not any(words[:2] == ["sl", "local_address"] for words in lines):
        return None
    ends = tuple(f":{port:04X}" for port in ports)
    return Count(sum(len(w) > 3 and w[1].endswith(ends) and w[3] == ESTABLISHED for w in lines))


def _whole(text: str) -> Count | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return Count(int(value)) if _is_count(value) else None


def _is_count(value: float) -> bool:
    return math.isfinite(value) and value >= 0 and value % 1 == 0
