"""What is there of one app, in memory: watches keep it current, and a version tells of changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, Object
from deployer.clusters.kubernetes.app import SERVICE_LABEL, App
from deployer.clusters.kubernetes.podlog import PodLog
from deployer.clusters.kubernetes.watching import Store

SYNC_S = 5.0
"""How long a look waits for the view to be whole again before it calls the cluster unreachable."""


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
        self.services = Store(api, f"{core}/services", by_name, self._something_changed)
        self.deployments = Store(api, self.deployments_path, by_service, self._something_changed)
        self.pods = Store(api, self.pods_path, {"labelSelector": labels}, self._pod_changed)
        self._stores = (self.services, self.deployments, self.pods)
        self._changes = threading.Condition()
        self._version = 0
        self._started = False

    def close(self) -> None:
        """End the watches, and who waits in `watch` at once."""
        self._something_changed("", None, None)
        for store in self._stores if self._started else ():
            store.close()

    def synced(self) -> None:
        """Return once what is in memory is what is there."""
        if not self._started:
            self._started = True
            for store in self._stores:
                store.start()
        for store in self._stores:
            store.wait_synced(SYNC_S)

    def look_anew(self) -> None:
        """The next look shows at least what is there now, whatever a watch has not told yet."""
        for store in self._stores if self._started else ():
            store.look_anew()

    def watch(self, version: int, timeout_s: float) -> int:
        """Wait until something is other than at this version, at most so long; returns the version then."""
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
        with self._changes:
            self._version += 1
            self._changes.notify_all()
