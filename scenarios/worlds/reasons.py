"""Why pods were ended, told from what the deployer did: on a real cluster the pods themselves do not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SLACK_S = 0.5
"""An action's time is that of the look that led to it; the pods follow, as they are seen, not sooner than this."""


def with_reasons(
    pods: Iterable[Mapping[str, Any]], actions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The pods' rows with `why`, in the words of the control-plane model; "" where no action explains an end.

    `actions` are the journal's lines, in order: the last one that ends pods of this Deployment and came before
    the end is the reason.
    """
    return [{**pod, "why": _why(pod, actions)} for pod in pods]


def _why(pod: Mapping[str, Any], actions: Sequence[Mapping[str, Any]]) -> str:
    ended_s = pod["t_terminating_s"]
    if ended_s is None:
        return ""
    for action in reversed(actions):
        told = action["fields"]
        if action["t_s"] <= ended_s + SLACK_S and told.get("deployment") == pod["deployment"]:
            if action["action"] == "DeleteDeployment":
                return "deployment deleted"
            if action["action"] == "SetRelease" and told["release"] != pod["release"]:
                return f"rollout to {told['release']}"
            if action["action"] == "Scale":
                return "scale-down"
    return ""
