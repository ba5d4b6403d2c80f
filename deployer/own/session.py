"""One service on one cluster: ask for a release, and see to it that it is done, one process at a time."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Self

from deployer.actions import Refuse
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import Api, KubernetesCluster, Variant, reading, writing
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError, Object
from deployer.controller import LONGEST_WAIT_S, Step, step
from deployer.fleet import Kind, Outcome, Release, Request
from deployer.journal import Journal
from deployer.own.lease import Lease, identity
from deployer.own.settings import CONFIG, OwnError, Settings, read

UNREACHABLE_S = 120.0
"""A command gives up when the cluster has not answered for so long; what was asked for stays asked for."""
LOOK_FOR_LEASE_S = 2.0
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.5, 5.0


class Session:
    """A service that is under us; `opening` makes them.

    Every method raises ClusterUnreachable, RejectedError and OwnError, each with one line for the user.
    """

    def __init__(self, api: Api, namespace: str, service: Object, settings: Settings) -> None:
        self.api = api
        self.namespace = namespace
        self.service_name: str = service["metadata"]["name"]
        template = template_of(api, namespace, settings)
        self.cluster = KubernetesCluster(api, settings.app(namespace, self.service_name, template))
        self._configured: tuple[str | None, Object] | None = None
        self.settings = settings
        self._me = identity()
        self._seen_lease: Lease | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.close()

    def refresh(self) -> None:
        """Take up what another process may have changed: the settings, the template."""
        service = self.cluster.service()
        text = reading.annotation(service, CONFIG)
        template = self.cluster.deployments().get(self.settings.deployment, self.cluster.app.template)
        if self._configured is not None and self._configured == (text, template):
            return
        found = read(service)
        if found is None:
            raise OwnError(f"Service {self.service_name} is no longer under drainbow: its settings are gone")
        self.settings = found
        self.cluster.app = found.app(self.namespace, self.service_name, template)
        self._configured = (text, template)

    def look(self, journal: Journal, now_s: float) -> Step:
        """One look, and what is due; a release that the API server does not accept is refused."""
        self.refresh()
        self.cluster.tend()
        self._point_autoscaler()
        try:
            return step(
                self.cluster, self.settings.made_strategy(), self.settings.made_drain(), now_s, journal
            )
        except RejectedError as error:
            goal = self.cluster.observe().goal
            if goal is None or goal.outcome is not None:
                raise
            refusal = Refuse(goal.deploy, str(error))
            self.cluster.act(refusal)
            journal.action(now_s, refusal)
            return step(
                self.cluster, self.settings.made_strategy(), self.settings.made_drain(), now_s, journal
            )

    def request(self, release: Release, kind: Kind, variant: Variant | None) -> Request:
        """Write down what is wanted; nothing new where that is what is wanted already.

        Raises OwnError where the release is there with another image: a release is one image for good.
        """
        fleet = self.cluster.observe()
        known = writing.variants_of(self.cluster.service()).get(release)
        same = variant is None or known is None or known.image == variant.image
        live = bool(fleet.deployments_of(release))
        if not same and live:
            assert known is not None
            raise OwnError(
                f"release {release} is there with image {known.image}; another image is another release: "
                "give it a name of its own with --release"
            )
        goal = fleet.goal
        if goal is not None and goal.release == release and same:
            return goal
        number = self.cluster.request(release, kind, variant)
        return next(r for r in self.cluster.observe().requests if r.deploy == number)

    def see_through(self, deploy: int, journal: Journal, tell: Callable[[str], None]) -> Request:
        """Run the loop, or watch whoever runs it, until this request has an outcome."""
        told, patience = "", _Patience(UNREACHABLE_S)
        while True:
            lease = self._lease()
            try:
                if lease.take():
                    with self.cluster.writing_while(lease.holds):
                        self._loop(journal, lambda: self.outcome(deploy) is not None, lease, patience)
                elif lease.holder != told:
                    told = lease.holder
                    tell(f"{told.split('_')[0]} runs the loop; watching it")
                found = self._watched(deploy, LOOK_FOR_LEASE_S)
                if found is not None:
                    return found
                patience.answered()
            except ClusterUnreachable as error:
                patience.wait(error)
            finally:
                lease.release()

    def operate(self, journal: Journal, stop: threading.Event, tell: Callable[[str], None]) -> None:
        """Run the loop until `stop`, whenever nobody else does; an unreachable cluster is waited for."""
        told, patience = "", _Patience(math.inf)
        while not stop.is_set():
            lease = self._lease()
            try:
                if lease.take():
                    tell("running the loop")
                    with self.cluster.writing_while(lease.holds):
                        self._loop(journal, stop.is_set, lease, patience)
                elif lease.holder != told:
                    told = lease.holder
                    tell(f"{told.split('_')[0]} runs the loop; waiting for it")
                stop.wait(LOOK_FOR_LEASE_S)
            except ClusterUnreachable as error:
                tell(str(error))
                patience.wait(error)
            finally:
                lease.release()

    def sweep(self, journal: Journal) -> Step | None:
        """One look, under the Lease; None where somebody else holds it and looks anyway."""
        lease = self._lease()
        try:
            if not lease.take():
                return None
            with self.cluster.writing_while(lease.holds):
                return self.look(journal, time.time())
        finally:
            lease.release()

    def outcome(self, deploy: int) -> Request | None:
        """The request, once it has an outcome. One that was forgotten since was superseded."""
        for request in self.cluster.observe().requests:
            if request.deploy == deploy:
                return request if request.outcome is not None else None
        return Request(deploy, "", Kind.DEPLOY, 0.0, Outcome.SUPERSEDED, "it is no longer known")

    def _lease(self) -> Lease:
        self._seen_lease = Lease(self.api, self.namespace, self.service_name, self._me, self._seen_lease)
        return self._seen_lease

    def _loop(self, journal: Journal, ended: Callable[[], bool], lease: Lease, patience: _Patience) -> None:
        """Look whenever something changed or a moment has come, until the end or the loss of the Lease."""
        version, look_at_s = -1, 0.0
        while not lease.lost.is_set():
            try:
                if ended():
                    return
                # Not longer than it takes to notice that the Lease is lost.
                wait_s = min(max(look_at_s - time.time(), 0.0), LOOK_FOR_LEASE_S)
                now = self.cluster.watch(version, wait_s)
                if now == version and time.time() < look_at_s:
                    continue
                version = now
                again_s = self.look(journal, time.time()).look_again_s
                longest_s = time.time() + LONGEST_WAIT_S
                look_at_s = longest_s if again_s is None else min(again_s, longest_s)
                patience.answered()
            except ClusterUnreachable as error:
                patience.wait(error)
                version, look_at_s = -1, 0.0

    def _watched(self, deploy: int, timeout_s: float) -> Request | None:
        until_s = time.monotonic() + timeout_s
        version = -1
        while (found := self.outcome(deploy)) is None and time.monotonic() < until_s:
            version = self.cluster.watch(version, max(0.0, until_s - time.monotonic()))
        return found

    def _point_autoscaler(self) -> None:
        """With `--hpa follow`: the autoscaler's target is the selected release's Deployment."""
        if self.settings.hpa != "follow":
            return
        deployments = self.cluster.deployments()
        fleet = self.cluster.observe()
        selected = next((d.name for d in fleet.deployments.values() if d.release == fleet.selected), None)
        if selected is None:
            return
        real = selected if selected in deployments else self.settings.deployment
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers"
        for each in self.api.call("GET", path).get("items") or ():
            target = each["spec"]["scaleTargetRef"]
            if target["kind"] == "Deployment" and target["name"] in deployments and target["name"] != real:
                # Gone or changed since: the next look sees it.
                with contextlib.suppress(NotFoundError, ConflictError):
                    self.cluster.merge(
                        f"{path}/{each['metadata']['name']}",
                        {"spec": {"scaleTargetRef": {**target, "name": real}}},
                    )


class _Patience:
    """Backs off while the cluster does not answer, and ends with that after `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since_s: float | None = None
        self._backoff_s = FIRST_BACKOFF_S

    def answered(self) -> None:
        self._since_s, self._backoff_s = None, FIRST_BACKOFF_S

    def wait(self, error: ClusterUnreachable) -> None:
        now_s = time.monotonic()
        self._since_s = self._since_s if self._since_s is not None else now_s
        if now_s - self._since_s > self._limit_s:
            raise error
        time.sleep(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, LAST_BACKOFF_S)


def template_of(api: Api, namespace: str, settings: Settings) -> Object:
    """The adopted Deployment. Raises OwnError where someone deleted it."""
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    try:
        return api.call("GET", f"{base}/{settings.deployment}")
    except NotFoundError:
        raise OwnError(
            f"Deployment {settings.deployment} is gone, and all releases are made from its template; "
            "apply its manifest again with replicas: 0"
        ) from None
