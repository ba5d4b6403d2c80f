"""What is there of one app, in memory: watches keep it current, and a version tells of changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import watching
from deployer.clusters.kubernetes.api import Api, Object
from deployer.clusters.kubernetes.app import SERVICE_LABEL, App
from deployer.clusters.kubernetes.podlog import PodLog
from deployer.clusters.kubernetes.watching import Store

FIRST_S = 10.0
"""How long a look waits for a list that is under way, at the beginning or after `look_anew`."""
BLIP_S = 2.0
"""For so long after the API server has gone a look waits for it, all looks together; then it is unreachable at once."""
LOOK_S = 0.1
"""So often who waits sees to it that no watch stands before a list."""


class View:
    """The Service, the Deployments and the pods. Watches begin with the first look and go on until `close`.

    Whoever looks raises ClusterUnreachable where what is in memory is worth nothing now, and RejectedError
    where the API server refuses for good.
    """

    def __init__(self, api: Api, app: App) -> None:
        """Of `app` only where it is counts: namespace, Service and selector."""
        self.pod_log = PodLog()
        core = f"/api/v1/namespaces/{app.namespace}"
        self.service_path = f"{core}/services/{app.service}"
        self.deployments_path = f"/apis/apps/v1/namespaces/{app.namespace}/deployments"
        self.pods_path = f"{core}/pods"
        self._name = app.service
        self._missing = (
            f"cluster {api.name}: namespace {app.namespace} has no Service {app.service}; "
            "name another with --service and --namespace"
        )
        labels = ",".join(f"{key}={value}" for key, value in sorted(app.selector.items()))
        by_name = {"fieldSelector": f"metadata.name={app.service}"}
        by_service = {"labelSelector": f"{SERVICE_LABEL}={app.service}"}
        changed, turned = self._something_changed, self._wake
        self.services = Store(api, f"{core}/services", by_name, changed, turned)
        self.deployments = Store(api, self.deployments_path, by_service, changed, turned)
        self.pods = Store(api, self.pods_path, {"labelSelector": labels}, self._pod_changed, turned)
        self._stores = (self.services, self.deployments, self.pods)
        self._changes = threading.Condition()
        self._version = 0
        self._life = threading.Lock()
        self._started = self._closed = False
        self._after_the_end = f"cluster {api.name}: Service {app.service}: its watches are closed"

    def close(self) -> None:
        """End the watches, and who waits here at once; from then on every look is ClusterUnreachable."""
        with self._life:
            self._closed, begun = True, self._stores if self._started else ()
        self._wake()
        for store in begun:
            store.stop()
        until_s = time.monotonic() + watching.CLOSE_S
        for store in begun:
            store.join(until_s)

    def synced(self) -> None:
        """Return once what is in memory is what is there.

        An outage is waited out for 2 s from its beginning, not from each call's.
        """
        with self._life:
            if not self._started and not self._closed:
                self._started = True
                for store in self._stores:
                    store.start()
        with self._changes:
            while True:
                if self._closed:
                    raise ClusterUnreachable(self._after_the_end)
                behind = [store for store in self._stores if not store.synced]
                if not behind:
                    return
                for store in behind:
                    if isinstance(store.error, RejectedError):
                        raise store.error
                until_s, last = min((_patience_s(store), at) for at, store in enumerate(behind))
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    error = behind[last].error
                    raise ClusterUnreachable(str(error or behind[last].silence))
                for store in behind:
                    if store.waits_for_a_list:
                        store.cut()  # a watch that was just being opened
                self._changes.wait(min(left_s, LOOK_S))

    def look_anew(self) -> None:
        """The next look shows at least what is there now, whatever a watch has not told yet."""
        with self._life:
            for store in self._stores if self._started else ():
                store.look_anew()

    def watch(self, version: int, timeout_s: float) -> int:
        """Wait until something is other than at this version, at most so long; returns the version then.

        That the API server goes or comes is a change too.
        """
        self.synced()
        with self._changes:
            self._changes.wait_for(lambda: self._version != version, timeout_s)
            return self._version

    def service(self) -> Object:
        """The Service as it is now. Raises RejectedError where there is none."""
        self.synced()
        found = self.services.get(self._name)
        if found is None:
            raise RejectedError(self._missing)
        return found

    def all_deployments(self) -> Mapping[str, Object]:
        """The app's Deployments by their real names."""
        self.synced()
        return self.deployments.all()

    def all_pods(self) -> Mapping[str, Object]:
        """The app's pods."""
        self.synced()
        return self.pods.all()

    def _pod_changed(self, name: str, before: Object | None, found: Object | None) -> None:
        self.pod_log.note(found, before, time.time())
        self._something_changed(name, before, found)

    def _something_changed(self, name: str, before: Object | None, found: Object | None) -> None:
        self._wake()

    def _wake(self) -> None:
        with self._changes:
            self._version += 1
            self._changes.notify_all()


def _patience_s(store: Store) -> float:
    """Until when one waits for a store that is behind."""
    return store.behind_since_s + (FIRST_S if store.error is None else BLIP_S)
