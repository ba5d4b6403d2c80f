"""Verdicts: what may go, what may not, and since when."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.actions import Annotate
from deployer.draining import (
    After,
    DrainSettings,
    Empty,
    Few,
    Manual,
    WorthIt,
    draining_deployments,
    judge,
    needs_counts,
)
from deployer.draining.memory import BURN_DOWN
from deployer.draining.policies import KEEP
from deployer.fleet import (
    DESELECTED_AT,
    QUIET_SINCE,
    Count,
    Decision,
    Deployment,
    Fleet,
    Kind,
    Limits,
    Pod,
    PodState,
    Request,
    Verdict,
)

T0 = 1_700_000_000.0
HOUR = 3600.0


def deployment(name, release, annotations=None, slot=None, total=0):
    return Deployment(
        name, release, desired=2, total=total, updated=2, ready=2, updated_ready=2, created_s=0.0,
        progressed_s=0.0, slot=slot, annotations=annotations or {},
    )  # fmt: skip


def fleet(counts, annotations=None, states=None, total=0):
    """An old release with these counts (None: could not be asked) beside a selected one."""
    states = states or [PodState.READY] * len(counts)
    pods = tuple(
        Pod(f"old-{i}", "chat-old", "aaaaaa", state, 0.0, count=c if c is None else Count(*c))
        for i, (c, state) in enumerate(zip(counts, states, strict=True))
    )
    old = deployment("chat-old", "aaaaaa", {DESELECTED_AT: repr(T0)} | (annotations or {}), total=total)
    new = deployment("chat-new", "bbbbbb")
    return Fleet(
        "chat",
        Limits(2),
        requests=(Request(1, "bbbbbb", Kind.DEPLOY, T0),),
        deployments={d.name: d for d in (old, new)},
        pods=pods,
        selected="bbbbbb",
        selected_since_s=T0,
    )


def verdict(seen, settings, now_s) -> Verdict:
    (only,) = judge(seen, settings, now_s).verdicts
    return only


def remembered(seen, judgement):
    """The fleet once the judgement's annotations are written."""
    deployments = dict(seen.deployments)
    for note in judgement.annotations:
        old = deployments[note.deployment]
        kept = {k: v for k, v in old.annotations.items() if k != note.key}
        deployments[old.name] = replace(
            old, annotations=kept if note.value is None else kept | {note.key: note.value}
        )
    return replace(seen, deployments=deployments)


def play(looks, settings):
    """Decisions of a row of looks (seconds after T0, counts), each from the annotations of the last."""
    annotations, decisions = {}, []
    for after_s, counts in looks:
        seen = fleet(counts, annotations)
        judgement = judge(seen, settings, T0 + after_s)
        decisions.append(judgement.verdicts[0].decision)
        annotations = dict(remembered(seen, judgement).deployments["chat-old"].annotations)
    return decisions


counts_known = st.lists(
    st.integers(0, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=4
)
counting_policies = st.one_of(
    st.just(Empty()), st.builds(Few, count=st.integers(0, 30)), st.builds(Few, share=st.floats(0, 0.99))
)
times_s = st.floats(0, 1e6)


class TestUnknown:
    @given(
        counts=counts_known,
        at=st.integers(0, 4),
        policy=st.one_of(counting_policies, st.just(WorthIt(1.0, 0.001))),
        after_s=times_s,
        quiet_s=times_s,
        discount=st.booleans(),
        state=st.sampled_from([PodState.READY, PodState.UNREADY, PodState.TERMINATING]),
    )
    def test_one_pod_that_cannot_be_asked_makes_it_unknown_whatever_else_holds(
        self, counts, at, policy, after_s, quiet_s, discount, state
    ):
        counts = [*counts[:at], None, *counts[at:]]
        states = [state if c is None else PodState.READY for c in counts]
        settings = DrainSettings(policy, deadline_s=10.0, discount_silent=discount)
        seen = fleet(counts, {QUIET_SINCE: repr(T0 + quiet_s), BURN_DOWN: f"{T0!r}=100"}, states)
        judgement = judge(seen, settings, T0 + after_s)
        assert judgement.verdicts[0].decision is Decision.UNKNOWN
        assert not judgement.verdicts[0].may_go
        assert "old-" in judgement.verdicts[0].reason
        assert (
            Annotate("chat-old", QUIET_SINCE, None, "the drain condition does not hold")
            in judgement.annotations
        )

    def test_a_pod_that_the_deployment_has_and_nobody_saw_makes_it_unknown(self):
        found = verdict(fleet([(0, 0)], total=2), DrainSettings(deadline_s=1.0), T0 + HOUR)
        assert (found.decision, found.evidence["pods_unknown"]) == (Decision.UNKNOWN, 1)

    @pytest.mark.parametrize("policy", [Manual(), After(HOUR)])
    def test_policies_without_counts_are_never_unknown(self, policy):
        settings = DrainSettings(policy)
        assert not needs_counts(settings)
        assert verdict(fleet([None]), settings, T0).decision is Decision.KEEP

    @pytest.mark.parametrize("state", [PodState.PENDING, PodState.STARTING])
    def test_a_pod_that_was_never_ready_holds_nobody(self, state):
        seen = fleet([None], {QUIET_SINCE: repr(T0)}, [state], total=1)
        assert verdict(seen, DrainSettings(), T0 + 60).decision is Decision.DRAINED

    def test_unknown_is_looked_at_again_at_the_next_check(self):
        assert judge(fleet([None]), DrainSettings(check_every_s=7), T0 + 1).look_again_s == T0 + 8


class TestHold:
    def test_it_must_have_been_quiet_for_the_whole_hold(self):
        looks = [(0, [(0, 0)]), (59.9, [(0, 0)]), (60, [(0, 0)])]
        assert play(looks, DrainSettings(hold_s=60)) == [Decision.KEEP, Decision.KEEP, Decision.DRAINED]

    def test_a_single_connection_in_between_starts_it_anew(self):
        looks = [(0, [(0, 0)]), (30, [(1, 0)]), (40, [(0, 0)]), (99, [(0, 0)]), (100, [(0, 0)])]
        assert play(looks, DrainSettings(hold_s=60))[-2:] == [Decision.KEEP, Decision.DRAINED]

    def test_an_unknown_pod_in_between_starts_it_anew(self):
        looks = [(0, [(0, 0)]), (30, [None]), (40, [(0, 0)]), (99, [(0, 0)]), (100, [(0, 0)])]
        assert play(looks, DrainSettings(hold_s=60))[-2:] == [Decision.KEEP, Decision.DRAINED]

    @given(start_s=st.floats(0, 1e6), hold_s=st.floats(2, 1e5))
    def test_at_the_moment_announced_it_is_drained_and_not_before(self, start_s, hold_s):
        settings = DrainSettings(hold_s=hold_s, check_every_s=1e9)
        seen = fleet([(0, 0)])
        first = judge(seen, settings, T0 + start_s)
        assert first.verdicts[0].decision is Decision.KEEP
        later = remembered(seen, first)
        assert verdict(later, settings, first.look_again_s - 0.001).decision is Decision.KEEP
        assert verdict(later, settings, first.look_again_s).decision is Decision.DRAINED

    def test_every_pod_must_be_quiet(self):
        assert verdict(fleet([(0, 0), (1, 0)]), DrainSettings(), T0 + HOUR).decision is Decision.KEEP

    def test_a_terminating_pod_with_connections_counts(self):
        seen = fleet([(3, 0)], {QUIET_SINCE: repr(T0)}, [PodState.TERMINATING])
        assert verdict(seen, DrainSettings(), T0 + HOUR).evidence["open"] == 3

    def test_no_pods_at_all_is_quiet_but_held_too(self):
        assert play([(0, []), (60, [])], DrainSettings(hold_s=60)) == [Decision.KEEP, Decision.DRAINED]

    def test_quiet_before_this_deselection_does_not_count(self):
        seen = fleet([(0, 0)], {QUIET_SINCE: repr(T0 - HOUR)})
        assert verdict(seen, DrainSettings(hold_s=60), T0 + 10).evidence["quiet_s"] == 10

    @pytest.mark.parametrize("note", ["soon", "nan", repr(T0 + HOUR)])
    def test_a_note_of_quiet_that_cannot_be_is_not_believed(self, note):
        assert (
            verdict(fleet([(0, 0)], {QUIET_SINCE: note}), DrainSettings(), T0 + 600).decision is Decision.KEEP
        )


class TestMonotone:
    @given(
        pods=st.lists(st.tuples(*[st.integers(0, 10)] * 4), min_size=1, max_size=4),
        policy=counting_policies,
        discount=st.booleans(),
    )
    def test_fewer_connections_never_keep_what_more_let_go(self, pods, policy, discount):
        """Of each pod, so many that stay (live, silent) and so many that leave (live, silent)."""
        settings = DrainSettings(policy, discount_silent=discount)
        notes = {QUIET_SINCE: repr(T0), BURN_DOWN: f"{T0!r}=40"}
        more = [(live + silent + gone + lost, silent + lost) for live, silent, gone, lost in pods]
        less = [(live + silent, silent) for live, silent, _, _ in pods]
        if verdict(fleet(more, notes), settings, T0 + HOUR).may_go:
            assert verdict(fleet(less, notes), settings, T0 + HOUR).may_go


class TestMemory:
    @given(
        looks=st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 3)), min_size=1, max_size=12),
        policy=counting_policies,
    )
    def test_judging_twice_from_what_is_written_says_the_same(self, looks, policy):
        """All memory is in annotations: a second process at the same time agrees with the first."""
        settings = DrainSettings(policy, hold_s=60, deadline_s=500)
        annotations, now_s = {}, T0
        for after_s, n in looks:
            now_s += after_s
            seen = fleet([(n, 0)], annotations)
            first = judge(seen, settings, now_s)
            after = remembered(seen, first)
            again = judge(after, settings, now_s)
            assert again.verdicts == first.verdicts
            assert again.annotations == ()
            annotations = dict(after.deployments["chat-old"].annotations)

    def test_what_is_selected_or_wanted_again_loses_its_notes(self):
        seen = fleet([(0, 0)], {QUIET_SINCE: repr(T0), BURN_DOWN: f"{T0!r}=9"})
        back = judge(replace(seen, selected="aaaaaa", requests=()), DrainSettings(), T0 + 1)
        assert {(a.deployment, a.key, a.value) for a in back.annotations if a.deployment == "chat-old"} == {
            ("chat-old", QUIET_SINCE, None),
            ("chat-old", BURN_DOWN, None),
        }

    def test_the_burn_down_is_marked_at_the_start_and_at_each_half(self):
        annotations = {}
        for after_s, n in [(1, 100), (2, 80), (3, 50), (4, 26), (5, 12), (6, 0), (7, 0)]:
            seen = fleet([(n, 0)], annotations)
            after = remembered(seen, judge(seen, DrainSettings(), T0 + after_s))
            annotations = dict(after.deployments["chat-old"].annotations)
        assert [pair.partition("=")[2] for pair in annotations[BURN_DOWN].split()] == ["100", "50", "12", "0"]

    def test_without_a_deselection_time_it_counts_as_deselected_now(self):
        seen = fleet([(0, 0)], {QUIET_SINCE: repr(T0 - HOUR)})
        old = seen.deployments["chat-old"]
        old = replace(old, annotations={QUIET_SINCE: repr(T0 - HOUR)})
        seen = replace(seen, deployments=dict(seen.deployments) | {"chat-old": old})
        found = verdict(seen, DrainSettings(deadline_s=1.0), T0 + HOUR)
        assert (found.decision, found.evidence["deselected_s"]) == (Decision.KEEP, 0)

    def test_a_deselection_time_that_is_none_keeps_it_and_says_so(self):
        found = verdict(fleet([(0, 0)], {DESELECTED_AT: "noon"}), DrainSettings(After(0.0)), T0 + HOUR)
        assert found.decision is Decision.KEEP
        assert "'noon'" in found.reason


class TestPolicies:
    def test_after_goes_at_its_time_whoever_is_connected(self):
        settings = DrainSettings(After(HOUR))
        early = judge(fleet([None]), settings, T0 + 1)
        assert (early.verdicts[0].decision, early.look_again_s) == (Decision.KEEP, T0 + HOUR)
        assert verdict(fleet([None]), settings, T0 + HOUR).decision is Decision.DRAINED

    def test_manual_waits_for_its_deadline_if_it_has_one(self):
        assert judge(fleet([None]), DrainSettings(Manual()), T0 + 1e9).look_again_s is None
        timed = DrainSettings(Manual(), deadline_s=HOUR)
        assert verdict(fleet([None]), timed, T0 + HOUR - 1).decision is Decision.KEEP
        assert verdict(fleet([None]), timed, T0 + HOUR).decision is Decision.OVERDUE

    @pytest.mark.parametrize(("left", "decision"), [(5, Decision.DRAINED), (6, Decision.KEEP)])
    def test_few_lets_go_at_so_many(self, left, decision):
        seen = fleet([(left, 0)], {QUIET_SINCE: repr(T0)})
        assert verdict(seen, DrainSettings(Few(count=5)), T0 + 60).decision is decision

    @pytest.mark.parametrize(("left", "decision"), [(29, Decision.DRAINED), (30, Decision.KEEP)])
    def test_a_share_is_of_what_it_had_when_deselected(self, left, decision):
        seen = fleet([(left, 0)], {QUIET_SINCE: repr(T0), BURN_DOWN: f"{T0 + 1!r}=100"})
        found = verdict(seen, DrainSettings(Few(share=0.29)), T0 + 60)
        assert (found.decision, found.evidence["at_most"]) == (decision, 29)

    def test_a_share_of_an_earlier_deselection_is_not_used(self):
        seen = fleet([(29, 0)], {QUIET_SINCE: repr(T0), BURN_DOWN: f"{T0 - 1!r}=10000"})
        assert verdict(seen, DrainSettings(Few(share=0.29)), T0 + 60).evidence["at_most"] == 8

    def test_past_the_deadline_it_is_overdue_and_the_reason_tells_what_is_left(self):
        found = verdict(fleet([(7, 0)]), DrainSettings(deadline_s=HOUR), T0 + 2 * HOUR)
        assert found.decision is Decision.OVERDUE
        assert "7 connections are open" in found.reason

    def test_kept_warm_it_stays_though_drained(self):
        settings = DrainSettings(keep_warm_s=HOUR, check_every_s=1e9)
        judgement = judge(fleet([(0, 0)], {QUIET_SINCE: repr(T0)}), settings, T0 + 120)
        assert (judgement.verdicts[0].decision, judgement.look_again_s) == (Decision.KEEP, T0 + HOUR)

    @pytest.mark.parametrize("policy", [Empty(), After(0.0), Manual()])
    def test_a_pin_keeps_it_past_everything(self, policy):
        settings = DrainSettings(policy, deadline_s=1.0)
        found = verdict(fleet([(0, 0)], {KEEP: "asked by Ann", QUIET_SINCE: repr(T0)}), settings, T0 + HOUR)
        assert (found.decision, found.reason) == (Decision.KEEP, f"pinned by {KEEP}: asked by Ann")
        unpinned = fleet([(0, 0)], {KEEP: "false", QUIET_SINCE: repr(T0)})
        assert verdict(unpinned, settings, T0 + HOUR).may_go

    def test_silent_connections_are_discounted_only_if_asked_and_it_says_so(self):
        seen = fleet([(3, 3)], {QUIET_SINCE: repr(T0)})
        assert verdict(seen, DrainSettings(), T0 + 60).decision is Decision.KEEP
        found = verdict(seen, DrainSettings(discount_silent=True), T0 + 60)
        assert found.decision is Decision.DRAINED
        assert "3 silent, not counted" in found.reason


class TestWorthIt:
    MARKS = BURN_DOWN, f"{T0!r}=800 {T0 + HOUR!r}=400 {T0 + 2 * HOUR!r}=200 {T0 + 3 * HOUR!r}=100"

    def found(self, left, policy, deadline_s=None):
        seen = fleet([(left, 0)], dict([self.MARKS]) | {QUIET_SINCE: repr(T0)})
        return verdict(seen, DrainSettings(policy, deadline_s=deadline_s), T0 + 3.01 * HOUR)

    def test_it_waits_while_leaving_users_spare_more_than_the_pods_cost(self):
        # About 69 of 100 leave in the next hours, one pod is 0.05 an hour.
        assert self.found(100, WorthIt(0.05, 0.01)).decision is Decision.KEEP

    def test_it_goes_when_pods_cost_more_than_reconnects(self):
        found = self.found(100, WorthIt(50.0, 0.01))
        assert found.decision is Decision.DRAINED
        assert found.evidence["paid"] > found.evidence["spared"]
        assert "pod-hours" in found.reason

    def test_nothing_to_spare_before_a_near_deadline_is_not_waited_for(self):
        near = self.found(100, WorthIt(5.0, 0.1), deadline_s=3.02 * HOUR)
        assert near.evidence["wait_s"] <= 0.01 * HOUR + 1

    def test_it_waits_as_long_as_nothing_is_known(self):
        found = verdict(
            fleet([(100, 0)], {QUIET_SINCE: repr(T0)}), DrainSettings(WorthIt(1e6, 1e-6)), T0 + HOUR
        )
        assert (found.decision, "not known" in found.reason) == (Decision.KEEP, True)


class TestEvidence:
    def test_a_forecast_is_added_where_asked_for(self):
        marks = {BURN_DOWN: f"{T0!r}=100 {T0 + 100!r}=50 {T0 + 200!r}=25"}
        judgement = judge(fleet([(12, 0)], marks), DrainSettings(), T0 + 300, with_forecast=True)
        evidence = judgement.verdicts[0].evidence
        assert 0 < evidence["forecast_low_s"] < evidence["forecast_median_s"]
        assert "counts" in evidence["forecast_method"]

    def test_each_pod_is_told(self):
        evidence = verdict(fleet([(2, 1), (5, 0)]), DrainSettings(), T0 + 5).evidence
        told = {k: evidence[k] for k in ("pod/old-0", "pod/old-1", "open", "silent", "deselected_s")}
        assert told == {"pod/old-0": 2, "pod/old-1": 5, "open": 7, "silent": 1, "deselected_s": 5}


class TestWhoDrains:
    def test_nothing_where_the_service_selects_the_whole_app(self):
        seen = replace(fleet([(0, 0)]), selected=None)
        assert judge(seen, DrainSettings(), T0).verdicts == ()

    def test_neither_the_selected_nor_the_wanted_release(self):
        wanted = Request(2, "aaaaaa", Kind.ROLLBACK, T0)
        seen = fleet([(0, 0)])
        assert [d.name for d in draining_deployments(seen)] == ["chat-old"]
        assert draining_deployments(replace(seen, requests=(wanted,))) == ()

    def test_another_slot_with_the_selected_release_drains(self):
        blue, green = (deployment(f"chat-{s}", "bbbbbb", slot=s) for s in ("blue", "green"))
        seen = replace(fleet([]), deployments={d.name: d for d in (blue, green)}, selected_slot="green")
        assert [d.name for d in draining_deployments(seen)] == ["chat-blue"]
