"""Strategies played through on a cluster in memory: what holds for every one of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.actions import (
    CreateDeployment,
    Select,
    SetRelease,
)
from deployer.fleet import Kind, Limits, Outcome
from deployer.strategies import STRATEGIES
from tests.test_deployer.stories import SELECTING, Run


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
