"""One look at a cluster, and the loop around it."""

import threading
from dataclasses import replace

import pytest

from deployer.actions import Annotate, Block, DeleteDeployment, LookAgain, Settle
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.memory import MemoryCluster, play
from deployer.controller import next_look_s, run, step
from deployer.draining import After, DrainSettings, Manual
from deployer.fleet import Decision, Fleet, Kind, Limits, Outcome
from deployer.journal import MemoryJournal
from deployer.strategies import make

DRAIN = DrainSettings(hold_s=2, check_every_s=10)


class Fixed:
    """A strategy that always plans the same."""

    name = "fixed"
    selects_release = True
    reads_counts = False
    auto_rollback = 0
    shape = make("rainbow").shape

    def __init__(self, *actions):
        self.actions = actions

    def plan(self, fleet, now_s):
        return self.actions


def serving(name="rainbow", drain=DRAIN, **settings):
    """A cluster on which the first release serves."""
    strategy = make(name, settings)
    cluster = MemoryCluster("chat", strategy.shape, strategy.selects_release, Limits(2))
    cluster.request("aaaaaa", Kind.INITIAL)
    play(cluster, strategy, drain, MemoryJournal(), cluster.now_s + 5)
    return cluster, strategy


def draining(drain=DRAIN, users=3, **settings):
    """The same after a deploy, the old release with users."""
    cluster, strategy = serving(drain=drain, **settings)
    cluster.users = {p.name: users for p in cluster.observe().pods}
    cluster.request("bbbbbb", Kind.DEPLOY)
    play(cluster, strategy, drain, MemoryJournal(), cluster.now_s + 5)
    return cluster, strategy


def look(cluster, strategy, drain=DRAIN, journal=None):
    return step(cluster, strategy, drain, cluster.now_s, journal or MemoryJournal())


def test_moments_are_no_actions_and_nothing_of_them_is_recorded():
    cluster, _ = serving()
    journal = MemoryJournal()
    seen = look(cluster, Fixed(LookAgain(cluster.now_s + 7)), journal=journal)
    assert (seen.actions, journal.actions) == ((), [])
    assert seen.look_again_s == cluster.now_s + 7


def test_a_wait_is_recorded_when_its_reason_changes():
    cluster, _ = serving()
    deploy = cluster.request("bbbbbb", Kind.DEPLOY)
    journal = MemoryJournal()
    for because in ("slot 1 drains", "slot 1 drains", "slot 2 drains"):
        look(cluster, Fixed(Block(deploy, because, drop=False)), journal=journal)
    assert [a.because for _, a in journal.actions] == ["slot 1 drains", "slot 2 drains"]


def test_an_action_that_does_not_reach_the_cluster_ends_the_look_and_calls_for_one_in_a_second():
    cluster, _ = serving()
    wanted = [Annotate("chat-aaaaaa", key, "x") for key in ("one", "two", "three")]
    cluster.fail_after = 1
    journal = MemoryJournal()
    seen = look(cluster, Fixed(*wanted), journal=journal)
    assert seen.actions == tuple(wanted[:1])
    assert [a for _, a in journal.actions] == wanted[:1]
    assert seen.look_again_s == cluster.now_s + 1


def test_a_cluster_that_cannot_be_seen_is_the_callers_to_handle():
    cluster, strategy = serving()

    def away():
        raise ClusterUnreachable("away")

    cluster.observe = away
    with pytest.raises(ClusterUnreachable, match="away"):
        look(cluster, strategy)


@pytest.mark.parametrize("policy", [Manual(), After(1000)])
def test_pods_are_asked_only_where_the_policy_or_a_modifier_needs_it(policy):
    drain = replace(DRAIN, policy=policy)
    asked = []
    for settings in ({}, {"shrink": True}):
        cluster, strategy = draining(drain, **settings)
        cluster.ask = lambda pods: asked.append(tuple(pods)) or {}
        look(cluster, strategy, drain)
    assert [len(pods) for pods in asked] == [2]


def test_only_draining_pods_are_asked_and_again_after_the_set_time():
    cluster, strategy = draining()
    seen = look(cluster, strategy)
    assert {p.release for p in seen.fleet.pods if p.count is not None} == {"aaaaaa"}
    assert seen.look_again_s == cluster.now_s + DRAIN.check_every_s


def test_nothing_wakes_the_controller_where_nothing_drains():
    cluster, strategy = serving()
    assert look(cluster, strategy).look_again_s is None


def test_one_deployment_for_all_releases_gets_no_verdict():
    cluster, strategy = serving("rolling")
    cluster.request("bbbbbb", Kind.DEPLOY)
    assert look(cluster, strategy).verdicts == ()


def test_a_deselected_deployment_is_marked_with_the_time_of_the_switch():
    cluster, _ = draining()
    fleet = cluster.observe()
    assert (
        float(fleet.deployments["chat-aaaaaa"].annotations["drainbow.dev/deselected-at"])
        == fleet.selected_since_s
    )


def test_a_switch_whose_deployer_died_before_the_mark_is_marked_by_the_next_one():
    cluster, strategy = draining()
    at_s = cluster.observe().selected_since_s
    cluster.act(Annotate("chat-aaaaaa", "drainbow.dev/deselected-at", None))
    cluster.advance(cluster.now_s + 500)
    look(cluster, strategy)
    assert (
        float(cluster.observe().deployments["chat-aaaaaa"].annotations["drainbow.dev/deselected-at"]) == at_s
    )


def test_the_marks_of_a_drain_are_cleared_when_a_deployment_is_selected_again():
    cluster, strategy = draining(users=0, drain=replace(DRAIN, keep_warm_s=500))
    drain = replace(DRAIN, keep_warm_s=500)
    play(cluster, strategy, drain, MemoryJournal(), cluster.now_s + 50)
    assert "drainbow.dev/quiet-since" in cluster.observe().deployments["chat-aaaaaa"].annotations
    cluster.request("aaaaaa", Kind.ROLLBACK)
    play(cluster, strategy, drain, MemoryJournal(), cluster.now_s + 5)
    assert set(cluster.observe().deployments["chat-aaaaaa"].annotations) == {"drainbow.dev/selected-as"}


def test_a_deployment_that_somebody_else_made_drains_like_any_other_and_is_not_deleted_unasked():
    cluster, strategy = serving()
    cluster.act(replace_create(cluster))
    cluster.advance(cluster.now_s + 5)
    cluster.users = {p.name: 1 for p in cluster.observe().pods}
    play(cluster, strategy, DRAIN, MemoryJournal(), cluster.now_s + 100)
    assert "chat-ffffff" in cluster.observe().deployments
    cluster.users.clear()
    play(cluster, strategy, DRAIN, MemoryJournal(), cluster.now_s + 100)
    assert "chat-ffffff" not in cluster.observe().deployments


def test_a_release_that_was_done_once_drains_even_where_its_marks_were_lost():
    cluster, strategy = draining()
    for key in ("selected-as", "deselected-at"):
        cluster.act(Annotate("chat-aaaaaa", f"drainbow.dev/{key}", None))
    cluster.request("aaaaaa", Kind.ROLLBACK)
    cluster.request("cccccc", Kind.DEPLOY)
    play(cluster, strategy, DRAIN, MemoryJournal(), cluster.now_s + 50)
    assert cluster.observe().requests[2].outcome is Outcome.SUPERSEDED
    assert "chat-aaaaaa" in cluster.observe().deployments


def test_a_serving_deployment_that_somebody_deleted_is_made_again_even_at_the_cap():
    cluster, strategy = draining(max_releases=2)
    cluster.act(DeleteDeployment("chat-bbbbbb"))
    cluster.act(replace_create(cluster))
    cluster.users = {p.name: 3 for p in cluster.observe().pods}
    play(cluster, strategy, DRAIN, MemoryJournal(), cluster.now_s + 20)
    assert "chat-bbbbbb" in cluster.observe().deployments


def replace_create(cluster):
    created = next(a for _, a in cluster.acted if type(a).__name__ == "CreateDeployment")
    return replace(created, name="chat-ffffff", release="ffffff")


def test_verdicts_are_journaled_when_they_change_but_returned_each_time():
    cluster, strategy = draining()
    journal = MemoryJournal()
    first = look(cluster, strategy, journal=journal)
    cluster.advance(cluster.now_s + 10)
    second = look(cluster, strategy, journal=journal)
    assert len(first.verdicts) == len(second.verdicts) == len(journal.verdicts) == 1
    cluster.users = dict.fromkeys(cluster.users)
    look(cluster, strategy, journal=journal)
    assert [v.decision for _, v in journal.verdicts] == [Decision.KEEP, Decision.UNKNOWN]


def test_a_deploy_that_was_selected_before_a_newer_request_came_is_done():
    cluster, strategy = serving()
    cluster.request("bbbbbb", Kind.DEPLOY)
    while cluster.observe().selected != "bbbbbb":
        look(cluster, strategy)
        cluster.advance(cluster.now_s + 0.5)
    cluster.crash(next(p.name for p in cluster.observe().pods if p.release == "bbbbbb"))
    assert cluster.observe().requests[1].outcome is None
    cluster.request("cccccc", Kind.DEPLOY)
    assert look(cluster, strategy).actions[0] == Settle(1, Outcome.DONE, "bbbbbb serves")


def test_the_next_look_is_the_earliest_moment_but_never_at_once():
    assert next_look_s([None, 20.0, 15.0], 10.0) == 15.0
    assert next_look_s([None], 10.0) is None
    assert next_look_s([3.0], 10.0) == 10.1


class Loop:
    """A watch, a clock and an end for `run`, on the time of a cluster in memory."""

    def __init__(self, cluster, looks):
        self.cluster, self.left, self.waits, self.pauses, self.told = cluster, looks, [], [], []
        self.stop = threading.Event()
        self.stop.wait = self.pause

    def watch(self, version, timeout_s):
        self.waits.append(timeout_s)
        self.left -= 1
        if self.left <= 0:
            self.stop.set()
        if version == self.cluster.version:
            at_s = self.cluster.now_s + timeout_s
            event_s = self.cluster.next_event_s()
            self.cluster.advance(at_s if event_s is None else min(at_s, event_s))
        return self.cluster.version

    def pause(self, timeout=None):
        self.pauses.append(timeout)
        self.cluster.advance(self.cluster.now_s + timeout)
        return self.stop.is_set()

    def run(self, strategy, drain=DRAIN):
        clock = lambda: self.cluster.now_s  # noqa: E731
        run(self.cluster, strategy, drain, MemoryJournal(), self.watch, clock, self.stop, self.told.append)


def test_the_loop_deploys_and_then_sleeps_until_something_changes():
    strategy = make("rainbow")
    cluster = MemoryCluster("chat", strategy.shape, True, Limits(2))
    cluster.request("aaaaaa", Kind.INITIAL)
    loop = Loop(cluster, looks=12)
    loop.run(strategy)
    assert cluster.observe().selected == "aaaaaa"
    assert loop.waits[-1] == 60


def test_the_loop_counts_connections_at_the_set_pace():
    cluster, strategy = draining()
    loop = Loop(cluster, looks=6)
    loop.run(strategy)
    assert loop.waits[2:] == [10.0] * 4


def test_the_loop_outlives_an_unreachable_cluster_and_asks_less_and_less_often():
    cluster, strategy = draining()
    fleet = cluster.observe()
    answers = [*[ClusterUnreachable("away")] * 7, fleet, ClusterUnreachable("away"), fleet]

    def observe() -> Fleet:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cluster.observe = observe
    loop = Loop(cluster, looks=11)
    loop.run(strategy)
    assert loop.pauses == [0.5, 1.0, *[2.0] * 5, 0.5]
    assert len(loop.told) == 4
    assert loop.told[0] == loop.told[2] == "away; trying again until it answers"
    assert all(line.startswith("the cluster answers again, after ") for line in (loop.told[1], loop.told[3]))


def test_the_loop_says_once_that_its_writes_do_not_arrive():
    """Reads may be answered all the while, as where a webhook is down that has to admit each write."""
    cluster, strategy = serving()
    cluster.request("bbbbbb", Kind.DEPLOY)
    act, tries = cluster.act, []

    def failing(action):
        tries.append(action)
        if len(tries) < 5:
            raise ClusterUnreachable("failed calling webhook")
        act(action)

    cluster.act = failing
    loop = Loop(cluster, looks=20)
    loop.run(strategy)
    assert loop.told[0] == "failed calling webhook; trying again until it answers"
    assert len(loop.told) == 2
    assert cluster.observe().selected == "bbbbbb"


def test_an_action_that_is_refused_for_good_keeps_none_of_the_others_back():
    cluster, strategy = draining(drain=replace(DRAIN, policy=Manual()), users=0)
    look(cluster, strategy)
    cluster.advance(cluster.now_s + 3)
    cluster.request("cccccc", Kind.DEPLOY)
    act, refused = cluster.act, []

    def refusing(action):
        if isinstance(action, DeleteDeployment):
            raise RejectedError("may not delete")
        act(action)

    cluster.act = refusing
    with pytest.raises(RejectedError, match="may not delete"):
        look(cluster, strategy)
    journal = MemoryJournal()
    found = step(
        cluster,
        strategy,
        DRAIN,
        cluster.now_s,
        journal,
        lambda action, error: refused.append((action, str(error))),
    )
    ((action, why),) = refused
    assert (action.deployment, why) == ("chat-aaaaaa", "may not delete")
    assert "chat-cccccc" in cluster.observe().deployments
    assert action not in found.actions
    assert action not in [a for _, a in journal.actions]


def test_the_loop_ends_where_it_is_told_to_while_it_waits():
    cluster, strategy = serving()
    loop = Loop(cluster, looks=1)
    before = len(cluster.acted)
    cluster.request("bbbbbb", Kind.DEPLOY)
    loop.run(strategy)
    assert len(cluster.acted) == before
