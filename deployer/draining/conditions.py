"""Whether a policy's condition holds now, from what the pods say of themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from deployer.draining import wording
from deployer.draining.memory import Marks
from deployer.draining.policies import DrainSettings, Few, WorthIt
from deployer.fleet import Deployment, Fleet, PodState

Evidence = dict[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Tally:
    """The connections of one Deployment's pods, terminating ones included."""

    open: int  # where known
    silent: int  # of these
    per_pod: tuple[tuple[str, int | None], ...]  # None: it could not be asked
    missing: int  # pods that the Deployment has and that were not seen
    running: int  # pods that are not terminating
    busy: int  # pods with connections

    @classmethod
    def of(cls, fleet: Fleet, deployment: Deployment) -> Tally:
        """Count. A pod that was never ready and says nothing has none: the Service never sent it a client."""
        pods = fleet.pods_of(deployment.name)
        per_pod: list[tuple[str, int | None]] = []
        silent = 0
        for pod in pods:
            if pod.count is not None:
                per_pod.append((pod.name, pod.count.open))
                silent += min(pod.count.silent, pod.count.open)
            elif pod.state in (PodState.PENDING, PodState.STARTING):
                per_pod.append((pod.name, 0))
            else:
                per_pod.append((pod.name, None))
        running = sum(pod.state is not PodState.TERMINATING for pod in pods)
        return cls(
            open=sum(count or 0 for _, count in per_pod),
            silent=silent,
            per_pod=tuple(per_pod),
            missing=max(0, deployment.total - running),
            running=running,
            busy=sum(1 for _, count in per_pod if count),
        )

    @property
    def mute(self) -> tuple[str, ...]:
        """The pods that could not be asked."""
        return tuple(name for name, count in self.per_pod if count is None)

    @property
    def unknown(self) -> bool:
        """Whether any of its connections may have been overlooked."""
        return bool(self.mute) or self.missing > 0

    def why_unknown(self) -> str:
        """The reason, in one sentence."""
        if self.mute:
            those = f"{len(self.mute)} of {len(self.per_pod)} pods did not say how many connections they hold"
            return f"{those} ({wording.names(self.mute)}), so nothing of it is deleted"
        return f"{self.missing} of its pods were not seen, so nothing of it is deleted"

    def evidence(self) -> Evidence:
        """Totals, and each pod's count as `pod/<name>`."""
        return {
            "open": self.open,
            "silent": self.silent,
            "pods": len(self.per_pod),
            "pods_unknown": len(self.mute) + self.missing,
        } | {f"pod/{name}": count for name, count in self.per_pod}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a policy says now, hysteresis and deadline aside."""

    holds: bool
    reason: str  # one sentence, to which "for 60 s now" may be added
    at_most: int  # open connections with which it is sure to hold
    evidence: Evidence = field(default_factory=dict)


def condition(
    settings: DrainSettings, tally: Tally, marks: Marks, now_s: float, deadline_at_s: float | None
) -> Condition:
    """Judge a tally with nothing unknown."""
    counted = tally.open - (tally.silent if settings.discount_silent else 0)
    aside = ""
    if settings.discount_silent and tally.silent:
        aside = f" ({tally.silent} silent, not counted)"
    policy = settings.policy
    at_most, told = 0, ""
    evidence: Evidence = {"counted": counted}
    if isinstance(policy, Few):
        at_most, told = _few(policy, marks)
    holds = counted <= at_most
    if isinstance(policy, WorthIt) and not holds:
        # Imported late: what it stands on takes longer to import than all of the deployer.
        from deployer.draining.outlook import bargain

        left_s = None if deadline_at_s is None else deadline_at_s - now_s
        found = bargain(policy, marks, now_s, tally.open, counted, tally.running, left_s)
        holds, told = not found.waits, found.reason
        evidence |= found.evidence
    else:
        evidence["at_most"] = at_most
    return Condition(
        holds, wording.connections(counted) + aside + told, at_most + tally.open - counted, evidence
    )


def _few(policy: Few, marks: Marks) -> tuple[int, str]:
    if policy.count is not None:
        return policy.count, f"; {policy.count} may be"
    had = marks.had or 0
    share = policy.share or 0.0
    at_most = math.floor(share * had + 1e-9)  # 29 % of 100 is 29, whatever binary fractions make of it
    return at_most, f"; {at_most} may be ({100 * share:g} % of {had})"
