"""`make kind-up` and `make kind-down`: the kind cluster alone, without a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scenarios.errors import Exit, Stop
from scenarios.worlds import Where, kind
from scenarios.worlds.grounds import OnKind

USAGE = "usage: python -m scenarios.worlds.kind_cluster up|down [--recreate]"


def main(words: Sequence[str]) -> int:
    """Make the cluster with the image on it, or delete it; returns the exit code."""
    if list(words) not in (["up"], ["down"], ["up", "--recreate"]):
        print(USAGE, file=sys.stderr)
        return Exit.USER_MISTAKE
    where = Where(recreate="--recreate" in words)
    try:
        if words[0] == "down":
            there = kind.delete(where.kind_name)
            print(f"kind cluster {where.kind_name} {'is deleted' if there else 'was not there'}")
        else:
            kubeconfig, _, image = OnKind(where).prepare(print)
            print(
                f"kind cluster {where.kind_name} is up with {image}: kubectl --kubeconfig {kubeconfig} get pods -A"
            )
    except Stop as stop:
        print(f"drainbow: {stop}", file=sys.stderr)
        return stop.code
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
