"""The ReplicaSet controller: as many pods as wanted, and who goes first when there are too many.

Follows Kubernetes 1.34: pkg/controller/replicaset, and ActivePodsWithRanks in
pkg/controller/controller_utils.go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cmp_to_key

from deployer.clusters.controlplane.draft import Draft
from deployer.clusters.controlplane.objects import PodObject


def sync(draft: Draft, name: str) -> bool:
    """Make or delete pods until the wanted number lives; says whether it had to."""
    replicaset = draft.replicasets[name]
    active = draft.active(name)
    missing = replicaset.replicas - len(active)
    for _ in range(missing):
        draft.create_pod(replicaset)
    if missing < 0:
        siblings = (pod for other in draft.owned[replicaset.deployment] for pod in draft.active(other))
        for pod in victims(active, siblings, draft.now_s)[:-missing]:
            draft.delete_pod(pod, draft.reasons.get(name, "scale-down"))
    return missing != 0


def victims(pods: Sequence[PodObject], siblings: Iterable[PodObject], now_s: float) -> list[PodObject]:
    """These pods, who is deleted first coming first; none of them may be terminating.

    `siblings` are all the live pods of the Deployment, these included: of two equals, the one goes that
    shares its node with more of them. That rank is taken once, before the first deletion.
    """
    on_node = Counter(pod.node for pod in siblings)
    standing = {pod.name: _standing(pod, on_node[pod.node]) for pod in pods}

    def compare(a: PodObject, b: PodObject) -> int:
        one, other = standing[a.name], standing[b.name]
        if one != other:
            return -1 if one < other else 1
        if a.ready_since_s is not None and b.ready_since_s is not None:
            by_age = _younger_first(a.ready_since_s, b.ready_since_s, now_s, a, b)
            if by_age:
                return by_age
        if a.restarts != b.restarts:
            return b.restarts - a.restarts
        return _younger_first(a.created_s, b.created_s, now_s, a, b) or _by_uid(a, b)

    return sorted(pods, key=cmp_to_key(compare))


def _standing(pod: PodObject, neighbours: int) -> tuple[bool, bool, bool, int, int]:
    """What counts before age: no node, not started, not ready, cheap to delete, on a full node."""
    assigned, running = pod.node is not None, pod.started_s is not None
    return assigned, running, pod.ready, pod.deletion_cost, -neighbours


def _younger_first(a_s: float, b_s: float, now_s: float, a: PodObject, b: PodObject) -> int:
    """Compare ages by powers of two, within one power by UID; 0 for the same second: the API has no finer."""
    a_s, b_s = math.floor(a_s), math.floor(b_s)
    if a_s == b_s:
        return 0
    return _bucket(now_s - a_s) - _bucket(now_s - b_s) or _by_uid(a, b)


def _bucket(age_s: float) -> int:
    return int(math.log2(age_s * 1e9)) if age_s > 1e-9 else -1


def _by_uid(a: PodObject, b: PodObject) -> int:
    return -1 if (a.uid, a.order) < (b.uid, b.order) else 1
