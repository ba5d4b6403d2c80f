"""Where the short way through quiet times once went wrong: it and the long way must lead to the same tables."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from loadgen.behaviour.arrivals import Diurnal, Fixed, Poisson
from loadgen.behaviour.backoff import Backoff, Immediate
from loadgen.behaviour.backoff import Fixed as FixedWait
from loadgen.behaviour.sessions import Exponential, Lognormal
from loadgen.behaviour.settings import Behaviour
from sim.fast import rooms
from sim.setup import CrowdKind, Fault, FaultKind, Level, PlannedDeploy, ServerSetup, Sigterm
from sim.world import simulate

DAY = Diurnal(30.0, 0.9, 40.0, 20.0)
CASES = {
    "a session ends before its pod has been looked at again": (
        "recreate",
        Behaviour(Fixed(20), Exponential(0.5), Backoff(0.5, 8.0, give_up=5), connect_timeout_s=0.5),
        ServerSetup(login_cpu_s=0.0008, backlog=4, backend_logins_per_s=0.0),
        7,
    ),
    "a session ends while its client does not know yet that it was refused": (
        "recreate",
        Behaviour(DAY, Exponential(0.5), Immediate(give_up=9), connect_timeout_s=0.05),
        ServerSetup(backlog=128, backend_logins_per_s=0.0),
        7,
    ),
    "a session ends in the login's last milliseconds, after its turn at the backend": (
        "rolling",
        Behaviour(DAY, Exponential(0.5), Backoff(0.2, 2.0, "decorrelated"), connect_timeout_s=10.0),
        ServerSetup(
            login_cpu_s=0.01, backlog=4, backend_logins_per_s=30.0, on_sigterm=Sigterm.PACE, pace_per_s=50.0
        ),
        7,
    ),
    "a SYN that comes again is earlier than one already looked at": (
        "rainbow",
        Behaviour(Poisson(30.0), Exponential(400.0), FixedWait(0.4), connect_timeout_s=2.0),
        ServerSetup(login_cpu_s=0.0008, backlog=4, on_sigterm=Sigterm.CLOSE),
        7,
    ),
    "many come again at one moment, at the longest of random waits": (
        "rolling",
        Behaviour(Poisson(30.0), Exponential(25.0), Backoff(0.2, 2.0, "decorrelated"), connect_timeout_s=2.0),
        ServerSetup(login_cpu_s=0.03, backlog=128, backend_logins_per_s=0.0, on_sigterm=Sigterm.CLOSE),
        7,
    ),
    "a pod has been looked at as far as a SYN that is not let in": (
        "rainbow",
        Behaviour(DAY, Exponential(0.5), Backoff(0.5, 8.0, give_up=5), connect_timeout_s=10.0),
        ServerSetup(login_cpu_s=0.002, backlog=128, backend_logins_per_s=0.0),
        1,
    ),
    "some of a pod's users still wait when the next pod's are cut": (
        "rolling",
        Behaviour(Poisson(120.0), Exponential(25.0), Backoff(4.0, 8.0, "equal"), connect_timeout_s=10.0),
        ServerSetup(login_cpu_s=0.002, backlog=128, backend_logins_per_s=0.0),
        7,
    ),
    "more come again than the pods let in": (
        "recreate",
        Behaviour(Poisson(120.0), Exponential(25.0), Backoff(0.5, 8.0, give_up=5), connect_timeout_s=0.5),
        ServerSetup(login_cpu_s=0.03, backlog=4, backend_logins_per_s=0.0),
        7,
    ),
    "some give up at the same moment, and others take their places": (
        "rolling",
        Behaviour(Fixed(900), Lognormal(2.0, 2.0), Backoff(0.5, 8.0, give_up=5), connect_timeout_s=2.0),
        ServerSetup(login_cpu_s=0.002, backlog=4, backend_logins_per_s=30.0),
        7,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", [Level.FULL, Level.SERIES])
def test_both_ways_lead_to_the_same(setup_of, case, level):
    strategy, behaviour, server, seed = CASES[case]
    setup = setup_of(
        strategy,
        seed=seed,
        crowd=CrowdKind.FAST,
        duration_s=40.0,
        level=level,
        behaviour=replace(behaviour, ramp_per_s=100.0, messages_per_min=0),
        deploys=(PlannedDeploy(3.0, "b2c3d4"), PlannedDeploy(20.0, "c3d4e5")),
        faults=(Fault(26.0, FaultKind.KILL_POD),),
        server=replace(server, linger_s=0.5),
    )
    found = []
    for shortens in (1, 0):
        with patch.object(rooms, "SHORTENS", shortens):
            found.append(simulate(setup))
    short, long = found
    assert short.connections.sort("user", "attempt").equals(long.connections.sort("user", "attempt"))
    assert (short.series is None and long.series is None) or short.series.equals(long.series)
    assert list(short.samples) == list(long.samples)
