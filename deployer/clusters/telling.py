"""The hook's answers: which pods have been told, which have no hook, and which are to be told again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping

from deployer.marks import AGAIN, told_names, told_text

Answer = tuple[int, bytes]
"""An HTTP status and a body."""

TRIES = 5
"""For one pod, a look each; its release is watched by its connections all the same."""
_LATER = frozenset({408, 425, 429})
"""Statuses below 500 that do not mean for good."""


class Told:
    """What became of telling pods of their deselection, or (`undo`) of its end.

    The deployer notes on the Deployment whom it has told; `to_note` marks in that who could not be told and is
    worth another try, so that the next look tries it. Tries are counted here alone: after a restart, anew.
    Every method may be called from any thread.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` hears a line of pods without a hook, once, and of each row of tries that came to nothing."""
        self._tell = tell
        self._tries: dict[tuple[str, bool], int] = {}
        self._hookless: set[tuple[int, bool]] = set()
        self._lock = threading.Lock()

    def take(
        self, answers: Mapping[str, Answer | None], undo: bool, what: str, there: Collection[str]
    ) -> None:
        """Take down what the pods answered to `what`; None is no answer. Only those that are `there` are tried again."""
        with self._lock:
            self._tries = {key: n for key, n in self._tries.items() if key[0] in there}
            hookless: dict[int, list[str]] = {}
            given_up = []
            for pod, answer in answers.items():
                self._tries.pop((pod, not undo), None)  # what it is told now is what counts
                if pod not in there or _from_gone(answer) or _heard(answer):
                    self._tries.pop((pod, undo), None)
                elif answer is None or answer[0] >= 500 or answer[0] in _LATER or _not_let(answer):
                    tries = self._tries.get((pod, undo), 0) + 1
                    self._tries[pod, undo] = tries
                    if tries == TRIES:
                        given_up.append(pod)
                else:
                    self._tries.pop((pod, undo), None)
                    hookless.setdefault(answer[0], []).append(pod)
            new = {status: pods for status, pods in hookless.items() if (status, undo) not in self._hookless}
            self._hookless |= {(status, undo) for status in new}
        for status, pods in new.items():
            self._tell(
                f"{what}: {_named(pods)} answered {status}, as pods without the hook do; they are not told again, and "
                "leave by their connections all the same"
            )
        if given_up:
            self._tell(f"{what}: {_named(given_up)} could not be told in {TRIES} tries; no other follows")

    def to_note(self, value: str | None, before: str | None) -> str | None:
        """What to note of who is told, where the deployer wants to note `value` and `before` is noted now.

        With a mark on each who is to be told again; of an end (None), those who must hear of it again stay.
        """
        with self._lock:
            undone = {pod for (pod, undo), n in self._tries.items() if undo and n < TRIES}
            untold = {pod for (pod, undo), n in self._tries.items() if not undo and n < TRIES}
        if value is None:
            known = (pod.removesuffix(AGAIN) for pod in told_names(before or ""))
            return told_text(pod + AGAIN for pod in known if pod in undone)
        return told_text(pod + AGAIN if pod in untold else pod for pod in told_names(value))


def _heard(answer: Answer | None) -> bool:
    return answer is not None and 200 <= answer[0] < 300


def _from_gone(answer: Answer | None) -> bool:
    """Whether the API server itself says that there is no such pod; a pod's own answer comes as it is."""
    return answer is not None and answer[0] == 404 and _reason(answer) == "NotFound"


def _not_let(answer: Answer) -> bool:
    """Whether the API server does not let us reach the pod, as one that has just started does for a while."""
    return answer[0] in (401, 403) and _reason(answer) in ("Unauthorized", "Forbidden")


def _reason(answer: Answer) -> str | None:
    """What the API server says in a Status of its own; None of what a pod has answered."""
    try:
        found = json.loads(answer[1])
    except ValueError:
        return None
    return found.get("reason") if isinstance(found, dict) and found.get("kind") == "Status" else None


def _named(pods: Collection[str]) -> str:
    first = sorted(pods)[0]
    return f"pod {first}" if len(pods) == 1 else f"{len(pods)} pods, such as {first},"
