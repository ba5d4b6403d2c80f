"""Start-up, probes, restarts: what the simulated kubelet does."""

from dataclasses import replace
from random import Random

import pytest

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
