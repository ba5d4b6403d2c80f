"""Writes on their way to the API server: what others' writes overtake is tried again, what is gone is no error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, ConflictError, NotFoundError, Object
from deployer.clusters.kubernetes.app import SERVICE_LABEL, App
from deployer.clusters.kubernetes.view import View

TRIES = 8
"""Of a write that others' writes keep overtaking."""


class Sender:
    """The writes to one app's objects; the view shows each at once.

    Raises ClusterUnreachable where a write cannot be made now, RejectedError where it never can.
    """

    def __init__(self, api: Api, app: App, view: View) -> None:
        self.may_write: Callable[[], bool] = lambda: True
        self._api = api
        self._view = view
        self._service = app.service

    def check(self) -> None:
        """Raise ClusterUnreachable where no write may be made now; asked right before each try of one."""
        if not self.may_write():
            raise ClusterUnreachable(
                f"cluster {self._api.name}: Service {self._service}: nothing is written any more, since the Lease "
                "is out of date and another may hold it by now"
            )

    def merge(self, path: str, patch: Object) -> Object:
        """A JSON merge patch; raises NotFoundError and ConflictError too."""
        return self._api.merge(path, patch, before=self.check)

    def service(self, patch: Callable[[Object], Object | None]) -> Object:
        """Change the Service by what `patch` makes of it (None: nothing), again where someone was faster."""
        found = self._view.service()
        for _ in range(TRIES):
            change = patch(found)
            if change is None:
                return found
            meta = {**change.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
            try:
                found = self.merge(self._view.service_path, {**change, "metadata": meta})
            except ConflictError:
                found = self.fresh_service()
                continue
            except NotFoundError as error:
                raise self._rejected(error) from None
            self._view.services.put(found)
            return found
        raise self._restless(f"Service {self._service}")

    def create(self, manifest: Object) -> None:
        """Make a Deployment; one of the name that is this Service's already will do."""
        name, path = manifest["metadata"]["name"], self._view.deployments_path
        try:
            self._view.deployments.put(self._api.call("POST", path, manifest, before=self.check))
        except ConflictError:
            found = self._read_deployment(name)
            if found is None or found["metadata"].get("deletionTimestamp"):
                raise ClusterUnreachable(
                    f"cluster {self._api.name}: Deployment {name} is still being deleted"
                ) from None
            if (found["metadata"].get("labels") or {}).get(SERVICE_LABEL) != self._service:
                raise RejectedError(
                    f"cluster {self._api.name}: Deployment {name} is there and not of Service "
                    f"{self._service}; rename or delete it, or choose another release"
                ) from None
            self._view.deployments.put(found)
        except NotFoundError as error:
            raise self._rejected(error) from None

    def deployment(self, name: str, patch: Object) -> None:
        """Patch a Deployment; nothing where it is gone."""
        known = self._view.deployments.get(name)
        try:
            for _ in range(TRIES):
                try:
                    self._view.deployments.put(self.merge(f"{self._view.deployments_path}/{name}", patch))
                    return
                except ConflictError:
                    continue
            raise self._restless(f"Deployment {name}")
        except NotFoundError:
            if known is not None:
                self._view.deployments.forget(name, known["metadata"]["uid"])

    def delete(self, found: Object) -> None:
        """Delete this very Deployment, with its pods."""
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        # Gone already, or another one of that name, which is not the one that was judged.
        with contextlib.suppress(NotFoundError, ConflictError):
            self._api.call("DELETE", f"{self._view.deployments_path}/{name}", options, before=self.check)
        self._view.deployments.forget(name, uid)

    def pod(self, name: str, patch: Object) -> None:
        """Patch a pod; nothing where it is gone."""
        known = self._view.pods.get(name)
        if known is None:
            return
        try:
            self._view.pods.put(self.merge(f"{self._view.pods_path}/{name}", patch))
        except ConflictError as error:
            raise ClusterUnreachable(f"cluster {self._api.name}: pod {name}: {error}") from None
        except NotFoundError:
            self._view.pods.forget(name, known["metadata"]["uid"])

    def fresh_service(self) -> Object:
        """The Service as the API server has it now, whatever the watch has told."""
        try:
            found = self._api.call("GET", self._view.service_path)
        except NotFoundError as error:
            raise self._rejected(error) from None
        self._view.services.put(found)
        return found

    def _read_deployment(self, name: str) -> Object | None:
        try:
            return self._api.call("GET", f"{self._view.deployments_path}/{name}")
        except NotFoundError:
            return None

    def _rejected(self, error: Exception) -> RejectedError:
        return RejectedError(f"cluster {self._api.name}: {error}")

    def _restless(self, what: str) -> ClusterUnreachable:
        return ClusterUnreachable(f"cluster {self._api.name}: {what} changes all the time")
