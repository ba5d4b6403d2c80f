"""Users as Jobs of the run's own namespace: Locust's master and workers, for loads that outgrow one machine.

Master and workers are asked over HTTP through the API server's proxy. What they do does not hang on it: while the API
server is away they go on, and end when the run is over. Times are those of the nodes' clocks: on kind this
machine's own, elsewhere as well kept as the cluster's (NTP).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, ConflictError, NotFoundError
from loadgen.behaviour.settings import Behaviour
from loadgen.config import Team, expected_users, to_json
from loadgen.connection_log import read_log
from scenarios.errors import OutOfReach
from scenarios.load import Load
from scenarios.worlds import Event, Front, objects
from scenarios.worlds.load_logs import (
    MASTER,
    LoadPod,
    WorkerLog,
    doubts,
    given_up,
    load_pods,
    troubled_since,
)

CONTROL_PORT = 9090
START_WITHIN_S = 60.0
"""Pods may have to fetch their image before the ramp."""
NEWS_EVERY_S = 0.5
PODS_EVERY_S = 2.0
ANSWER_S = 5.0
AWAY_S = 90.0
"""So long a cluster that does not answer when a measured run is over is waited for: its pods have the users' logs."""
LOG_S = 30.0
"""A worker that gave no part of its log for so long gives no more."""
_UNHEARD = (ClusterUnreachable, RejectedError)
"""A cluster that is away, or to which our credentials are nothing: for a moment, perhaps."""
_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a load goes."""

    api: Api
    namespace: str
    image: str
    on_control_plane: bool


class JobLoad(Load):
    """The users of one run, on `workers` pods; everything that asks the cluster is tried again while it can be."""

    def __init__(
        self,
        behaviour: Behaviour,
        seed: int,
        folder: Path,
        workers: int,
        site: Callable[[], Site],
        say: Callable[[str], None],
        duration_s: float,
    ) -> None:
        """`site` is asked when the load starts; `say` hears in one line what went wrong with a worker.

        `duration_s` after time zero the users end, also where nobody can tell them to.
        """
        super().__init__(behaviour, seed, folder)
        self._workers, self._find_site, self._say = workers, site, say
        self._site: Site | None = None
        self._state: Mapping[str, Any] = {}
        self._pods: dict[int, LoadPod] = {}
        self._ended: dict[int, str] = {}
        self._troubled_since: Mapping[int, float] = {}
        self._given_up = ""  # why, once a pod does not start
        self._events: list[Event] = []
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._logs: dict[int, WorkerLog] = {}
        self._measuring = False
        self._duration_s = duration_s
        self._until_s = math.inf  # when the users end by themselves
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="load", daemon=True)

    @property
    def ramp_s(self) -> float:
        """As in Load."""
        return super().ramp_s + START_WITHIN_S

    @property
    def latest(self) -> Mapping[str, Any]:
        """As in Load."""
        tally: Mapping[str, Any] = self._state.get("tally", {})
        return tally

    @property
    def all_online(self) -> bool:
        """As in Load."""
        return bool(self._state.get("all_online"))

    @property
    def events(self) -> Sequence[Event]:
        """As in Load: workers that ended early."""
        return self._events

    @property
    def notes(self) -> Sequence[str]:
        """As in Load."""
        return self._notes

    @property
    def exit_code(self) -> int | None:
        """As in Load: it has ended where its master or every worker has, or any before all users were online."""
        gone = len(self._ended) - (MASTER in self._ended)
        lost = MASTER in self._ended or gone == self._workers or (gone > 0 and not self._measuring)
        return 1 if lost or self._given_up else None

    def start(self, front: Front) -> None:
        """As in Load. Raises OutOfReach where the cluster does not take it."""
        site = self._site = self._find_site()
        team = Team(self._workers, objects.LOAD_MASTER, control_port=CONTROL_PORT)
        config = to_json(self._config(front, "/data/connections.jsonl", team)).decode()
        users = expected_users(self._behaviour)
        made = objects.load_of(config, self._workers, users, site.image, site.on_control_plane)
        try:
            for each in made:
                site.api.call("POST", _PATHS[each["kind"]].format(site.namespace), each)
        except (*_UNHEARD, ConflictError, NotFoundError) as error:
            raise OutOfReach(f"the load's workers: {error}") from None
        self._watcher.start()

    def zero(self, zero_s: float) -> float | None:
        """As in Load."""
        # ValueError: something on the way answers in the master's place
        with contextlib.suppress(*_UNHEARD, ValueError):
            answer = self._ask(MASTER, f"zero?at={zero_s!r}&for_s={self._duration_s!r}", "POST")
            if answer is not None:
                told_s = float(json.loads(answer)["zero_s"])
                self._measuring = True
                self._until_s = told_s + self._duration_s
                return told_s
        return None

    def read(self) -> None:
        """As in Load: it is read as it comes."""

    def stop(self, patience_s: float = 20.0) -> None:
        """As in Load; the workers' logs are fetched."""
        if self._site is None or self._over.is_set():
            return
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join(2 * ANSWER_S)
        if not self._await_cluster() and not self._measuring:
            self._note("the cluster does not answer: what its users did is in no log")
            return
        if not any(pod.runs for pod in self._pods.values()):
            return
        if not self._order("end", patience_s) and time.time() < self._until_s:
            self._note("the load's master cannot be told to end: what is open now is in no log")
        with ThreadPoolExecutor(min(self._workers, 16), thread_name_prefix="log") as pool:
            logs = pool.map(lambda index: self._collect(index, patience_s), range(self._workers))
            self._logs = dict(enumerate(logs))
        for text in doubts(self._logs, self._behaviour, self._ended):
            self._note(text)

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """As in Load: worker after worker."""
        return [asdict(attempt) for _, log in sorted(self._logs.items()) for attempt in log.attempts]

    def last_words(self) -> str:
        """As in Load: of the pod that ended, cannot start or does not yet."""
        for index, why in sorted(self._ended.items()):
            return f"{LoadPod(index, '', False).title} ended: {why}"
        waiting = (f"{pod.title} waits: {pod.waits}" for pod in self._pods.values() if pod.waits)
        joined = self._state.get("joined", 0)
        few = f"{joined} of {self._workers} workers have reached the load's master"
        return self._given_up or next(waiting, few if joined < self._workers else "(it said nothing)")

    # Watching, in a thread of its own: a slow API server must not hold up the run.

    def _watch(self) -> None:
        looked_s = 0.0
        while not self._over.wait(NEWS_EVERY_S):
            # ValueError: something on the way answers in the master's place
            with contextlib.suppress(*_UNHEARD, ValueError):
                if time.monotonic() - looked_s >= PODS_EVERY_S:
                    looked_s = time.monotonic()
                    self._look()
                state = self._ask(MASTER, "state")
                if state is not None:
                    self._state = json.loads(state)
                    for text in self._state["warnings"]:
                        self._log(text)

    def _await_cluster(self) -> bool:
        """See how the pods are, once the cluster answers; whether it did. Without it, they are as last seen."""
        deadline_s, said = time.monotonic() + AWAY_S, False
        while True:
            try:
                self._look()
                return True
            except _UNHEARD as error:
                if not self._measuring or time.monotonic() >= deadline_s:
                    return False
                if not said:
                    self._say(f"waiting up to {AWAY_S:.0f} s for the users' logs: {error}")
                said = True
            time.sleep(0.5)

    def _look(self) -> None:
        """See how the pods are."""
        assert self._site is not None
        listed = self._site.api.call("GET", f"/api/v1/namespaces/{self._site.namespace}/pods")
        seen = {pod.index: pod for pod in load_pods(listed.get("items") or [])}
        for index, pod in self._pods.items():
            if index not in seen:
                seen[index] = LoadPod(index, pod.name, False, pod.ended or "its pod is gone")
        for index, pod in seen.items():
            if pod.waits:
                self._log(f"{pod.title} waits: {pod.waits}")
            if pod.ended and index not in self._ended:
                self._ended[index] = pod.ended
                self._log(f"{pod.title} ended: {pod.ended}")
                self._events.append(Event(time.time(), "load_worker_died", f"{pod.name} ({pod.ended})"))
        now_s = time.monotonic()
        self._troubled_since = troubled_since(self._troubled_since, seen.values(), now_s)
        self._given_up = given_up(seen.values(), self._troubled_since, now_s)
        self._pods = seen

    # Asking and telling. A pod that does not run, as last seen, has nothing to say.

    def _runs(self, index: int) -> bool:
        pod = self._pods.get(index)
        return pod is not None and pod.runs

    def _ask(self, index: int, question: str, method: str = "GET") -> bytes | None:
        """The answer of a pod that runs; None where it has none yet. Raises ClusterUnreachable, RejectedError."""
        pod = self._pods.get(index)
        if self._site is None or pod is None or not pod.runs:
            return None
        status, body = self._site.api.ask_pod(
            self._site.namespace, pod.name, CONTROL_PORT, question, method, ANSWER_S
        )
        return body if status == 200 else None

    def _order(self, order: str, patience_s: float) -> bool:
        """Tell the master, again until it was heard; whether it was."""
        deadline_s = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(*_UNHEARD):
                if self._ask(MASTER, order, "POST") is not None:
                    return True
            if time.monotonic() >= deadline_s or not self._runs(MASTER):
                return False
            time.sleep(0.2)

    def _collect(self, index: int, patience_s: float) -> WorkerLog:
        """A worker's log, as far as it can be had."""
        path = self._folder / f"connections-{index}.jsonl"
        rows = self._rows_of(index, patience_s)
        with path.open("wb") as file:
            deadline_s = time.monotonic() + LOG_S
            while self._runs(index) and time.monotonic() < deadline_s:
                with contextlib.suppress(*_UNHEARD, OSError, EOFError, zlib.error):
                    packed = self._ask(index, f"log?from={file.tell()}")
                    part = None if packed is None else gzip.decompress(packed)
                    if part == b"":
                        break
                    if part:
                        file.write(part)
                        deadline_s = time.monotonic() + LOG_S
                        continue
                time.sleep(0.2)
        return WorkerLog(rows, list(read_log(path)))

    def _rows_of(self, index: int, patience_s: float) -> int | None:
        """How many rows a worker's log has, once it has ended; None where it does not say."""
        deadline_s = time.monotonic() + patience_s
        while self._runs(index) and time.monotonic() < deadline_s:
            with contextlib.suppress(*_UNHEARD, ValueError):
                state = json.loads(self._ask(index, "state") or b"{}")
                if state.get("ended"):
                    return int(state["rows"])
            time.sleep(0.1)
        return None

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)
        self._log(text)

    def _log(self, text: str) -> None:
        """To the log, once."""
        if text not in self._said:
            self._said.add(text)
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{text}\n")
