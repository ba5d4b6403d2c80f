"""What became of each deploy, told from requests, actions, verdicts and pods: pure, in any world's clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployer.actions import Action, Block, CreateDeployment, Select, SetRelease
from deployer.fleet import Decision, Kind, Outcome, Release, Request, Verdict


@dataclass(frozen=True, slots=True)
class PodSpan:
    """One pod that ever was; `t_gone_s` is None while it still is."""

    release: Release
    t_created_s: float
    t_gone_s: float | None


@dataclass(frozen=True, slots=True)
class DeployRow:
    """One row of table `deploys`."""

    deploy: int
    release: Release
    kind: Kind
    t_requested_s: float
    t_selected_s: float | None  # one Deployment: its roll-out was complete
    waited_s: float | None  # before it could start; None where it never did
    t_drained_s: float | None  # of the release that it replaced; None where that was cut, or still drains
    t_deleted_s: float | None  # the last pod of the release that it replaced was gone
    outcome: Outcome | None  # None: still under way at the end
    reason: str


@dataclass(frozen=True, slots=True)
class _Selection:
    """From this moment new connections go to this release."""

    t_s: float
    release: Release
    deploy: int | None


def deploy_rows(
    requests: Iterable[Request],
    actions: Iterable[tuple[float, Action]],
    verdicts: Iterable[tuple[float, Verdict]],
    pods: Iterable[PodSpan],
    selects_release: bool,
) -> list[DeployRow]:
    """One row for each request, in order; all times are in the clock of what is given.

    `requests` are as they stood at the end, forgotten ones as last seen; `actions` and `verdicts` are in
    order of time. `selects_release` is False for the strategies with one Deployment: they have no
    verdicts, so their old release counts as drained when its last pod is gone, and not before the
    roll-out is complete. Raises nothing.
    """
    asked = sorted(requests, key=lambda r: r.deploy)
    done, said, spans = list(actions), list(verdicts), list(pods)
    selections = _selections(asked, done) if selects_release else _completions(asked)
    return [_row(request, asked, selections, done, said, spans, selects_release) for request in asked]


def _selections(requests: Sequence[Request], actions: Sequence[tuple[float, Action]]) -> list[_Selection]:
    found: list[_Selection] = []
    for t_s, action in actions:
        if not isinstance(action, Select) or (found and found[-1].release == action.release):
            continue
        taken = {selection.deploy for selection in found}
        wishes = [
            r.deploy
            for r in requests
            if r.release == action.release and r.requested_s <= t_s and r.deploy not in taken
        ]
        found.append(_Selection(t_s, action.release, max(wishes, default=None)))
    return found


def _completions(requests: Sequence[Request]) -> list[_Selection]:
    found = [
        _Selection(r.settled_s, r.release, r.deploy)
        for r in requests
        if r.outcome is Outcome.DONE and r.settled_s is not None
    ]
    return sorted(found, key=lambda s: s.t_s)


def _row(
    request: Request,
    requests: Sequence[Request],
    selections: Sequence[_Selection],
    actions: Sequence[tuple[float, Action]],
    verdicts: Sequence[tuple[float, Verdict]],
    pods: Sequence[PodSpan],
    selects_release: bool,
) -> DeployRow:
    started_s, blocked = _start(request, requests, actions)
    outcome, reason = request.outcome, request.reason
    if outcome is None and blocked and started_s is None:
        outcome, reason = Outcome.BLOCKED, blocked
    at = next((n for n, s in enumerate(selections) if s.deploy == request.deploy), None)
    selected_s = selections[at].t_s if at is not None else None
    drained_s = deleted_s = None
    if at is not None and at > 0 and selections[at - 1].release != request.release:
        old = selections[at - 1].release
        again_s = min((s.t_s for s in selections[at + 1 :] if s.release == old), default=float("inf"))
        deleted_s = _deleted_s(old, selections[at].t_s, again_s, pods)
        if selects_release:
            drained_s = _drained_s(old, selections[at].t_s, again_s, verdicts)
        else:
            drained_s = deleted_s
    if selected_s is None and outcome is Outcome.DONE:  # it asked for what was selected anyway
        selected_s = request.settled_s
    waited_s = None
    if started_s is not None or selected_s is not None:
        waited_s = started_s - request.requested_s if blocked and started_s is not None else 0.0
    return DeployRow(
        request.deploy,
        request.release,
        request.kind,
        request.requested_s,
        selected_s,
        waited_s,
        drained_s,
        deleted_s,
        outcome,
        reason,
    )


def _start(
    request: Request, requests: Sequence[Request], actions: Sequence[tuple[float, Action]]
) -> tuple[float | None, str]:
    """When the request was first worked on, and the last reason why it had to wait before that."""
    blocked = ""
    until_s = min(
        (r.requested_s for r in requests if r.deploy > request.deploy and r.release == request.release),
        default=float("inf"),
    )
    for t_s, action in actions:
        if isinstance(action, Block) and action.deploy == request.deploy:
            blocked = action.because
        if not request.requested_s <= t_s < until_s:
            continue
        if isinstance(action, CreateDeployment | SetRelease | Select) and action.release == request.release:
            return t_s, blocked
    return None, blocked


def _drained_s(
    release: Release, from_s: float, until_s: float, verdicts: Sequence[tuple[float, Verdict]]
) -> float | None:
    for t_s, verdict in verdicts:
        if from_s <= t_s < until_s and verdict.release == release and verdict.decision is Decision.DRAINED:
            return t_s
    return None


def _deleted_s(release: Release, from_s: float, until_s: float, pods: Sequence[PodSpan]) -> float | None:
    gone_s = [
        float("inf") if pod.t_gone_s is None else pod.t_gone_s
        for pod in pods
        if pod.release == release and pod.t_created_s <= from_s
    ]
    last_s = max(gone_s, default=float("inf"))
    return max(last_s, from_s) if last_s < until_s else None
