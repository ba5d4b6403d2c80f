"""`python -m scenarios` is `drainbow`."""

from scenarios.cli import main

main()
