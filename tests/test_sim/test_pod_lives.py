"""Start-up, probes, restarts: what the simulated kubelet does."""

from dataclasses import replace
from random import Random

import pytest

from deployer.fleet import Limits
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Fixed as Every
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from sim.setup import Bad, Fault, FaultKind, FleetSetup, Nodes, PlannedDeploy
from sim.world import simulate


class Always:
    """A start-up that always takes the same time."""

    def __init__(self, startup_s: float) -> None:
        self.startup_s = startup_s

    def draw(self, rng: Random) -> float:
        return self.startup_s


def test_a_pod_is_ready_at_the_first_probe_after_its_start(setup_of):
    fleet = FleetSetup(startup=Always(3.0), probe_period_s=5.0)
    pods = simulate(setup_of(fleet=fleet)).pods
    took_s = [pod.t_ready_s - pod.t_created_s for pod in pods]
    assert all(3.0 - 1e-5 <= t <= 8.0 + 1e-5 for t in took_s)
    assert max(took_s) - min(took_s) > 1.0, "each pod's probes have a phase of their own"


def test_pods_are_spread_over_the_nodes(setup_of):
    pods = simulate(setup_of(fleet=replace(setup_of().fleet, nodes=Nodes(4)))).pods
    assert {pod.node for pod in pods[:4]} == {"node-1", "node-2", "node-3", "node-4"}


def test_a_killed_pod_is_ready_again_after_its_restart(setup_of):
    """Down from the kill until restart, start-up and a probe have passed; meanwhile nobody reaches it."""
    fleet = FleetSetup(startup=Always(2.0), probe_period_s=0.5)
    setup = setup_of(fleet=fleet, deploys=(), faults=(Fault(10.0, FaultKind.KILL_POD),))
    outcome = simulate(setup)
    target = next(event.target for event in outcome.events if event.kind == "kill_pod")
    opened = [r.t_open_s for r in outcome.connections if r.pod == target and r.t_open_s > 10.0]
    least_s = setup.latencies.restart_s + 2.0
    assert 10.0 + least_s < min(opened) < 10.0 + least_s + 5.0
    samples = [s.t_s for s in outcome.samples if s.pod == target and 10.0 < s.t_s < 10.0 + least_s]
    assert samples == [], "a process that does not run says nothing"


@pytest.mark.parametrize(("later_s", "wait_s"), [(590.0, 10.0), (610.0, 0.6)])
def test_ten_minutes_of_running_make_the_next_crash_a_first_one(setup_of, later_s, wait_s):
    behaviour = Behaviour(Fixed(20), Forever(), Every(1.0), connect_timeout_s=1.0, messages_per_min=0)
    setup = setup_of(
        fleet=FleetSetup(startup=Always(1.0), probe_period_s=0.1),
        limits=Limits(1),
        behaviour=behaviour,
        deploys=(),
        faults=tuple(Fault(at_s, FaultKind.KILL_POD) for at_s in (5.0, 5.0 + later_s)),
        duration_s=660.0,
    )
    back_s = min(
        row.t_open_s for row in simulate(setup).connections if row.t_open_s and row.t_open_s > 5.0 + later_s
    )
    assert wait_s + 1.0 < back_s - 5.0 - later_s < wait_s + 4.0


@pytest.mark.parametrize(("bad", "restarts"), [(Bad.CRASHES, True), (Bad.NEVER_READY, False)])
def test_a_crashing_container_is_started_again_ever_later(setup_of, bad, restarts):
    """0.6 s, 10 s, 20 s between; a pod that is just not ready is left alone."""
    setup = setup_of(
        "rainbow",
        {"progress_deadline": 50.0},
        fleet=FleetSetup(startup=Always(1.0)),
        deploys=(PlannedDeploy(0.0, "bad000", bad=bad),),
        duration_s=49.0,
    )
    outcome = simulate(setup)
    assert all(pod.t_ready_s is None for pod in outcome.pods if pod.release == "bad000")
    heard = {s.pod for s in outcome.samples if s.pod.startswith("chat-bad000")}
    assert bool(heard) is not restarts
