"""Where runs and pages are kept: each is made hidden, filled, and appears under its name only when it is whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from scenarios.errors import UserMistake

PARTIAL = ".partial"
FAILED = ".failed"
RECORD = "record"
_OWNER = "runner.json"


def name_of(scenario: str, strategy: str, world: str, when_s: float) -> str:
    """`<time>-<scenario>-<strategy>-<world>`, the time in UTC."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(when_s))}-{scenario}-{strategy}-{world}"


@contextmanager
def new_run(root: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """A folder to work in, and the path at which the run appears when the block ends well.

    The block writes the whole record to `work / RECORD`; that folder is what appears. When the block ends
    with an error, what it left (the logs) is kept as `<name>.failed`; an interrupt and a user's mistake leave
    nothing. Raises UserMistake when the root cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        final = _free(root, name)
        work = root / f".{final.name}{PARTIAL}"
        work.mkdir()
        try:
            owner = psutil.Process()
            (work / _OWNER).write_text(json.dumps({"pid": owner.pid, "started_s": owner.create_time()}))
        except OSError:
            shutil.rmtree(work)
            raise
    except OSError as error:
        raise UserMistake(f"cannot write in {root}: {error.strerror}; give another folder by --out") from None
    try:
        yield work, final
    except (KeyboardInterrupt, UserMistake):  # the mistake's one line says more than the logs
        shutil.rmtree(work)
        raise
    except BaseException:
        (work / _OWNER).unlink(missing_ok=True)
        if any(path.is_file() and path.stat().st_size for path in work.rglob("*")):
            work.rename(final.with_name(final.name + FAILED))
        else:
            shutil.rmtree(work)
        raise
    (work / RECORD).rename(final)
    shutil.rmtree(work)


@contextmanager
def whole_file(path: Path, way_out: str) -> Iterator[Path]:
    """A path to write to; `path` is there, or there anew, when the block ends well, and else all is as before.

    Makes the folders above it. Raises UserMistake, with the way out, where it cannot be written.
    """
    with _part_of(path, way_out) as part:
        yield part
        part.replace(path)


def check_writable(path: Path, way_out: str) -> None:
    """Raises UserMistake where `whole_file` would; to be called before long work."""
    with _part_of(path, way_out) as part:
        part.touch()


@contextmanager
def _part_of(path: Path, way_out: str) -> Iterator[Path]:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserMistake(f"cannot write {path}: {error.strerror or error}; {way_out}") from None


def abandoned(root: Path) -> list[Path]:
    """Folders of runs that were killed or failed, never those of a run that still goes on."""
    if not root.is_dir():
        return []
    found = sorted(root.glob(f".*{PARTIAL}")) + sorted(root.glob(f"*{FAILED}"))
    return [path for path in found if not is_owned(path)]


def is_owned(folder: Path) -> bool:
    """Whether the run that works in this folder still goes on."""
    try:
        owner = json.loads((folder / _OWNER).read_text())
        return bool(psutil.Process(owner["pid"]).create_time() == owner["started_s"])
    except (OSError, ValueError, KeyError, psutil.Error):
        return False


def _free(root: Path, name: str) -> Path:
    # two runs may start in one second
    candidate, number = root / name, 1
    while any(
        (root / taken).exists()
        for taken in (candidate.name, f".{candidate.name}{PARTIAL}", f"{candidate.name}{FAILED}")
    ):
        number += 1
        candidate = root / f"{name}-{number}"
    return candidate
