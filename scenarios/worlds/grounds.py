"""Where a run's namespace is: on the kind cluster of this machine, or on any cluster of the kubeconfig."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import chatserver
import loadgen
from deployer.clusters.kubernetes import Api
from scenarios.errors import OutOfReach, UserMistake
from scenarios.worlds import Front, Where
from scenarios.worlds.kind import KindCluster, Say, ensure, load_image, provide_image
from scenarios.worlds.objects import CHAT_PORT, GATEWAY

NODE_REACH_S = 3.0
LOAD_IMAGE = "drainbow-load"
WITHIN = Front(GATEWAY, CHAT_PORT)
"""Where pods of the run's own namespace reach the Service."""


class Ground(Protocol):
    """What differs between kind and any other cluster."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def prepare(self, say: Say) -> tuple[str, str | None, str]:
        """Bring it up; kubeconfig's path, context and the image that its nodes have."""
        ...

    @property
    def load_image(self) -> str | None:
        """That of a load within the cluster, once it was prepared; None where users come from this machine."""
        ...

    @property
    def node_ports(self) -> Sequence[int | None]:
        """Those that the Service may take; None: any. Empty where its users are within the cluster."""
        ...

    def front(self, api: Api, node_port: int) -> Front:
        """Where users reach the Service with that node port. Raises OutOfReach."""
        ...

    @property
    def kind(self) -> KindCluster | None:
        """The kind cluster, whose nodes are ours to break."""
        ...


class OnKind:
    """A kind cluster of this machine, made on demand."""

    name = "kind"

    def __init__(self, where: Where) -> None:
        self._where = where
        self.kind: KindCluster | None = None
        self.load_image: str | None = None

    def prepare(self, say: Say) -> tuple[str, str | None, str]:
        """As in Ground."""
        where = self._where
        self.kind = ensure(where.kind_name, where.kind_image, where.recreate, say)
        if where.image is None:
            image = provide_image(self.kind, Path(chatserver.__file__).parent, say)
        else:
            load_image(self.kind, image := where.image)
        if where.load_workers and where.load_image is None:
            self.load_image = provide_image(self.kind, Path(loadgen.__file__).parent, say, LOAD_IMAGE)
        elif where.load_workers and where.load_image is not None:
            load_image(self.kind, where.load_image)
            self.load_image = where.load_image
        return str(self.kind.kubeconfig), self.kind.context, image

    @property
    def node_ports(self) -> Sequence[int | None]:
        """As in Ground."""
        assert self.kind is not None
        return () if self._where.load_workers else sorted(self.kind.fronts)

    def front(self, api: Api, node_port: int) -> Front:
        """As in Ground."""
        assert self.kind is not None
        return WITHIN if self._where.load_workers else self.kind.fronts[node_port]


class OnAny:
    """Any cluster of the kubeconfig; its nodes are reached directly, unless a front is given."""

    name = "current"
    kind = None

    def __init__(self, where: Where) -> None:
        if where.image is None:
            raise UserMistake(
                "world current needs --image: the chat server's image (docker build chatserver/) in a registry "
                "that the cluster can pull from"
            )
        if where.load_workers and where.load_image is None:
            raise UserMistake(
                "--load-workers on world current needs --load-image: the users' image (docker build loadgen/) in a "
                "registry that the cluster can pull from"
            )
        self._where = where
        self._image = where.image
        self.load_image = where.load_image
        self._given = _front(where.front) if where.front else None

    def prepare(self, say: Say) -> tuple[str, str | None, str]:
        """As in Ground."""
        return "", self._where.context, self._image

    @property
    def node_ports(self) -> Sequence[int | None]:
        """As in Ground: a front's own port where it can be one."""
        if self._where.load_workers:
            return ()
        given = self._given
        return [given.port if given is not None and 30000 <= given.port <= 32767 else None]

    def front(self, api: Api, node_port: int) -> Front:
        """As in Ground: the first node that answers on the port, be it by a refusal."""
        if self._where.load_workers:
            return WITHIN
        if self._given is not None:
            return self._given
        nodes = api.call("GET", "/api/v1/nodes").get("items") or []
        told = [each for node in nodes for each in node.get("status", {}).get("addresses") or ()]
        addresses = [a["address"] for kind in ("ExternalIP", "InternalIP") for a in told if a["type"] == kind]
        for address in addresses:
            if _answers(address, node_port):
                return Front(address, node_port)
        raise OutOfReach(
            f"no node of {api.name} answers this machine on node port {node_port} (tried "
            f"{', '.join(addresses) or 'none'}); open the node ports to it, or bring one here (ssh -L, a load "
            "balancer) and give it with --front HOST:PORT"
        )


def _front(text: str) -> Front:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserMistake(f"--front {text}: expected HOST:PORT")
    return Front(host, int(port))


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), NODE_REACH_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
