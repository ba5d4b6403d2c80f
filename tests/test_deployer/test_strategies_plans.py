"""What no strategy may plan, whatever the fleet looks like."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deployer.actions import (
    Annotate,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    MarkForDeletion,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.fleet import (
    DESELECTED_AT,
    Count,
    Decision,
    Deployment,
    Fleet,
    Kind,
    Limits,
    Outcome,
    Pod,
    PodState,
    Request,
    Verdict,
)
from deployer.marks import BEGUN_AT, SELECTED_AS, is_selected
from deployer.strategies import STRATEGIES, make

FEW = hypothesis_settings(max_examples=25, deadline=None)
NOW_S = 1_000_000.0
RELEASES = ("aaaaaa", "bbbbbb", "cccccc", "dddddd")
SETTINGS = {
    "recreate": [{}],
    "rolling": [{}, {"max_unavailable": 0}],
    "graceful": [{}],
    "bluegreen": [{}, {"when_busy": "force", "shrink": True}],
    "colors": [{"count": 3}, {"count": 3, "when_busy": "wait"}, {"count": 3, "when_busy": "force"}],
    "rainbow": [
        {},
        {"shrink": True, "nudge": {"after": 10, "per_s": 1}},
        {"max_releases": 2, "at_cap": "retire_oldest"},
        {"max_releases": 2},
    ],
    "immutable": [{}, {"max_releases": 3, "at_cap": "retire_oldest", "min_ready": 5}],
}
CASES = [(name, settings) for name in STRATEGIES for settings in SETTINGS[name]]
ago_s = st.floats(0, 5000).map(lambda s: NOW_S - s)


@st.composite
def pods_of(draw, name, release):
    """A Deployment's pods, in any state."""
    pods = []
    for i in range(draw(st.integers(0, 3))):
        state = draw(st.sampled_from([*[PodState.READY] * 8, *PodState]))
        count = draw(st.sampled_from([Count(0), Count(0), Count(0), Count(2), None]))
        ready_s = draw(ago_s) if state is PodState.READY else None
        cost = draw(st.sampled_from([0, 0, -1]))
        pods.append(
            Pod(
                f"{name}-{i}",
                name,
                release,
                state,
                NOW_S - 5000,
                ready_since_s=ready_s,
                deletion_cost=cost,
                count=count,
            )
        )
    return pods


@st.composite
def fleets(draw, strategy):
    """Any fleet of this strategy, sane or not; verdicts are on Deployments neither selected nor wanted."""
    if not strategy.selects_release:
        names = [("chat", None)]
    elif hasattr(strategy, "slots"):
        names = [(f"chat-{slot}", slot) for slot in strategy.slots]
    else:
        names = [(f"chat-{release}", None) for release in RELEASES]
    deployments, pods = {}, []
    for name, slot in names:
        if draw(st.integers(0, 5)) == 0:
            continue
        own = name.removeprefix("chat-") in RELEASES
        release = name.removeprefix("chat-") if own else draw(st.sampled_from(RELEASES))
        mine = draw(pods_of(name, release))
        alive = [p for p in mine if p.state is not PodState.TERMINATING]
        ready = sum(p.state is PodState.READY for p in alive)
        annotations = {}
        if draw(st.booleans()):
            annotations[SELECTED_AS] = f"{draw(st.sampled_from((release, 'eeeeee')))}/0"
        if draw(st.booleans()):
            annotations[DESELECTED_AT] = str(draw(ago_s))
        deployments[name] = Deployment(
            name=name,
            release=release,
            desired=draw(st.sampled_from([len(alive), len(alive), 2])),
            total=len(alive),
            updated=len(alive),
            ready=ready,
            updated_ready=ready,
            created_s=NOW_S - 5000,
            progressed_s=draw(ago_s),
            slot=slot,
            annotations=annotations,
        )
        pods += mine
    outcomes = draw(st.lists(st.sampled_from([None, *Outcome]), max_size=4))
    requests = tuple(
        Request(n, draw(st.sampled_from(RELEASES)), Kind.DEPLOY if n else Kind.INITIAL, draw(ago_s), outcome)
        for n, outcome in enumerate(outcomes)
    )
    fleet = Fleet(
        "chat",
        Limits(2, capacity_pods=draw(st.none() | st.integers(1, 12))),
        requests,
        deployments,
        tuple(pods),
    )
    if strategy.selects_release and deployments and draw(st.booleans()):
        at = deployments[draw(st.sampled_from(sorted(deployments)))]
        fleet = replace(fleet, selected=at.release, selected_slot=at.slot, selected_since_s=NOW_S - 100)
    judged = [d for d in deployments.values() if d.release != fleet.wanted and not is_selected(fleet, d)]
    verdicts = tuple(
        Verdict(d.release, d.name, draw(st.sampled_from(Decision)), "drawn")
        for d in judged
        if fleet.selected is not None and draw(st.integers(0, 4))
    )
    return replace(fleet, verdicts=verdicts)


def any_strategy(*names):
    cases = [(name, settings) for name, settings in CASES if not names or name in names]
    return pytest.mark.parametrize(("name", "settings"), cases)


def selecting():
    return any_strategy("bluegreen", "colors", "rainbow", "immutable")


@selecting()
@FEW
@given(data=st.data())
def test_only_a_ready_release_is_ever_selected(name, settings, data):
    strategy = make(name, settings)
    fleet = data.draw(fleets(strategy))
    for action in strategy.plan(fleet, NOW_S):
        if isinstance(action, Select):
            chosen = [
                d for d in fleet.deployments.values() if d.release == action.release and d.slot == action.slot
            ]
            assert all(d.ready == d.total == d.desired >= fleet.limits.replicas for d in chosen)
            assert chosen


@selecting()
@FEW
@given(data=st.data())
def test_the_selected_release_is_never_deleted_shrunk_or_overwritten(name, settings, data):
    strategy = make(name, settings)
    fleet = data.draw(fleets(strategy))
    serving = next((d for d in fleet.deployments.values() if is_selected(fleet, d)), None)
    for action in strategy.plan(fleet, NOW_S):
        if serving is None or getattr(action, "deployment", None) != serving.name:
            continue
        assert not isinstance(action, DeleteDeployment | SetRelease)
        assert not (isinstance(action, Scale) and action.replicas < serving.desired)


@selecting()
@FEW
@given(data=st.data())
def test_nothing_of_an_unknown_release_is_taken_away(name, settings, data):
    strategy = make(name, settings)
    fleet = data.draw(fleets(strategy))
    unknown = {v.deployment for v in fleet.verdicts if v.decision is Decision.UNKNOWN}
    users = {
        d.name
        for d in fleet.deployments.values()
        if d.name in unknown
        and (DESELECTED_AT in d.annotations or d.annotations.get(SELECTED_AS, "").startswith(d.release))
    }
    for action in strategy.plan(fleet, NOW_S):
        if isinstance(action, MarkForDeletion):
            assert not {p.deployment for p in fleet.pods if p.name in action.costs} & users
        elif isinstance(action, DeleteDeployment | SetRelease | Scale) and action.deployment in users:
            slot_never_served = fleet.deployments[action.deployment].slot is not None and not (
                fleet.deployments[action.deployment]
                .annotations.get(SELECTED_AS, "")
                .startswith(fleet.deployments[action.deployment].release)
            )
            assert slot_never_served


@any_strategy()
@FEW
@given(data=st.data())
def test_a_plan_switches_once_at_most_and_names_each_deployment_once(name, settings, data):
    strategy = make(name, settings)
    plan = strategy.plan(data.draw(fleets(strategy)), NOW_S)
    assert sum(isinstance(a, Select) for a in plan) <= 1
    for kind in (CreateDeployment, DeleteDeployment, SetRelease, Scale):
        named = [
            a.name if isinstance(a, CreateDeployment) else a.deployment for a in plan if isinstance(a, kind)
        ]
        assert len(named) == len(set(named))


@any_strategy()
@FEW
@given(data=st.data())
def test_the_same_fleet_gives_the_same_plan_and_no_moment_lies_in_the_past(name, settings, data):
    strategy = make(name, settings)
    fleet = data.draw(fleets(strategy))
    plan = strategy.plan(fleet, NOW_S)
    assert list(plan) == list(make(name, settings).plan(fleet, NOW_S))
    assert all(a.at_s > NOW_S for a in plan if isinstance(a, LookAgain))


@pytest.mark.parametrize("name", ["rolling", "bluegreen", "rainbow"])
def test_a_roll_out_that_the_cluster_has_not_taken_up_yet_has_not_failed(name):
    """The request waited for long, and the Deployment's own time of progress is of its last roll-out."""
    strategy = make(name, {"progress_deadline": 60})
    names = {"rolling": "chat", "bluegreen": "chat-green", "rainbow": "chat-bbbbbb"}
    slot = "green" if name == "bluegreen" else None
    old_s = NOW_S - 5000
    new = Deployment(names[name], "bbbbbb", 2, 2, 0, 1, 0, old_s, old_s, slot, {BEGUN_AT: str(NOW_S - 1)})
    blue = Deployment("chat-blue", "aaaaaa", 2, 2, 2, 2, 2, old_s, old_s, "blue", {SELECTED_AS: "aaaaaa/0"})
    requests = (
        Request(0, "aaaaaa", Kind.INITIAL, old_s, Outcome.DONE),
        Request(1, "bbbbbb", Kind.DEPLOY, old_s),
    )
    fleet = Fleet("chat", Limits(2), requests, {d.name: d for d in (new, blue)})
    if strategy.selects_release:
        fleet = replace(fleet, selected="aaaaaa", selected_slot="blue", selected_since_s=old_s)
    plan = list(strategy.plan(fleet, NOW_S))
    assert LookAgain(NOW_S + 59, because="the progress deadline") in plan
    assert not [a for a in plan if isinstance(a, Settle | DeleteDeployment)]
    assert any(isinstance(a, Settle) for a in strategy.plan(fleet, NOW_S + 59))


def served(name, release, slot=None, **annotations):
    """A Deployment whose two pods are ready, and these pods, with no connection."""
    pods = [
        Pod(f"{name}-{i}", name, release, PodState.READY, NOW_S - 5000, NOW_S - 4000, count=Count(0))
        for i in range(2)
    ]
    created_s = NOW_S - 5000
    return Deployment(name, release, 2, 2, 2, 2, 2, created_s, created_s, slot, annotations), pods


@pytest.mark.parametrize("name", ["rainbow", "immutable"])
@pytest.mark.parametrize("decision", [Decision.KEEP, Decision.UNKNOWN])
def test_empty_pods_leave_unless_their_release_is_of_unknown_state(name, decision):
    strategy = make(name, {"shrink": True, "nudge": {"after": 10, "per_s": 1}})
    old, old_pods = served("chat-aaaaaa", "aaaaaa", **{DESELECTED_AT: str(NOW_S - 100)})
    old_pods[1] = replace(old_pods[1], count=Count(3))
    new, new_pods = served("chat-bbbbbb", "bbbbbb", **{SELECTED_AS: "bbbbbb/0"})
    fleet = Fleet(
        "chat",
        Limits(2),
        (Request(1, "bbbbbb", Kind.DEPLOY, NOW_S - 200, Outcome.DONE),),
        {d.name: d for d in (old, new)},
        (*old_pods, *new_pods),
        "bbbbbb",
        None,
        NOW_S - 100,
        (Verdict("aaaaaa", "chat-aaaaaa", decision, "drawn"),),
    )
    plan = strategy.plan(fleet, NOW_S)
    taken = [a for a in plan if isinstance(a, MarkForDeletion | CloseConnections)]
    assert len(taken) == (2 if decision is Decision.KEEP else 0)


@pytest.mark.parametrize("name", ["recreate", "rolling", "graceful", "bluegreen"])
def test_the_beginning_of_a_roll_out_is_noted_before_it_begins(name):
    strategy = make(name)
    slots = ["blue", "green"] if name == "bluegreen" else [None]
    made = [served(f"chat-{slot}" if slot else "chat", "aaaaaa", slot) for slot in slots]
    fleet = Fleet(
        "chat",
        Limits(2),
        (Request(1, "bbbbbb", Kind.DEPLOY, NOW_S),),
        {d.name: d for d, _ in made},
        tuple(p for _, pods in made for p in pods),
    )
    if slots[0]:
        fleet = replace(fleet, selected="aaaaaa", selected_slot="blue", selected_since_s=NOW_S - 100)
    plan = strategy.plan(fleet, NOW_S)
    at = "chat-green" if slots[0] else "chat"
    noted, begun = [(type(a), a.deployment) for a in plan]
    assert (noted, begun) == ((Annotate, at), (SetRelease, at))


@any_strategy()
def test_an_empty_fleet_without_a_request_needs_nothing(name, settings):
    assert list(make(name, settings).plan(Fleet("chat", Limits(2)), NOW_S)) == []


@pytest.mark.parametrize("name", ["bluegreen", "rainbow"])
def test_a_machine_whose_clock_is_late_switches_no_later(name):
    """The cluster's moments are on the cluster's clock, and what is ready now is ready."""
    late_s = NOW_S - 300.0
    fleet = come(name, now_s=NOW_S)
    (switch,) = [a for a in make(name).plan(fleet, late_s) if isinstance(a, Select | LookAgain)]
    assert isinstance(switch, Select)


def come(name, now_s):
    """Release bbbbbb is wanted, and all of its pods have just become ready."""
    slots = (None, None) if name == "rainbow" else ("blue", "green")
    names = ("chat-aaaaaa", "chat-bbbbbb") if name == "rainbow" else ("chat-blue", "chat-green")
    deployments, pods = {}, []
    for title, slot, release in zip(names, slots, RELEASES, strict=False):
        deployments[title] = Deployment(title, release, 2, 2, 2, 2, 2, now_s - 10, now_s, slot=slot)
        pods += [
            Pod(f"{title}-{n}", title, release, PodState.READY, now_s - 10, ready_since_s=now_s)
            for n in (0, 1)
        ]
    requests = (
        Request(0, "aaaaaa", Kind.INITIAL, now_s - 900, Outcome.DONE, settled_s=now_s - 900),
        Request(1, "bbbbbb", Kind.DEPLOY, now_s - 20),
    )
    return Fleet("chat", Limits(2), requests, deployments, pods, "aaaaaa", slots[0], now_s - 900)
