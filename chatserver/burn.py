"""Stand-in for what a login costs a real gateway (TLS, hashing, look-ups): CPU time of this thread."""

from __future__ import annotations

import time


def burn_cpu(seconds: float) -> None:
    """Keep the CPU busy until this thread has used so many more seconds of it; waiting does not count."""
    if seconds > 0:
        end_s = time.thread_time() + seconds
        while time.thread_time() < end_s:
            pass
