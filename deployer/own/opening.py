"""How a command comes to a service: connect, find it, adopt it where nobody has yet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import Api, reading
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError, Object
from deployer.clusters.kubernetes.app import SERVICE_LABEL
from deployer.clusters.kubernetes.sending import TRIES
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
    for _ in range(TRIES):
        try:
            return _deploy_to(api, namespace, service, named, count, container, given)
        except ConflictError:  # somebody adopts it too, or changes it: look anew at what is there
            service = connected(where)[2]
    raise ClusterUnreachable(
        f"cluster {api.name}: Service {where.service} or its Deployment changes all the time"
    )


def _deploy_to(
    api: Api,
    namespace: str,
    service: Object,
    named: str | None,
    count: str | None,
    container: str | None,
    given: dict[str, Any],
) -> Session:
    """Raises ConflictError where what it has seen is not there any more before all of it is written."""
    base, name = f"/apis/apps/v1/namespaces/{namespace}/deployments", service["metadata"]["name"]
    deployments = api.call("GET", base).get("items") or []
    settings, adoption = read(service), None
    if settings is None:
        pods = api.call("GET", f"/api/v1/namespaces/{namespace}/pods").get("items") or []
        adoption = adopting.adoption_of(service, deployments, pods, named)
        settings, count = (
            Settings(adoption.name, adoption.selector, first_replicas=adoption.replicas),
            count or "tcp",
        )
    elif named not in (None, settings.deployment):
        raise OwnError(
            f"--deployment {named}: Service {name} was adopted with Deployment {settings.deployment}, the template of all "
            "its releases; leave --deployment out"
        )
    template = next((d for d in deployments if d["metadata"]["name"] == settings.deployment), None)
    if count is not None:
        ports = adopting.ports_of(service, template) if count == "tcp" else ()
        given = {**given, "counting": counting_of(count, ports)}
    if template is not None:
        given["container"] = adopting.container_of(template, container or settings.container)
    settings = adopting.sized(changed(settings, **given), given)
    settings.made_strategy(template)
    settings.made_drain()
    _check(api, namespace, service, settings, deployments)
    if adoption is not None:
        # Only what was looked at is adopted: not a template changed since, nor what another has adopted.
        seen = {"resourceVersion": adoption.deployment["metadata"]["resourceVersion"]}
        try:
            api.merge(f"{base}/{adoption.name}", _with_meta(adoption.deployment_patch(name), seen))
            seen = {"resourceVersion": service["metadata"]["resourceVersion"]}
            patch = adoption.service_patch(settings, time.time())
            api.merge(f"/api/v1/namespaces/{namespace}/services/{name}", _with_meta(patch, seen))
        except NotFoundError as error:
            raise OwnError(f"cluster {api.name}: {error}: it was deleted meanwhile") from None
    session = Session(api, namespace, service, settings)
    _keep(session, settings)
    session.cluster.tend()
    return session


def _with_meta(patch: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {**patch, "metadata": {**patch["metadata"], **meta}}


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
