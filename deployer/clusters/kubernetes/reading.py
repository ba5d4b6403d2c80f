"""From the API's objects to a `Fleet`: pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from deployer.clusters.controlplane import requests
from deployer.clusters.controlplane.objects import UnreadableError
from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import (
    ADOPTED,
    ADOPTED_HASH,
    DELETION_COST,
    HASH_LABEL,
    SELECTED_SINCE,
    App,
)
from deployer.clusters.kubernetes.podlog import Times, condition, deployment_of, seconds, times_of
from deployer.fleet import (
    PREFIX,
    RELEASE_LABEL,
    SKEW_S,
    SLOT_LABEL,
    Deployment,
    Fleet,
    Pod,
    PodState,
    Release,
    Request,
    unix_s,
)

SETTLES_S = 2.0
"""A pod that turned unready later than so long after its start had been ready before."""

IMAGE_TROUBLES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
TimesOf = Callable[[Object], Times]


def fleet_of(
    app: App,
    service: Object,
    deployments: Mapping[str, Object],
    pods: Iterable[Object],
    times: TimesOf = lambda pod: times_of(pod, None, None),
) -> Fleet:
    """The fleet in these objects, without verdicts and counts.

    An adopted Deployment goes by the name that a Deployment of its release would have, so that a strategy
    needs to know of no other kind. Once it is retired (scaled to 0 and not selected) it is not in the fleet.
    Raises UnreadableError where the requests in the Service's annotation cannot be read.
    """
    release, slot = selected_of(service, deployments)
    names = names_in_fleet(app, deployments, release)
    live = [pod for pod in pods if is_live(pod)]
    owned: dict[str, list[Pod]] = {name: [] for name in names}
    seen: list[Pod] = []
    for raw in live:
        owner = deployment_of(raw)
        there = deployments.get(owner)
        pod = _pod(raw, names.get(owner, owner), release_of_pod(raw, there), times(raw))
        seen.append(pod)
        if owner in owned and pod.state is not PodState.TERMINATING:
            owned[owner].append(pod)
    found = {alias: _deployment(deployments[name], alias, owned[name]) for name, alias in names.items()}
    limits = app.limits
    if app.follow_replicas and release is not None:
        sizes = [d.desired for d in found.values() if (d.release, d.slot) == (release, slot) and d.desired]
        limits = replace(limits, replicas=max(sizes, default=limits.replicas))
    return Fleet(
        app=app.name,
        limits=limits,
        requests=requests_of(service),
        deployments=found,
        pods=tuple(sorted(seen, key=lambda p: (p.created_s, p.name))),
        selected=release,
        selected_slot=slot,
        selected_since_s=None if release is None else selected_since_s(service),
    )


def requests_of(service: Object) -> Sequence[Request]:
    """The requests that the Service's annotation keeps. Raises UnreadableError."""
    try:
        return requests.read(annotation(service, requests.REQUESTS) or "")
    except UnreadableError as error:
        raise UnreadableError(f"Service {service['metadata']['name']}: {error}") from None


def selected_since_s(service: Object) -> float | None:
    """Since when it selects what it selects; None where that is not known, or is no time that it could be."""
    since_s = unix_s(annotation(service, SELECTED_SINCE))
    made = service["metadata"].get("creationTimestamp")
    if since_s is None or (made and since_s < seconds(made) - SKEW_S):
        return None
    return since_s


def annotation(found: Object, key: str) -> str | None:
    """One annotation of an object."""
    text = (found["metadata"].get("annotations") or {}).get(key)
    return None if text is None else str(text)


def selected_of(service: Object, deployments: Mapping[str, Object]) -> tuple[Release | None, str | None]:
    """The release and slot that the Service selects; (None, None) where it selects the whole app or nothing.

    An adopted release is selected by its pod-template-hash: pods that its Deployment makes anew have it, the
    release's label they do not.
    """
    selector = service.get("spec", {}).get("selector") or {}
    if RELEASE_LABEL in selector:
        return selector[RELEASE_LABEL], selector.get(SLOT_LABEL)
    if HASH_LABEL in selector:
        for found in deployments.values():
            if annotation(found, ADOPTED_HASH) == selector[HASH_LABEL]:
                return annotation(found, ADOPTED), None
    return None, None


def names_in_fleet(app: App, deployments: Mapping[str, Object], selected: Release | None) -> dict[str, str]:
    """Real names of the Deployments in the fleet, each with the name that it has there."""
    names = {}
    for name, found in deployments.items():
        if found["metadata"].get("deletionTimestamp"):
            continue
        adopted = annotation(found, ADOPTED)
        if adopted is None:
            names[name] = name
            continue
        alias = f"{app.name}-{adopted}"
        taken = alias in deployments
        if int(found["spec"].get("replicas", 1)) == 0 and (adopted != selected or taken):
            continue
        names[name] = name if taken else alias
    return names


def release_of(deployment: Object) -> Release:
    """The release of a Deployment's template."""
    labels = deployment["spec"]["template"].get("metadata", {}).get("labels") or {}
    return str(labels.get(RELEASE_LABEL) or annotation(deployment, ADOPTED) or "")


def release_of_pod(pod: Object, owner: Object | None) -> Release:
    """The pod's own release, else that of its Deployment; "" where neither says.

    A pod that an adopted Deployment made from a template changed since is of none that the Service could select,
    and is called by its hash.
    """
    labels = pod["metadata"].get("labels") or {}
    if owner is None:
        return str(labels.get(RELEASE_LABEL) or "")
    adopted_hash, own_hash = annotation(owner, ADOPTED_HASH), labels.get(HASH_LABEL)
    if adopted_hash is not None and own_hash is not None and own_hash != adopted_hash:
        return str(own_hash)
    return str(labels.get(RELEASE_LABEL) or release_of(owner))


def troubles(pods: Iterable[Object]) -> str:
    """What keeps these pods from being ready, in one line; "" where none of them says."""
    said: Counter[str] = Counter()
    details: dict[str, str] = {}
    for pod in pods:
        what, _, detail = _trouble(pod).partition(" (")
        if what:
            said[what] += 1
            details.setdefault(what, f" ({detail}" if detail else "")
    return "; ".join(f"{count} × {what}{details[what]}" for what, count in said.most_common(3))


def _trouble(pod: Object) -> str:
    status = pod.get("status", {})
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = each.get("state", {}).get("waiting")
        ended = each.get("state", {}).get("terminated") or each.get("lastState", {}).get("terminated")
        if waiting and waiting.get("reason") in IMAGE_TROUBLES:
            return f"image {each.get('image')} cannot be pulled ({_short(waiting.get('message', ''))})"
        if waiting and waiting.get("reason") == "ContainerCreating":
            return f"still creating the container of image {each.get('image')}"
        if waiting and waiting.get("reason") not in (None, "PodInitializing"):
            detail = _short(waiting.get("message", ""))
            if ended and "exitCode" in ended:
                detail = f"exit code {ended['exitCode']}"
            return f"{waiting['reason']}" + (f" ({detail})" if detail else "")
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unscheduled')} ({_short(scheduled.get('message', ''))})"
    ready = condition(pod, "Ready")
    if ready is not None and ready.get("status") == "False" and status.get("phase") == "Running":
        return "running, but not ready"
    return ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:119] + "…"


def is_live(pod: Object) -> bool:
    """Whether it is one of the app's pods still: one that failed or succeeded only waits for collection."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Failed", "Succeeded") or bool(pod["metadata"].get("deletionTimestamp"))


def _pod(raw: Object, deployment: str, release: Release, times: Times) -> Pod:
    meta, status = raw["metadata"], raw.get("status", {})
    cost = annotation(raw, DELETION_COST) or "0"
    return Pod(
        name=meta["name"],
        deployment=deployment,
        release=release,
        state=_state(raw, times),
        created_s=times.created_s,
        ready_since_s=times.ready_s,
        terminating_since_s=times.terminating_s,
        restarts=sum(int(s.get("restartCount", 0)) for s in status.get("containerStatuses") or ()),
        node=raw.get("spec", {}).get("nodeName"),
        deletion_cost=int(cost) if re.fullmatch("-?[0-9]{1,10}", cost) else 0,
    )


def _state(raw: Object, times: Times) -> PodState:
    if raw["metadata"].get("deletionTimestamp"):
        return PodState.TERMINATING
    if not raw.get("spec", {}).get("nodeName"):
        return PodState.PENDING
    if times.ready_s is not None:
        return PodState.READY
    return PodState.UNREADY if times.first_ready_s is not None or _was_ready(raw) else PodState.STARTING


def _was_ready(raw: Object) -> bool:
    """Kubernetes does not say so; but what turned unready long after its start must have been ready."""
    ready, started = condition(raw, "Ready"), raw.get("status", {}).get("startTime")
    if ready is None or not started or not ready.get("lastTransitionTime"):
        return False
    return seconds(ready["lastTransitionTime"]) - seconds(started) > SETTLES_S


def _deployment(found: Object, name: str, pods: Sequence[Pod]) -> Deployment:
    """Counted from its pods, not from its status: that lags, and one look must not mix two moments."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status", {})
    release = release_of(found)
    updated = [p for p in pods if p.release == release]
    if int(status.get("observedGeneration", 0)) < int(meta.get("generation", 0)):
        # The Deployment controller has not seen its spec yet, so none of these pods stands for it.
        updated = []
    created_s = seconds(meta["creationTimestamp"])
    return Deployment(
        name=name,
        release=release,
        desired=int(spec.get("replicas", 1)),
        total=len(pods),
        updated=len(updated),
        ready=sum(p.state is PodState.READY for p in pods),
        updated_ready=sum(p.state is PodState.READY for p in updated),
        created_s=created_s,
        progressed_s=_progressed_s(found, created_s),
        slot=(meta.get("labels") or {}).get(SLOT_LABEL),
        annotations={k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith(PREFIX)},
    )


def _progressed_s(found: Object, created_s: float) -> float:
    progressing = condition(found, "Progressing")
    if progressing is None or not progressing.get("lastUpdateTime"):
        return created_s
    at_s = seconds(progressing["lastUpdateTime"])
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        # Saying that there was no progress counts as an update; the last progress was a deadline ago.
        at_s -= float(found["spec"].get("progressDeadlineSeconds", 600))
    return max(at_s, created_s)
