"""The temporary directories of clusters' sockets, and their removal after a cluster that was killed.

Nothing else is left by one: its pods die with it, and the kernel takes back its ports.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

PREFIX = "drainbow-local-"
SOCKET = "api.sock"
LONGEST_PATH = 100  # a Unix socket's path is at most 107 bytes


def make_socket_dir(pid: int) -> Path:
    """A new directory that only this user can enter, its path short enough for a socket."""
    made = _fitting_dir(Path(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{pid}-", dir=made))


def _fitting_dir(wanted: Path) -> Path:
    longest = len(f"/{PREFIX}4194304-xxxxxxxx/{SOCKET}")
    return wanted if len(str(wanted).encode()) + longest <= LONGEST_PATH else Path("/tmp")


def clean() -> tuple[Path, ...]:
    """Remove the directories of this user's clusters that no longer answer; returns what was removed."""
    roots = {Path(tempfile.gettempdir()), _fitting_dir(Path(tempfile.gettempdir()))}
    found = sorted(path for root in roots for path in root.glob(f"{PREFIX}*") if path.is_dir())
    dead = tuple(path for path in found if not _answers(path / SOCKET))
    for path in dead:
        shutil.rmtree(path, ignore_errors=True)
    return tuple(path for path in dead if not path.exists())


def _answers(path: Path) -> bool:
    """Whether a cluster listens there; when in doubt, yes."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
