"""Images of ours that nobody needs any more: `drainbow clean` takes them off this machine and off kind's nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import chatserver
import loadgen
from scenarios.errors import OutOfReach
from scenarios.worlds import kind
from scenarios.worlds.grounds import LOAD_IMAGE

FOLDERS = {kind.IMAGE: Path(chatserver.__file__).parent, LOAD_IMAGE: Path(loadgen.__file__).parent}
"""What the images are built from, by their names; the tag is a hash of it."""
OWNERS = "pods,replicasets,deployments,statefulsets,daemonsets,jobs,cronjobs"
"""Whatever has a pod or may make one: a release that rests at no pods may be rolled back to."""
_OURS = re.compile(rf"(?:docker\.io/library/)?((?:{'|'.join(FOLDERS)}):[0-9a-f]{{12}})")
_NAMELESS = re.compile(r"(import-[^/@]*@)?sha256:.*")
"""References that containerd keeps besides a name, to the same content."""


def remove_old(kind_name: str) -> list[str]:
    """Remove the images whose content is not today's; says which, and what kept it from that; raises nothing.

    Off the nodes of this kind cluster go those that no pod there has and no Deployment or the like names; off
    this machine's Docker those that no container has. Where Docker or the cluster do not answer they stay.
    """
    keep = {f"{name}:{kind.content_hash(folder)}" for name, folder in FOLDERS.items()}
    said: list[str] = []
    try:
        kind.require_tools()
    except OutOfReach:
        return said
    try:
        cluster = kind.existing(kind_name)
        with kind.alone(kind.IMAGES):
            for image in kind.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
                if _OURS.fullmatch(image) and image not in keep:
                    said += _removed(("rmi", image), f"image {image}")
            if cluster is not None:
                keep |= _named(cluster)
                for node in cluster.nodes:
                    said += _off_node(node, keep)
    except OutOfReach as error:
        said.append(f"not removed: old images: {error}")
    return said


def stale(listed: Iterable[tuple[str, str]], keep: Collection[str]) -> list[str]:
    """Of a node's references and their digests those to remove: ours that are not to be kept (`name:tag`), and the
    nameless ones of the same content, unless that content has another name too.
    """
    found = list(listed)
    ours = {ref: match[1] for ref, _ in found if (match := _OURS.fullmatch(ref))}
    old = {digest for ref, digest in found if ref in ours and ours[ref] not in keep}
    needed = {
        digest
        for ref, digest in found
        if ours.get(ref) in keep or (ref not in ours and not _NAMELESS.fullmatch(ref))
    }
    return [ref for ref, digest in found if digest in old - needed]


def _named(cluster: kind.KindCluster) -> set[str]:
    """Those of our images that anything on the cluster names. Raises OutOfReach."""
    asked = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "--request-timeout=10s", "get", OWNERS)
    told = kind.docker("exec", cluster.control_plane, *asked, "--all-namespaces", "-o", "jsonpath={..image}")
    return {match[1] for word in told.split() if (match := _OURS.fullmatch(word))}


def _off_node(node: str, keep: Collection[str]) -> list[str]:
    images = ("exec", node, "ctr", "--namespace", "k8s.io", "images")
    lines = kind.docker(*images, "ls").splitlines()[1:]
    refs = stale(((words[0], words[2]) for line in lines if len(words := line.split()) > 2), keep)
    names = [match[1] for ref in refs if (match := _OURS.fullmatch(ref))]
    return _removed((*images, "rm", *refs), f"image {', '.join(names)} on {node}") if names else []


def _removed(command: tuple[str, ...], what: str) -> list[str]:
    try:
        kind.docker(*command)
    except OutOfReach:  # a container has it
        return []
    return [what]
