"""One service on one cluster: ask for a release, and see to it that it is done, one process at a time."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Self

from deployer.actions import (
    Action,
    Annotate,
    Block,
    CreateDeployment,
    Refuse,
    Scale,
    Select,
    SetRelease,
    Settle,
)
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError, UnreadableError
from deployer.clusters.kubernetes import Api, KubernetesCluster, Variant, reading, writing
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError, Object
from deployer.controller import LONGEST_WAIT_S, Step, step
from deployer.fleet import Kind, Outcome, Release, Request
from deployer.journal import Journal
from deployer.outage import Outage
from deployer.own.doubting import doubts
from deployer.own.healing import heal
from deployer.own.lease import Lease, identity
from deployer.own.settings import CONFIG, OwnError, Settings, read
from deployer.strategies.rainbow import deployment_name
from deployer.strategies.registry import AnyStrategy

Tell = Callable[[str], None]
UNREACHABLE_S = 120.0
"""A command gives up when the cluster has not answered for so long; what was asked for stays asked for."""
LOOK_FOR_LEASE_S = 2.0
REMEMBERED = 1000
"""Lines that are not told twice: a loop may run for years, and some lines hold numbers that change."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.5, 2.0


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
        self.tell: Tell = lambda line: None
        """Hears, a line each, what was done or could not be done beyond what the journal tells."""
        self._told: set[str] = set()
        self._doubts: list[str] = []
        self.cluster.tell = self._tell_once
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

    @property
    def strategy(self) -> AnyStrategy:
        """With what the manifest says of how long pods must be ready, and how long a roll-out may take.

        Raises StrategyError, OwnError.
        """
        return self.settings.made_strategy(self.cluster.app.template)

    def look(self, journal: Journal, now_s: float) -> Step:
        """One look, and what is due; a release that the API server does not accept is refused.

        Any other action that it does not accept is told once, and holds up none of the others.
        """
        self.refresh()
        self.cluster.pod_log.forget_gone()  # rows are for a run's record, and this may look for years
        self._doubt(now_s)
        self._tend()
        turned_down: list[str] = []

        def rejected(action: Action, error: RejectedError) -> None:
            if isinstance(action, Settle | Refuse | Block):
                raise error
            goal = self.cluster.observe().goal
            if goal is not None and goal.outcome is None and self._is_of(action, goal.release):
                turned_down.append(str(error))
                refusal = Refuse(goal.deploy, str(error))
                self.cluster.act(refusal)
                journal.action(now_s, refusal)
                return
            self._tell_once(f"{type(action).__name__}: {error}")

        drain = self.settings.made_drain()
        found = step(self.cluster, self.strategy, drain, now_s, journal, rejected)
        return step(self.cluster, self.strategy, drain, now_s, journal, rejected) if turned_down else found

    def _doubt(self, now_s: float) -> None:
        """Tell of annotations that say what cannot be, each once until its value changes."""
        found = doubts(self.cluster.service(), self.cluster.deployments(), now_s)
        for line in found:
            if line not in self._doubts:
                self.tell(line)
        self._doubts = found

    def _tend(self) -> None:
        """See to the adopted Deployment and the autoscaler; what is refused is told once, and holds up no release."""
        for see_to in (self._heal, self.cluster.tend, self._point_autoscaler):
            try:
                see_to()
            except RejectedError as error:
                if str(error) not in self._doubts:
                    self._tell_once(str(error))

    def _heal(self) -> None:
        for line in heal(self.cluster):
            self.tell(line)

    def _is_of(self, action: Action, release: Release) -> bool:
        """Whether an action is a part of bringing this release up."""
        if isinstance(action, CreateDeployment | SetRelease | Select):
            return action.release == release
        name = deployment_name(self.cluster.app.name, release)
        return isinstance(action, Scale | Annotate) and action.deployment == name

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told.add(line)
            self.tell(line)

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
        # One that is done and not selected has been undone by someone: it is asked for again.
        undone = goal is not None and goal.outcome is not None and fleet.selected != release
        if goal is not None and goal.release == release and same and not undone:
            return goal
        number = self.cluster.request(release, kind, variant)
        return next(r for r in self.cluster.observe().requests if r.deploy == number)

    def see_through(self, deploy: int, journal: Journal, tell: Tell) -> Request:
        """Run the loop, or watch whoever runs it, until this request has an outcome."""
        told, patience, self.tell = "", _Patience(UNREACHABLE_S, tell), tell
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

    def operate(self, journal: Journal, stop: threading.Event, tell: Tell) -> None:
        """Run the loop until `stop`, whenever nobody else does; an unreachable cluster is waited for.

        So is an annotation that cannot be read: it is told once, and nothing is done until it is another one.
        """
        told, patience, self.tell = "", _Patience(math.inf, tell, stop), tell
        while not stop.is_set():
            lease = self._lease()
            try:
                taken = lease.take()
                patience.answered()
                if taken:
                    tell("running the loop")
                    with self.cluster.writing_while(lease.holds):
                        self._loop(journal, stop.is_set, lease, patience, bears_unreadable=True)
                elif lease.holder != told:
                    told = lease.holder
                    tell(f"{told.split('_')[0]} runs the loop; waiting for it")
                stop.wait(LOOK_FOR_LEASE_S)
            except ClusterUnreachable as error:
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

    def _loop(
        self,
        journal: Journal,
        ended: Callable[[], bool],
        lease: Lease,
        patience: _Patience,
        bears_unreadable: bool = False,
    ) -> None:
        """Look whenever something changed or a moment has come, until the end or the loss of the Lease."""
        version, look_at_s, unreadable = -1, 0.0, ""
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
                found = self.look(journal, time.time())
                again_s, longest_s = found.look_again_s, time.time() + LONGEST_WAIT_S
                look_at_s = longest_s if again_s is None else min(again_s, longest_s)
                if found.unreached:
                    patience.failed(found.unreached)
                else:
                    patience.answered()
                if unreadable:
                    unreadable = ""
                    self.tell(f"what Service {self.service_name} says can be read again")
            except UnreadableError as error:
                if not bears_unreadable:
                    raise
                if str(error) != unreadable:
                    unreadable = str(error)
                    self.tell(f"{unreadable}; nothing is done until then")
                look_at_s = time.time() + LONGEST_WAIT_S
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
        try:
            deployments, fleet = self.cluster.deployments(), self.cluster.observe()
        except UnreadableError:  # which the look itself tells
            return
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
    """Backs off while the cluster does not answer, and ends with that after `limit_s`, or at once with `stop`."""

    def __init__(self, limit_s: float, tell: Tell, stop: threading.Event | None = None) -> None:
        self._limit_s = limit_s
        self._outage = Outage(tell)
        self._stop = stop or threading.Event()
        self._backoff_s = FIRST_BACKOFF_S

    def answered(self) -> None:
        self._backoff_s = FIRST_BACKOFF_S
        self._outage.answered()

    def failed(self, why: object) -> float:
        return self._outage.failed(why)

    def wait(self, error: ClusterUnreachable) -> None:
        if time.monotonic() - self.failed(error) > self._limit_s:
            raise error
        self._stop.wait(self._backoff_s)
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
