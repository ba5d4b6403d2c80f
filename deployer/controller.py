"""Observe, judge, plan, act: one look at a cluster, and the loop that looks when something changed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deployer.actions import Action, Annotate, Block, LookAgain
from deployer.clusters import Cluster, ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.draining import DrainSettings, Judgement, judge, needs_counts, pins
from deployer.draining.memory import deselected_s, time_of
from deployer.fleet import SKEW_S, Decision, Deployment, Fleet, Kind, PodState, Verdict
from deployer.journal import Journal
from deployer.marks import DRAINED_AT, annotated, drains, is_selected, is_wanted, marks
from deployer.outage import Outage
from deployer.requests import rollback_due, settle, settled
from deployer.strategies import Strategy

RETRY_S = 1.0
"""After an action that did not reach the cluster."""
SHORTEST_WAIT_S = 0.1
"""Between two looks that nothing but time calls for, so that no plan can make the loop spin."""
LONGEST_WAIT_S = 60.0
"""The loop looks at least so often, should a change ever go unnoticed."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.5, 2.0
"""Between two tries on a cluster out of reach: so late it is noticed at most that it is back."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one look saw and did."""

    fleet: Fleet  # as it was planned from: with verdicts, and counts where pods were asked
    actions: tuple[Action, ...]  # carried out
    verdicts: tuple[Verdict, ...]
    look_again_s: float | None  # Unix time; None: only a change calls for another look
    unreached: str = ""  # why not all of the actions reached the cluster; empty where they did


def step(
    cluster: Cluster,
    strategy: Strategy,
    drain: DrainSettings,
    now_s: float,
    journal: Journal,
    rejected: Callable[[Action, RejectedError], None] | None = None,
) -> Step:
    """Look once at the cluster and do what is due.

    It may be cut off anywhere and started again: what it needs to know is on the cluster. Actions end at the
    first that does not reach the cluster, with a look again 1 s later. One that the cluster refuses for good is
    given to `rejected`, and the others are carried out all the same.
    Raises ClusterUnreachable where the cluster cannot even be seen, RejectedError where `rejected` is None.
    """
    fleet, due = _remembered(cluster.observe(), strategy, now_s)
    looks: list[float | None] = []
    if strategy.selects_release:
        pinning, look_s = pins(fleet, drain, now_s)
        fleet, due = annotated(fleet, pinning), (*due, *pinning)
        looks.append(look_s)
        counting = needs_counts(drain) or strategy.reads_counts
        if counting and (asked := _to_judge(fleet, now_s)):
            fleet = _counted(cluster, fleet, asked)
            looks.append(now_s + drain.check_every_s)
        known, judgement = _judged(fleet, drain, now_s)
        fleet = replace(annotated(fleet, judgement.annotations), verdicts=(*known, *judgement.verdicts))
        due += judgement.annotations
        looks.append(judgement.look_again_s)
        for verdict in judgement.verdicts:
            journal.verdict(now_s, verdict)
    planned = strategy.plan(fleet, now_s)
    looks += [a.at_s for a in planned if isinstance(a, LookAgain)]
    done: list[Action] = []
    unreached = ""
    try:
        for action in (*due, *planned):
            if not _changes_something(fleet, action):
                continue
            try:
                cluster.act(action)
            except RejectedError as error:
                if rejected is None:
                    raise
                rejected(action, error)
                continue
            journal.action(now_s, action)
            done.append(action)
        release = rollback_due(fleet, strategy.selects_release, strategy.auto_rollback)
        if release is not None:
            cluster.request(release, Kind.ROLLBACK)
    except ClusterUnreachable as error:
        unreached = str(error)
        looks.append(now_s + RETRY_S)
    return Step(fleet, tuple(done), tuple(fleet.verdicts), next_look_s(looks, now_s), unreached)


def next_look_s(looks: Iterable[float | None], now_s: float) -> float | None:
    """The earliest of these moments, but not sooner than 0.1 s from now; None if there is none."""
    earliest = min((look for look in looks if look is not None), default=None)
    return None if earliest is None else max(earliest, now_s + SHORTEST_WAIT_S)


def run(
    cluster: Cluster,
    strategy: Strategy,
    drain: DrainSettings,
    journal: Journal,
    watch: Callable[[int, float], int],
    clock: Callable[[], float],
    stop: threading.Event,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Look whenever an object has changed or a moment has come, until `stop` is set.

    `watch(version, timeout_s)` returns the cluster's version, as soon as it is another than the given one; -1
    is none's. A cluster out of reach is tried again after 0.5 s, 1 s, 2 s, 2 s …; `tell` hears a line when it goes
    and one when it is back.
    """
    version, wait_s, backoff_s, outage = -1, 0.0, FIRST_BACKOFF_S, Outage(tell)
    while not stop.is_set():
        try:
            version = watch(version, wait_s)
            if stop.is_set():
                return
            found = step(cluster, strategy, drain, clock(), journal)
        except ClusterUnreachable as error:
            outage.failed(error)
            stop.wait(backoff_s)
            version, wait_s, backoff_s = -1, 0.0, min(2 * backoff_s, LAST_BACKOFF_S)
            continue
        backoff_s, again_s = FIRST_BACKOFF_S, found.look_again_s
        if found.unreached:
            outage.failed(found.unreached)
        else:
            outage.answered()
        wait_s = LONGEST_WAIT_S if again_s is None else min(max(again_s - clock(), 0.0), LONGEST_WAIT_S)


def _remembered(seen: Fleet, strategy: Strategy, now_s: float) -> tuple[Fleet, tuple[Action, ...]]:
    """The fleet with what this look adds to its memory, and the writes that make it so."""
    outcomes = settle(seen, strategy.selects_release)
    fleet = settled(seen, outcomes, now_s)
    notes = marks(fleet, strategy.selects_release, now_s)
    return annotated(fleet, notes), (*outcomes, *notes)


def _counted(cluster: Cluster, fleet: Fleet, asked: Iterable[Deployment]) -> Fleet:
    """The fleet with what the pods of these Deployments say."""
    names = {d.name for d in asked}
    # A pod that has no node yet has no address either.
    there = [p.name for p in fleet.pods if p.deployment in names and p.state is not PodState.PENDING]
    counts = cluster.ask(there)
    pods = tuple(p.counted(counts[p.name]) if p.name in counts else p for p in fleet.pods)
    return replace(fleet, pods=pods)


def _judged(fleet: Fleet, drain: DrainSettings, now_s: float) -> tuple[tuple[Verdict, ...], Judgement]:
    """The verdicts that are known from before, and the judgement on the rest.

    A slot stays when it has drained, and is not judged again: nobody can have come since.
    """
    to_judge = _to_judge(fleet, now_s)
    in_use = [d for d in fleet.deployments.values() if is_selected(fleet, d) or is_wanted(fleet, d)]
    judgement = judge(replace(fleet, deployments={d.name: d for d in (*in_use, *to_judge)}), drain, now_s)
    found = [
        Annotate(v.deployment, DRAINED_AT, repr(float(now_s)), because=v.reason)
        for v in judgement.verdicts
        if v.decision is Decision.DRAINED and fleet.deployments[v.deployment].slot is not None
    ]
    reason = "it was found drained, and nobody can have come since"
    known = tuple(
        Verdict(d.release, d.name, Decision.DRAINED, reason, {"drained_at_s": time_of(d, DRAINED_AT)})
        for d in fleet.deployments.values()
        if drains(fleet, d) and _drained_before(d, now_s)
    )
    verdicts = tuple(_completed(fleet, v, drain) for v in judgement.verdicts)
    return known, replace(judgement, verdicts=verdicts, annotations=(*judgement.annotations, *found))


def _completed(fleet: Fleet, verdict: Verdict, drain: DrainSettings) -> Verdict:
    """With what the modifiers must know; where the last pod has left, there is nothing to wait for."""
    deployment = fleet.deployments[verdict.deployment]
    if deployment.annotations.get(drain.pin_annotation, "false").strip().lower() != "false":
        return replace(verdict, whole_until_s=math.inf)
    if deployment.desired == 0 and not fleet.pods_of(deployment.name):
        return replace(verdict, decision=Decision.DRAINED, reason="its last pod has left")
    since_s = deselected_s(deployment)
    if since_s is None:
        return replace(verdict, whole_until_s=math.inf)
    return replace(verdict, whole_until_s=since_s + max(drain.keep_warm_s, drain.hold_s))


def _to_judge(fleet: Fleet, now_s: float) -> list[Deployment]:
    return [d for d in fleet.deployments.values() if drains(fleet, d) and not _drained_before(d, now_s)]


def _drained_before(deployment: Deployment, now_s: float) -> bool:
    """Whether an earlier look found the slot drained; a time that it cannot have been noted at says nothing."""
    at_s, since_s = time_of(deployment, DRAINED_AT), deselected_s(deployment)
    if deployment.slot is None or at_s is None or since_s is None:
        return False
    return since_s - SKEW_S <= at_s <= now_s + SKEW_S


def _changes_something(fleet: Fleet, action: Action) -> bool:
    """Whether it is worth carrying out: not a moment, nor what a waiting request says already."""
    if isinstance(action, LookAgain):
        return False
    if isinstance(action, Block) and not action.drop:
        return all(r.reason != action.because for r in fleet.requests if r.deploy == action.deploy)
    return True
