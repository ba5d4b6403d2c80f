"""Functions compiled to machine code, kept on disk between runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-untyped, unused-ignore]

Function = TypeVar("Function", bound=Callable[..., object])
_config: Any = numba.config
HERE = Path(__file__).resolve().parent
SOURCES = (
    "calendar", "calm", "coming", "compiled", "counted", "draws", "flights", "layout", "lives", "loop", "orders", "pacing",
    "queues", "returns", "stages", "store", "takeoff", "users", "wheel", "../latencies",
)  # fmt: skip
"""The modules whose code is compiled, or what that depends on."""


@cache
def cache_folder() -> Path:
    """Where compiled code is kept: beside the source where that can be written, else in the user's cache.

    Its name holds a hash of all sources, for Numba itself looks at one file only and would go on using code
    that was compiled together with an older version of another.
    """
    sources = hashlib.sha256(b"".join((HERE / f"{name}.py").read_bytes() for name in SOURCES)).hexdigest()
    beside = HERE / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drainbow"
    for folder in (beside, home):
        try:
            (folder / sources[:16]).mkdir(parents=True, exist_ok=True)
            if os.access(folder / sources[:16], os.W_OK):
                return folder / sources[:16]
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="drainbow-"))


def compiled(function: Function) -> Function:
    """The function as machine code, compiled when it is first called."""
    others = _config.CACHE_DIR
    _config.CACHE_DIR = str(cache_folder())
    try:
        return cast(Function, numba.njit(cache=True, error_model="numpy")(function))
    finally:
        _config.CACHE_DIR = others
