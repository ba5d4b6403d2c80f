"""Strategies that switch the Service, played through on a cluster in memory: users and old releases."""

import pytest

from deployer.actions import (
    Annotate,
    Block,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    MarkForDeletion,
    NotifyDeselected,
    Scale,
    Select,
)
from deployer.clusters.memory import MemoryCluster
from deployer.draining import After, DrainSettings, Empty, Few, Manual
from deployer.fleet import Kind, Limits, Outcome
from tests.test_deployer.stories import HOUR_S, PER_RELEASE, SELECTING, Run


@pytest.mark.parametrize("name", SELECTING)
class TestSelectingStrategies:
    def test_users_stay_where_they_are_until_they_have_left(self, name):
        run = Run(name, count=3) if name == "colors" else Run(name)
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=5000)
        old = [p.name for p in run.fleet.pods if run.cluster.users.get(p.name)]
        assert len(old) >= 2
        assert not run.done(DeleteDeployment)

    def test_a_rollback_is_a_switch_back_to_a_release_that_still_lives(self, name):
        run = Run(name)
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb")
        run.deploy("aaaaaa", Kind.ROLLBACK)
        assert run.outcomes == [Outcome.DONE] * 3
        assert run.fleet.selected == "aaaaaa"
        assert len(run.done(Select)) == 3
        selected = run.done(Select)
        assert selected[0].slot == selected[2].slot
        assert all(run.cluster.users[p] == 5 for p in run.pods("aaaaaa") if p in run.cluster.users)

    def test_a_pod_that_cannot_be_asked_keeps_its_release(self, name):
        run = Run(name)
        run.users("aaaaaa", None)
        run.deploy("bbbbbb", wait_s=100)
        assert not run.done(DeleteDeployment)
        assert not [a for a in run.done(Scale) if a.replicas < 2]
        run.deploy("cccccc", wait_s=100)
        if name == "bluegreen":
            assert run.outcomes[2] is Outcome.BLOCKED

    def test_a_rollback_to_a_shrunk_release_waits_until_it_is_whole(self, name):
        run = Run(name, replicas=3, shrink=True)
        served = run.pods("aaaaaa")[:3]
        for pod in served:
            run.cluster.users[pod] = 0
        run.cluster.users[served[0]] = 5
        run.deploy("bbbbbb", wait_s=100)
        deployment = next(p.deployment for p in run.fleet.pods if p.name == served[0])
        assert run.fleet.deployments[deployment].desired == 1
        run.deploy("aaaaaa", Kind.ROLLBACK)
        assert run.outcomes == [Outcome.DONE] * 3
        assert run.fleet.deployments[deployment].ready == 3
        assert run.cluster.users[served[0]] == 5

    def test_shrink_takes_only_empty_pods_and_marks_each_first(self, name):
        run = Run(name, replicas=3, shrink=True)
        busy = run.pods("aaaaaa")[2]  # of the first Deployment, which serves
        run.cluster.users[busy] = 7
        run.deploy("bbbbbb", wait_s=100)
        assert busy in run.pods("aaaaaa")
        shrinking = [a for a in run.done((MarkForDeletion, Scale)) if getattr(a, "replicas", 0) < 3]
        assert [type(a) for a in shrinking] == [MarkForDeletion, Scale] * 2

    @pytest.mark.parametrize("policy", [Empty(), Manual()])
    def test_nothing_shrinks_while_a_count_is_missing(self, name, policy):
        run = Run(name, replicas=3, shrink=True, drain=DrainSettings(policy, hold_s=2, check_every_s=10))
        served = run.pods("aaaaaa")
        run.cluster.users = dict.fromkeys(served, 0) | {served[0]: None}
        run.deploy("bbbbbb", wait_s=100)
        assert not [a for a in run.done(Scale) if a.replicas < 3]

    def test_a_nudge_asks_the_left_over_clients_once_at_the_set_rate(self, name):
        run = Run(name, nudge={"after": 100, "per_s": 2})
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=95)
        assert not run.done(CloseConnections)
        run.wait(20)
        (nudge,) = run.done(CloseConnections)
        assert nudge.per_s == 2
        assert "10 connections" in nudge.because

    def test_an_overdue_release_is_nudged_before_it_goes(self, name):
        drain = DrainSettings(hold_s=2, check_every_s=10, deadline_s=100)
        run = Run(name, drain=drain, nudge={"after": 1000, "per_s": 2})

        def deaf(action):
            users = dict(run.cluster.users)
            MemoryCluster.act(run.cluster, action)
            if isinstance(action, CloseConnections):
                run.cluster.users.update(users)

        run.cluster.act = deaf
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=150)
        assert len(run.done(CloseConnections)) == 1
        assert not run.done(DeleteDeployment)
        run.wait(100)
        assert len(run.done(CloseConnections)) == 1
        if name in PER_RELEASE:
            assert len(run.done(DeleteDeployment)) == 1

    def test_a_release_that_is_kept_warm_stays_whole(self, name):
        drain = DrainSettings(hold_s=2, check_every_s=10, keep_warm_s=500)
        run = Run(name, drain=drain, shrink=True)
        run.deploy("bbbbbb", wait_s=490)
        old = [p for p in run.fleet.pods if p.release == "aaaaaa"]
        assert len(old) >= 2
        assert not [a for a in run.done(Scale) if a.replicas < 2]
        run.deploy("aaaaaa", Kind.ROLLBACK, wait_s=1)
        assert run.outcomes == [Outcome.DONE] * 3


@pytest.mark.parametrize("name", PER_RELEASE)
class TestOneDeploymentPerRelease:
    def test_an_old_release_is_deleted_once_it_has_drained(self, name):
        run = Run(name)
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=1000)
        assert run.releases == {"chat-aaaaaa": "aaaaaa", "chat-bbbbbb": "bbbbbb"}
        run.users("aaaaaa", 0)
        run.wait(30)
        assert run.releases == {"chat-bbbbbb": "bbbbbb"}

    def test_at_the_cap_a_deploy_is_refused(self, name):
        run = Run(name, max_releases=2)
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb")
        run.deploy("cccccc")
        assert run.outcomes[2] is Outcome.REFUSED
        assert run.fleet.selected == "bbbbbb"

    def test_at_the_cap_the_oldest_may_be_retired_instead(self, name):
        run = Run(name, max_releases=3, at_cap="retire_oldest")
        for release in ("bbbbbb", "cccccc", "dddddd"):
            run.users(run.fleet.selected, 5)
            run.deploy(release)
        assert run.outcomes == [Outcome.DONE] * 4
        assert set(run.releases.values()) == {"bbbbbb", "cccccc", "dddddd"}

    def test_one_of_unknown_state_is_not_retired_even_at_the_cap(self, name):
        run = Run(name, max_releases=2, at_cap="retire_oldest")
        run.users("aaaaaa", None)
        run.deploy("bbbbbb")
        run.deploy("cccccc")
        assert run.outcomes[2] is Outcome.REFUSED
        assert "aaaaaa" in run.releases.values()

    def test_a_pinned_one_is_neither_shrunk_nor_retired(self, name):
        run = Run(name, max_releases=2, at_cap="retire_oldest", shrink=True)
        run.cluster.act(Annotate("chat-aaaaaa", "drainbow.dev/keep", "for the auditors"))
        run.deploy("bbbbbb", wait_s=100)
        run.deploy("cccccc")
        assert run.outcomes[2] is Outcome.REFUSED
        assert run.fleet.deployments["chat-aaaaaa"].desired == 2

    def test_a_rollback_that_fails_leaves_the_users_of_the_old_release_alone(self, name):
        run = Run(name, replicas=3, shrink=True, progress_deadline=60)
        served = run.pods("aaaaaa")
        run.cluster.users = dict.fromkeys(served, 0) | {served[0]: 5}
        run.deploy("bbbbbb", wait_s=100)
        run.cluster.never_ready.add("aaaaaa")
        run.deploy("aaaaaa", Kind.ROLLBACK, wait_s=100)
        assert run.outcomes[2] is Outcome.FAILED
        assert run.fleet.selected == "bbbbbb"
        assert run.cluster.users[served[0]] == 5

    def test_nodes_that_are_full_refuse_a_deploy(self, name):
        run = Run(name, limits=Limits(2, capacity_pods=5))
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb")
        run.deploy("cccccc")
        assert run.outcomes == [Outcome.DONE, Outcome.DONE, Outcome.REFUSED]
        assert "nodes hold 5" in run.reason(2)


class TestImmutable:
    def test_each_pod_is_told_once(self):
        run = Run("immutable")
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=500)
        told = run.done(NotifyDeselected)
        assert [set(a.pods) for a in told] == [set(run.pods("aaaaaa"))]

    def test_pods_leave_one_by_one_and_the_last_takes_the_deployment_along(self):
        run = Run("immutable", drain=DrainSettings(policy=Manual(), check_every_s=10), replicas=3)
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb", wait_s=100)
        sizes = []
        for pod in run.pods("aaaaaa"):
            run.cluster.users[pod] = 0
            run.wait(100)
            old = run.fleet.deployments.get("chat-aaaaaa")
            sizes.append(old.desired if old else None)
        assert sizes == [2, 1, None]

    def test_after_a_rollback_the_hook_is_taken_back_before_the_switch_and_pods_are_told_again_later(self):
        run = Run("immutable")
        run.users("aaaaaa", 5)
        for release in ("bbbbbb", "aaaaaa", "bbbbbb"):
            run.users("bbbbbb", 5)
            run.deploy(release)
        said = [
            (
                a.release if isinstance(a, Select) else a.pods[0].removeprefix("chat-")[:6],
                getattr(a, "undo", None),
            )
            for a in run.done((NotifyDeselected, Select))
        ]
        assert said == [
            ("aaaaaa", None),
            ("bbbbbb", None),
            ("aaaaaa", False),
            ("aaaaaa", True),
            ("aaaaaa", None),
            ("bbbbbb", False),
            ("bbbbbb", True),
            ("bbbbbb", None),
            ("aaaaaa", False),
        ]


class TestSlots:
    @pytest.mark.parametrize(("name", "free"), [("bluegreen", 1), ("colors", 7)])
    def test_the_deploy_that_needs_a_draining_slot_is_blocked(self, name, free):
        run = Run(name, drain=DrainSettings(policy=After(48 * HOUR_S), check_every_s=60))
        for i in range(free + 1):
            run.deploy(f"{i:06x}", wait_s=600)
        assert run.outcomes == [Outcome.DONE] * (1 + free) + [Outcome.BLOCKED]
        assert "slot-0" in run.reason(free + 1) or "blue" in run.reason(free + 1)
        assert run.fleet.selected == f"{free - 1:06x}"

    @pytest.mark.parametrize(("drain_h", "blocked"), [(41.9, False), (42.1, True)])
    def test_eight_colors_every_six_hours_leave_a_drain_window_of_42_hours(self, drain_h, blocked):
        run = Run("colors", drain=DrainSettings(policy=After(drain_h * HOUR_S), check_every_s=60))
        for i in range(10):
            run.deploy(f"{i:06x}", wait_s=6 * HOUR_S)
        assert (Outcome.BLOCKED in run.outcomes) == blocked

    def test_every_slot_is_at_full_size_from_the_first_deploy_on(self):
        run = Run("colors")
        assert len(run.fleet.deployments) == 8
        for i in range(5):
            run.deploy(f"{i:06x}")
            assert sum(d.desired for d in run.fleet.deployments.values()) == 16

    def test_one_that_waits_starts_once_its_slot_is_free(self):
        run = Run("bluegreen", when_busy="wait")
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb")
        run.deploy("cccccc", wait_s=1000)
        assert run.outcomes[2] is None
        assert "chat-blue" in run.reason(2)
        assert len(run.done(Block)) == 1
        run.users("aaaaaa", 0)
        run.wait(30)
        assert run.outcomes[2] is Outcome.DONE

    def test_one_that_waited_past_the_progress_deadline_has_not_failed_for_it(self):
        run = Run("bluegreen", when_busy="wait", progress_deadline=60)
        for release in ("bbbbbb", "cccccc", "aaaaaa", "bbbbbb"):
            run.deploy(release, wait_s=30)
        run.users("bbbbbb", 5)
        run.deploy("cccccc")
        run.deploy("aaaaaa", wait_s=1000)
        assert run.outcomes[-1] is None
        run.cluster.startup_s = 50
        run.users("bbbbbb", 0)
        run.wait(100)
        assert run.outcomes[-1] is Outcome.DONE

    def test_the_first_release_is_selected_when_all_slots_are_ready(self):
        run = Run("colors", count=3, start=False)
        run.ask("aaaaaa", Kind.INITIAL)
        run.wait(0.5)
        run.cluster.crash(run.fleet.pods_of("chat-slot-2")[0].name)
        run.wait(0.9)
        assert run.fleet.selected is None
        run.wait(1)
        assert run.fleet.selected_slot == "slot-0"

    def test_force_takes_the_slot_with_its_users(self):
        run = Run("bluegreen", when_busy="force")
        run.users("aaaaaa", 5)
        run.deploy("bbbbbb")
        run.deploy("cccccc")
        assert run.outcomes[2] is Outcome.DONE
        assert set(run.releases.values()) == {"bbbbbb", "cccccc"}

    def test_force_does_not_take_a_slot_of_unknown_state(self):
        run = Run("bluegreen", when_busy="force")
        run.users("aaaaaa", None)
        run.deploy("bbbbbb")
        run.deploy("cccccc")
        assert run.outcomes[2] is Outcome.BLOCKED

    def test_the_slot_of_a_superseded_deploy_is_free(self):
        run = Run("bluegreen")
        run.users("aaaaaa", 5)
        run.ask("bbbbbb")
        run.wait(0.5)
        run.deploy("cccccc")
        assert run.releases == {"chat-blue": "aaaaaa", "chat-green": "cccccc"}

    def test_a_drained_slot_is_not_asked_again(self):
        run = Run("colors", count=3)
        run.deploy("bbbbbb", wait_s=100)
        before = len(run.steps)
        run.wait(10 * HOUR_S)
        assert len(run.steps) - before <= 2


class TestRainbow:
    def test_four_deploys_a_day_and_two_days_of_drain_keep_nine_releases_alive(self):
        """Little's law: one that serves and λD that drain; the peak has a tenth that starts."""
        run = Run("rainbow", drain=DrainSettings(policy=After(48 * HOUR_S), check_every_s=60))
        live = []
        for i in range(24):
            run.ask(f"{i:06x}")
            for _ in range(6):
                run.wait(HOUR_S)
                live.append(len(run.fleet.deployments))
        steady = live[9 * 6 :]
        assert sum(steady) / len(steady) == 9
        created = [t_s for t_s, a in run.journal.actions if isinstance(a, CreateDeployment)]
        deleted = [t_s for t_s, a in run.journal.actions if isinstance(a, DeleteDeployment)]
        peak = max(sum(t <= at for t in created) - sum(t <= at for t in deleted) for at in created)
        assert peak == 10

    def test_few_may_be_left(self):
        run = Run("rainbow", drain=DrainSettings(policy=Few(count=4), hold_s=2, check_every_s=10))
        run.users("aaaaaa", 2)
        run.deploy("bbbbbb", wait_s=30)
        assert run.releases == {"chat-bbbbbb": "bbbbbb"}
