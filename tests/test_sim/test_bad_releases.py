"""Bad releases, rollbacks, zombies and the hook in the simulated world, under every strategy."""

from __future__ import annotations

import pytest

from deployer.actions import NotifyDeselected
from deployer.draining import DrainSettings, Empty
from deployer.fleet import Decision, Kind, Limits, Outcome
from deployer.strategies import STRATEGIES
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.sessions import Forever, Weibull
from loadgen.behaviour.settings import Behaviour
from sim.setup import Bad, Deselected, PlannedDeploy, ServerSetup
from sim.world import simulate

SELECTING = ["bluegreen", "colors", "rainbow", "immutable"]
NEW = "b2c3d4"
USERS = 60


def settings_of(strategy, **more):
    own = {"rolling": {"max_unavailable": 0}, "graceful": {"max_unavailable": 0}, "colors": {"count": 3}}
    return {"progress_deadline": 15.0, **own.get(strategy, {}), **more}


def run(
    setup_of, strategy, deploys, session=None, duration_s=60.0, drain=None, server=None, vanish=0.0, **more
):
    return simulate(
        setup_of(
            strategy,
            settings_of(strategy, **more),
            duration_s=duration_s,
            behaviour=Behaviour(
                Fixed(USERS),
                session or Weibull(15.0, 4.0),
                Backoff(),
                messages_per_min=0,
                vanish_ratio=vanish,
            ),
            limits=Limits(2),
            deploys=tuple(deploys),
            drain=drain or DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0),
            server=server or ServerSetup(),
        )
    )


def forced(outcome):
    return sum(row.forced for row in outcome.connections)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("bad", [Bad.NEVER_READY, Bad.CRASHES])
def test_a_release_that_never_serves_fails_with_a_reason_and_the_old_one_serves_on(setup_of, strategy, bad):
    outcome = run(setup_of, strategy, [PlannedDeploy(5.0, NEW, bad=bad)])
    (row,) = outcome.deploys[1:]
    assert row.outcome is Outcome.FAILED
    assert "15 s" in row.reason
    last = [r for r in outcome.connections if r.t_close_s is None]
    assert len(last) == USERS
    assert {r.release for r in last} == {"a1b2c3"}
    if strategy != "recreate":
        assert forced(outcome) == 0
    else:
        assert forced(outcome) >= USERS  # all old pods were gone before the new ones could fail


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_release_that_crashes_after_the_switch_is_reported_and_rolled_back_only_where_that_is_set(
    setup_of, strategy
):
    deploys, warm = [PlannedDeploy(5.0, NEW, bad=Bad.CRASHES_AFTER_SWITCH)], {"duration_s": 90.0}
    drain = DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0, keep_warm_s=60.0)
    left_alone = run(setup_of, strategy, deploys, drain=drain, **warm)
    assert [row.kind for row in left_alone.deploys] == [Kind.INITIAL, Kind.DEPLOY]
    reports = [
        a.value for _, a in left_alone.actions if getattr(a, "key", "").endswith("/crashes") and a.value
    ]
    assert reports
    rolled_back = run(setup_of, strategy, deploys, drain=drain, auto_rollback=2, **warm)
    assert [row.kind for row in rolled_back.deploys] == [Kind.INITIAL, Kind.DEPLOY, Kind.ROLLBACK]
    back = rolled_back.deploys[2]
    assert (back.release, back.outcome) == ("a1b2c3", Outcome.DONE)
    assert {r.release for r in rolled_back.connections if r.t_close_s is None} == {"a1b2c3"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_rollback_costs(setup_of, strategy):
    """A switch back costs nobody a connection and no start-up; another roll-out costs what the first did."""
    deploys = [PlannedDeploy(5.0, NEW), PlannedDeploy(12.0, kind=Kind.ROLLBACK)]
    outcome = run(setup_of, strategy, deploys, session=Forever(), grace=30.0, duration_s=60.0)
    back = outcome.deploys[2]
    assert (back.release, back.outcome) == ("a1b2c3", Outcome.DONE)
    took_s = back.t_selected_s - back.t_requested_s
    if strategy in SELECTING:
        assert took_s < 0.2
        assert forced(outcome) == 0
    else:
        assert took_s > 1.0
        assert forced(outcome) >= USERS


@pytest.mark.parametrize("discount", [True, False])
def test_zombies_keep_a_release_alive_only_where_they_count(setup_of, discount):
    drain = DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0, discount_silent=discount)
    outcome = run(
        setup_of, "rainbow", [PlannedDeploy(20.0, NEW)], drain=drain, vanish=0.3, duration_s=90.0,
        server=ServerSetup(ping_interval_s=3.0),
    )  # fmt: skip
    drained = [v for _, v in outcome.verdicts if v.decision is Decision.DRAINED]
    assert bool(drained) == discount
    if discount:
        assert drained[0].evidence["silent"] == drained[0].evidence["open"] > 0
    assert forced(outcome) == 0  # a zombie's user has left: nobody is cut with it


def test_a_zombie_is_gone_once_tcp_has_given_it_up(setup_of):
    outcome = run(setup_of, "rainbow", [PlannedDeploy(20.0, NEW)], vanish=0.3, duration_s=1200.0)
    (row,) = outcome.deploys[1:]
    assert row.t_drained_s - row.t_selected_s > 924


@pytest.mark.parametrize("mode", Deselected)
def test_the_hook_makes_a_server_leave_pace_its_clients_away_or_do_nothing(setup_of, mode):
    outcome = run(
        setup_of, "immutable", [PlannedDeploy(5.0, NEW)], session=Forever(), duration_s=40.0,
        server=ServerSetup(on_deselected=mode, pace_per_s=5.0),
    )  # fmt: skip
    assert sum(isinstance(a, NotifyDeselected) for _, a in outcome.actions) == 1
    if mode is Deselected.PACE:
        cut = sorted(row.t_close_s for row in outcome.connections if row.forced)
        assert len(cut) == USERS
        assert cut[-1] - cut[0] > USERS / 2 / 5.0 * 0.7  # two pods, five clients a second each
        assert outcome.deploys[1].t_deleted_s is not None
    else:
        assert forced(outcome) == 0
        assert outcome.deploys[1].t_deleted_s is None


def test_a_rollback_takes_the_hook_back_and_ends_its_pacing(setup_of):
    deploys = [PlannedDeploy(5.0, NEW), PlannedDeploy(9.0, kind=Kind.ROLLBACK)]
    outcome = run(
        setup_of, "immutable", deploys, session=Forever(), duration_s=60.0,
        server=ServerSetup(on_deselected=Deselected.PACE, pace_per_s=1.0),
    )  # fmt: skip
    told = [a.undo for _, a in outcome.actions if isinstance(a, NotifyDeselected)]
    assert told == [False, True, False]
    late = [r for r in outcome.connections if r.forced and r.release == "a1b2c3" and r.t_close_s > 10.0]
    assert late == []


@pytest.mark.parametrize("strategy", ["rainbow", "immutable"])
def test_at_the_cap_the_oldest_goes_with_its_users_where_that_is_chosen(setup_of, strategy):
    deploys = [PlannedDeploy(5.0, "b2c3d4"), PlannedDeploy(15.0, "c3d4e5"), PlannedDeploy(25.0, "d4e5f6")]
    refused = run(setup_of, strategy, deploys, session=Forever(), max_releases=2, duration_s=40.0)
    assert [row.outcome for row in refused.deploys[2:]] == [Outcome.REFUSED] * 2
    assert "2 may be" in refused.deploys[2].reason
    assert forced(refused) == 0
    retired = run(
        setup_of,
        strategy,
        deploys,
        session=Forever(),
        max_releases=2,
        at_cap="retire_oldest",
        duration_s=40.0,
    )
    assert [row.outcome for row in retired.deploys] == [Outcome.DONE] * 4
    assert forced(retired) >= USERS


def test_a_release_kept_warm_stays_whole_until_then(setup_of):
    drain = DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0, keep_warm_s=60.0)
    outcome = run(setup_of, "rainbow", [PlannedDeploy(5.0, NEW)], drain=drain, shrink=True, duration_s=90.0)
    old = [pod for pod in outcome.pods if pod.release == "a1b2c3"]
    switched_s = outcome.deploys[1].t_selected_s
    assert all(pod.t_terminating_s == pytest.approx(switched_s + 60.0, abs=1.1) for pod in old)
