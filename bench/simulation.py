"""How fast the simulation is, against what cannot be faster and against one SimPy process per connection.

    python -m bench.simulation             everything, some minutes
    python -m bench.simulation --short     a hundredth of the users
    python -m bench.simulation --thousand  a thousand runs on two processes, by the clock, too

Times are CPU seconds of one core. A ratio's two sides run in turn, several times; the best of each counts.
There are two floors for drawing the random numbers that a run needs and doing nothing else: by the crowd's own
generator, a number by its name each, and by NumPy's, as many of the same distributions one after the other.
"""

from __future__ import annotations

import argparse
import functools
import gc
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deployer.draining import After, DrainSettings
from deployer.fleet import Limits
from deployer.strategies import make
from loadgen.behaviour.arrivals import Fixed, Poisson
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.sessions import Exponential, Lognormal
from loadgen.behaviour.settings import Behaviour
from sim.fast.crowd import FastCrowd
from sim.outcome import Outcome
from sim.setup import CrowdKind, FleetSetup, Level, Nodes, PlannedDeploy, ServerSetup, Setup
from sim.world import simulate

HOUR_S = 3600.0
OF_THE_CROWD = (
    "start", "zero", "route", "listen", "watch", "stop_listening", "cut", "pace", "open_connections", "ahead", "end",
)  # fmt: skip


def two_days(strategy: str, lives: int, crowd: CrowdKind = CrowdKind.FAST) -> Setup:
    """Lognormal lives (median 30 min, σ 1.5) over 48 h on 16 pods, with 8 deploys."""
    return _setup(
        strategy,
        duration_s=48 * HOUR_S,
        deploys=8,
        replicas=16,
        drain_s=24 * HOUR_S,
        crowd=crowd,
        behaviour=Behaviour(
            Poisson(lives / (48 * HOUR_S)), Lognormal(1800.0, 1.5), Backoff(), messages_per_min=0
        ),
    )


def week(strategy: str, users: int) -> Setup:
    """Sessions of 5.21 h in the mean, 28 deploys, 64 pods a release."""
    return _setup(
        strategy,
        duration_s=168 * HOUR_S,
        deploys=28,
        replicas=64,
        drain_s=24 * HOUR_S,
        behaviour=Behaviour(
            Fixed(users), Exponential(5.21 * HOUR_S), Backoff(), ramp_per_s=1000.0, messages_per_min=0
        ),
    )


def _setup(
    strategy: str,
    *,
    duration_s: float,
    deploys: int,
    replicas: int,
    drain_s: float,
    behaviour: Behaviour,
    crowd: CrowdKind = CrowdKind.FAST,
) -> Setup:
    return Setup(
        seed=7,
        duration_s=duration_s,
        fleet=FleetSetup(startup=Lognormal(1.0, 0.3), nodes=Nodes(100, 16)),
        behaviour=behaviour,
        strategy=make(strategy, {"progress_deadline": 600.0}),
        limits=Limits(replicas=replicas),
        drain=DrainSettings(After(drain_s), deadline_s=None, hold_s=60.0, check_every_s=60.0),
        server=ServerSetup(backend_logins_per_s=0.0, login_cpu_s=0.0008),
        level=Level.SERIES,
        crowd=crowd,
        deploys=tuple(
            PlannedDeploy((n + 0.5) * duration_s / max(deploys, 1), f"{n + 1:06x}") for n in range(deploys)
        ),
    )


class Clock:
    """CPU time of what it is wrapped around, nested calls counted once, without what looking at it takes."""

    def __init__(self) -> None:
        self._spent_s, self._depth, self._calls = 0.0, 0, 0

    @property
    def spent_s(self) -> float:
        """So far."""
        return self._spent_s - self._calls * looking_s()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began_s = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._calls += 1
                    self._spent_s += time.process_time() - began_s

        return timed


def looking_s() -> float:
    """What a `Clock` adds to a call."""
    clock, looks = Clock(), 10_000

    def nothing() -> None: ...

    timed = clock.around(nothing)
    for _ in range(looks):
        timed()
    began_s = time.process_time()
    for _ in range(looks):
        nothing()
    return (clock._spent_s - (time.process_time() - began_s)) / looks


def fast(setup: Setup) -> tuple[float, float, int, int]:
    """CPU seconds of the run and of its crowd; attempts, and those that were reconnects."""
    clock = Clock()
    plain = {name: getattr(FastCrowd, name) for name in OF_THE_CROWD}
    for name, function in plain.items():
        setattr(FastCrowd, name, clock.around(function))
    gc.collect()
    try:
        began_s = time.process_time()
        outcome = simulate(setup)
        spent_s = time.process_time() - began_s
    finally:
        for name, function in plain.items():
            setattr(FastCrowd, name, function)
    arrivals, again = _attempts(outcome)
    return spent_s, clock.spent_s, arrivals + again, again


def _attempts(outcome: Outcome) -> tuple[int, int]:
    assert outcome.series is not None
    return int(outcome.series["arrivals"].sum()), int(outcome.series["reconnect_requests"].sum())


def drawing(attempts: int, again: int) -> float:
    """CPU seconds for the random numbers of so many attempts, by NumPy and nothing else."""
    began_s = time.process_time()
    rng = np.random.default_rng(7)
    rng.standard_exponential(attempts - again)  # gaps between arrivals
    rng.lognormal(0.0, 1.5, attempts - again)  # sessions
    rng.random(attempts)  # pods
    rng.random(again)  # waits
    return time.process_time() - began_s


def own_drawing(attempts: int, again: int) -> float:
    """The same numbers as the crowd draws them: each by its name, so that no draw shifts another."""
    from bench.draws import draw_all

    draw_all(1, 1)
    began_s = time.process_time()
    draw_all(attempts, again)
    return time.process_time() - began_s


def row(what: str, measured: str, goal: str = "") -> None:
    """A line of the table."""
    print(f"{what:<58} {measured:<58} {goal}", flush=True)


def against_the_floor(lives: int) -> None:
    """The crowd's time over the time of drawing its random numbers."""
    for strategy in ("rolling", "rainbow"):
        found, numpy_s, own_s = [], [], []
        for _ in range(6):
            found.append(fast(two_days(strategy, lives)))
            attempts, again = found[0][2:]
            numpy_s += [drawing(attempts, again) for _ in range(3)]
            own_s += [own_drawing(attempts, again) for _ in range(3)]
        crowd_s, run_s = min(f[1] for f in found), min(f[0] for f in found)
        what = f"48 h, {attempts:,} attempts, 8 deploys, {strategy}"
        row(what, f"crowd {crowd_s:.3f} s, {crowd_s / attempts * 1e9:.0f} ns an attempt; run {run_s:.2f} s")
        row("  over drawing its numbers, own generator", f"{crowd_s / min(own_s):.1f} ×", "5 ×")
        row("  over drawing as many with NumPy", f"{crowd_s / min(numpy_s):.1f} ×", "5 ×")


def against_the_oracle(lives: int) -> None:
    """One SimPy process per connection over the crowd, whole runs and attempts."""
    for strategy in ("rolling", "rainbow"):
        found = [fast(two_days(strategy, lives)) for _ in range(3)]
        run_s, crowd_s, attempts = min(f[0] for f in found), min(f[1] for f in found), found[0][2]
        empty = replace(two_days(strategy, lives), behaviour=Behaviour(Fixed(0), messages_per_min=0))
        world_s = min(fast(empty)[0] for _ in range(3))
        began_s = time.process_time()
        # what it returns must not live on: the collector would look through it during the next measurement
        other = len(simulate(two_days(strategy, lives, CrowdKind.ORACLE)).connections)
        oracle_s = time.process_time() - began_s
        what = f"48 h, {attempts:,} attempts, one process per connection, {strategy}"
        row(what, f"{oracle_s:.1f} s; crowd {crowd_s:.3f} s; run {run_s:.2f} s")
        row("  its users over the crowd", f"{(oracle_s - world_s) / crowd_s:.0f} ×", "200 ×")
        row("  whole run over whole run", f"{oracle_s / run_s:.0f} ×")
        row("  attempts differ by", f"{abs(other - attempts) / other:.2%}", "1 %")


def a_week(users: int) -> None:
    """A simulated week."""
    for strategy in ("rolling", "rainbow"):
        run_s, crowd_s, attempts, _ = fast(week(strategy, users))
        what = f"a week, {users:,} users at once, 28 deploys, {strategy}"
        row(what, f"{run_s:.1f} s, of these {crowd_s:.1f} s for {attempts:,} attempts", "60 s")


def _one_deploy(lives: int, seed: int) -> float:
    setup = replace(two_days("rolling", lives), deploys=(PlannedDeploy(24 * HOUR_S, "000001"),), seed=seed)
    return fast(setup)[0]


def many_runs(lives: int) -> None:
    """Runs of a sweep, one deploy each."""
    spent_s = sum(_one_deploy(lives, seed) for seed in range(10)) / 10
    what = f"a run of {lives:,} lives with one deploy"
    row(what, f"{spent_s:.3f} s; a thousand on two cores: {spent_s * 1000 / 2 / 60:.1f} min", "3 min")


def a_thousand_runs(lives: int) -> None:
    """All of them, on two processes, by the clock on the wall."""
    began_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        spent_s = sum(pool.imap_unordered(functools.partial(_one_deploy, lives), range(1000), 10))
    wall_s = time.monotonic() - began_s
    what = f"a thousand runs of {lives:,} lives with one deploy"
    row(what, f"{wall_s / 60:.1f} min on the wall, {spent_s / 60:.1f} min of CPU", "3 min")


def control_plane() -> None:
    """Deployer and control plane alone: nobody is online."""
    setup = replace(two_days("rolling", 1), behaviour=Behaviour(Fixed(0), messages_per_min=0))
    spent_s = min(fast(setup)[0] for _ in range(3))
    row("48 h, 8 rolling deploys of 16 pods, no users", f"{spent_s:.2f} s", "1 s")


def _month(users: int) -> None:
    setup = week("rolling", users)
    fast(
        replace(
            setup,
            duration_s=30 * 24 * HOUR_S,
            deploys=tuple(PlannedDeploy((n + 0.5) * 6 * HOUR_S, f"{n + 1:06x}") for n in range(120)),
        )
    )
    row(
        f"a month, {users:,} users at once, 120 deploys, rolling", f"{_highest_mib():.0f} MiB at most", "1 GB"
    )


def _highest_mib() -> float:
    """The most memory that this process had, without what the one had that started it (as getrusage counts)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def a_month(users: int) -> None:
    """Memory, in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_month, args=(users,))
    process.start()
    process.join()


def main() -> None:
    """Everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="a hundredth of the users")
    parser.add_argument("--thousand", action="store_true", help="a thousand runs on two processes too")
    given = parser.parse_args()
    part = 100 if given.short else 1
    simulate(two_days("rolling", 1000))  # compiles, once
    row("", "measured", "goal")
    a_month(100_000 // part)
    against_the_floor(1_000_000 // part)
    against_the_oracle(100_000 // part)
    control_plane()
    many_runs(100_000 // part)
    a_week(1_000_000 // part)
    if given.thousand:
        a_thousand_runs(100_000 // part)


if __name__ == "__main__":
    main()
