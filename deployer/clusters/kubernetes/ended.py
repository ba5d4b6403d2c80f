"""Whether a pod that does not say its number holds nobody for certain: pure functions.

A status alone does not tell: of a node that is lost or cut off it is the last one that came, and says *ended* of a
container that may have been started since. So there has to be a sign of life too, that nothing runs there *now*, and
the status has to be read after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from deployer.clusters.kubernetes.api import Object

_KINDS = ("container", "initContainer", "ephemeralContainer")
_LOST = frozenset({"ContainerStatusUnknown", "Unknown"})
"""Why a container has ended, where the kubelet or the runtime had lost sight of it."""
_KILLS_ALL = "containerd://"
"""The runtime that itself ends what is left of a container, before it says that the container has ended."""


def refusing(status: int, body: bytes) -> str | None:
    """The address, as `HOST:PORT`, that refused the API server a connection; None where that is not its answer.

    A pod's address refuses where its node is reached and nobody listens there. A time-out, a missing route or an
    end of file say nothing of the kind.
    """
    try:
        found = json.loads(body) if status == 503 else None
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("kind") != "Status":
        return None
    dialled = re.search(r"\bdial tcp (\S+): connect: connection refused", str(found.get("message")))
    return dialled and dialled[1]


def is_at(pod: Object, address: str, port: int) -> bool:
    """Whether this is the pod's own, and not that of what stands between the API server and its nodes."""
    ips = (str(each["ip"]) for each in pod.get("status", {}).get("podIPs") or ())
    return address in [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in ips]


def is_alone(pod: Object) -> bool:
    """Whether a refusal speaks for all that runs in the pod: it has one container, and no sidecar.

    Of another one only the status would tell, and that may be an old one.
    """
    spec = pod.get("spec", {})
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    return len(spec.get("containers") or ()) == 1 and not any(sidecars)


def is_not_found(error: Exception) -> bool:
    """Whether it is the kubelet's answer to an exec in a container that does not run."""
    return 'container not found ("' in str(error)


def runs_nothing(pod: Object) -> bool:
    """Whether each of the pod's containers has ended, the last time that the kubelet told, and waits for its next start.

    Init containers, sidecars and debuggers are looked at like the others. False where the kubelet has lost sight of a
    container, or where a process may outlive its own.
    """
    spec, status = pod.get("spec", {}), pod.get("status", {})
    if status.get("phase") != "Running" or not spec.get("containers"):
        return False
    # The kernel ends what is left of a container with its first process, unless others share its process numbers.
    runtime = _KILLS_ALL if spec.get("shareProcessNamespace") or spec.get("hostPID") else ""
    return all(
        _all_ended(spec.get(f"{kind}s") or (), status.get(f"{kind}Statuses") or (), runtime)
        for kind in _KINDS
    )


def _all_ended(containers: Iterable[Object], statuses: Iterable[Object], runtime: str) -> bool:
    ended = {s["name"] for s in statuses if _has_ended(s) and s.get("containerID", "").startswith(runtime)}
    return all(each["name"] in ended for each in containers)


def _has_ended(status: Object) -> bool:
    state = status.get("state") or {}
    end = state.get("terminated")
    if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
        end = (status.get("lastState") or {}).get("terminated")
    return end is not None and end.get("reason") not in _LOST
