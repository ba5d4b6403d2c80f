"""`python -m chatserver gateway|xmppd|all`."""

from __future__ import annotations

import sys

from chatserver.options import parse


def main() -> int:
    """Run until told to stop. 2: a bad setting or a busy port, told in one line on stderr."""
    options = parse(sys.argv[1:])
    from chatserver.serve import serve  # after the settings are known to be good

    return serve(options)


if __name__ == "__main__":
    sys.exit(main())
