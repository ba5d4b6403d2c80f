"""Objects of one kind as the API server has them now: listed, then watched, by a thread of its own."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, ConflictError, GoneError, NotFoundError, Object

WATCH_S = 30.0
"""A watch ends and goes on after so long, so that a connection that died unseen hides nothing for longer."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.2, 3.0
PAGE = 500  # objects in one answer to a list
CLOSE_S = 2.0
REMEMBERED = 1000  # deletions, so that a late event brings nothing back

Changed = Callable[[str, "Object | None", "Object | None"], None]
"""Called with a name, what was there and what is there now."""


class Store:
    """What the thread has seen. Reads are of memory; `synced` says whether they are worth something.

    `put` and `forget` take the answers to our own writes, so that a read after a write shows it at once;
    events that were on their way before it are told by their older resourceVersion and dropped.
    """

    def __init__(self, api: Api, path: str, query: Mapping[str, str], changed: Changed) -> None:
        """Watches `path` (a collection) as narrowed by `query`; `start` begins."""
        self._api = api
        self._path = path
        self._query = dict(query)
        self._changed = changed
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._deleted: dict[str, str | None] = {}  # uid → the version at which it went, newest last
        self._synced = threading.Event()
        self._anew = threading.Event()
        self._stop = threading.Event()
        self._opened: list[urllib3.BaseHTTPResponse] = []
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to list and watch."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, and with it its connection, however the API server behaves."""
        self._stop.set()
        until_s = time.monotonic() + CLOSE_S
        while self._thread.is_alive() and time.monotonic() < until_s:
            # again and again: a watch that was just being asked for is answered only now
            for response in list(self._opened):
                with contextlib.suppress(Exception):
                    response.shutdown()
            self._thread.join(0.05)

    def look_anew(self) -> None:
        """What is in memory is worth nothing until it has been listed once more, from now on."""
        with self._lock:
            self._anew.set()
            self._synced.clear()
        self._cut()

    def wait_synced(self, timeout_s: float) -> None:
        """Return once what is in memory is what the API server has, or is at most a moment behind.

        Raises what keeps it from that: ClusterUnreachable or RejectedError.
        """
        until_s = time.monotonic() + timeout_s
        while not self._synced.wait(min(0.1, timeout_s)):
            if isinstance(self.error, RejectedError):
                raise self.error
            if time.monotonic() >= until_s:
                break
            if self._anew.is_set():
                self._cut()  # a watch that was just being opened
        else:
            return
        raise ClusterUnreachable(str(self.error or f"cluster {self._api.name}: {self._path}: no answer"))

    def all(self) -> dict[str, Object]:
        """The objects by name."""
        with self._lock:
            return dict(self._objects)

    def get(self, name: str) -> Object | None:
        """One object; None where there is none."""
        with self._lock:
            return self._objects.get(name)

    def put(self, found: Object) -> None:
        """Take an object, unless a newer state of it is known."""
        meta = found["metadata"]
        name = meta["name"]
        with self._lock:
            known = self._objects.get(name)
            gone_at = self._deleted.get(meta["uid"], "0")
            if gone_at is None or not _later(meta["resourceVersion"], gone_at):
                return
            if known is not None and not _follows(meta, known["metadata"]):
                return
            self._objects[name] = found
        self._changed(name, known, found)

    def forget(self, name: str, uid: str, version: str | None = None) -> None:
        """This object is gone since that resourceVersion; None: for good.

        With a version it may come back: leaving a watch's selector looks like a deletion.
        """
        with self._lock:
            self._deleted.pop(uid, None)
            self._deleted[uid] = version
            while len(self._deleted) > REMEMBERED:
                del self._deleted[next(iter(self._deleted))]
            known = self._objects.get(name)
            if known is None or known["metadata"]["uid"] != uid:
                return
            del self._objects[name]
        self._changed(name, known, None)

    def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        version: str | None = None  # None: list again
        while not self._stop.is_set():
            try:
                if version is None or self._anew.is_set():
                    self._anew.clear()
                    version = None
                    version = self._list()
                    self.error = None
                    with self._lock:
                        if self._anew.is_set():  # asked for meanwhile: this list may be older than that
                            continue
                        self._synced.set()
                version = self._follow(version)
                backoff_s = FIRST_BACKOFF_S
                continue
            except GoneError:
                version = None
                continue
            except (NotFoundError, ConflictError) as error:
                self.error = RejectedError(f"cluster {self._api.name}: {self._path}: {error}")
            except (ClusterUnreachable, RejectedError) as error:
                if self._anew.is_set() and version is not None:
                    continue  # it was cut off
                self.error = error
            # Whether it was a blip or an outage, only a new list says for certain where we stand.
            self._synced.clear()
            version = None
            self._stop.wait(backoff_s * random.uniform(0.8, 1.2))
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)

    def _cut(self) -> None:
        for response in list(self._opened):
            with contextlib.suppress(Exception):
                response.shutdown()

    def _list(self) -> str:
        found: list[Object] = []
        query: dict[str, Any] = {**self._query, "limit": PAGE}
        while True:
            answer = self._api.call("GET", self._path, query=query)
            found += answer.get("items") or []
            token = answer.get("metadata", {}).get("continue")
            if not token:
                break
            query["continue"] = token
        names = {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}
        version: str = answer["metadata"]["resourceVersion"]
        for name, known in self.all().items():
            if names.get(name) != known["metadata"]["uid"]:
                self.forget(name, known["metadata"]["uid"], version)
        for item in found:
            self.put(item)
        return version

    def _follow(self, version: str) -> str:
        query = {**self._query, "resourceVersion": version}
        for event in self._api.watch(self._path, query, WATCH_S, self._opened):
            found = event["object"]
            version = found["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self.forget(found["metadata"]["name"], found["metadata"]["uid"], version)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self.put(found)
            if self._stop.is_set():
                break
        return version


def _later(new: str, old: str) -> bool:
    """Whether a resourceVersion comes after another: they are numbers in every API server there is."""
    if new.isdecimal() and old.isdecimal():
        return int(new) > int(old)
    return new != old


def _follows(new: Object, old: Object) -> bool:
    """Whether this metadata is of a later state, or of another object of the name."""
    return bool(new["uid"] != old["uid"]) or _later(new["resourceVersion"], old["resourceVersion"])
