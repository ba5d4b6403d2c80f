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
from deployer.clusters.kubernetes.api import Api, BusyError, ConflictError, GoneError, NotFoundError, Object

WATCH_S = 30.0
"""A watch ends and goes on after so long, so that a connection that died unseen hides nothing for longer."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.2, 2.0
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

    def __init__(
        self,
        api: Api,
        path: str,
        query: Mapping[str, str],
        changed: Changed,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """Watches `path` (a collection) as narrowed by `query`; `start` begins.

        `changed` hears of each change, in their order, and `turned` of each time at which `synced` or `error`
        becomes another; neither may call the store.
        """
        self.synced = False  # what is in memory is what the API server has, or is at most a moment behind
        self.behind_since_s = 0.0  # while it is not: since when, on the monotonic clock
        self.error: ClusterUnreachable | RejectedError | None = None  # what keeps it from that
        self._api = api
        self._path = path
        self._query = dict(query)
        self._changed = changed
        self._turned = turned
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._deleted: dict[str, str | None] = {}  # uid → the version at which it went, newest last
        self._anew = threading.Event()
        self._stop = threading.Event()
        self._opened: list[urllib3.BaseHTTPResponse] = []
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def silence(self) -> str:
        """What to say of it where it is behind, and no error says more."""
        return f"cluster {self._api.name}: {self._path}: no answer"

    def start(self) -> None:
        """Begin to list and watch; once."""
        self.behind_since_s = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """End the thread, and with it its connection, however the API server behaves."""
        self.stop()
        self.join(time.monotonic() + CLOSE_S)

    def stop(self) -> None:
        """Ask the thread to end; `join` sees to it."""
        self._stop.set()
        self.cut()

    def join(self, until_s: float) -> None:
        """Wait for the thread's end, at most until this moment of the monotonic clock; it is a daemon."""
        while self._thread.is_alive() and time.monotonic() < until_s:
            self.cut()  # again and again: a watch that was just being asked for is answered only now
            self._thread.join(0.05)

    def look_anew(self) -> None:
        """What is in memory is worth nothing until it has been listed once more, from now on."""
        with self._lock:
            self._anew.set()
            self._fall_behind()
        self.cut()

    def cut(self) -> None:
        """End the watch that is open."""
        for response in list(self._opened):
            with contextlib.suppress(Exception):
                response.shutdown()

    @property
    def waits_for_a_list(self) -> bool:
        """Whether `look_anew` has been asked for, and a watch that is just being opened stands before it."""
        return self._anew.is_set()

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
            error: ClusterUnreachable | RejectedError
            try:
                if version is None or self._anew.is_set():
                    self._anew.clear()
                    version = None
                    version = self._list()
                    if not self._caught_up():
                        continue
                version = self._follow(version)
                backoff_s = FIRST_BACKOFF_S
                continue
            except GoneError as gone:
                if version is not None:
                    version = None
                    continue
                # not the watch but the list itself was too old, and may be so again
                error = ClusterUnreachable(f"cluster {self._api.name}: {self._path}: {gone}")
            except (NotFoundError, ConflictError) as refused:
                error = RejectedError(f"cluster {self._api.name}: {self._path}: {refused}")
            except (ClusterUnreachable, RejectedError) as known:
                if self._anew.is_set() and version is not None:
                    continue  # it was cut off
                error = known
            except (
                Exception
            ) as unknown:  # or the watch would end unseen, and an old picture pass for a new one
                what = f"an answer that is not understood ({unknown!r})"
                error = ClusterUnreachable(f"cluster {self._api.name}: {self._path}: {what}")
            # Whether it was a blip or an outage, only a new list says for certain where we stand.
            version = None
            with self._lock:
                self.error = error
                self._fall_behind()
            self._turned()
            asked_s = error.retry_after_s if isinstance(error, BusyError) else 0.0
            self._stop.wait(max(backoff_s * random.uniform(0.8, 1.2), asked_s))
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)

    def _caught_up(self) -> bool:
        """Whether the list that has just been taken counts; not if a newer one was asked for meanwhile."""
        with self._lock:
            self.error = None
            if self._anew.is_set():
                return False
            self.synced = True
        self._turned()
        return True

    def _fall_behind(self) -> None:
        if self.synced:
            self.synced, self.behind_since_s = False, time.monotonic()

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
            uid, of_version = known["metadata"]["uid"], known["metadata"]["resourceVersion"]
            # What we have written since the list began is not in it, and is there all the same.
            if names.get(name) != uid and not (_numbers(of_version, version) and _later(of_version, version)):
                self.forget(name, uid, version)
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


def _numbers(*versions: str) -> bool:
    return all(version.isdecimal() for version in versions)


def _later(new: str, old: str) -> bool:
    """Whether a resourceVersion comes after another: they are numbers in every API server there is."""
    if _numbers(new, old):
        return int(new) > int(old)
    return new != old


def _follows(new: Object, old: Object) -> bool:
    """Whether this metadata is of a later state, or of another object of the name."""
    return bool(new["uid"] != old["uid"]) or _later(new["resourceVersion"], old["resourceVersion"])
