"""What the program says when it cannot go on: one line, and an exit code that is documented."""

from __future__ import annotations

from collections.abc import Mapping
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


EXIT_MEANINGS: Mapping[Exit, str] = {
    Exit.DONE: "done; `run` ends so whatever became of the deploys, unless a threshold says otherwise",
    Exit.OUR_FAULT: "a fault of the program: please report it",
    Exit.USER_MISTAKE: "a mistake on the command line or in a scenario; the one line on stderr names it",
    Exit.THRESHOLD_MISSED: "a threshold of the scenario was missed, or `validate` found a metric outside",
    Exit.DEPLOY_NOT_DONE: "`deploy` or `rollback` ended blocked, refused, superseded or failed",
    Exit.WORLD_OUT_OF_REACH: "the world cannot be reached or did not come up",
    Exit.INTERRUPTED: "interrupted; what was measured until then is kept",
}
"""What each exit code tells the caller."""


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
