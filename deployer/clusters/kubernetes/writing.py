"""What each write sends to the API: pure functions from an action and what is there to patches."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deployer.actions import CreateDeployment
from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import RejectedError, UnreadableError, UpdateType
from deployer.clusters.controlplane.requests import shown
from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import (
    HASH_LABEL,
    MANAGED_BY,
    OURS,
    SELECTED_SINCE,
    SERVICE_LABEL,
    VARIANTS,
    App,
    Variant,
)
from deployer.clusters.kubernetes.reading import annotation
from deployer.fleet import PREFIX, RELEASE_LABEL, SLOT_LABEL, Release

_VARIANTS: TypeAdapter[dict[Release, Variant]] = TypeAdapter(dict[Release, Variant])

FOREIGN = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "meta.helm.sh/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "helm.sh/",
    "app.kubernetes.io/instance",
    PREFIX,
)
"""Labels and annotations of a Deployment that a copy must not bear: with them its owner would take the copy
for its own, and prune it. Those of the pod template are all kept."""


def manifest_of(app: App, action: CreateDeployment, variant: Variant) -> dict[str, Any]:
    """The Deployment of a release: everything of the template, with name, size, labels and variant changed.

    Raises RejectedError where the template has not what the variant changes.
    """
    template = copy.deepcopy(dict(app.template))
    spec = template["spec"]
    identity = {SLOT_LABEL: action.slot} if action.slot is not None else {}
    if action.own_release:
        identity[RELEASE_LABEL] = action.release
    matched = {**(spec.get("selector") or {}), "matchLabels": {**_match_labels(app, spec), **identity}}
    old = template.get("metadata", {})
    made: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": action.name,
            "namespace": app.namespace,
            "labels": {**_own(old.get("labels")), **identity, MANAGED_BY: OURS, SERVICE_LABEL: app.service},
            "annotations": _own(old.get("annotations")),
        },
        "spec": {**spec, "replicas": action.replicas, "selector": matched, "paused": False},
    }
    pod = made["spec"]["template"]
    meta = pod.setdefault("metadata", {})
    meta.pop("creationTimestamp", None)
    meta["labels"] = {
        **{k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL},
        **app.selector,
        MANAGED_BY: OURS,
        **identity,
        RELEASE_LABEL: action.release,
    }
    _vary(pod["spec"], variant, action.name)
    if app.shape is not None:
        _shape(made["spec"], app.shape)
    return made


def template_patch(app: App, found: Object, release: Release, variant: Variant) -> dict[str, Any]:
    """A merge patch that gives an existing Deployment another release, and nothing else than that changes.

    Raises RejectedError where the Deployment selects one release for good.
    """
    name, spec = found["metadata"]["name"], found["spec"]
    own = spec["selector"].get("matchLabels", {}).get(RELEASE_LABEL)
    if own is not None:
        raise RejectedError(
            f"Deployment {name} selects release {own} for good and cannot take {release}; "
            "create another Deployment"
        )
    # From the app's template, not from what runs: the variant of the release before must not stay behind.
    pod = copy.deepcopy(dict(app.template["spec"]["template"]["spec"]))
    _vary(pod, variant, name)
    if app.shape is not None:
        pod["terminationGracePeriodSeconds"] = _whole(app.shape.grace_s)
    changed = {key: pod[key] for key in ("containers", "initContainers") if key in pod}
    return {"spec": {"template": {"metadata": {"labels": {RELEASE_LABEL: release}}, "spec": changed}}}


def selector_patch(service: Object, selector: Mapping[str, str], now_s: float) -> dict[str, Any] | None:
    """Selector and moment in one patch; None where the Service selects that already."""
    old = service.get("spec", {}).get("selector") or {}
    if old == selector:
        return None
    return {
        "metadata": {"annotations": {SELECTED_SINCE: repr(float(now_s))}},
        "spec": {"selector": {**dict.fromkeys(old), **selector}},
    }


def variants_of(service: Object) -> dict[Release, Variant]:
    """What each release changes; nothing for one that is not there.

    Raises UnreadableError, for a release must not be made from the template's own image instead.
    """
    text = annotation(service, VARIANTS)
    if text is None:
        return {}
    try:
        return _VARIANTS.validate_json(text)
    except ValidationError as error:
        name = service["metadata"]["name"]
        raise UnreadableError(
            f"Service {name}: annotation {VARIANTS} does not say which image each release has "
            f"({error.errors()[0]['msg']}): {shown(text)}; correct it with `kubectl edit service {name}`, or remove it "
            "and deploy each release with its image again"
        ) from None


def variants_text(variants: Mapping[Release, Variant], needed: Collection[Release]) -> str:
    """The annotation's text, without releases that nobody can ask for any more."""
    kept = {
        release: {f.name: value for f in fields(v) if (value := getattr(v, f.name)) not in (None, {})}
        for release, v in variants.items()
        if release in needed
    }
    return json.dumps(kept, separators=(",", ":"))


def _match_labels(app: App, spec: Object) -> dict[str, str]:
    old = (spec.get("selector") or {}).get("matchLabels") or {}
    return {**{k: v for k, v in old.items() if not k.startswith(PREFIX)}, **app.selector}


def _own(found: Mapping[str, str] | None) -> dict[str, str]:
    return {k: v for k, v in (found or {}).items() if not k.startswith(FOREIGN)}


def _vary(pod: dict[str, Any], variant: Variant, deployment: str) -> None:
    containers = pod.get("containers") or []
    chosen = next((c for c in containers if variant.container in (None, c.get("name"))), None)
    if chosen is None:
        names = ", ".join(str(c.get("name")) for c in containers)
        raise RejectedError(f"Deployment {deployment} has no container {variant.container!r}; it has {names}")
    if variant.image is not None:
        chosen["image"] = variant.image
    if variant.args is not None:
        chosen["args"] = list(variant.args)
    if variant.env:
        kept = [e for e in chosen.get("env") or [] if e["name"] not in variant.env]
        chosen["env"] = [*kept, *({"name": k, "value": v} for k, v in variant.env.items())]


def _shape(spec: dict[str, Any], shape: Shape) -> None:
    update = shape.update
    spec["strategy"] = {"type": update.type.value}
    if update.type is UpdateType.ROLLING:
        bounds = {"maxSurge": update.max_surge, "maxUnavailable": update.max_unavailable}
        spec["strategy"]["rollingUpdate"] = bounds
    spec["minReadySeconds"] = _whole(shape.min_ready_s)
    # Kubernetes only reports a missed deadline; it must lie above minReadySeconds.
    spec["progressDeadlineSeconds"] = max(_whole(shape.progress_deadline_s), _whole(shape.min_ready_s) + 1)
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = _whole(shape.grace_s)


def _whole(duration_s: float) -> int:
    """Kubernetes takes whole seconds only; never less than asked for."""
    return math.ceil(duration_s)
