"""`python -m loadgen CONFIG.json`: real users without a screen, told what to do on stdin.

* stdin: {"zero_s": Unix seconds} sets time zero, {"stop": true} ends. End of file, SIGTERM and SIGINT
  end as well, all in order: what is open gets its row, and the exit code is 0.
* stdout: one JSON object a line, each with "event": progress (times in Unix seconds), all_online once,
  warning, done.
* exit codes: 0 done, 1 our fault, 2 a mistake in the config or too low a limit, told in one line on stderr.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run until told to stop."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m loadgen CONFIG.json", file=sys.stderr)
        return 2

    from gevent import monkey

    monkey.patch_all()  # before anything else is imported, as Locust would do too late

    from loadgen.config import LoadError, read_config

    try:
        config = read_config(Path(arguments[0]))
        from loadgen.headless import run

        return run(config)
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
