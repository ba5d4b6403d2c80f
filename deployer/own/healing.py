"""The adopted Deployment, when somebody has resumed it or rolled it: found out, said, and set right. No pod is deleted."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deployer.clusters.kubernetes import KubernetesCluster, Variant, reading, writing
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError, Object
from deployer.clusters.kubernetes.app import ADOPTED, ADOPTED_HASH, HASH_LABEL, VARIANTS
from deployer.clusters.kubernetes.podlog import condition, deployment_of
from deployer.fleet import RELEASE_LABEL, Release


@dataclass(frozen=True, slots=True)
class Care:
    """An adopted Deployment that is not as it was left, or a Service that does not find its pods."""

    deployment: str
    release: Release
    resumed: bool  # it is not paused: each change of its template rolls its pods
    strangers: int  # pods made from another template than the Service looks for
    pods: int
    serves: bool  # the Service selects it, or did when it was rolled
    now_hash: str | None  # by which its pods are to be found from now on; None: as before
    image: Mapping[str, str]  # by container, of the pods with that hash
    select: bool  # the Service selects another hash than it should

    @property
    def warning(self) -> str:
        """One line that says what is wrong, what it does to users and what sets it right."""
        if self.strangers:
            what = (
                f"Deployment {self.deployment} was rolled by someone: {self.strangers} of its {self.pods} pods are not "
                f"of the template that was adopted as {self.release}"
            )
            harm = (
                ", and the Service sends to the others only"
                if self.serves
                else ", and users on it were cut off"
            )
            harm = ", and the Service has to be pointed at them" if self.select else harm
        elif self.select:
            what, harm = f"the Service does not find the pods of Deployment {self.deployment}", ""
        else:
            what = f"Deployment {self.deployment} was resumed by someone"
            harm = ": the next change of its template rolls its pods and cuts off who is on them"
        heals = self.resumed or self.select
        way_out = "the next look sets it right (`drainbow sweep`)" if heals else "deploy the next release"
        kept = "; take `paused: false` out of its manifest, and change it by `drainbow deploy` only"
        return f"{what}{harm}; {way_out}{kept}"


def cares(service: Object, deployments: Mapping[str, Object], pods: Iterable[Object]) -> list[Care]:
    """What is to be set right, or to be known.

    While it was rolled, the pods of one template are told from those of another by their hash. The Service is to
    find those of which more are ready: that moves new connections only, and cuts off nobody. Where as many are
    ready of both, it stays.
    """
    found, there = [], list(pods)
    selector = service.get("spec", {}).get("selector") or {}
    for name, adopted in sorted(deployments.items()):
        release, known = reading.annotation(adopted, ADOPTED), reading.annotation(adopted, ADOPTED_HASH) or ""
        if release is None or adopted["metadata"].get("deletionTimestamp"):
            continue
        own = [p for p in there if deployment_of(p) == name and _lives(p)]
        if int(adopted["spec"].get("replicas", 1)) == 0 and not own:
            continue
        ready = Counter(_hash(p) for p in own if _ready(p))
        best = max(ready, key=lambda each: (ready[each], each == known), default=known)
        serves = RELEASE_LABEL not in selector and HASH_LABEL in selector
        care = Care(
            deployment=name,
            release=release,
            resumed=not adopted["spec"].get("paused", False),
            strangers=sum(_hash(p) != known for p in own),
            pods=len(own),
            serves=serves,
            now_hash=best if best != known else None,
            image=next((_images(p) for p in own if _hash(p) == best), {}),
            select=serves and selector[HASH_LABEL] != best,
        )
        if care.resumed or care.strangers or care.select:
            found.append(care)
    return found


def cares_of(cluster: KubernetesCluster) -> list[Care]:
    """The same of what is there now. Raises ClusterUnreachable, RejectedError."""
    return cares(cluster.service(), cluster.deployments(), cluster.pods().values())


def heal(cluster: KubernetesCluster) -> list[str]:
    """Pause what was resumed, and let the Service find the pods that there are; what was done, a line each.

    May be cut off anywhere: the next look goes on. Raises ClusterUnreachable, RejectedError.
    """
    said = []
    for care in cares_of(cluster):
        patch: dict[str, Any] = {}
        if care.resumed:
            patch["spec"] = {"paused": True}
            said.append(f"Deployment {care.deployment} was resumed by someone, and is paused again")
        if care.now_hash is not None:
            patch["metadata"] = {"annotations": {ADOPTED_HASH: care.now_hash}}
        if patch:
            with contextlib.suppress(NotFoundError, ConflictError):  # the next look sees what became of it
                cluster.update_deployment(care.deployment, patch)
        if care.now_hash is not None or care.select:
            _point(cluster, care)
        if care.select:
            said.append(
                f"Deployment {care.deployment} was rolled by someone; the Service is pointed at the pods that it has now, "
                "as the rolled ones took their users with them"
            )
    return said


def _point(cluster: KubernetesCluster, care: Care) -> None:
    """The Service finds the pods of that hash, if it selects the adopted release; and the release is their image."""

    def patch(service: Object) -> Object | None:
        now = care.now_hash or reading.annotation(cluster.deployments()[care.deployment], ADOPTED_HASH)
        selector = service.get("spec", {}).get("selector") or {}
        variants = writing.variants_of(service)
        known = variants.get(care.release, Variant())
        image = care.image.get(known.container or "", next(iter(care.image.values()), known.image))
        text = writing.variants_text(
            {**variants, care.release: replace(known, image=image)}, {*variants, care.release}
        )
        wanted: dict[str, Any] = {}
        if reading.annotation(service, VARIANTS) != text:
            wanted["metadata"] = {"annotations": {VARIANTS: text}}
        if RELEASE_LABEL not in selector and selector.get(HASH_LABEL, now) != now:
            wanted["spec"] = {"selector": {HASH_LABEL: now}}
        return wanted or None

    cluster.update_service(patch)


def _lives(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and reading.is_live(pod)


def _ready(pod: Object) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.get("status") == "True"


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def _images(pod: Object) -> dict[str, str]:
    return {c["name"]: str(c.get("image", "")) for c in pod.get("spec", {}).get("containers") or ()}
