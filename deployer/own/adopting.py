"""How a service that was deployed without us comes under us: pure decisions on what is there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deployer.clusters.controlplane import requests
from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import (
    ADOPTED,
    ADOPTED_HASH,
    HASH_LABEL,
    SELECTED_SINCE,
    SERVICE_LABEL,
    VARIANTS,
    Variant,
)
from deployer.clusters.kubernetes.podlog import deployment_of
from deployer.clusters.kubernetes.reading import annotation, is_live
from deployer.clusters.kubernetes.writing import variants_text
from deployer.fleet import Kind, Outcome, Release, Request
from deployer.own.settings import CONFIG, OwnError, Settings

SHA_IN_TAG = re.compile(r":(?:[\w.-]*[-_])?([0-9a-f]{6})[0-9a-f]{0,34}$")


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to be adopted, and as what."""

    deployment: Object
    release: Release
    template_hash: str
    replicas: int
    selector: Mapping[str, str]

    @property
    def name(self) -> str:
        """The Deployment's."""
        return str(self.deployment["metadata"]["name"])

    def deployment_patch(self, service: str) -> dict[str, Any]:
        """Marks the Deployment; its template stays as it is, so no pod is touched.

        It is paused: a changed template is for the next release, and must not roll pods that have users and that
        the Service selects by the hash of the template that they came from.
        """
        return {
            "metadata": {
                "labels": {SERVICE_LABEL: service},
                "annotations": {ADOPTED: self.release, ADOPTED_HASH: self.template_hash},
            },
            "spec": {"paused": True},
        }

    def service_patch(self, settings: Settings, now_s: float) -> dict[str, Any]:
        """One write: the Service selects the pods that it had, and no other release's, and knows its past."""
        first = Request(0, self.release, Kind.INITIAL, now_s, Outcome.DONE, "adopted", now_s)
        variant = Variant(image=image_of(self.deployment, settings.container), container=settings.container)
        return {
            "metadata": {
                "annotations": {
                    CONFIG: settings.to_json(),
                    SELECTED_SINCE: repr(float(now_s)),
                    requests.REQUESTS: requests.write([first]),
                    VARIANTS: variants_text({self.release: variant}, {self.release}),
                }
            },
            "spec": {"selector": {**self.selector, HASH_LABEL: self.template_hash}},
        }


def adoption_of(
    service: Object, deployments: Iterable[Object], pods: Iterable[Object], named: str | None
) -> Adoption:
    """The Deployment behind a Service.

    Raises OwnError where there is none, or several and none is named, or where it is being rolled out.
    """
    name = service["metadata"]["name"]
    selector = {k: v for k, v in (service["spec"].get("selector") or {}).items() if k != HASH_LABEL}
    if not selector:
        raise OwnError(f"Service {name} has no selector, so it has no pods that could be deployed")
    behind = [d for d in deployments if selector.items() <= _pod_labels(d).items() and not _deleting(d)]
    if named is not None:
        behind = [d for d in behind if d["metadata"]["name"] == named]
    if not behind:
        what = f"Deployment {named} is not" if named else "no Deployment is"
        raise OwnError(f"{what} behind Service {name}: its pods would need the labels {_labels(selector)}")
    if len(behind) > 1:
        names = ", ".join(sorted(d["metadata"]["name"] for d in behind))
        raise OwnError(
            f"several Deployments are behind Service {name}: {names}; choose one with --deployment"
        )
    found = behind[0]
    title = found["metadata"]["name"]
    others = (found["metadata"].get("labels") or {}).get(SERVICE_LABEL, name)
    if others != name:
        raise OwnError(
            f"Deployment {title} is behind Service {others} too, and was adopted for that one: deploy with --service "
            f"{others}; Service {name} can stay as it is, and sends to every release"
        )
    replicas = int(found["spec"].get("replicas", 1))
    if replicas == 0:
        raise OwnError(f"Deployment {title} has no pods; scale it up first: kubectl scale deployment {title}")
    own = [p for p in pods if deployment_of(p) == title and not _deleting(p) and is_live(p)]
    hashes = {p["metadata"]["labels"][HASH_LABEL] for p in own}
    if len(hashes) != 1 or not _complete(found):
        raise OwnError(
            f"Deployment {title} is being rolled out; wait for `kubectl rollout status deployment {title}`"
        )
    return Adoption(found, first_release(found), hashes.pop(), replicas, selector)


def first_release(deployment: Object) -> Release:
    """The release that a Deployment is called at its adoption.

    As before where it was adopted once; else the SHA in its image's tag; else six digits of its template's
    SHA-256, so that it is a colour in any case.
    """
    known = annotation(deployment, ADOPTED)
    if known is not None:
        return known
    template = deployment["spec"]["template"]
    for container in template["spec"]["containers"]:
        found = SHA_IN_TAG.search(container.get("image", ""))
        if found:
            return found[1]
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:6]


def container_of(deployment: Object, named: str | None) -> str | None:
    """The container whose image a release changes; None: the only one. Raises OwnError."""
    names = [c["name"] for c in deployment["spec"]["template"]["spec"]["containers"]]
    title = deployment["metadata"]["name"]
    if named is not None:
        if named not in names:
            raise OwnError(f"--container {named}: Deployment {title} has {', '.join(names)}")
        return named
    if len(names) > 1:
        raise OwnError(
            f"Deployment {title} has the containers {', '.join(names)}; say which one's image a release "
            "changes with --container"
        )
    return None


def image_of(deployment: Object, container: str | None) -> str:
    """The image of that container, or of the only one."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return str(next(c["image"] for c in containers if container in (None, c["name"])))


def ports_of(service: Object, deployment: Object | None) -> list[int]:
    """The TCP ports of the pods that the Service sends to, in its order, each once.

    Raises OwnError for a port that no container bears the name of.
    """
    named: dict[str, int] = {}
    for container in [] if deployment is None else deployment["spec"]["template"]["spec"]["containers"]:
        named |= {
            each["name"]: int(each["containerPort"])
            for each in container.get("ports") or ()
            if "name" in each
        }
    found: dict[int, None] = {}
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        if port.get("protocol", "TCP") != "TCP":
            continue
        if not isinstance(target, int) and target not in named:
            name = service["metadata"]["name"]
            raise OwnError(
                f"--count tcp: Service {name} sends to the port {target!r}, and no container has one of that name; "
                "say which one holds users with --count tcp:PORT"
            )
        found[target if isinstance(target, int) else named[target]] = None
    return list(found)


def sized(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """With one who decides how many pods a release has; `given` is what was said now, the rest was kept.

    Raises OwnError where both `--replicas` and an autoscaler that follows would.
    """
    if settings.hpa != "follow" or settings.replicas is None:
        return settings
    if given.get("replicas") is None:  # said once; the autoscaler came later
        return replace(settings, replicas=None)
    raise OwnError(
        f"--replicas {settings.replicas}: under --hpa follow the autoscaler sizes the release that serves, and the two "
        "would undo each other; leave --replicas out, or say --hpa ignore"
    )


def objections(
    settings: Settings,
    deployments: Iterable[str],
    pod_labels: Mapping[str, str],
    autoscalers: Iterable[Object],
    budgets: Iterable[Object],
) -> Sequence[str]:
    """What stands on "one Deployment", and has to be accepted first; a line each."""
    names, found = set(deployments), []
    for each in autoscalers:
        target = each["spec"]["scaleTargetRef"]
        if settings.hpa is None and target.get("kind") == "Deployment" and target.get("name") in names:
            found.append(
                f"HorizontalPodAutoscaler {each['metadata']['name']} scales Deployment {target['name']}: say "
                "--hpa follow (it is pointed at each release that is selected) or --hpa ignore (it stays "
                "where it is, and a release gets the size that the selected one has)"
            )
    for each in budgets:
        if not settings.accept_pdb and matches(each["spec"].get("selector"), pod_labels):
            found.append(
                f"PodDisruptionBudget {each['metadata']['name']} spans releases: pods that drain count in it "
                "beside those that serve; accept that with --accept-pdb, or give it a release in its selector"
            )
    return found


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches these labels, as Kubernetes has it; an empty one matches all."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = term["key"], term.get("values") or ()
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds.get(term["operator"], False):
            return False
    return True


def _pod_labels(deployment: Object) -> Mapping[str, str]:
    return deployment["spec"]["template"].get("metadata", {}).get("labels") or {}


def _deleting(found: Object) -> bool:
    return bool(found["metadata"].get("deletionTimestamp"))


def _complete(deployment: Object) -> bool:
    status, replicas = deployment.get("status", {}), int(deployment["spec"].get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
    counts = [int(status.get(key, 0)) for key in ("replicas", "updatedReplicas")]
    return seen and counts == [replicas, replicas]


def _labels(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
