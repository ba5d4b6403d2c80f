"""The Deployment controller: how wanted pods are shared between the revisions of one Deployment.

Follows Kubernetes 1.34, pkg/controller/deployment (rolling.go, recreate.go, sync.go, progress.go and
util/deployment_util.go); a function's docstring names its model where the name differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployer.clusters.controlplane.draft import Draft, replicaset_name
from deployer.clusters.controlplane.objects import (
    DeploymentObject,
    DeploymentStatus,
    PodTemplate,
    RejectedError,
    ReplicaSetObject,
    UpdateStrategy,
    UpdateType,
)


def bounds(strategy: UpdateStrategy, replicas: int) -> tuple[int, int]:
    """Pods of surge (rounded up) and unavailable (rounded down; 1 if both would be 0) at this size.

    Recreate has neither. As MaxSurge, MaxUnavailable and ResolveFenceposts.
    Raises RejectedError for what is neither a number of pods nor a share such as "25%".
    """
    if strategy.type is UpdateType.RECREATE:
        return 0, 0
    surge = _pods(strategy.max_surge, replicas, up=True)
    unavailable = _pods(strategy.max_unavailable, replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def sync(draft: Draft, name: str) -> None:
    """One pass of the controller over one Deployment (syncDeployment)."""
    deployment = draft.deployments[name]
    new, old = _revisions(draft, deployment)
    if any(rs.replicas > 0 and rs.desired != deployment.replicas for rs in _all(new, old)):
        _scale(draft, deployment, new, old)
        _write_status(draft, deployment, estimate_progress=False)
        return
    if deployment.strategy.type is UpdateType.RECREATE:
        _recreate(draft, deployment, new, old)
    else:
        _roll(draft, deployment, new, old)
    _write_status(draft, draft.deployments[name], estimate_progress=True)


def _roll(
    draft: Draft, deployment: DeploymentObject, new: ReplicaSetObject | None, old: list[ReplicaSetObject]
) -> None:
    if new is None:
        new = _create_revision(draft, deployment, old)
    if _grow_new(draft, deployment, new, old) or _shrink_old(draft, deployment, new, old):
        return
    _forget_revisions(draft, deployment, old)


def _recreate(
    draft: Draft, deployment: DeploymentObject, new: ReplicaSetObject | None, old: list[ReplicaSetObject]
) -> None:
    why = f"recreate for {deployment.template.release}"
    active = [rs for rs in old if rs.replicas > 0]
    for rs in active:
        _set_replicas(draft, deployment, rs, 0, why)
    if active:
        return
    if any(draft.present(rs.name) for rs in old):
        return  # a terminating pod counts: the new ones wait until the last is really gone
    if new is None:
        new = _create_revision(draft, deployment, old)
    _set_replicas(draft, deployment, new, deployment.replicas, "scale-down")
    _forget_revisions(draft, deployment, old)


def _grow_new(
    draft: Draft, deployment: DeploymentObject, new: ReplicaSetObject, old: list[ReplicaSetObject]
) -> bool:
    """As reconcileNewReplicaSet; says whether it changed the size."""
    size = _size_of_new(deployment, new, old)
    return _set_replicas(draft, deployment, new, size, "scale-down")


def _size_of_new(deployment: DeploymentObject, new: ReplicaSetObject, old: list[ReplicaSetObject]) -> int:
    """As NewRSNewReplicas: as many as the surge leaves room for."""
    if new.replicas > deployment.replicas:
        return deployment.replicas
    if deployment.strategy.type is UpdateType.RECREATE:
        return deployment.replicas
    surge, _ = bounds(deployment.strategy, deployment.replicas)
    room = deployment.replicas + surge - _wanted(_all(new, old))
    return new.replicas + max(0, min(room, deployment.replicas - new.replicas))


def _shrink_old(
    draft: Draft, deployment: DeploymentObject, new: ReplicaSetObject, old: list[ReplicaSetObject]
) -> bool:
    """As reconcileOldReplicaSets: unhealthy pods first, then the oldest revisions, as availability allows."""
    active = [rs for rs in old if rs.replicas > 0]
    if not active:
        return False
    _, unavailable = bounds(deployment.strategy, deployment.replicas)
    min_available = deployment.replicas - unavailable
    new_available = draft.counts(new).available
    room = _wanted([*active, new]) - min_available - (new.replicas - new_available)
    if room <= 0:
        return False
    why = f"rollout to {deployment.template.release}"
    available = {rs.name: draft.counts(rs).available for rs in active}
    cleaned = 0
    for rs in active:
        unhealthy = rs.replicas - available[rs.name]
        if (count := min(room - cleaned, unhealthy)) > 0:
            cleaned += count
            _set_replicas(draft, deployment, rs, rs.replicas - count, why)
    spare = sum(available.values()) + new_available - min_available
    scaled = 0
    for rs in (draft.replicasets[rs.name] for rs in active):
        if (count := min(spare - scaled, rs.replicas)) > 0:
            scaled += count
            _set_replicas(draft, deployment, rs, rs.replicas - count, why)
    return cleaned + scaled > 0


def _scale(
    draft: Draft, deployment: DeploymentObject, new: ReplicaSetObject | None, old: list[ReplicaSetObject]
) -> None:
    """The Deployment's size changed: share it out over the live revisions, in proportion.

    As scale, without its case of ReplicaSets adopted from elsewhere: here every live one knows the last size.
    """
    active = [rs for rs in _all(new, old) if rs.replicas > 0]
    if len(active) == 1:
        _set_replicas(draft, deployment, active[0], deployment.replicas, "scale-down")
    elif deployment.strategy.type is UpdateType.ROLLING:
        for rs, size in shares(deployment, active):
            _set_replicas(draft, deployment, rs, size, "scale-down")


def shares(
    deployment: DeploymentObject, active: Sequence[ReplicaSetObject]
) -> list[tuple[ReplicaSetObject, int]]:
    """Each revision's part of the new size; the largest takes what rounding leaves (as scale)."""
    surge, _ = bounds(deployment.strategy, deployment.replicas)
    allowed = deployment.replicas + surge if deployment.replicas > 0 else 0
    to_add = allowed - _wanted(active)
    ordered = sorted(active, key=lambda rs: rs.name)
    # Of equally large ones, the newest grows first and the oldest shrinks first.
    ordered.sort(key=lambda rs: rs.created_s, reverse=to_add > 0)
    ordered.sort(key=lambda rs: -rs.replicas)
    sizes = {}
    added = 0
    for rs in ordered:
        part = 0
        if to_add != added:
            fraction = _fraction(deployment, rs, surge)
            left = to_add - added
            part = min(fraction, left) if to_add > 0 else max(fraction, left)
        sizes[rs.name] = rs.replicas + part
        added += part
    largest = ordered[0].name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return [(rs, sizes[rs.name]) for rs in ordered]


def _fraction(deployment: DeploymentObject, rs: ReplicaSetObject, surge: int) -> int:
    if deployment.replicas == 0:
        return -rs.replicas
    before = rs.max_replicas or deployment.status.total
    if before == 0:
        return 0
    # Kubernetes rounds half away from zero; Python's round() would go to the even number.
    return int(rs.replicas * (deployment.replicas + surge) / before + 0.5) - rs.replicas


def _revisions(
    draft: Draft, deployment: DeploymentObject
) -> tuple[ReplicaSetObject | None, list[ReplicaSetObject]]:
    """The ReplicaSet of the present template (None if there is none yet) and the others, oldest first.

    As getAllReplicaSetsAndSyncRevision: a template that comes back makes its ReplicaSet the newest revision.
    """
    owned = [draft.replicasets[name] for name in draft.owned[deployment.name]]
    if len(owned) > 1:
        owned.sort(key=lambda rs: (rs.created_s, rs.name))
    new = next((rs for rs in owned if _same(rs.template, deployment.template)), None)
    old = [rs for rs in owned if rs is not new]
    if new is not None and new.revision <= (newest := max((rs.revision for rs in old), default=0)):
        new = replace(new, revision=newest + 1)
        draft.put_replicaset(new)
    return new, old


def _create_revision(
    draft: Draft, deployment: DeploymentObject, old: list[ReplicaSetObject]
) -> ReplicaSetObject:
    surge, _ = bounds(deployment.strategy, deployment.replicas)
    new = ReplicaSetObject(
        name=replicaset_name(deployment.name, deployment.template),
        deployment=deployment.name,
        template=deployment.template,
        revision=max((rs.revision for rs in old), default=0) + 1,
        replicas=0,
        created_s=draft.now_s,
        desired=deployment.replicas,
        max_replicas=deployment.replicas + surge,
    )
    new = replace(new, replicas=_size_of_new(deployment, new, old))
    draft.put_replicaset(new)
    draft.put_deployment(replace(deployment, progressed_s=draft.now_s))
    return new


def _set_replicas(
    draft: Draft, deployment: DeploymentObject, rs: ReplicaSetObject, size: int, why: str
) -> bool:
    """As scaleReplicaSet: says whether the size changed; the annotations may change without it."""
    if rs.replicas == size and (size == 0 or rs.desired == deployment.replicas):
        return False
    surge, _ = bounds(deployment.strategy, deployment.replicas)
    scaled = replace(rs, replicas=size, desired=deployment.replicas, max_replicas=deployment.replicas + surge)
    draft.put_replicaset(scaled)
    if size < rs.replicas:
        draft.reasons[rs.name] = why
    return size != rs.replicas


def _forget_revisions(draft: Draft, deployment: DeploymentObject, old: list[ReplicaSetObject]) -> None:
    """Once the roll-out is complete, drop empty revisions beyond the history limit (cleanupDeployment)."""
    excess = len(old) - deployment.revision_history_limit
    if excess <= 0 or not _complete(deployment, _status(draft, deployment)):
        return
    for rs in sorted(old, key=lambda rs: rs.revision)[:excess]:
        if rs.replicas == 0 and not draft.active(rs.name):
            draft.drop_replicaset(rs)


def _write_status(draft: Draft, deployment: DeploymentObject, *, estimate_progress: bool) -> None:
    """As syncRolloutStatus: `progressed_s` moves with each step of a roll-out, and when it is complete."""
    before = deployment.status
    status = _status(draft, deployment)
    progressed_s = deployment.progressed_s
    # Kubernetes asks for the last equality only, but sees a Recreate's old pods go one by one; here they go
    # at once, and the roll-out of a revision that returns would never be seen to move.
    finished_before = before.complete and before.total == before.updated and status.total == status.updated
    if estimate_progress and not finished_before:
        if _complete(deployment, status):
            if not before.complete:
                progressed_s = draft.now_s
            status = replace(status, complete=True)
        elif _moved(before, status):
            progressed_s = draft.now_s
            status = replace(status, complete=False)
    if status != before or progressed_s != deployment.progressed_s:
        draft.put_deployment(replace(deployment, status=status, progressed_s=progressed_s))


def _status(draft: Draft, deployment: DeploymentObject) -> DeploymentStatus:
    total = updated = ready = available = 0
    for name in draft.owned[deployment.name]:
        rs = draft.replicasets[name]
        counts = draft.counts(rs)
        total += counts.total
        ready += counts.ready
        available += counts.available
        if _same(rs.template, deployment.template):
            updated += counts.total
    return DeploymentStatus(total, updated, ready, available, deployment.status.complete)


def _complete(deployment: DeploymentObject, status: DeploymentStatus) -> bool:
    return status.updated == status.total == status.available == deployment.replicas


def _moved(before: DeploymentStatus, now: DeploymentStatus) -> bool:
    return (
        now.updated > before.updated
        or now.total - now.updated < before.total - before.updated
        or now.ready > before.ready
        or now.available > before.available
    )


def _same(one: PodTemplate, other: PodTemplate) -> bool:
    return one is other or (one.release == other.release and one.key() == other.key())


def _all(new: ReplicaSetObject | None, old: list[ReplicaSetObject]) -> list[ReplicaSetObject]:
    return old if new is None else [*old, new]


def _wanted(replicasets: Sequence[ReplicaSetObject]) -> int:
    return sum(rs.replicas for rs in replicasets)


def _pods(bound: int | str, replicas: int, *, up: bool) -> int:
    """A bound in pods, a share rounded up or down (GetScaledValueFromIntOrPercent)."""
    if isinstance(bound, int):
        pods = bound
    elif bound.endswith("%") and bound[:-1].isdecimal():
        scaled = int(bound[:-1]) * replicas
        pods = -(-scaled // 100) if up else scaled // 100
    else:
        pods = -1
    if pods < 0:
        raise RejectedError(f"bound {bound!r} must be a number of pods >= 0 or a share such as '25%'")
    return pods
