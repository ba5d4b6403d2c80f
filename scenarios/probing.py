"""The data-plane probe as a person starts it: its answer is kept for later runs, and a killed one is cleaned up."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes.api import Api, NotFoundError
from deployer.clusters.kubernetes.dataplane import Answer, probe
from scenarios.errors import UserMistake
from scenarios.notes import NOT_PROBED


def check_doctor(data_plane: bool, world: str | None, image: str | None, context: str | None) -> None:
    """Raise UserMistake for an option of `doctor` that would count for nothing beside the others."""
    for option, value in (("--image", image), ("--world", world)):
        if value is not None and not data_plane:
            raise UserMistake(
                f"{option} {value}: only the probe takes it; add --data-plane, or leave {option} out"
            )
    if world == "kind" and context is not None:
        raise UserMistake(
            f"--context {context}: --world kind asks the kind cluster of the runs; leave one of them out"
        )


def probe_and_keep(
    context: str | None, kubeconfig: str | None, image: str, tell: Callable[[str], None]
) -> Answer:
    """Ask the cluster, and keep what it answered. Raises ClusterUnreachable, RejectedError."""
    with contextlib.closing(Api.connect(context, kubeconfig)) as api:
        api.check_version()
        return _probed(api, {"context": context, "kubeconfig": kubeconfig}, image, tell)


def _probed(api: Api, place: dict[str, str | None], image: str, tell: Callable[[str], None]) -> Answer:
    namespace = f"drainbow-doctor-{uuid.uuid4().hex[:6]}"
    with _noted({**place, "namespace": namespace}, namespace):
        answer = probe(api, image, namespace, tell)
    found = {"fate": answer.fate, "date": time.strftime("%Y-%m-%d"), "lines": answer.lines()}
    if (path := _answer_path(api)) is not None:
        path.write_text(json.dumps(found), encoding="utf-8")
    return answer


def answer_of(api: Api) -> str:
    """What the probe last found on this cluster and when (`kept, found 2026-11-23`), or NOT_PROBED."""
    try:
        path = _answer_path(api)
        if path is None:
            return NOT_PROBED
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"{found['fate']}, found {found['date']}"
    except (OSError, ValueError, KeyError, TypeError):
        return NOT_PROBED


def remove_left() -> list[str]:
    """Remove the namespaces of probes that were killed; says what was removed, and what could not be."""
    said = []
    for note in sorted(_cache().glob("drainbow-doctor-*.json")):
        try:
            file = note.open(encoding="utf-8")
        except FileNotFoundError:
            continue  # it has just ended
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                place = json.load(file)
                where = f"namespace {place['namespace']} of {place['context'] or 'the current context'}"
            except BlockingIOError:
                continue  # it goes on
            except (ValueError, KeyError, TypeError):
                note.unlink(missing_ok=True)
                continue
            try:
                with contextlib.closing(Api.connect(place["context"], place["kubeconfig"])) as api:
                    api.call("DELETE", f"/api/v1/namespaces/{place['namespace']}")
                said.append(where)
            except NotFoundError:
                pass
            except (ClusterUnreachable, RejectedError) as error:
                said.append(f"not removed: {where}: {error}")
                continue
            note.unlink()
    return said


@contextlib.contextmanager
def _noted(place: dict[str, str | None], namespace: str) -> Iterator[None]:
    """While it is there and locked, the probe goes on; once only there, the probe was killed."""
    path = _cache() / f"{namespace}.json"
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(place, file)
        file.flush()
        try:
            yield
        except RejectedError:
            path.unlink(missing_ok=True)
            raise
        # By any other exception the namespace may be left, and so is the note.
        path.unlink(missing_ok=True)


def _answer_path(api: Api) -> Path | None:
    """By the uid of a namespace that every cluster has, since names of contexts are anybody's; None: no right to it."""
    try:
        uid = api.call("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    except (ClusterUnreachable, RejectedError, NotFoundError):
        return None
    return _cache() / f"data-plane-{uid}.json"


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drainbow"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
