"""A small API server in memory: objects with resource versions, lists, watches, and what pods say of themselves.

Deployments get their pods at once and all are ready; a changed template replaces them, unless it is paused.
"""

import copy
import hashlib
import json
import threading
import time

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes.api import ConflictError, NotFoundError

CORE, APPS = "/api/v1/namespaces/ns", "/apis/apps/v1/namespaces/ns"
SERVICES, PODS, DEPLOYMENTS = f"{CORE}/services", f"{CORE}/pods", f"{APPS}/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
COLLECTIONS = (
    SERVICES,
    PODS,
    DEPLOYMENTS,
    LEASES,
    "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers",
    "/apis/policy/v1/namespaces/ns/poddisruptionbudgets",
)


def merged(found, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(found) if isinstance(found, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Cut:
    """What cuts a watch off."""

    def __init__(self, server):
        self.cut, self._server = False, server

    def shutdown(self):
        with self._server.changed:
            self.cut = True
            self._server.changed.notify_all()


class Server:
    """In place of an `Api`. While `away` is set, nothing answers and watches break."""

    name = "memory"
    namespace = "ns"

    def __init__(self):
        self.changed = threading.Condition()
        self.away = ""
        self.objects = {path: {} for path in COLLECTIONS}
        self.events = []  # (version, collection, type, object)
        self.version = 0
        self.writes = []  # (method, path)
        self.calls = []  # (method, path)
        self.open = {}  # pod → its connections; absent: none
        self.starting = set()  # images whose pods get ready only by `ready`
        self.answers = lambda pod, target, method: None  # (status, body) in place of a pod's count
        self.told = []  # (method, target, pod) of all that pods were asked but GET
        self.before = lambda method, path: None  # called ahead of each request

    # What a test does.

    def goes(self, why="gone"):
        with self.changed:
            self.away = why
            self.changed.notify_all()

    def comes_back(self):
        with self.changed:
            self.away = ""
            self.changed.notify_all()

    def add(self, collection, manifest):
        with self.changed:
            return self._store(collection, manifest, "ADDED")

    def get(self, collection, name):
        with self.changed:
            return copy.deepcopy(self.objects[collection][name])

    def annotations(self, name="web"):
        return self.get(SERVICES, name)["metadata"].get("annotations", {})

    # What an Api offers.

    def check_version(self):
        self._ask("GET", "/version")

    def close(self):
        pass

    def call(self, method, path, body=None, query=None, before=lambda: None, **_):
        before()
        self.before(method, path)
        self._ask(method, path)
        with self.changed:
            if method == "GET" and path in self.objects:
                found = [o for o in self.objects[path].values() if self._selected(o, query)]
                return {"items": copy.deepcopy(found), "metadata": {"resourceVersion": str(self.version)}}
            if method == "POST":
                self.writes.append((method, path))
                if body["metadata"]["name"] in self.objects[path]:
                    raise ConflictError("there is one")
                return copy.deepcopy(self._store(path, body, "ADDED"))
            collection, _, name = path.rpartition("/")
            found = self.objects[collection].get(name)
            if found is None:
                raise NotFoundError(f"no {name}")
            if method == "DELETE":
                self.writes.append((method, path))
                if body["preconditions"]["uid"] != found["metadata"]["uid"]:
                    raise ConflictError("another one")
                self._remove(collection, name)
            return copy.deepcopy(found)

    def merge(self, path, patch, before=lambda: None, **_):
        before()
        self.before("PATCH", path)
        self._ask("PATCH", path)
        with self.changed:
            self.writes.append(("PATCH", path))
            collection, _, name = path.rpartition("/")
            found = self.objects[collection].get(name)
            if found is None:
                raise NotFoundError(f"no {name}")
            version = patch.get("metadata", {}).get("resourceVersion", found["metadata"]["resourceVersion"])
            if version != found["metadata"]["resourceVersion"]:
                raise ConflictError("changed")
            return copy.deepcopy(self._store(collection, merged(found, patch), "MODIFIED"))

    def watch(self, path, query, timeout_s, opened):
        self._ask("GET", path)
        response, version = Cut(self), int(query["resourceVersion"])
        opened.append(response)
        try:
            until_s = time.monotonic() + timeout_s
            while True:
                with self.changed:
                    news = [e for e in self.events if e[0] > version and e[1] == path]
                    if not news and not response.cut and not self.away:
                        self.changed.wait(max(0.0, until_s - time.monotonic()))
                    if self.away:
                        raise ClusterUnreachable(f"cluster memory: {self.away}")
                    if response.cut or time.monotonic() >= until_s:
                        return
                for version, _, kind, found in news:  # noqa: B007
                    if self._selected(found, query):
                        yield {"type": kind, "object": copy.deepcopy(found)}
        finally:
            opened.remove(response)

    def ask_pod(self, namespace, pod, port, target, method, timeout_s):
        self._ask(method, f"{PODS}/{pod}")
        if method != "GET":
            self.told.append((method, target, pod))
        answer = self.answers(pod, target, method)
        return answer or (200, str(self.open.get(pod, 0)).encode())

    def _ask(self, method, path):
        self.calls.append((method, path))
        if self.away:
            raise ClusterUnreachable(f"cluster memory: {self.away}")

    def _selected(self, found, query):
        query, labels = query or {}, found["metadata"].get("labels") or {}
        wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
        named = query.get("fieldSelector", "").removeprefix("metadata.name=")
        return all(labels.get(k) == v for k, v in wanted) and named in ("", found["metadata"]["name"])

    def _store(self, collection, manifest, kind):
        found = copy.deepcopy(dict(manifest))
        before = self.objects[collection].get(found["metadata"]["name"])
        if before is not None and {**before, "metadata": 0} == {**found, "metadata": 0}:
            same = {k: v for k, v in before["metadata"].items() if k != "resourceVersion"}
            if same == {k: v for k, v in found["metadata"].items() if k != "resourceVersion"}:
                return before  # as a real one: nothing has changed
        self.version += 1
        meta = found["metadata"]
        meta.setdefault("uid", f"uid-{self.version}")
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        meta["resourceVersion"] = str(self.version)
        if collection == DEPLOYMENTS and (before is None or before.get("spec") != found.get("spec")):
            meta["generation"] = meta.get("generation", 0) + 1
        self.objects[collection][meta["name"]] = found
        if collection == DEPLOYMENTS:
            self._control(found)
        self.events.append((int(meta["resourceVersion"]), collection, kind, copy.deepcopy(found)))
        self.changed.notify_all()
        return found

    def _remove(self, collection, name):
        found = self.objects[collection].pop(name)
        self.version += 1
        gone = {**found, "metadata": {**found["metadata"], "resourceVersion": str(self.version)}}
        self.events.append((self.version, collection, "DELETED", gone))
        if collection == DEPLOYMENTS:
            for pod in [p for p in self.objects[PODS] if p.startswith(f"{name}-x")]:
                self._remove(PODS, pod)
        self.changed.notify_all()

    def _control(self, found):
        """What the Deployment controller and the kubelet do, at once."""
        name, spec = found["metadata"]["name"], found["spec"]
        template, replicas = spec["template"], spec.get("replicas", 1)
        own = [p for p in self.objects[PODS] if p.startswith(f"{name}-x")]
        if not spec.get("paused"):
            made_for = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
            for pod in own:
                if self.objects[PODS][pod]["metadata"]["labels"]["pod-template-hash"] != made_for:
                    self._remove(PODS, pod)
            found["status"] = {"hash": made_for}
        made_for = found.get("status", {}).get("hash", "none")
        own = sorted(p for p in self.objects[PODS] if p.startswith(f"{name}-x"))
        for pod in own[replicas:]:
            self._remove(PODS, pod)
        for _ in range(replicas - len(own)):
            self._make_pod(name, template, made_for)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), replicas)
        found["status"] = {
            **counts,
            "hash": made_for,
            "observedGeneration": found["metadata"].get("generation", 1),
        }

    def _make_pod(self, deployment, template, made_for):
        name = f"{deployment}-x{made_for}-{self.version}"
        labels = {**template["metadata"]["labels"], "pod-template-hash": made_for}
        owner = {"kind": "ReplicaSet", "name": f"{deployment}-{made_for}", "controller": True}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}
        image = template["spec"]["containers"][0].get("image")
        state = {"phase": "Running", "conditions": [] if image in self.starting else [ready]}
        spec = {**copy.deepcopy(template["spec"]), "nodeName": "node"}
        meta = {"name": name, "labels": labels, "ownerReferences": [owner]}
        self._store(PODS, {"metadata": meta, "spec": spec, "status": state}, "ADDED")


def deployment(name="web", image="reg/web:v1", replicas=2, **spec):
    container = {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def service(*ports):
    ports = ports or ({"port": 80, "targetPort": "http"},)
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": list(ports)}}


def with_service(*ports, **spec):
    """A server with a Service, and a Deployment of two pods behind it."""
    server = Server()
    server.add(DEPLOYMENTS, deployment(**spec))
    server.add(SERVICES, service(*ports))
    return server


def eventually(holds, timeout_s=10.0, every_s=0.01):
    until_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(every_s)
    return found
