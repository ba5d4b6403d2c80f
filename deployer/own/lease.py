"""A Lease: of all who could run the loop for a service, one does."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, ConflictError, NotFoundError, Object
from deployer.clusters.kubernetes.app import MANAGED_BY, OURS
from deployer.fleet import SKEW_S

DURATION_S = 15.0
"""Without a sign of life for so long, the holder is taken for dead."""
HELD_S = 10.0
"""Who has not renewed it for so long makes no write any more: one that is on its way has 5 s to arrive."""
RENEW_S = 3.0
ANSWER_S = 4.0
"""For one request about the Lease: nobody who ends waits for an API server that does not answer."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Lease as last seen to change, on our own clock: others' clocks are not to be trusted."""

    holder: str
    renewed: str
    since_s: float


def is_free(lease: Object, me: str, seen: Sighting | None, now_s: float, wall_s: float) -> bool:
    """Whether it may be taken: nobody's, ours, or its holder has shown no sign of life for long enough.

    `now_s` is on the clock of `seen`, `wall_s` is Unix time.
    """
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
    if holder in ("", me) or _died_here(holder, me):
        return True
    duration_s = float(spec.get("leaseDurationSeconds") or DURATION_S)
    # who is within that is watched for the Lease's duration first
    if renewed and datetime.fromisoformat(renewed).timestamp() + duration_s + SKEW_S < wall_s:
        return True
    unchanged = seen is not None and (seen.holder, seen.renewed) == (holder, renewed)
    return unchanged and seen is not None and now_s - seen.since_s > duration_s


def identity() -> str:
    """A name that nobody else has: machine and process namespace, process id, and something random."""
    unique = uuid.uuid4().hex[:8]
    where = unique
    with contextlib.suppress(OSError):
        where = f"{_boot()[:8]}-{_namespace()}"
    return f"{socket.gethostname()}-{where}_{os.getpid()}_{unique}"


def _boot() -> str:
    """Of this running kernel only: machines made from one image share a host name. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    """A process id means something in its own namespace only. Raises OSError where there are none."""
    return "".join(filter(str.isdecimal, str(Path("/proc/self/ns/pid").readlink())))


def _clock_s() -> float:
    """Seconds that pass while this process is frozen too, and while the machine sleeps where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """The Lease of one service. Once taken it is renewed by a thread; `lost` is set when that fails."""

    def __init__(self, api: Api, namespace: str, service: str, me: str, before: Lease | None = None) -> None:
        """`me` is an `identity`; what `before`, an earlier try of ours, has seen is not forgotten."""
        self.me = me
        self.holder = ""  # as last seen
        self.lost = threading.Event()
        self._api = api
        self._base = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = f"drainbow-{service}"
        self._seen: Sighting | None = before._seen if before is not None else None
        self._done = threading.Event()
        self._renewer: threading.Thread | None = None
        self._renewed_s = 0.0
        self._answered = True  # the API server, when it was last asked to renew it

    def holds(self) -> bool:
        """Whether it is certainly ours at this moment: for a process that was frozen it is not.

        It asks nobody, so that it can be asked before each write.
        """
        running = self._renewer is not None and not self.lost.is_set()
        return running and _clock_s() - self._renewed_s < HELD_S

    def take(self) -> bool:
        """Take it if it is free. Raises ClusterUnreachable, RejectedError."""
        try:
            found = self._get()
        except NotFoundError:
            return self._create()
        spec = found.get("spec") or {}
        self.holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        now_s = _clock_s()
        if self._seen is None or (self._seen.holder, self._seen.renewed) != (self.holder, renewed):
            self._seen = Sighting(self.holder, renewed, now_s)
        if not is_free(found, self.me, self._seen, now_s, time.time()):
            return False
        at_s = _clock_s()
        taken = self._write(found["metadata"]["resourceVersion"], self._spec(acquired=True))
        if taken:
            self._begin(at_s)
        return taken

    def release(self) -> None:
        """Let the next one have it at once; where the API server is away, once it runs out.

        It takes 4 s for each answer that does not come, and no more than two are asked for.
        """
        self._done.set()
        if self._renewer is None:
            return
        self._renewer.join()
        self._renewer = None
        if self.lost.is_set() or not self._answered:
            return
        with contextlib.suppress(ClusterUnreachable, RejectedError, NotFoundError):
            found = self._get()
            if (found.get("spec") or {}).get("holderIdentity") == self.me:
                self._write(found["metadata"]["resourceVersion"], {"holderIdentity": ""})

    def _create(self) -> bool:
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "labels": {MANAGED_BY: OURS}},
            "spec": self._spec(acquired=True),
        }
        at_s = _clock_s()
        try:
            self._api.call("POST", self._base, manifest, timeout_s=ANSWER_S)
        except ConflictError:
            return False
        except NotFoundError as error:
            raise RejectedError(f"cluster {self._api.name}: {error}") from None
        self._begin(at_s)
        return True

    def _begin(self, at_s: float) -> None:
        self.holder, self._renewed_s = self.me, at_s
        self._renewer = threading.Thread(target=self._renew, name=f"lease {self._name}", daemon=True)
        self._renewer.start()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            try:
                found = self._get()
                if self._done.is_set():
                    return
                if (found.get("spec") or {}).get("holderIdentity") != self.me:
                    break
                at_s = _clock_s()
                if self._write(found["metadata"]["resourceVersion"], self._spec()):
                    self._renewed_s = at_s
                self._answered = True
            except ClusterUnreachable:
                self._answered = False  # nobody else can reach it either, or we find out once it is back
            except (NotFoundError, RejectedError):
                break
            if _clock_s() - self._renewed_s > DURATION_S:
                # Perhaps somebody else has it by now; the next round tells, and until then we act on nothing.
                self.lost.set()
                return
        else:
            return
        self.lost.set()

    def _get(self) -> dict[str, Any]:
        return self._api.call("GET", f"{self._base}/{self._name}", timeout_s=ANSWER_S)

    def _write(self, version: str, spec: dict[str, Any]) -> bool:
        try:
            patch = {"metadata": {"resourceVersion": version}, "spec": spec}
            self._api.merge(f"{self._base}/{self._name}", patch, timeout_s=ANSWER_S)
        except ConflictError:
            return False
        return True

    def _spec(self, acquired: bool = False) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.me, "leaseDurationSeconds": int(DURATION_S), "renewTime": now}
        return spec | {"acquireTime": now} if acquired else spec


def _died_here(holder: str, me: str) -> bool:
    """Whether the holder was a process of this very machine that is no more: it was killed."""
    there, here = holder.split("_"), me.split("_")
    if len(there) != 3 or there[0] != here[0] or not there[1].isdecimal():
        return False
    try:
        os.kill(int(there[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
