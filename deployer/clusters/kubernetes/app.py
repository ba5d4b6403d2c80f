"""What a Kubernetes cluster has to know of one app: where it is, what its pods are, how they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deployer.clusters.controlplane.api import Shape
from deployer.fleet import PREFIX, Limits

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "drainbow"
SERVICE_LABEL = PREFIX + "service"
"""On every Deployment of the app, ours or adopted: the Service's name."""
DESELECTED_LABEL = PREFIX + "deselected"
"""On pods that were told of their deselection, for servers that watch it through the Downward API."""
SELECTED_SINCE = PREFIX + "selected-since"
"""On the Service: Unix seconds of the last Select."""
VARIANTS = PREFIX + "variants"
"""On the Service: what each release changes in the template, as JSON."""
ADOPTED = PREFIX + "adopted"
"""On an adopted Deployment: the release that its own template is."""
ADOPTED_HASH = PREFIX + "adopted-hash"
"""On an adopted Deployment: its pods' pod-template-hash, by which the Service selects them."""
HASH_LABEL = "pod-template-hash"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(frozen=True, slots=True)
class Counting:
    """How a pod's open connections are found out."""

    kind: Literal["metric", "endpoint", "tcp"] = "metric"
    port: int = 9090  # of the admin port; for tcp: the port that clients connect to
    more_ports: tuple[int, ...] = ()  # tcp: others that clients connect to
    path: str = "/metrics"  # endpoint: whose answer is a number
    metric: str = "chat_open_connections"
    silent: str | None = None  # metric of the connections without traffic; None: none are told apart
    container: str | None = None  # tcp: where to look; None: the pod's default container


CHAT = Counting(silent="chat_silent_connections")
"""What our own chat gateway offers."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where pods are told of their deselection, and asked to send clients away (POST, `?per_s=`)."""

    port: int = 9090
    deselected: str = "/deselected"
    drain: str = "/drain"


@dataclass(frozen=True, slots=True)
class Variant:
    """What one release changes in the template, besides its label."""

    image: str | None = None
    container: str | None = None  # whose image, arguments and environment; None: the first one's
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class App:
    """One app. Its Deployments are called `<name>-<release>`, or `<name>` where there is but one."""

    name: str
    namespace: str
    service: str
    selector: Mapping[str, str]  # labels that the pods of all releases have, and no other pods
    template: Mapping[str, Any]  # a Deployment manifest, from which all others are derived
    limits: Limits
    counting: Counting = CHAT
    hooks: Hooks | None = field(default_factory=Hooks)  # None: it has none
    shape: Shape | None = None  # overrides the manifest's roll-out settings and grace; None: they stay
    follow_replicas: bool = (
        False  # a release needs as many pods as the selected one has, not `limits.replicas`
    )
