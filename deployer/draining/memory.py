"""What must outlive the deployer: read from a Deployment's annotations, written as Annotate actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployer.actions import Annotate
from deployer.fleet import DESELECTED_AT, PREFIX, QUIET_SINCE, SKEW_S, Deployment, unix_s

BURN_DOWN = PREFIX + "burn-down"
"""On a draining Deployment: pairs "Unix seconds=open connections", the first right after its deselection,
then one each time the number has halved: what it had, and how fast it drains, for whoever looks next."""
MOST_OPEN = 10**9
"""More connections than any Deployment has: a mark that says so was not written here."""


def time_of(deployment: Deployment, key: str) -> float | None:
    """As `unix_s`, of one of its annotations."""
    return unix_s(deployment.annotations.get(key))


def deselected_s(deployment: Deployment) -> float | None:
    """When the Service stopped to select it; None where that is not known, or is no time that it could be."""
    at_s = time_of(deployment, DESELECTED_AT)
    return at_s if at_s is not None and at_s >= deployment.created_s - SKEW_S else None


def quiet(deployment: Deployment, since_s: float | None) -> tuple[Annotate, ...]:
    """The condition holds now (`since_s`: now) or does not (None): what of QUIET_SINCE must change for it."""
    if since_s is None:
        if QUIET_SINCE not in deployment.annotations:
            return ()
        return (Annotate(deployment.name, QUIET_SINCE, None, because="the drain condition does not hold"),)
    noted_s = time_of(deployment, QUIET_SINCE)
    if noted_s is not None and noted_s <= since_s:  # a moment to come is none at which it held
        return ()
    return (
        Annotate(deployment.name, QUIET_SINCE, repr(float(since_s)), because="the drain condition holds"),
    )


def forget(deployment: Deployment) -> tuple[Annotate, ...]:
    """What a Deployment that is in use again must lose."""
    return tuple(
        Annotate(deployment.name, key, None, because="it does not drain")
        for key in (QUIET_SINCE, BURN_DOWN)
        if key in deployment.annotations
    )


@dataclass(frozen=True, slots=True)
class Marks:
    """How many connections were open when, since the deselection; counts at least halve from mark to mark."""

    deployment: str
    marks: tuple[tuple[float, int], ...]  # (Unix seconds, open)
    text: str | None  # as annotated now

    @classmethod
    def of(cls, deployment: Deployment, deselected_s: float) -> Marks:
        """The marks of this deselection; those of an earlier one, and what cannot be read, count as none."""
        text = deployment.annotations.get(BURN_DOWN)
        marks = _parse(text or "")
        if marks and marks[0][0] < deselected_s:
            marks = ()
        return cls(deployment.name, marks, text)

    def seen(self, now_s: float, open_: int) -> Marks:
        """With what is counted now, if that is worth a mark."""
        if self.marks and not 2 * open_ <= self.marks[-1][1] != 0:
            return self
        return Marks(self.deployment, (*self.marks, (now_s, open_)), self.text)

    @property
    def had(self) -> int | None:
        """Connections right after the deselection; None where nobody counted yet."""
        return self.marks[0][1] if self.marks else None

    def notes(self) -> tuple[Annotate, ...]:
        """What must be written so that the marks are remembered."""
        text = " ".join(f"{float(t_s)!r}={count}" for t_s, count in self.marks) or None
        if text == self.text:
            return ()
        return (Annotate(self.deployment, BURN_DOWN, text, because="how it drains"),)


def _parse(text: str) -> tuple[tuple[float, int], ...]:
    marks: list[tuple[float, int]] = []
    for pair in text.split():
        t_text, _, count_text = pair.partition("=")
        try:
            t_s, count = float(t_text), int(count_text)
        except ValueError:
            return ()
        if not math.isfinite(t_s) or not 0 <= count <= MOST_OPEN or (marks and t_s < marks[-1][0]):
            return ()
        marks.append((t_s, count))
    return tuple(marks)
