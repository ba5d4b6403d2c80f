"""The same seed gives the same bytes; another seed does not."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sim.world import simulate

PRINT_HASH = """
import hashlib, sys
sys.path.insert(0, {here!r})
from conftest import quick
from sim.world import simulate
print(hashlib.sha256(repr(simulate(quick("rolling", seed=3))).encode()).hexdigest())
"""


@pytest.mark.parametrize("strategy", ["rainbow", "rolling"])
def test_the_same_seed_gives_the_same_bytes(setup_of, strategy):
    one, two = (simulate(setup_of(strategy, seed=7)) for _ in range(2))
    assert repr(one) == repr(two)
    assert len(pickle.dumps(one)) > 100_000


def test_another_seed_gives_others(setup_of):
    assert repr(simulate(setup_of(seed=7))) != repr(simulate(setup_of(seed=8)))


def test_another_process_with_other_hashes_gives_the_same_bytes():
    script = PRINT_HASH.format(here=str(Path(__file__).parent))
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_users_have_the_same_sessions_under_every_strategy(setup_of):
    """One stream a purpose: what a strategy draws shifts no user's wishes."""

    def sessions(strategy):
        rows = simulate(setup_of(strategy)).connections
        return {row.user: row.t_request_s for row in rows if row.attempt == 1 and row.user.endswith("-1")}

    first, second = sessions("rainbow"), sessions("graceful")
    assert len(first) == 300
    assert all(abs(first[user] - second[user]) < 0.05 for user in first)
