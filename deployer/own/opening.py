"""How a command comes to a service: connect, find it, adopt it where nobody has yet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from deployer.clusters.kubernetes import Api, reading
from deployer.clusters.kubernetes.api import NotFoundError, Object
from deployer.clusters.kubernetes.app import SERVICE_LABEL
from deployer.own import adopting
from deployer.own.session import Session
from deployer.own.settings import CONFIG, OwnError, Settings, changed, counting_of, read


@dataclass(frozen=True, slots=True)
class Where:
    """Which service is meant."""

    service: str
    namespace: str | None = None  # None: the context's
    context: str | None = None  # None: the kubeconfig's current one
    kubeconfig: str | None = None


def connected(where: Where) -> tuple[Api, str, Object]:
    """The cluster, the namespace and the Service. Raises ClusterUnreachable, RejectedError."""
    api = Api.connect(where.context, where.kubeconfig)
    api.check_version()
    namespace = where.namespace or api.namespace or "default"
    try:
        return api, namespace, api.call("GET", f"/api/v1/namespaces/{namespace}/services/{where.service}")
    except NotFoundError:
        raise OwnError(
            f"cluster {api.name}: namespace {namespace} has no Service {where.service}; name another with "
            "--service, --namespace or --context"
        ) from None


def open_service(where: Where) -> Session:
    """A service that was deployed with us before. Raises OwnError where it was not."""
    api, namespace, service = connected(where)
    settings = read(service)
    if settings is None:
        raise OwnError(
            f"Service {where.service} is not under drainbow yet: `drainbow deploy --service {where.service} "
            "--image IMAGE` adopts it"
        )
    return Session(api, namespace, service, settings)


def deploy_to(
    where: Where, named: str | None, count: str | None, container: str | None, given: dict[str, Any]
) -> Session:
    """Open a service for a deploy: adopt it if that was not done, and keep what was given (None: not given).

    Raises OwnError for whatever must be decided first; nothing has been changed then.
    """
    api, namespace, service = connected(where)
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    deployments = api.call("GET", base).get("items") or []
    settings, adoption = read(service), None
    if settings is None:
        pods = api.call("GET", f"/api/v1/namespaces/{namespace}/pods").get("items") or []
        adoption = adopting.adoption_of(service, deployments, pods, named)
        settings = Settings(adoption.name, adoption.selector, first_replicas=adoption.replicas)
        given = {**given, "counting": counting_of(count or "tcp", _target_port(service, adoption.deployment))}
    elif count is not None:
        given = {**given, "counting": counting_of(count, settings.counting.port)}
    template = next((d for d in deployments if d["metadata"]["name"] == settings.deployment), None)
    if template is not None:
        given["container"] = adopting.container_of(template, container or settings.container)
    settings = changed(settings, **given)
    settings.made_strategy()
    settings.made_drain()
    _check(api, namespace, service, settings, deployments)
    if adoption is not None:
        patch = adoption.deployment_patch(where.service)
        api.merge(f"{base}/{adoption.name}", patch)
        api.merge(
            f"/api/v1/namespaces/{namespace}/services/{where.service}",
            adoption.service_patch(settings, time.time()),
        )
    session = Session(api, namespace, service, settings)
    _keep(session, settings)
    session.cluster.tend()
    return session


def _keep(session: Session, settings: Settings) -> None:
    """Write the settings down where they are others than those that are kept."""

    def patch(service: Object) -> Object | None:
        text = settings.to_json()
        if reading.annotation(service, CONFIG) == text:
            return None
        return {"metadata": {"annotations": {CONFIG: text}}}

    session.cluster.update_service(patch)


def _check(api: Api, namespace: str, service: Object, settings: Settings, deployments: list[Object]) -> None:
    scalers = api.call("GET", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
    budgets = api.call("GET", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")
    behind = [
        d
        for d in deployments
        if d["metadata"]["name"] == settings.deployment
        or (d["metadata"].get("labels") or {}).get(SERVICE_LABEL) == service["metadata"]["name"]
        or settings.selector.items() <= (d["spec"]["template"]["metadata"].get("labels") or {}).items()
    ]
    template = next((d for d in behind if d["metadata"]["name"] == settings.deployment), None)
    labels = template["spec"]["template"]["metadata"].get("labels", {}) if template else settings.selector
    found = adopting.objections(
        settings,
        [d["metadata"]["name"] for d in behind],
        labels,
        scalers.get("items") or (),
        budgets.get("items") or (),
    )
    if found:
        raise OwnError("; ".join(found))


def _target_port(service: Object, deployment: Object) -> int:
    """The port of the pods that the Service's first port sends to."""
    port = service["spec"]["ports"][0]
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for each in container.get("ports") or ():
            if each.get("name") == target:
                return int(each["containerPort"])
    return int(port["port"])
