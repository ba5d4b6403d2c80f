"""The connection log on disk: a line of JSON for each finished attempt, in the order of their ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from loadgen.behaviour.attempts import Attempt


class ConnectionLog:
    """Appends attempts to a file; what was not flushed is lost if the process is killed. Floats are exact."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be opened."""
        self.rows = 0
        """Written so far, flushed or not."""
        self._file = path.open("a", encoding="utf-8", buffering=1 << 20)

    def write(self, attempt: Attempt) -> None:
        """Append one row to the buffer."""
        self._file.write(json.dumps(asdict(attempt), separators=(",", ":")) + "\n")
        self.rows += 1

    def flush(self) -> None:
        """Hand the buffer to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_ADAPTER = TypeAdapter(Attempt)


def read_log(path: Path) -> Iterator[Attempt]:
    """The attempts in a log; a last line that a kill cut off is left out. Raises OSError, ValueError."""
    with path.open(encoding="utf-8") as file:
        yield from attempts_in(file)


def attempts_in(lines: Iterable[str]) -> Iterator[Attempt]:
    """The attempts in a log's lines; one without its end is left out. Raises ValueError."""
    for line in lines:
        if line.endswith("\n"):
            yield _ADAPTER.validate_json(line)
