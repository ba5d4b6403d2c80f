"""Pods asked all at once through the API server, each with a bound on the time that it may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

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
            printed = self._api.exec_in_pod(
                self._namespace, pod, counting.container, SOCKET_TABLES, TIMEOUT_S
            )
            return count_of(counting, printed)
        status, body = self._api.ask_pod(self._namespace, pod, counting.port, counting.path, "GET", TIMEOUT_S)
        return count_of(counting, body.decode("utf-8", "replace")) if status == 200 else None

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
