"""Pods asked all at once through the API server, each with a bound on the time that it may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from deployer.clusters import ClusterUnreachable
from deployer.clusters.kubernetes import ended
from deployer.clusters.kubernetes.api import POOL, Api
from deployer.clusters.kubernetes.app import Counting
from deployer.clusters.kubernetes.counting import SOCKET_TABLES, count_of
from deployer.fleet import Count

TIMEOUT_S = 2.0
"""For one pod, whatever it does: a pod that hangs must not hold up the others' verdicts."""
SLACK_S = 0.5

T = TypeVar("T")


class PodAsker:
    """Raises nothing: who does not answer, or not in time, has not answered."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._threads = ThreadPoolExecutor(POOL, thread_name_prefix="ask")

    def close(self) -> None:
        """Nobody is asked any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def counts(self, pods: Iterable[str], counting: Counting) -> dict[str, Count | None]:
        """Each pod's connections; None where they are unknown."""
        return self._each(dict.fromkeys(pods), lambda pod: self._count(pod, counting))

    def tell(
        self, pods: Iterable[str], port: int, target: str, method: str = "POST"
    ) -> dict[str, tuple[int, bytes] | None]:
        """Tell pods something: each one's status and body, None without an answer; it may be gone already."""
        return self._each(
            dict.fromkeys(pods),
            lambda pod: self._api.ask_pod(self._namespace, pod, port, target, method, TIMEOUT_S),
        )

    def _count(self, pod: str, counting: Counting) -> Count | None:
        if counting.kind == "tcp":
            try:
                printed = self._api.exec_in_pod(
                    self._namespace, pod, counting.container, SOCKET_TABLES, TIMEOUT_S
                )
            except ClusterUnreachable as error:
                return self._if_ended(pod) if ended.is_not_found(error) else None
            return count_of(counting, printed)
        status, body = self._api.ask_pod(self._namespace, pod, counting.port, counting.path, "GET", TIMEOUT_S)
        if status == 200:
            return count_of(counting, body.decode("utf-8", "replace"))
        refusing = ended.refusing(status, body)
        return self._if_ended(pod, (refusing, counting.port)) if refusing else None

    def _if_ended(self, pod: str, refusing: tuple[str, int] | None = None) -> Count | None:
        """None (unknown) but for a pod in which nothing runs: it holds no connection.

        Read after the pod was asked, from the API server, for a watch may lag: a container that was started again
        in between shows. By name from the list, for that is what the Role allows.
        """
        query = {"fieldSelector": f"metadata.name={pod}"}
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        for found in self._api.call("GET", path, query=query, timeout_s=TIMEOUT_S).get("items") or ():
            speaks = refusing is None or (ended.is_at(found, *refusing) and ended.is_alone(found))
            if speaks and ended.runs_nothing(found):
                return Count(0)
        return None

    def _each(self, pods: Iterable[str], ask: Callable[[str], T]) -> dict[str, T | None]:
        names = list(pods)
        try:
            asked: dict[str, Future[T]] = {pod: self._threads.submit(ask, pod) for pod in names}
        except RuntimeError:  # closed meanwhile, by another thread
            return dict.fromkeys(names)
        rounds = -(-len(asked) // POOL)
        wait(asked.values(), timeout=rounds * (TIMEOUT_S + SLACK_S))
        answers: dict[str, T | None] = {}
        for pod, future in asked.items():
            future.cancel()
            answered = future.done() and not future.cancelled() and future.exception() is None
            answers[pod] = future.result() if answered else None
        return answers
