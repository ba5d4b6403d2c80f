"""What a cluster's data plane does to connections whose pod is deselected, found out on that cluster.

Strategies that switch a Service stand on two things which Kubernetes does not promise: that an established
connection stays on its pod, and that new ones soon go to the new pods. kube-proxy with iptables or nftables
keeps them; others are said to drop them or to let them fall silent.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, NotFoundError, Object
from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from deployer.clusters.kubernetes.podlog import condition
from deployer.clusters.kubernetes.reading import troubles

SWITCHES = 5  # an odd number, so that the connections' pod is deselected at the end
APART_S = 3.5
"""Between switches, so that none meets the data plane still busy with the one before."""
WATCHED_S = 15.0
"""How long the connections are watched after the last switch."""
SILENT_S = 4.0
"""A connection whose echo is out for so long at the end has fallen silent."""
START_S = 40.0
PORT, ADMIN_PORT = 8080, 9090
SIDES = ("one", "two")


class Fate(StrEnum):
    """What becomes of an established connection."""

    KEPT = "kept"
    DROPPED = "dropped"
    BLACK_HOLED = "black-holed"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found. Times in seconds from the switch's answer by the API server."""

    fate: Fate
    kept: int  # connections still echoing at the end
    dropped: int  # closed or reset
    silent: int  # neither closed nor echoing
    reached_s: Sequence[float]  # per switch: first new connection on the new pod
    left_s: Sequence[float]  # per switch: last new connection on the old pod
    failed: int  # new connections that failed
    tried: int

    @property
    def may_promise(self) -> bool:
        """Whether a switch may be said to disconnect nobody here."""
        return self.fate is Fate.KEPT

    def lines(self) -> list[str]:
        """For people."""
        total = self.kept + self.dropped + self.silent
        reached, left = (statistics.median(s) * 1000 for s in (self.reached_s, self.left_s))
        worst = max(*self.reached_s, *self.left_s) * 1000
        return [
            f"established connections are {self.fate} when their pod is deselected: of {total}, {self.kept} "
            f"kept, {self.dropped} dropped, {self.silent} silent",
            f"a selector switch reaches new connections after {reached:.0f} ms, the last one on the old pod "
            f"comes at {left:.0f} ms (medians of {len(self.reached_s)}; at worst {worst:.0f} ms)",
            f"{self.failed} of {self.tried} new connections failed meanwhile",
        ]


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of the selector: when the API server had it (the client pod's clock), and to which pod."""

    at_s: float
    to: str


def judge(report: Mapping[str, Any], switches: Sequence[Switch]) -> Answer:
    """From what the client pod saw to the answer.

    `report` has `held` (a list of closed_s or null, and the last echo's moment) and `tries` (moment, and the
    pod that answered or null), in the client pod's clock, with `now_s`. Raises ValueError for one that saw
    too little to tell.
    """
    tries = [(float(t_s), side) for t_s, side in report["tries"]]
    reached, left = [], []
    for n, switch in enumerate(switches):
        end_s = switches[n + 1].at_s if n + 1 < len(switches) else float("inf")
        within = [(t_s, side) for t_s, side in tries if switch.at_s <= t_s < end_s and side is not None]
        new = [t_s for t_s, side in within if side == switch.to]
        if not new:
            raise ValueError("the new pod was never reached after a switch")
        old = [t_s for t_s, side in within if side != switch.to]
        reached.append(new[0] - switch.at_s)
        left.append(max((t_s for t_s in old), default=switch.at_s) - switch.at_s)
    kept = dropped = silent = 0
    for closed_s, echoed_s in report["held"]:
        if closed_s is not None:
            dropped += 1
        elif float(report["now_s"]) - float(echoed_s) > SILENT_S:
            silent += 1
        else:
            kept += 1
    seen = [fate for fate, n in ((Fate.KEPT, kept), (Fate.DROPPED, dropped), (Fate.BLACK_HOLED, silent)) if n]
    if not seen or not switches:
        raise ValueError("no connection was established")
    fate = seen[0] if len(seen) == 1 else Fate.MIXED
    failed = sum(side is None for _, side in tries)
    return Answer(fate, kept, dropped, silent, reached, left, failed, len(tries))


def probe(api: Api, image: str, namespace: str, tell: Callable[[str], None] = lambda _: None) -> Answer:
    """Ask the cluster, in a new namespace of this name that is removed in any case; takes under a minute.

    `image` must have python3. Raises ClusterUnreachable, and RejectedError where pods do not start.
    """
    labels = {MANAGED_BY: OURS, "pod-security.kubernetes.io/enforce": "restricted"}
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
    try:
        tell(f"namespace {namespace}: three pods, one Service")
        _start(api, namespace, image)
        offset_s = _offset_s(api, namespace)
        api.ask_pod(namespace, "client", ADMIN_PORT, "/begin", "POST", 5.0)
        time.sleep(2.0)
        switches: list[Switch] = []
        for n in range(SWITCHES):
            side = SIDES[(n + 1) % 2]
            api.merge(f"/api/v1/namespaces/{namespace}/services/echo", {"spec": {"selector": {"side": side}}})
            switches.append(Switch(time.time() + offset_s, side))
            tell(f"switch {n + 1} of {SWITCHES}")
            time.sleep(APART_S)
        time.sleep(WATCHED_S - APART_S)
        status, body = api.ask_pod(namespace, "client", ADMIN_PORT, "/report", "GET", 10.0)
        if status != 200:
            raise ClusterUnreachable(f"cluster {api.name}: the probe's client answered {status}")
        return judge(json.loads(body), switches)
    except RejectedError:
        raise
    except ValueError as error:
        raise RejectedError(f"cluster {api.name}: the data-plane probe saw too little: {error}") from None
    finally:
        with contextlib.suppress(NotFoundError):
            api.call("DELETE", f"/api/v1/namespaces/{namespace}")


def _start(api: Api, namespace: str, image: str) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    service = {
        "metadata": {"name": "echo"},
        "spec": {"selector": {"side": SIDES[0]}, "ports": [{"port": PORT}]},
    }
    found = api.call("POST", f"{base}/services", service)
    target = found["spec"]["clusterIP"]
    until_s = time.monotonic() + START_S
    _wait_for_account(api, f"{base}/serviceaccounts/default", until_s)
    for name in (*SIDES, "client"):
        api.call("POST", f"{base}/pods", _pod(name, image, target))
    while True:
        pods: list[Object] = api.call("GET", f"{base}/pods").get("items") or []
        waiting = [p for p in pods if (condition(p, "Ready") or {}).get("status") != "True"]
        if len(pods) == 3 and not waiting:
            return
        if time.monotonic() > until_s:
            raise RejectedError(
                f"cluster {api.name}: the probe's pods do not start: {troubles(waiting) or 'no reason'}; "
                "give an image that has python3 and that the cluster can pull with --image"
            )
        time.sleep(0.3)


def _wait_for_account(api: Api, path: str, until_s: float) -> None:
    """A namespace gets its service account a moment after it was made, and takes no pod before."""
    while True:
        try:
            api.call("GET", path)
            return
        except NotFoundError as error:
            if time.monotonic() > until_s:
                raise RejectedError(f"cluster {api.name}: {error}") from None
        time.sleep(0.1)


def _pod(name: str, image: str, target: str) -> dict[str, Any]:
    script = files(__package__).joinpath("dataplane_pod.py").read_text()
    return {
        "metadata": {"name": name, "labels": {"side": name, MANAGED_BY: OURS}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", script, name, f"{target}:{PORT}", str(ADMIN_PORT)],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                    "readinessProbe": {
                        "httpGet": {"path": "/time", "port": ADMIN_PORT},
                        "periodSeconds": 1,
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _offset_s(api: Api, namespace: str) -> float:
    """The client pod's clock minus ours, from the quickest of some exchanges (as NTP does)."""
    best = (float("inf"), 0.0)
    for _ in range(5):
        sent_s = time.time()
        _, body = api.ask_pod(namespace, "client", ADMIN_PORT, "/time", "GET", 5.0)
        back_s = time.time()
        best = min(best, (back_s - sent_s, float(body) - (sent_s + back_s) / 2))
    return best[1]
