"""A run's namespace on a cluster: made, furnished, and removed with all in it, whatever grace its pods have."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, ConflictError, NotFoundError
from scenarios.spec.shape import Spec
from scenarios.worlds import objects
from scenarios.worlds.objects import GATEWAY, HOST, RUN, Object

ADMIN_PORT = 9090
QUIT_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.25
EXEC_S = 10.0
KILL = ["sh", "-c", "kill -9 -1"]  # all that its user may end in the pod, which is the server
KILL_AFTER_S = 2
"""Grace of pods that are not terminating yet, in whole seconds."""
SLACK_S = 1.0
"""So long after its grace a pod may still be listed."""


def create(api: Api, namespace: Object) -> None:
    """Make a namespace. Raises RejectedError, ClusterUnreachable."""
    name = namespace["metadata"]["name"]
    try:
        api.call("POST", "/api/v1/namespaces", namespace)
    except ConflictError:
        raise RejectedError(f"cluster {api.name}: namespace {name} is there already") from None


def remove(api: Api, name: str, patience_s: float, say: Callable[[str], None]) -> bool:
    """Delete a namespace and wait until it is gone; False where something of it is left after `patience_s`.

    First the pods with a long grace end: Kubernetes looks again at a namespace with pods in it only after half
    of their grace. That cannot be shortened once it has begun (the API server says that it is, and the node does
    not do it), and a pod that is removed by force runs on unseen, so gateways that still have time, or take more
    than they were given, are asked to quit. A cluster that does not answer is tried again.
    """
    deadline_s = time.monotonic() + patience_s
    asked: set[str] = set()
    stopped_s: float | None = None
    with ThreadPoolExecutor(16, thread_name_prefix="quit") as pool:
        while True:
            try:
                if stopped_s is None:
                    _stop_all(api, name)
                    stopped_s = time.monotonic()
                pods = _pods(api, name)
                late = time.monotonic() >= stopped_s + KILL_AFTER_S + SLACK_S
                leaving = {pod["metadata"]["name"] for pod in pods if _to_be_asked(pod, late)} - asked
                asked |= leaving
                for pod in leaving:
                    pool.submit(_quit, api, name, pod)
                if not any(map(_is_patient, pods)) and _delete(api, name):
                    return True
            except ClusterUnreachable as error:
                say(f"waiting for the cluster, to remove namespace {name}: {error}")
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(LOOK_EVERY_S)


def start_backend(api: Api, namespace: str, spec: Spec, image: str, on_control_plane: bool) -> None:
    """Create the XMPP server; it is up a second or two later. Raises RejectedError, ClusterUnreachable."""
    service, deployment = objects.backend_of(spec, image, on_control_plane)
    api.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
    api.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)


def create_front(
    api: Api, namespace: str, selector: Mapping[str, str] | None, node_ports: Sequence[int | None]
) -> int:
    """Create the Service on the first of these node ports that no other run has; its node port.

    Where none is given it has none, and 0 is returned. Raises RejectedError, ClusterUnreachable.
    """
    if not node_ports:
        inside = objects.front_of(selector, None, outside=False)
        api.call("POST", f"/api/v1/namespaces/{namespace}/services", inside)
        return 0
    refused: RejectedError | None = None
    for port in node_ports:
        try:
            service = objects.front_of(selector, port)
            made = api.call("POST", f"/api/v1/namespaces/{namespace}/services", service)
            return int(made["spec"]["ports"][0]["nodePort"])
        except RejectedError as error:
            if "allocated" not in str(error):
                raise
            refused = error
    raise RejectedError(f"every node port for a run's Service is taken: end another run ({refused})")


def kill_server(api: Api, namespace: str, pod: str) -> None:
    """SIGKILL to the server in a pod, from within; nothing where it cannot be reached."""
    # the shell that kills is killed too, and so has no good end to tell of
    with contextlib.suppress(ClusterUnreachable):
        api.exec_in_pod(namespace, pod, GATEWAY, KILL, EXEC_S)


def found(api: Api, label: str) -> list[Object]:
    """The namespaces with this label that are not being deleted. Raises RejectedError, ClusterUnreachable."""
    items = api.call("GET", "/api/v1/namespaces", query={"labelSelector": label}).get("items") or []
    return [item for item in items if not item["metadata"].get("deletionTimestamp")]


def owner_of(namespace: Object) -> tuple[str, str] | None:
    """The run's folder and the machine that has it; None for a namespace of another kind."""
    notes = namespace["metadata"].get("annotations") or {}
    return (notes[RUN], notes[HOST]) if RUN in notes and HOST in notes else None


def _stop_all(api: Api, name: str) -> None:
    """Whatever makes pods goes first, then the pods; the Services too, whose node ports others wait for."""
    gone = {"propagationPolicy": "Background"}
    with contextlib.suppress(NotFoundError):
        api.call("DELETE", f"/api/v1/namespaces/{name}/services", gone)
        for kind in ("deployments", "replicasets"):
            api.call("DELETE", f"/apis/apps/v1/namespaces/{name}/{kind}", gone)
        api.call("DELETE", f"/apis/batch/v1/namespaces/{name}/jobs", gone)
        api.call("DELETE", f"/api/v1/namespaces/{name}/pods", {"gracePeriodSeconds": KILL_AFTER_S})


def _pods(api: Api, name: str) -> list[Object]:
    pods: list[Object] = api.call("GET", f"/api/v1/namespaces/{name}/pods").get("items") or []
    return pods


def _is_patient(pod: Object) -> bool:
    return (pod["metadata"].get("deletionGracePeriodSeconds") or 0) > KILL_AFTER_S


def _to_be_asked(pod: Object, late: bool) -> bool:
    """Terminating, with a grace that is worth a question or is over; others would only start again."""
    meta = pod["metadata"]
    ours = (meta.get("labels") or {}).get("app") == GATEWAY
    return ours and (_is_patient(pod) or (late and "deletionTimestamp" in meta))


def _quit(api: Api, namespace: str, pod: str) -> None:
    # one that is gone or dead has quit already
    with contextlib.suppress(ClusterUnreachable, RejectedError):
        api.ask_pod(namespace, pod, ADMIN_PORT, "quit", "POST", QUIT_TIMEOUT_S)


def _delete(api: Api, name: str) -> bool:
    """Ask for the namespace's deletion; whether it is gone."""
    path = f"/api/v1/namespaces/{name}"
    try:
        there = api.call("GET", path)
        if not there["metadata"].get("deletionTimestamp"):
            api.call("DELETE", path)
        return False
    except NotFoundError:
        return True
    except ConflictError:  # it is being deleted
        return False
