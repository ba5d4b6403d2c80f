"""`python -m loadgen CONFIG.json`: real users without a screen, told what to do on stdin.

* stdin: {"zero_s": Unix seconds} sets time zero, {"stop": true} ends. End of file, SIGTERM and SIGINT
  end as well, all in order: what is open gets its row, and the exit code is 0.
* stdout: one JSON object a line, each with "event": progress (times in Unix seconds), all_online once,
  warning, done.
* `python -m loadgen CONFIG.json master` and `… worker [INDEX]` are a team (see `team`), told what to do over HTTP;
  a worker that is given no index takes JOB_COMPLETION_INDEX, which an indexed Job of Kubernetes sets.
* exit codes: 0 done, 1 our fault, 2 a mistake in the config or too low a limit, told in one line on stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def main(arguments: list[str]) -> int:
    """Run until told to stop; the exit code."""
    if arguments[1:] == ["worker"]:
        arguments = [*arguments, os.environ.get(INDEX_VARIABLE, "")]
    match arguments:
        case [path] | [path, "master"] if not path.startswith("-"):
            return _run(Path(path), master=len(arguments) > 1)
        case [path, "worker", index] if index.isdecimal():
            return _run(Path(path), worker=int(index))
    print("usage: python -m loadgen CONFIG.json [master | worker [INDEX]]", file=sys.stderr)
    return 2


def _run(path: Path, *, master: bool = False, worker: int | None = None) -> int:
    from gevent import monkey

    monkey.patch_all()  # before anything else is imported, as Locust would do too late

    from loadgen.config import LoadError, read_config

    try:
        config = read_config(path)
        if master or worker is not None:
            from loadgen.team import run_master, run_worker

            return run_master(config) if worker is None else run_worker(config, worker)
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
