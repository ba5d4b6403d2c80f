"""What breaks during a run, and what comes of it."""

from dataclasses import replace

import pytest

from deployer.fleet import Kind, Limits, Outcome
from loadgen.behaviour.attempts import ClosedBy
from sim.setup import Bad, Fault, FaultKind, FleetSetup, Nodes, PlannedDeploy
from sim.world import simulate


@pytest.mark.parametrize("at_s", [6.01, 7.0, 8.0, 25.5, 43.0])
def test_a_deployer_that_dies_and_comes_back_changes_no_outcome(setup_of, at_s):
    healthy = simulate(setup_of("rainbow"))
    faults = (Fault(at_s, FaultKind.DEPLOYER_KILLED, duration_s=4.0),)
    hurt = simulate(setup_of("rainbow", faults=faults))
    assert [(d.deploy, d.release, d.outcome) for d in hurt.deploys] == [
        (d.deploy, d.release, d.outcome) for d in healthy.deploys
    ]
    assert not any(row.forced for row in hurt.connections)
    assert all(d.t_deleted_s is not None for d in hurt.deploys[1:])
    assert not any(at_s < t_s < at_s + 4.0 for t_s, _ in hurt.actions)
    assert [e.kind for e in hurt.events] == ["run_start", "deployer_killed", "run_end"]


def test_a_killed_pod_loses_its_connections_and_comes_back(setup_of):
    outcome = simulate(setup_of(deploys=(), faults=(Fault(10.0, FaultKind.KILL_POD),)))
    target = next(event.target for event in outcome.events if event.kind == "kill_pod")
    lost = [row for row in outcome.connections if row.forced]
    assert lost
    assert {row.closed_by for row in lost} == {ClosedBy.POD_GONE}
    assert {row.pod for row in lost} == {target}
    assert all(row.t_close_s == pytest.approx(10.0, abs=0.01) for row in lost)
    (life,) = (pod for pod in outcome.pods if pod.pod == target)
    assert life.t_terminating_s is None
    assert any(row.pod == target and row.t_request_s > 10.0 for row in outcome.connections)


def test_a_named_pod_is_hit(setup_of):
    name = simulate(setup_of(deploys=())).pods[2].pod
    outcome = simulate(setup_of(deploys=(), faults=(Fault(10.0, FaultKind.KILL_POD, name),)))
    assert {row.pod for row in outcome.connections if row.forced} == {name}


@pytest.mark.parametrize("strategy", ["rainbow", "rolling"])
@pytest.mark.parametrize("bad", Bad)
def test_a_broken_release_fails_and_the_old_one_goes_on(setup_of, strategy, bad):
    outcome = simulate(
        setup_of(
            strategy,
            {"progress_deadline": 15.0},
            duration_s=60.0,
            deploys=(PlannedDeploy(5.0, "bad000", bad=bad),),
        )
    )
    assert outcome.deploys[1].outcome is Outcome.FAILED
    broken = [pod for pod in outcome.pods if pod.release == "bad000"]
    assert broken
    assert all(pod.t_ready_s is None and pod.t_gone_s is not None for pod in broken)
    assert {row.release for row in outcome.connections if row.t_open_s is not None} == {"a1b2c3"}


def test_a_rollback_goes_to_the_release_before(setup_of):
    outcome = simulate(
        setup_of("rainbow", deploys=(PlannedDeploy(5.0, "b2c3d4"), PlannedDeploy(12.0, kind=Kind.ROLLBACK)))
    )
    back = outcome.deploys[2]
    assert (back.release, back.kind, back.outcome) == ("a1b2c3", Kind.ROLLBACK, Outcome.DONE)
    assert back.t_selected_s - back.t_requested_s < 0.5, "its pods were still there"
    assert outcome.deploys[1].t_drained_s is None, "it was selected again before it had drained"


def test_pods_beyond_what_the_nodes_hold_wait_for_room(setup_of):
    """Six pods fit: of the new release two run, and two are pending until it fails."""
    setup = setup_of(
        "rainbow",
        {"progress_deadline": 20.0},
        fleet=replace(setup_of().fleet, nodes=Nodes(3, cpu=2.0)),
        deploys=(PlannedDeploy(5.0, "b2c3d4"),),
        duration_s=60.0,
    )
    outcome = simulate(setup)
    new = [pod for pod in outcome.pods if pod.release == "b2c3d4"]
    assert [pod.node is None for pod in new].count(True) == 2
    assert outcome.deploys[1].outcome is Outcome.FAILED
    refused = simulate(replace(setup, limits=Limits(4, capacity_pods=6)))
    assert refused.deploys[1].outcome is Outcome.REFUSED


def test_room_that_comes_free_is_taken(setup_of):
    """With recreate on full nodes the new pods fit once the old ones are gone."""
    fleet = FleetSetup(startup=setup_of().fleet.startup, nodes=Nodes(1, cpu=5.0))
    outcome = simulate(
        setup_of(
            "rolling",
            {"max_surge": "100%", "max_unavailable": "50%"},
            fleet=fleet,
            deploys=(PlannedDeploy(5.0, "b2c3d4"),),
        )
    )
    assert outcome.deploys[1].outcome is Outcome.DONE
    late = [p for p in outcome.pods if p.t_scheduled_s is not None and p.t_scheduled_s - p.t_created_s > 1]
    assert late
