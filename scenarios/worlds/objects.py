"""The objects of a run on Kubernetes: the manifests of `manifests/` with the scenario's settings put in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deployer.fleet import PREFIX
from scenarios.load import DOMAIN, PASSWORD
from scenarios.spec.shape import Spec

MANIFESTS = Path(__file__).with_name("manifests")
RUN = PREFIX + "run"
"""On the namespace: the run's folder, which says whether the run still goes on."""
HOST = PREFIX + "host"
"""On the namespace: the machine that has this folder."""
GATEWAY, BACKEND = "chat", "xmppd"
LOAD, LOAD_MASTER = "load", "load-master"
CHAT_PORT = 5280
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
LOAD_CPU_M, LOAD_CPU_M_PER_USER = 50, 0.1
LOAD_MEMORY_MI, LOAD_MEMORY_KI_PER_USER = 96, 64
"""What a worker of the load asks of the cluster, in thousandths of a CPU and binary megabytes and kilobytes."""

Object = dict[str, Any]


def namespace_of(name: str, folder: str, host: str) -> Object:
    """The run's namespace."""
    found = _read("namespace.yaml", "Namespace")
    found["metadata"]["name"] = name
    found["metadata"]["annotations"] = {RUN: folder, HOST: host}
    return found


def backend_of(spec: Spec, image: str, on_control_plane: bool) -> tuple[Object, Object]:
    """Service and Deployment of the XMPP server.

    On the control plane of a cluster that is ours, a fault of a worker does not take it away.
    """
    service, deployment = _read("xmppd.yaml", "Service"), _read("xmppd.yaml", "Deployment")
    rate = f"{spec.server.backend_logins_per_s:f}"
    pod = _settle(
        deployment, image, {"CHAT_DOMAIN": DOMAIN, "CHAT_PASSWORD": PASSWORD, "CHAT_LOGINS_PER_S": rate}
    )
    if on_control_plane:
        _keep_off_workers(pod)
    return service, deployment


def gateway_of(spec: Spec, image: str, on_sigterm: str, grace_s: float) -> Object:
    """The template of every release: a Deployment."""
    server = spec.server
    deployment = _read("gateway.yaml", "Deployment")
    settings = {
        "CHAT_BACKEND": f"{BACKEND}:5222",
        "CHAT_DOMAIN": DOMAIN,
        "CHAT_LINGER": f"{server.linger:f}s",
        "CHAT_ON_SIGTERM": on_sigterm,
        "CHAT_ON_DESELECTED": server.on_deselected,
        "CHAT_PER_S": f"{server.pace_per_s:f}",
        "CHAT_GRACE": f"{grace_s:f}s",
        "CHAT_LOGIN_CPU": f"{server.login_cpu * 1000:f}ms",
        "CHAT_BACKLOG": str(server.backlog),
        "CHAT_HANDSHAKE_TIMEOUT": f"{server.handshake_timeout:f}s",
        "CHAT_PING_INTERVAL": f"{server.ping_interval:f}s",
    }
    pod = _settle(deployment, image, settings)
    pod["terminationGracePeriodSeconds"] = math.ceil(grace_s)
    container = pod["containers"][0]
    container["readinessProbe"]["periodSeconds"] = max(1, round(spec.fleet.probe.period))
    asked = spec.kubernetes.requests
    container["resources"]["requests"] = {
        "cpu": f"{math.ceil(asked.cpu * 1000)}m",
        "memory": str(math.ceil(asked.memory)),
    }
    return deployment


def load_of(config: str, workers: int, users: int, image: str, on_control_plane: bool) -> list[Object]:
    """ConfigMap, Service and Jobs of a load of so many users within the cluster; `config` as JSON.

    On the control plane of a cluster that is ours, a fault of a worker node does not take it away.
    """
    settings, service = _read("load.yaml", "ConfigMap"), _read("load.yaml", "Service")
    settings["data"]["load.json"] = config
    master, team = (_read("load.yaml", "Job", name) for name in (LOAD_MASTER, LOAD))
    team["spec"]["parallelism"] = team["spec"]["completions"] = workers
    for job in (master, team):
        pod = _settle(job, image, {})
        if on_control_plane:
            _keep_off_workers(pod)
    each = math.ceil(users / workers)
    team["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] = {
        "cpu": f"{LOAD_CPU_M + math.ceil(LOAD_CPU_M_PER_USER * each)}m",
        "memory": f"{LOAD_MEMORY_MI + math.ceil(LOAD_MEMORY_KI_PER_USER * each / 1024)}Mi",
    }
    return [settings, service, master, team]


def front_of(selector: Mapping[str, str] | None, node_port: int | None, *, outside: bool = True) -> Object:
    """The Service that users reach; None as its selector: it selects nothing until a release is.

    Not `outside`, it has no node port and is reached from within the cluster only.
    """
    service = _read("gateway.yaml", "Service")
    if selector is None:
        del service["spec"]["selector"]
    else:
        service["spec"]["selector"] = dict(selector)
    if not outside:
        service["spec"]["type"] = "ClusterIP"
    elif node_port is not None:
        service["spec"]["ports"][0]["nodePort"] = node_port
    return service


def _settle(deployment: Object, image: str, settings: Mapping[str, str]) -> Object:
    """Put in the image and the values of variables that the manifest has; the pod's spec."""
    pod: Object = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["image"] = image
    names = {variable["name"]: variable for variable in container.get("env", ())}
    for name, value in settings.items():
        names[name]["value"] = value
    return pod


def _keep_off_workers(pod: Object) -> None:
    pod["nodeSelector"] = {CONTROL_PLANE: ""}
    pod["tolerations"] = [{"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}]


def _read(file: str, kind: str, name: str | None = None) -> Object:
    documents = yaml.safe_load_all((MANIFESTS / file).read_text(encoding="utf-8"))
    found: Object = next(
        document
        for document in documents
        if document["kind"] == kind and name in (None, document["metadata"]["name"])
    )
    return found
