"""Strategies played through on a cluster in memory: what becomes of deploys, users and old releases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    SetRelease,
)
from deployer.clusters.memory import MemoryCluster, play
from deployer.draining import After, DrainSettings, Empty, Few, Manual
from deployer.fleet import Kind, Limits, Outcome
from deployer.journal import MemoryJournal
from deployer.strategies import STRATEGIES, make

SELECTING = ["bluegreen", "colors", "rainbow", "immutable"]
PER_RELEASE = ["rainbow", "immutable"]
DRAIN = DrainSettings(hold_s=2, check_every_s=10)
HOUR_S = 3600.0


class Checked(MemoryCluster):
    """Holds every action against what may never happen."""

    def act(self, action):
        fleet = self.observe()
        if isinstance(action, Select):
            at = next(
                d for d in fleet.deployments.values() if (d.release, d.slot) == (action.release, action.slot)
            )
            assert at.ready == at.desired == fleet.limits.replicas, f"{at} is not ready"
        if isinstance(action, DeleteDeployment | SetRelease | Scale) and fleet.selected is not None:
            hit = fleet.deployments[action.deployment]
            if (hit.release, hit.slot) == (fleet.selected, fleet.selected_slot):
                assert isinstance(action, Scale)
                assert action.replicas >= hit.desired
        if not self.selects_release and any(r.outcome is Outcome.DONE for r in fleet.requests):
            assert not isinstance(action, DeleteDeployment)
            assert getattr(action, "replicas", fleet.limits.replicas) == fleet.limits.replicas
        super().act(action)


class Run:
    """One strategy on one cluster, with the words in which tests tell a story."""

    def __init__(self, name, drain=DRAIN, replicas=2, limits=None, start=True, **settings):
        self.strategy = make(name, settings)
        limits = limits or Limits(replicas)
        self.cluster = Checked("chat", self.strategy.shape, self.strategy.selects_release, limits)
        self.drain, self.journal, self.zero_s = drain, MemoryJournal(), self.cluster.now_s
        self.steps = []
        if start:
            self.ask("aaaaaa", Kind.INITIAL)
            self.wait(10)

    def ask(self, release, kind=Kind.DEPLOY):
        return self.cluster.request(release, kind)

    def wait(self, duration_s):
        until_s = self.cluster.now_s + duration_s
        self.steps += play(self.cluster, self.strategy, self.drain, self.journal, until_s)

    def deploy(self, release, kind=Kind.DEPLOY, wait_s=10):
        self.ask(release, kind)
        self.wait(wait_s)

    def users(self, release, count):
        for pod in self.pods(release):
            self.cluster.users[pod] = count

    def pods(self, release):
        return [p.name for p in self.fleet.pods if p.release == release]

    @property
    def fleet(self):
        return self.cluster.observe()

    @property
    def outcomes(self):
        return [r.outcome for r in self.fleet.requests]

    def reason(self, deploy):
        return next(r.reason for r in self.fleet.requests if r.deploy == deploy)

    def done(self, kind):
        return [a for _, a in self.journal.actions if isinstance(a, kind)]

    @property
    def releases(self):
        return {d.name: d.release for d in self.fleet.deployments.values()}


@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy:
    def test_deploys_are_done_when_the_new_release_serves_and_is_ready(self, name):
        run = Run(name)
        run.deploy("bbbbbb")
        assert run.outcomes == [Outcome.DONE, Outcome.DONE]
        ready = [p for p in run.fleet.pods if p.release == "bbbbbb" and p.ready_since_s is not None]
        assert len(ready) == 2
        assert run.fleet.selected == ("bbbbbb" if name in SELECTING else None)

    def test_nothing_is_left_to_do_once_the_goal_is_met(self, name):
        run = Run(name)
        run.deploy("bbbbbb")
        run.wait(200)
        before = len(run.journal.actions)
        run.wait(5000)
        assert len(run.journal.actions) == before

    def test_a_newer_request_supersedes_one_that_was_not_selected_yet(self, name):
        run = Run(name)
        run.ask("bbbbbb")
        run.wait(0.5)
        run.deploy("cccccc", wait_s=30)
        assert run.outcomes == [Outcome.DONE, Outcome.SUPERSEDED, Outcome.DONE]
        assert "bbbbbb" not in run.releases.values()

    def test_a_release_that_never_gets_ready_fails_and_the_old_one_serves_on(self, name):
        run = Run(name, progress_deadline=60)
        run.cluster.never_ready.add("bbbbbb")
        run.deploy("bbbbbb", wait_s=59)
        assert run.outcomes[1] is None
        run.wait(30)
        assert run.outcomes == [Outcome.DONE, Outcome.FAILED]
        assert "60 s" in run.reason(1)
        assert set(run.releases.values()) == {"aaaaaa"}
        assert len([p for p in run.fleet.pods if p.release == "aaaaaa" and p.ready_since_s]) >= 2

    def test_a_first_release_that_never_gets_ready_is_cleaned_up(self, name):
        run = Run(name, start=False, progress_deadline=60)
        run.cluster.never_ready.add("aaaaaa")
        run.deploy("aaaaaa", Kind.INITIAL, wait_s=100)
        assert run.outcomes == [Outcome.FAILED]
        assert run.releases == {}

    def test_slow_progress_is_no_failure(self, name):
        run = Run(name, progress_deadline=60)
        run.cluster.startup_s = 50
        run.deploy("bbbbbb", wait_s=300)
        assert run.outcomes == [Outcome.DONE, Outcome.DONE]

    def test_a_release_is_refused_that_the_nodes_cannot_hold(self, name):
        run = Run(name, start=False, limits=Limits(4, capacity_pods=3))
        run.deploy("aaaaaa", Kind.INITIAL)
        assert run.outcomes == [Outcome.REFUSED]
        assert "3" in run.reason(0)
        assert run.releases == {}

    def test_a_release_is_refused_that_no_object_can_be_named_after(self, name):
        run = Run(name)
        run.deploy("Not_a_name")
        assert run.outcomes == [Outcome.DONE, Outcome.REFUSED]
        assert "Not_a_name" in run.reason(1)

    def test_the_serving_release_asked_for_again_is_done_at_once(self, name):
        run = Run(name)
        before = len(run.done((Select, SetRelease, CreateDeployment)))
        run.deploy("aaaaaa")
        assert run.outcomes == [Outcome.DONE, Outcome.DONE]
        assert len(run.done((Select, SetRelease, CreateDeployment))) == before

    def test_crashes_after_the_switch_are_reported_but_not_rolled_back(self, name):
        run = Run(name)
        run.deploy("bbbbbb")
        run.cluster.crash(run.pods("bbbbbb")[0])
        run.wait(10)
        assert len(run.outcomes) == 2
        reported = [a for a in run.done(object) if getattr(a, "key", "").endswith("/crashes") and a.value]
        assert [a.value for a in reported] == ["1"]

    def test_crashes_roll_back_by_themselves_only_where_that_is_set_and_only_once(self, name):
        run = Run(name, auto_rollback=2)
        run.deploy("bbbbbb")
        pod = run.pods("bbbbbb")[0]
        run.cluster.crash(pod)
        run.wait(10)
        assert len(run.outcomes) == 2
        run.cluster.crash(pod)
        run.wait(30)
        assert [(r.release, r.kind) for r in run.fleet.requests][2:] == [("aaaaaa", Kind.ROLLBACK)]
        for pod in run.pods("aaaaaa"):
            for _ in range(3):
                run.cluster.crash(pod)
        run.wait(50)
        assert len(run.outcomes) == 3

    def test_pods_must_have_been_ready_for_a_while_where_that_is_set(self, name):
        run = Run(name, min_ready=30, start=False)
        run.deploy("aaaaaa", Kind.INITIAL, wait_s=40)
        asked_s = run.cluster.now_s
        run.deploy("bbbbbb", wait_s=200)
        kind = Select if name in SELECTING else SetRelease
        last_s = max(t_s for t_s, a in run.journal.actions if isinstance(a, kind))
        assert run.outcomes == [Outcome.DONE, Outcome.DONE]
        if name in SELECTING:
            assert last_s >= asked_s + 31


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


def end_of(run):
    """What is left of a run, whenever things happened."""
    fleet = run.fleet
    return (
        fleet.selected,
        fleet.selected_slot,
        {(d.name, d.release, d.desired, d.ready) for d in fleet.deployments.values()},
        [(r.release, r.kind, r.outcome) for r in fleet.requests],
        [(a.release, a.slot) for a in run.done(Select)],
    )


def story(name, kill_at=None):
    """A deploy with users, a rollback, another deploy, and everyone leaves."""
    settings_of = {"colors": {"count": 3}}.get(name, {})
    modifiers = {"shrink": True} if name in SELECTING else {}
    run = Run(name, start=False, **settings_of, **modifiers)
    run.cluster.fail_after = kill_at
    run.deploy("aaaaaa", Kind.INITIAL)
    run.users("aaaaaa", 2)
    run.deploy("bbbbbb", wait_s=20)
    run.deploy("aaaaaa", Kind.ROLLBACK, wait_s=20)
    run.deploy("cccccc", wait_s=100)
    run.cluster.users.clear()
    run.wait(200)
    return run


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_deployer_that_dies_between_any_two_actions_and_starts_again_changes_nothing(name):
    whole = story(name)
    for kill_at in range(len(whole.cluster.acted)):
        assert end_of(story(name, kill_at)) == end_of(whole), kill_at


EVENTS = st.one_of(
    st.tuples(st.just("deploy"), st.sampled_from(["aaaaaa", "bbbbbb", "cccccc", "dddddd"])),
    st.tuples(st.just("users"), st.sampled_from([None, 0, 0, 3])),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.5, 10, 100])),
    st.tuples(st.just("crash"), st.integers(0, 5)),
    st.tuples(st.just("die"), st.integers(0, 5)),
)


@pytest.mark.parametrize(
    ("name", "given_settings"),
    [
        ("rolling", {"auto_rollback": 2}),
        ("graceful", {"max_unavailable": 0}),
        ("recreate", {}),
        ("bluegreen", {"when_busy": "force", "shrink": True, "auto_rollback": 1}),
        ("colors", {"count": 3, "when_busy": "wait"}),
        ("rainbow", {"shrink": True, "max_releases": 3, "at_cap": "retire_oldest"}),
        ("immutable", {"nudge": {"after": 50, "per_s": 1}}),
    ],
)
@settings(max_examples=20, deadline=None)
@given(events=st.lists(EVENTS, max_size=12), bad=st.sampled_from([None, "cccccc"]))
def test_any_story_comes_to_rest_with_every_request_settled(name, given_settings, events, bad):
    run = Run(name, progress_deadline=60, **given_settings)
    if bad:
        run.cluster.never_ready.add(bad)
    for what, value in events:
        pods = [p.name for p in run.fleet.pods]
        if what == "deploy":
            run.ask(value)
        elif what == "users" and pods:
            run.cluster.users = dict.fromkeys(pods, value)
        elif what == "wait":
            run.wait(value)
        elif what == "crash" and pods:
            run.cluster.crash(pods[value % len(pods)])
        elif what == "die":
            run.cluster.fail_after = value
    run.cluster.users.clear()
    run.wait(2000)
    assert None not in run.outcomes
    before = len(run.journal.actions)
    run.wait(2000)
    assert len(run.journal.actions) == before
    wanted = run.fleet.goal.release
    assert run.fleet.selected == (wanted if name in SELECTING else None)
    assert len(run.done(Select)) <= len(run.outcomes)
