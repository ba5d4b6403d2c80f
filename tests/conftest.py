"""For all tests: how long one example of a property takes is the machine's business, not the code's.

Where CI is set the examples are the same in every run, so that a change is judged by what it changed.
"""

import os

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.register_profile("same-each-time", deadline=None, derandomize=True)
settings.load_profile("same-each-time" if os.environ.get("CI") else "untimed")
