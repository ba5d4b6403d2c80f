"""How fast the simulation is, against what cannot be faster and against one SimPy process per connection.

    python -m bench.simulation            everything, some minutes
    python -m bench.simulation --short    a hundredth of the users

Times are CPU seconds of one core. A ratio's two sides run in turn, three times; the best of each counts.
"""

from __future__ import annotations

import argparse
import functools
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
    """CPU time of what it is wrapped around, nested calls counted once."""

    def __init__(self) -> None:
        self.spent_s, self._depth = 0.0, 0

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
                    self.spent_s += time.process_time() - began_s

        return timed


def fast(setup: Setup) -> tuple[float, float, int, int]:
    """CPU seconds of the run and of its crowd; attempts, and those that were reconnects."""
    clock = Clock()
    plain = {name: getattr(FastCrowd, name) for name in OF_THE_CROWD}
    for name, function in plain.items():
        setattr(FastCrowd, name, clock.around(function))
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


def against_the_floor(lives: int) -> None:
    """The crowd's time over the time of drawing its random numbers."""
    for strategy in ("rolling", "rainbow"):
        found = [fast(two_days(strategy, lives)) for _ in range(3)]
        attempts, again = found[0][2:]
        crowd_s, run_s = min(f[1] for f in found), min(f[0] for f in found)
        floor_s = min(drawing(attempts, again) for _ in range(5))
        own_s = min(own_drawing(attempts, again) for _ in range(5))
        print(
            f"48 h, {attempts:,} attempts, 8 deploys, {strategy}: crowd {crowd_s:.3f} s "
            f"= {crowd_s / attempts * 1e9:.0f} ns an attempt = {crowd_s / own_s:.1f} × drawing its own numbers "
            f"({own_s:.3f} s) = {crowd_s / floor_s:.1f} × NumPy drawing as many ({floor_s:.3f} s); "
            f"whole run {run_s:.2f} s",
            flush=True,
        )


def against_the_oracle(lives: int) -> None:
    """One SimPy process per connection over the crowd, whole runs and attempts."""
    for strategy in ("rolling", "rainbow"):
        run_s, crowd_s, attempts, _ = min(fast(two_days(strategy, lives)) for _ in range(3))
        empty = replace(two_days(strategy, lives), behaviour=Behaviour(Fixed(0), messages_per_min=0))
        world_s = min(fast(empty)[0] for _ in range(3))
        began_s = time.process_time()
        outcome = simulate(two_days(strategy, lives, CrowdKind.ORACLE))
        oracle_s = time.process_time() - began_s
        other = len(outcome.connections)
        print(
            f"48 h, {attempts:,} attempts, {strategy}: one process per connection {oracle_s:.1f} s, "
            f"{oracle_s / run_s:.0f} × the whole run ({run_s:.2f} s), {(oracle_s - world_s) / crowd_s:.0f} × the "
            f"crowd ({crowd_s:.3f} s); attempts differ by {abs(other - attempts) / other:.2%}",
            flush=True,
        )


def a_week(users: int) -> None:
    """A simulated week."""
    for strategy in ("rolling", "rainbow"):
        run_s, crowd_s, attempts, _ = fast(week(strategy, users))
        print(
            f"a week, {users:,} users at once, 28 deploys, {strategy}: {run_s:.1f} s, of these {crowd_s:.1f} s for "
            f"{attempts:,} attempts",
            flush=True,
        )


def many_runs(lives: int) -> None:
    """Runs of a sweep, one deploy each."""
    setup = replace(two_days("rolling", lives), deploys=(PlannedDeploy(24 * HOUR_S, "000001"),))
    runs = 10
    spent_s = sum(fast(replace(setup, seed=seed))[0] for seed in range(runs)) / runs
    print(
        f"a run of {lives:,} lives with one deploy: {spent_s:.3f} s; a thousand on two cores: "
        f"{spent_s * 1000 / 2 / 60:.1f} min",
        flush=True,
    )


def control_plane() -> None:
    """Deployer and control plane alone: nobody is online."""
    setup = replace(two_days("rolling", 1), behaviour=Behaviour(Fixed(0), messages_per_min=0))
    spent_s = min(fast(setup)[0] for _ in range(3))
    print(f"8 rolling deploys of 16 pods over 48 h without users: {spent_s:.2f} s", flush=True)


def _month(users: int) -> None:
    setup = week("rolling", users)
    fast(
        replace(
            setup,
            duration_s=30 * 24 * HOUR_S,
            deploys=tuple(PlannedDeploy((n + 0.5) * 6 * HOUR_S, f"{n + 1:06x}") for n in range(120)),
        )
    )
    print(
        f"a month, {users:,} users at once, 120 deploys, rolling: {_highest_mib():.0f} MiB at most",
        flush=True,
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
    part = 100 if parser.parse_args().short else 1
    simulate(two_days("rolling", 1000))  # compiles, once
    a_month(100_000 // part)
    against_the_floor(1_000_000 // part)
    against_the_oracle(100_000 // part)
    control_plane()
    many_runs(100_000 // part)
    a_week(1_000_000 // part)


if __name__ == "__main__":
    main()
