"""Verdicts on draining Deployments: a pure function of what is seen, with all memory in annotations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployer.actions import Annotate
from deployer.draining import memory, wording
from deployer.draining.conditions import Condition, Tally, condition
from deployer.draining.policies import After, DrainSettings, Manual, needs_counts
from deployer.fleet import DESELECTED_AT, QUIET_SINCE, SKEW_S, Decision, Deployment, Fleet, Verdict

Evidence = dict[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a look at the draining Deployments gave."""

    verdicts: tuple[Verdict, ...] = ()
    annotations: tuple[Annotate, ...] = ()  # what must be remembered; to be written before acting on it
    look_again_s: float | None = None  # Unix time after now; None: only a change calls for it


def draining_deployments(fleet: Fleet) -> tuple[Deployment, ...]:
    """The Deployments that are neither selected nor wanted, oldest first.

    Empty where nothing is selected: a Service that selects the whole app deselects no Deployment.
    """
    if fleet.selected is None:
        return ()
    found = (d for d in fleet.deployments.values() if not _is_selected(fleet, d) and not _is_wanted(fleet, d))
    return tuple(sorted(found, key=lambda d: (d.created_s, d.name)))


def _is_selected(fleet: Fleet, deployment: Deployment) -> bool:
    in_slot = fleet.selected_slot is None or deployment.slot == fleet.selected_slot
    return deployment.release == fleet.selected and in_slot


def _is_wanted(fleet: Fleet, deployment: Deployment) -> bool:
    # Once the wanted release is selected, the Deployment that has it is known: another slot of the same
    # release is an old one.
    return deployment.release == fleet.wanted and not (
        fleet.selected == fleet.wanted and fleet.selected_slot is not None
    )


def judge(fleet: Fleet, settings: DrainSettings, now_s: float, *, with_forecast: bool = False) -> Judgement:
    """May the old releases go?

    Fails closed: under a policy that needs counts, a pod that could not be asked makes its Deployment
    `unknown`, and `unknown` beats `overdue`. Nothing is remembered between calls but what the annotations
    say, so that a new process comes to the same verdicts. A Deployment without DESELECTED_AT counts as
    deselected now.

    `with_forecast` adds to the evidence when the policy's condition will hold; it costs some milliseconds a
    Deployment, so loops over simulated weeks leave it out.
    """
    draining = draining_deployments(fleet)
    looks = [_look(fleet, deployment, settings, now_s, with_forecast) for deployment in draining]
    names = {deployment.name for deployment in draining}
    in_use = (d for d in fleet.deployments.values() if d.name not in names)
    moments = [look.again_s for look in looks if look.again_s is not None]
    return Judgement(
        verdicts=tuple(look.verdict for look in looks),
        annotations=(
            *(note for look in looks for note in look.annotations),
            *(note for deployment in in_use for note in memory.forget(deployment)),
        ),
        look_again_s=min(moments, default=None),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    verdict: Verdict
    annotations: tuple[Annotate, ...] = ()
    again_s: float | None = None


def _look(
    fleet: Fleet, deployment: Deployment, settings: DrainSettings, now_s: float, forecast: bool
) -> _Look:
    deselected_s = memory.deselected_s(deployment)
    since_s = now_s if deselected_s is None else min(deselected_s, now_s)
    case = _Case(deployment, settings, now_s, since_s)
    evidence: Evidence = {"deselected_s": now_s - since_s, "deadline_s": settings.deadline_s}

    pin = deployment.annotations.get(settings.pin_annotation)
    if pin is not None and pin.strip().lower() != "false":
        reason = f"pinned by {settings.pin_annotation}" + ("" if _says_only_yes(pin) else f": {pin}")
        return case.keep(reason, evidence, ())
    if deselected_s is None and DESELECTED_AT in deployment.annotations:
        text = deployment.annotations[DESELECTED_AT]
        reason = f"{DESELECTED_AT}={text!r} is no time in Unix seconds since its creation; remove it, and it is written anew"
        return case.keep(reason, evidence, ())
    if deselected_s is not None and deselected_s > now_s + SKEW_S:
        ahead = wording.span(deselected_s - now_s)
        reason = f"{DESELECTED_AT}={deselected_s!r} is {ahead} ahead; remove it, and it is written anew"
        return case.keep(reason, evidence, ())
    if not needs_counts(settings):
        return _by_time(case, evidence)
    return _by_counts(fleet, case, evidence, forecast)


def _says_only_yes(pin: str) -> bool:
    return pin.strip().lower() in ("", "true", "yes")


@dataclass(frozen=True, slots=True)
class _Case:
    """One draining Deployment and the moments that matter to it."""

    deployment: Deployment
    settings: DrainSettings
    now_s: float
    since_s: float  # of its deselection

    @property
    def deadline_at_s(self) -> float | None:
        return None if self.settings.deadline_s is None else self.since_s + self.settings.deadline_s

    @property
    def warm_until_s(self) -> float:
        return self.since_s + self.settings.keep_warm_s

    @property
    def is_overdue(self) -> bool:
        return self.deadline_at_s is not None and self.now_s >= self.deadline_at_s

    @property
    def is_warm(self) -> bool:
        return self.now_s < self.warm_until_s

    def say(
        self,
        decision: Decision,
        reason: str,
        evidence: Evidence,
        notes: Iterable[Annotate] = (),
        again_s: Iterable[float | None] = (),
    ) -> _Look:
        verdict = Verdict(self.deployment.release, self.deployment.name, decision, reason, evidence)
        later = [moment for moment in again_s if moment is not None and moment > self.now_s]
        return _Look(verdict, tuple(notes), min(later, default=None))

    def keep(self, reason: str, evidence: Evidence, again_s: Iterable[float | None]) -> _Look:
        # What is not watched is not quiet: a pinned release starts its hold anew.
        return self.say(Decision.KEEP, reason, evidence, memory.quiet(self.deployment, None), again_s)

    def overdue(
        self,
        evidence: Evidence,
        rest: str = "",
        notes: Iterable[Annotate] = (),
        again_s: float | None = None,
    ) -> _Look:
        ago = wording.span(self.now_s - self.since_s)
        deadline = wording.span(self.settings.deadline_s or 0.0)
        reason = f"deselected {ago} ago, past the deadline of {deadline}{rest}"
        return self.say(Decision.OVERDUE, reason, evidence, notes, [again_s])


def _by_time(case: _Case, evidence: Evidence) -> _Look:
    policy = case.settings.policy
    elapsed = wording.span(case.now_s - case.since_s)
    if isinstance(policy, After):
        # A moment, not a difference: at the very time that was announced, rounding must not say "not yet".
        ends_s = max(case.since_s + policy.duration_s, case.warm_until_s)
        evidence["after_s"] = policy.duration_s
        if case.now_s >= ends_s:
            reason = f"deselected {elapsed} ago, and the policy asks for {wording.span(policy.duration_s)}"
            return case.say(Decision.DRAINED, reason, evidence)
        left = wording.span(ends_s - case.now_s)
        return case.keep(f"deselected {elapsed} ago, stays another {left}", evidence, [ends_s])
    assert isinstance(policy, Manual)
    if case.is_overdue:
        return case.overdue(evidence)
    return case.keep("the policy is manual: someone has to delete it", evidence, [case.deadline_at_s])


def _by_counts(fleet: Fleet, case: _Case, evidence: Evidence, forecast: bool) -> _Look:
    settings, now_s = case.settings, case.now_s
    tally = Tally.of(fleet, case.deployment)
    next_check_s = now_s + settings.check_every_s
    evidence |= tally.evidence()
    if tally.unknown:
        return case.say(
            Decision.UNKNOWN,
            tally.why_unknown(),
            evidence,
            memory.quiet(case.deployment, None),
            [next_check_s],
        )

    history = memory.Marks.of(case.deployment, case.since_s)
    # Without its deselection time on the Deployment there is nothing yet to tie the marks to.
    if DESELECTED_AT in case.deployment.annotations:
        history = history.seen(now_s, tally.open)
    now_holds = condition(settings, tally, history, now_s, case.deadline_at_s)
    evidence |= now_holds.evidence
    if forecast:
        # Imported late: what it stands on takes longer to import than all of the deployer.
        from deployer.draining.outlook import forecast_evidence

        evidence |= forecast_evidence(history, now_s, tally.open, now_holds.at_most)
    notes = [*memory.quiet(case.deployment, now_s if now_holds.holds else None), *history.notes()]

    if not now_holds.holds:
        if case.is_overdue:
            return case.overdue(evidence, f", and {now_holds.reason}", notes, next_check_s)
        return case.say(Decision.KEEP, now_holds.reason, evidence, notes, [next_check_s, case.deadline_at_s])
    return _held(case, now_holds, evidence, notes, next_check_s)


def _held(
    case: _Case, now_holds: Condition, evidence: Evidence, notes: list[Annotate], next_check_s: float
) -> _Look:
    noted_s = memory.time_of(case.deployment, QUIET_SINCE)
    # A note from before this deselection says nothing about it.
    quiet_since_s = case.now_s if noted_s is None else min(max(noted_s, case.since_s), case.now_s)
    held_at_s = quiet_since_s + case.settings.hold_s
    quiet_s = case.now_s - quiet_since_s
    evidence["quiet_s"] = quiet_s
    evidence["hold_s"] = case.settings.hold_s
    if case.now_s >= held_at_s and not case.is_warm:
        reason = f"{now_holds.reason}, for {wording.span(quiet_s)} now"
        return case.say(Decision.DRAINED, reason, evidence, notes)
    if case.is_overdue:
        return case.overdue(evidence, f", and {now_holds.reason}", notes, next_check_s)
    if case.now_s < held_at_s:
        asked = wording.span(case.settings.hold_s)
        reason = f"{now_holds.reason}, but only for {wording.span(quiet_s)} of the {asked} asked for"
    else:
        left = wording.span(case.warm_until_s - case.now_s)
        reason = f"{now_holds.reason}, but it is kept warm for another {left}"
    moments = [next_check_s, held_at_s, case.warm_until_s, case.deadline_at_s]
    return case.say(Decision.KEEP, reason, evidence, notes, moments)
