"""The run's own loopback network and its front port: claimed at the start, held until the end."""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Iterable
from pathlib import Path

FRONT = "127.0.0.1"
BACKLOG = 4096
_TRIES = 64
_LAST_HOST = 254


class PortInUseError(Exception):
    """A port that the cluster needs is taken; the text is one line for the user."""


class Network:
    """A 127.x.y.0/24 that no other run has, one address for each pod.

    An address that was given back is used again only after all others, so that a routing table which is
    late by a sync period does not send a client to a stranger.
    """

    def __init__(self, prefix: str, claims: Iterable[socket.socket]) -> None:
        self._prefix = prefix
        self._claims = tuple(claims)
        self._free = deque(f"{prefix}.{host}" for host in range(1, _LAST_HOST + 1))

    @property
    def cidr(self) -> str:
        """As `127.x.y.0/24`."""
        return f"{self._prefix}.0/24"

    def take(self) -> str | None:
        """A free address; None when all are in use."""
        return self._free.popleft() if self._free else None

    def give_back(self, address: str) -> None:
        """The pod that had this address is gone."""
        self._free.append(address)

    def close(self) -> None:
        """Let other runs have the network."""
        for claim in self._claims:
            claim.close()


def claim_network(rng: random.Random, ports: Iterable[int]) -> Network:
    """Find a network on which these ports are free, and hold it; raises PortInUseError.

    The claim is a bound socket on host 0 of the network for every port: the kernel gives it to one process
    only and takes it back when that one dies.
    """
    ports = tuple(ports)
    refused = ports[0]
    for _ in range(_TRIES):
        prefix = f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}"
        claims: list[socket.socket] = []
        try:
            for port in ports:
                refused = port
                claims.append(socket.socket())
                claims[-1].bind((f"{prefix}.0", port))
        except OSError:
            for claim in claims:
                claim.close()
            continue
        return Network(prefix, claims)
    raise PortInUseError(
        f"port {refused} is in use on all loopback addresses; stop the program that listens on it "
        f"(see `ss -ltnp sport = :{refused}`) or choose another port for the pods"
    )


class Front:
    """The one port that clients connect to; it stays ours while nobody may connect.

    A listening socket that is shut down stays bound and refuses connections, and can listen again. Without
    SO_REUSEADDR in between, no other socket can be bound to its port; with it while it listens, connections
    of the time before are no obstacle.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        try:
            self.port = _bind(self.socket, port, rng)
        except PortInUseError:
            self.socket.close()
            raise
        self.is_open = True
        self.shut()

    @property
    def address(self) -> str:
        """As `127.0.0.1:5280`."""
        return f"{FRONT}:{self.port}"

    def listen(self) -> None:
        """Let clients connect."""
        if not self.is_open:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.listen(BACKLOG)
            self.is_open = True

    def shut(self) -> None:
        """Have clients refused; who was not accepted yet is reset."""
        if self.is_open:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self.socket.shutdown(socket.SHUT_RDWR)
            self.is_open = False

    def close(self) -> None:
        """Give the port up."""
        self.socket.close()


def _bind(listener: socket.socket, port: int, rng: random.Random) -> int:
    """Bind and listen on the wanted port, or on one below the kernel's ephemeral ones.

    A port of the ephemeral range could be an outgoing connection's at any time; and only a port that was
    asked for by number stays bound over a shutdown.
    """
    below = _first_ephemeral_port()
    candidates = [port] if port else [rng.randrange(min(15000, below - 1000), below) for _ in range(_TRIES)]
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for candidate in candidates:
        try:
            listener.bind((FRONT, candidate))
            listener.listen(1)
        except PermissionError:
            raise PortInUseError(f"port {candidate} of {FRONT} needs root; choose one from 1024") from None
        except OSError:
            if listener.getsockname()[1]:  # bound, yet another one listens: this socket is spent
                break
            continue
        return candidate
    raise PortInUseError(f"port {candidate} of {FRONT} is in use; choose another, or 0 for a free one")


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768
