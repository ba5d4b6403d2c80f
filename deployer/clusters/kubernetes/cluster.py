"""One app on a Kubernetes cluster, as the controller uses it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self, assert_never

from deployer.actions import (
    Action,
    Annotate,
    Block,
    CloseConnections,
    CreateDeployment,
    DeleteDeployment,
    LookAgain,
    MarkForDeletion,
    NotifyDeselected,
    Refuse,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane import requests
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import reading, writing
from deployer.clusters.kubernetes.api import Api, Object
from deployer.clusters.kubernetes.app import (
    ADOPTED,
    ADOPTED_HASH,
    DELETION_COST,
    DESELECTED_LABEL,
    HASH_LABEL,
    MANAGED_BY,
    OURS,
    VARIANTS,
    App,
    Variant,
)
from deployer.clusters.kubernetes.asking import PodAsker
from deployer.clusters.kubernetes.podlog import PodLog, deployment_of
from deployer.clusters.kubernetes.sending import Sender
from deployer.clusters.kubernetes.view import View
from deployer.clusters.telling import Told
from deployer.fleet import RELEASE_LABEL, SLOT_LABEL, Count, Fleet, Kind, Outcome, Release, Request
from deployer.marks import NOTIFIED


class KubernetesCluster:
    """Implements `deployer.clusters.Cluster`; every method may be called from any thread.

    Beyond ClusterUnreachable, `observe` and the writes raise RejectedError, with one line, where the API
    server refuses for good: no such Service, no right, an object that it does not accept. Watches begin with
    the first look and go on until `close`.
    """

    def __init__(self, api: Api, app: App) -> None:
        """`app` may be replaced by another with the same namespace, Service and selector at any time."""
        self.api = api
        self.app = app
        self._view = View(api, app)
        self._send = Sender(api, app, self._view)
        self._pod_asker = PodAsker(api, app.namespace)
        self.tell: Callable[[str], None] = lambda line: None
        """Hears, a line each, of pods that cannot be told of their deselection."""
        self._told = Told(lambda line: self.tell(line))
        self._observed: Object | None = (
            None  # the Service, at the last look: what is done was decided on that
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watches, and who waits in `watch` at once; nothing can be asked after that."""
        self._view.close()
        self._pod_asker.close()
        self.api.close()

    # What a controller needs.

    def observe(self) -> Fleet:
        """As in Cluster; it shows every write that this object has made."""
        service, deployments, pods = self.service(), self.deployments(), self.pods()
        self._observed = service
        return reading.fleet_of(self.app, service, deployments, pods.values(), self.pod_log.times)

    def ask(self, pods: Iterable[str]) -> Mapping[str, Count | None]:
        """As in Cluster, all at once, each within 2 s; raises nothing.

        A pod in which nothing runs, as its node shows at this moment and its status says, holds none: so do pods
        that left by themselves once they were empty.
        """
        return self._pod_asker.counts(pods, self.app.counting)

    def act(self, action: Action) -> None:
        """As in Cluster.

        CloseConnections and NotifyDeselected raise RejectedError where the app has no hooks.
        """
        match action:
            case CreateDeployment():
                self._create(action)
            case SetRelease(deployment, release):
                self._set_release(deployment, release)
            case Scale(deployment, replicas):
                self._scale(deployment, replicas)
            case Select(release, slot):
                self._select(release, slot)
            case DeleteDeployment(deployment):
                self._delete(deployment)
            case MarkForDeletion(costs):
                for pod, cost in costs.items():
                    self._send.pod(pod, {"metadata": {"annotations": {DELETION_COST: str(cost)}}})
            case Annotate(deployment, key, value):
                if key == NOTIFIED:
                    value = self._told.to_note(value, self._annotation(deployment, key))
                self._patch(deployment, {"metadata": {"annotations": {key: value}}})
            case NotifyDeselected(pods, undo):
                self._notify(pods, undo)
            case CloseConnections(pods, per_s):
                self._close_connections(pods, per_s)
            case Settle(deploy, outcome, because):
                self._settle(deploy, outcome, self._explained(deploy, outcome, because))
            case Refuse(deploy, because):
                self._settle(deploy, Outcome.REFUSED, because)
            case Block(deploy, because, drop):
                if drop:
                    self._settle(deploy, Outcome.BLOCKED, because)
                else:
                    self._write_requests(lambda found: requests.waiting(found, deploy, because))
            case LookAgain():
                pass
            case _:
                assert_never(action)

    def request(self, release: Release, kind: Kind, variant: Variant | None = None) -> int:
        """As in Cluster.

        `variant` says what the release changes in the template; it is kept with the request.
        """
        number = -1

        def patch(service: Object) -> Object:
            nonlocal number
            wanted, number = requests.added(reading.requests_of(service), release, kind, time.time())
            notes = {requests.REQUESTS: requests.write(wanted)}
            if variant is not None:
                notes[VARIANTS] = self._with_variant(service, wanted, release, variant)
            return {"metadata": {"annotations": notes}}

        self.update_service(patch)
        return number

    def watch(self, version: int, timeout_s: float) -> int:
        """Wait until something is other than at this version, at most so long; returns the version then.

        Ask with -1 before an `observe` and with the answer after it, and no change is missed.
        Raises ClusterUnreachable.
        """
        return self._view.watch(version, timeout_s)

    # What runs and commands need besides.

    def sample(self) -> Mapping[str, Count | None]:
        """The counts of all pods that have a node. Raises ClusterUnreachable."""
        found = self.pods().values()
        return self.ask(pod["metadata"]["name"] for pod in found if pod.get("spec", {}).get("nodeName"))

    @property
    def pod_log(self) -> PodLog:
        """What has become of each pod."""
        return self._view.pod_log

    def service(self) -> Object:
        """The Service as it is now. Raises ClusterUnreachable, RejectedError where there is none."""
        return self._view.service()

    def deployments(self) -> Mapping[str, Object]:
        """The app's Deployments by their real names."""
        return self._view.all_deployments()

    def pods(self) -> Mapping[str, Object]:
        """The app's pods."""
        return self._view.all_pods()

    def update_service(self, patch: Callable[[Object], Object | None]) -> Object:
        """Change the Service by what `patch` makes of it (None: nothing), again where someone was faster."""
        return self._send.service(patch)

    def merge(self, path: str, patch: Object) -> None:
        """Patch any other object; raises NotFoundError and ConflictError too."""
        self._send.merge(path, patch)

    @contextlib.contextmanager
    def writing_while(self, may_write: Callable[[], bool]) -> Iterator[None]:
        """Within, each write is made only if `may_write` says so right before; else ClusterUnreachable.

        It begins with a view that is listed anew: what the one who wrote until now did is seen.
        """
        self._view.look_anew()
        before, self._send.may_write = self._send.may_write, may_write
        try:
            yield
        finally:
            self._send.may_write = before

    def update_deployment(self, name: str, patch: Object) -> None:
        """Patch a Deployment by its real name; nothing where it is gone."""
        self._send.deployment(name, patch)

    def tend(self) -> list[str]:
        """Label the pods that adopted Deployments have made since their adoption; their names."""
        deployments, labelled = self.deployments(), []
        for name, pod in self.pods().items():
            owner = deployments.get(deployment_of(pod))
            release = None if owner is None else reading.annotation(owner, ADOPTED)
            if release is None or RELEASE_LABEL in pod["metadata"].get("labels", {}):
                continue
            if reading.release_of_pod(pod, owner) == release:
                self._send.pod(name, {"metadata": {"labels": {RELEASE_LABEL: release}}})
                labelled.append(name)
        return labelled

    # Writes.

    def _create(self, action: CreateDeployment) -> None:
        variant = writing.variants_of(self.service()).get(action.release, Variant())
        self._send.create(writing.manifest_of(self.app, action, variant))

    def _set_release(self, deployment: str, release: Release) -> None:
        found = self.deployments().get(self._real(deployment))
        if found is None or reading.release_of(found) == release:
            return
        variant = writing.variants_of(self.service()).get(release, Variant())
        self._patch(deployment, writing.template_patch(self.app, found, release, variant))

    def _scale(self, deployment: str, replicas: int) -> None:
        if replicas < 0:
            raise RejectedError(f"replicas={replicas} of Deployment {deployment} must be >= 0")
        self._patch(deployment, {"spec": {"replicas": replicas}})

    def _select(self, release: Release, slot: str | None) -> None:
        selector = {**self.app.selector, RELEASE_LABEL: release}
        if slot is not None:
            selector[SLOT_LABEL] = slot
        own = self.deployments().get(f"{self.app.name}-{release}")
        if slot is None and own is None:
            for found in self.deployments().values():
                if reading.annotation(found, ADOPTED) == release:
                    selector = {**self.app.selector, HASH_LABEL: _hash_of(found)}
        self.update_service(lambda service: writing.selector_patch(service, selector, time.time()))

    def _delete(self, deployment: str) -> None:
        found = self.deployments().get(self._real(deployment))
        if found is None:
            return
        ours = (found["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS
        if not ours or reading.annotation(found, ADOPTED) is not None:
            # Someone else made it, and it is the template of all others: it rests at no pods.
            self._check_unwanted(found)
            self._scale(deployment, 0)
            return
        self._check_unwanted(found)
        self._send.delete(found)

    def _check_unwanted(self, found: Object) -> None:
        """Raise ClusterUnreachable where the Service has come to select or to want it since the last look.

        The Service is asked for right before, as no watch is: what is deleted takes its users with it.
        """
        if self._observed is None or self._needs(self._observed, found):
            return
        if (why := self._needs(self._send.fresh_service(), found)) is not None:
            raise ClusterUnreachable(f"Deployment {found['metadata']['name']} is not deleted: {why} by now")

    def _needs(self, service: Object, found: Object) -> str | None:
        """What a Service has to do with this Deployment."""
        release, slot = reading.release_of(found), (found["metadata"].get("labels") or {}).get(SLOT_LABEL)
        if reading.selected_of(service, self.deployments()) == (release, slot):
            return f"Service {self.app.service} selects it"
        goal = Fleet(self.app.name, self.app.limits, reading.requests_of(service)).goal
        if goal is not None and goal.outcome is None and goal.release == release:
            return f"release {release} is wanted"
        return None

    def _notify(self, pods: Iterable[str], undo: bool) -> None:
        hooks = self.app.hooks
        if hooks is None:
            raise RejectedError(
                f"Service {self.app.service} has no hook, so its pods cannot be told of their deselection; "
                "give its admin port with --hooks, or use --strategy rainbow"
            )
        names = list(pods)
        for name in names:
            self._send.pod(name, {"metadata": {"labels": {DESELECTED_LABEL: None if undo else "true"}}})
        self._send.check()
        method = "DELETE" if undo else "POST"
        answers = self._pod_asker.tell(names, hooks.port, hooks.deselected, method)
        what = f"{method} {hooks.deselected} on port {hooks.port} of Service {self.app.service}"
        staying = {name for name, pod in self.pods().items() if not pod["metadata"].get("deletionTimestamp")}
        self._told.take(answers, undo, what, staying)

    def _close_connections(self, pods: Iterable[str], per_s: float) -> None:
        hooks = self.app.hooks
        if hooks is None:
            raise RejectedError(
                f"Service {self.app.service} has no hook, so its clients cannot be asked to leave; "
                "give its admin port with --hooks, or leave nudge out"
            )
        there = self.pods()
        names = [name for name in pods if name in there]
        target = f"{hooks.drain}?per_s={per_s / max(1, len(names)):.6g}"
        self._send.check()
        self._pod_asker.tell(names, hooks.port, target)

    def _settle(self, deploy: int, outcome: Outcome, because: str) -> None:
        self._write_requests(lambda found: requests.settled(found, deploy, outcome, because, time.time()))

    def _explained(self, deploy: int, outcome: Outcome, because: str) -> str:
        """With what the release's pods say of their trouble: they will be gone when someone asks."""
        if outcome is not Outcome.FAILED:
            return because
        release = next((r.release for r in reading.requests_of(self.service()) if r.deploy == deploy), None)
        pods = (p for p in self.pods().values() if not p["metadata"].get("deletionTimestamp"))
        said = reading.troubles(
            p for p in pods if p["metadata"].get("labels", {}).get(RELEASE_LABEL) == release
        )
        return f"{because}: {said}" if said else because

    def _write_requests(self, change: Callable[[Sequence[Request]], Iterable[Request]]) -> None:
        def patch(service: Object) -> Object | None:
            before = reading.requests_of(service)
            after = tuple(change(before))
            if after == tuple(before):
                return None
            return {"metadata": {"annotations": {requests.REQUESTS: requests.write(after)}}}

        self.update_service(patch)

    def _with_variant(
        self, service: Object, wanted: Iterable[Request], release: Release, variant: Variant
    ) -> str:
        live = {reading.release_of(found) for found in self.deployments().values()}
        needed = {release, *live, *(r.release for r in wanted)}
        return writing.variants_text({**writing.variants_of(service), release: variant}, needed)

    def _annotation(self, deployment: str, key: str) -> str | None:
        found = self.deployments().get(self._real(deployment))
        return None if found is None else reading.annotation(found, key)

    def _patch(self, deployment: str, patch: Object) -> None:
        self._send.deployment(self._real(deployment), patch)

    def _real(self, deployment: str) -> str:
        """The name on the cluster of a Deployment of the fleet."""
        known = self.deployments()
        if deployment in known:
            return deployment
        for name, found in known.items():
            adopted = reading.annotation(found, ADOPTED)
            if adopted is not None and deployment == f"{self.app.name}-{adopted}":
                return name
        return deployment


def _hash_of(adopted: Object) -> str:
    """What its pods are found by; without it a Service would find none."""
    found = reading.annotation(adopted, ADOPTED_HASH)
    if not found:
        name = adopted["metadata"]["name"]
        raise ClusterUnreachable(
            f"Deployment {name} has lost its annotation {ADOPTED_HASH}, which the next look writes anew"
        )
    return found
