"""What breaks during a run, and what comes of it."""

from dataclasses import replace

import polars as pl
import pytest

from deployer.fleet import Decision, Kind, Limits, Outcome
from loadgen.behaviour.arrivals import Poisson
from loadgen.behaviour.attempts import Attempt, ClosedBy
from loadgen.behaviour.backoff import Fixed as FixedWait
from loadgen.behaviour.sessions import Exponential, Forever
from loadgen.behaviour.settings import Behaviour
from sim.setup import Bad, CrowdKind, Fault, FaultKind, FleetSetup, Nodes, PlannedDeploy, ServerSetup
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
@pytest.mark.parametrize("bad", [Bad.NEVER_READY, Bad.CRASHES])
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


def table(outcome):
    """Table `connections`, whichever crowd made it."""
    if isinstance(outcome.connections, pl.DataFrame):
        return outcome.connections
    rows = [{name: getattr(row, name) for name in Attempt.__slots__} for row in outcome.connections]
    return pl.DataFrame(rows, infer_schema_length=None)


BOTH = pytest.mark.parametrize("crowd", [CrowdKind.ORACLE, CrowdKind.FAST])


@BOTH
def test_without_its_backend_a_service_drops_everyone_and_lets_nobody_in(setup_of, crowd):
    staying = replace(setup_of().behaviour, session=Forever(), messages_per_min=0.0)
    outcome = simulate(
        setup_of(
            deploys=(),
            crowd=crowd,
            behaviour=staying,
            faults=(Fault(10.0, FaultKind.BACKEND_DOWN, duration_s=8.0),),
        )
    )
    rows = table(outcome)
    dropped = rows.filter(((pl.col("t_close_s") - 10.0).abs() < 0.01) & (pl.col("t_ready_s") < 10.0))
    assert dropped.height == 300
    assert set(dropped["close_code"]) == {1011}
    assert rows.filter(pl.col("t_ready_s").is_between(10.1, 18.0)).is_empty()
    refused = rows.filter(pl.col("t_request_s").is_between(10.5, 17.0))
    assert set(refused["failure"]) <= {"login", "refused"}
    assert rows.filter(pl.col("t_close_s").is_null())["t_ready_s"].is_not_null().sum() > 280


@BOTH
def test_a_lost_node_is_noticed_by_its_clients_one_by_one(setup_of, crowd):
    """They ask after up to a minute of silence, and wait ten seconds for the answer."""
    staying = replace(setup_of().behaviour, session=Forever(), messages_per_min=0.0)
    faults = (Fault(10.0, FaultKind.NODE_LOSS, "node-1", duration_s=120.0),)
    outcome = simulate(setup_of(deploys=(), crowd=crowd, behaviour=staying, faults=faults, duration_s=200.0))
    there = {pod.pod for pod in outcome.pods if pod.node == "node-1"}
    rows = table(outcome)
    lost = rows.filter(pl.col("closed_by") == "network")
    assert set(lost["pod"]) <= there
    assert lost["t_close_s"].is_between(20.0, 80.1).all()
    assert lost["t_close_s"].mean() == pytest.approx(50.0, abs=5.0)
    assert set(lost["how"]) == {"timeout"}
    again = rows.filter(pl.col("t_request_s").is_between(58.0, 120.0) & pl.col("t_ready_s").is_not_null())
    assert again.height > 10
    assert not set(again["pod"]) & there, "after 47 s the node's pods are out of the endpoints"
    assert all(pod.t_gone_s is None for pod in outcome.pods), "the node came back before they were evicted"


def test_a_node_that_stays_away_has_its_pods_replaced(setup_of):
    faults = (Fault(10.0, FaultKind.NODE_LOSS, "node-1", duration_s=500.0),)
    outcome = simulate(setup_of(deploys=(), faults=faults, duration_s=600.0))
    there = [pod for pod in outcome.pods if pod.node == "node-1" and pod.t_created_s < 0]
    assert there
    assert all(pod.t_terminating_s == pytest.approx(357.0, abs=1.0) for pod in there)
    assert all(pod.t_gone_s > 510.0 for pod in there), "nobody could end them before the node was back"
    new = [pod for pod in outcome.pods if pod.t_created_s > 300.0]
    assert len(new) == len(there)
    assert all(pod.node != "node-1" for pod in new)


def test_a_drain_that_cannot_be_counted_deletes_nothing(setup_of):
    faults = (Fault(20.0, FaultKind.NODE_LOSS, "node-1", duration_s=60.0),)
    outcome = simulate(setup_of("rainbow", deploys=setup_of().deploys[:1], faults=faults, duration_s=110.0))
    assert not [t_s for t_s, action in outcome.actions if "Delete" in type(action).__name__ and 20 < t_s < 80]
    assert {v.decision for t_s, v in outcome.verdicts if 20 < t_s < 80} <= {Decision.UNKNOWN, Decision.KEEP}
    assert outcome.deploys[1].t_deleted_s > 80.0


def test_while_the_api_is_away_routes_stay_and_a_deploy_waits(setup_of):
    faults = (Fault(5.5, FaultKind.API_DOWN, duration_s=10.0),)
    outcome = simulate(setup_of("rainbow", deploys=(PlannedDeploy(6.0, "b2c3d4"),), faults=faults))
    row = outcome.deploys[1]
    assert row.t_requested_s == pytest.approx(15.5, abs=0.01)
    assert row.outcome is Outcome.DONE
    assert not any(5.5 < t_s < 15.5 for t_s, _ in outcome.actions)
    assert not any(r.forced for r in outcome.connections)
    assert any(5.5 < r.t_request_s < 15.5 and r.t_ready_s is not None for r in outcome.connections)


def test_a_lost_node_with_the_only_pod_that_could_be_asked_is_no_error(setup_of):
    """Nobody is left to be asked, right after another pod has begun to listen."""
    outcome = simulate(
        setup_of(
            "rainbow",
            seed=2000,
            crowd=CrowdKind.FAST,
            duration_s=40.0,
            limits=Limits(replicas=1),
            behaviour=Behaviour(Poisson(2.0), Exponential(0.5), FixedWait(0.4), connect_timeout_s=2.0),
            deploys=(PlannedDeploy(3.0, "b2c3d4"), PlannedDeploy(20.0, "c3d4e5")),
            faults=(Fault(21.725164996726686, FaultKind.NODE_LOSS, duration_s=2.0),),
            server=ServerSetup(login_cpu_s=0.03, backend_logins_per_s=0.0, linger_s=0.0),
        )
    )
    assert outcome.pods
