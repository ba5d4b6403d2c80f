"""What the program says when it cannot go on: one line, and an exit code that is documented."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `drainbow`."""

    DONE = 0
    OUR_FAULT = 1
    USER_MISTAKE = 2
    THRESHOLD_MISSED = 3
    DEPLOY_NOT_DONE = 4
    WORLD_OUT_OF_REACH = 5
    INTERRUPTED = 130


class Stop(Exception):
    """Ends the program with one clear line and this exit code; never a traceback."""

    code = Exit.OUR_FAULT


class UserMistake(Stop):
    """Names the value, the bound and the way out."""

    code = Exit.USER_MISTAKE


class OutOfReach(Stop):
    """The world cannot be reached or did not come up."""

    code = Exit.WORLD_OUT_OF_REACH


class RecordError(ValueError):
    """A folder that cannot be read as a record, or tables that cannot be written as one; one line."""
