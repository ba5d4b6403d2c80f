"""A setup that cannot be says so in one line."""

from dataclasses import replace

import pytest

from deployer.fleet import Limits
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.sessions import Forever
from loadgen.behaviour.settings import Behaviour
from sim.setup import Bad, Fault, FaultKind, Nodes, PlannedDeploy, ServerSetup, SetupError, Sigterm
from sim.world import simulate


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_s": 0.0},
        {"limits": Limits(0)},
        {"server": ServerSetup(backlog=0)},
        {"server": ServerSetup(login_cpu_s=-1.0)},
        {"deploys": (PlannedDeploy(-1.0, "b2c3d4"),)},
        {"faults": (Fault(-1.0, FaultKind.KILL_POD),)},
    ],
)
def test_a_value_out_of_bounds_is_named(setup_of, changes):
    with pytest.raises(SetupError, match=r"^\w+(\.\w+)?=-?\d+(\.\d+)? must be ") as caught:
        setup_of(**changes)
    assert "\n" not in str(caught.value)


def test_a_first_release_that_cannot_start_is_told(setup_of):
    full = replace(setup_of().fleet, nodes=Nodes(1, cpu=2.0))
    setup = setup_of("rainbow", {"progress_deadline": 5.0}, fleet=full)
    with pytest.raises(SetupError, match=r"does not come up: .* 2 of 4 pods ready"):
        simulate(setup)


def test_users_who_cannot_all_log_in_are_told(setup_of):
    with pytest.raises(SetupError, match=r"the 10 users are not all logged in"):
        simulate(
            setup_of(
                behaviour=Behaviour(Fixed(10), Forever(), connect_timeout_s=5.0),
                server=ServerSetup(login_cpu_s=20.0),
                limits=Limits(1),
            )
        )


def test_auto_holds_under_graceful_only(setup_of):
    assert setup_of("graceful").sigterm is Sigterm.HOLD
    assert setup_of("rolling").sigterm is Sigterm.CLOSE
    assert setup_of("graceful", server=ServerSetup(on_sigterm=Sigterm.CLOSE)).sigterm is Sigterm.CLOSE


def test_only_graceful_has_its_grace_cut(setup_of):
    assert setup_of("graceful", {"grace_cut": 600.0}).grace_cut_s == 600.0
    assert setup_of("rolling").grace_cut_s is None


def test_a_population_of_nobody_is_a_run_of_pods_only(setup_of):
    outcome = simulate(setup_of(behaviour=Behaviour(Fixed(0), Forever())))
    assert outcome.connections == []
    assert len(outcome.pods) == 16


def test_bad_releases_are_known_by_name():
    assert [bad.value for bad in Bad] == ["never_ready", "crashes", "crashes_after_switch"]
