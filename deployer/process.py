"""The deployer as a process of its own, on a cluster of this machine or on a Kubernetes cluster."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.local.client import LocalCluster
from deployer.controller import run
from deployer.draining import DrainSettings
from deployer.journal import JsonlJournal
from deployer.strategies import StrategyError, make

if TYPE_CHECKING:
    from deployer.clusters.kubernetes import KubernetesCluster

USAGE = "usage: python -m deployer CONFIG.json"


class ConfigError(Exception):
    """The configuration cannot be used; one line for the user."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a deployer is told at its start: one JSON file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    socket: Path | None  # of a local cluster; None: it is one of Kubernetes
    strategy: str  # its name
    journal: Path  # one JSON object a line is appended
    settings: Mapping[str, Any] = field(default_factory=dict)  # as `strategies.make` takes them
    drain: DrainSettings = field(default_factory=DrainSettings)
    kubernetes: Mapping[str, Any] | None = None  # as `clusters.kubernetes.target` writes and reads it

    def __post_init__(self) -> None:
        if (self.socket is None) == (self.kubernetes is None):
            raise ValueError("give one of socket and kubernetes: the cluster to deploy on")

    def to_json(self) -> bytes:
        """What `read` reads."""
        return _ADAPTER.dump_json(self, indent=2)


_ADAPTER: TypeAdapter[Config] = TypeAdapter(Config)


def read(path: Path) -> Config:
    """Read a configuration; raises ConfigError with one line."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; {USAGE}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: {where}: {first['msg']}" if where else f"{path}: {first['msg']}"
        ) from None


def main(argv: Sequence[str]) -> int:
    """Deploy what the cluster's requests ask for until SIGTERM or SIGINT; returns the exit code.

    Being killed at any moment is no harm: the next deployer goes on from what is on the cluster.
    """
    if len(argv) != 1:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        config = read(Path(argv[0]))
        strategy = make(config.strategy, config.settings)
        with _ended_by(signal.SIGTERM, signal.SIGINT), contextlib.ExitStack() as stack:
            journal = stack.enter_context(contextlib.closing(JsonlJournal(config.journal)))
            cluster = stack.enter_context(contextlib.closing(_cluster(config)))
            run(cluster, strategy, config.drain, journal, cluster.watch, time.time, threading.Event(), _tell)
    except (ConfigError, StrategyError, RejectedError) as error:
        print(f"deployer: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"deployer: journal {config.journal}: {error.strerror}", file=sys.stderr)
        return 2
    except _Ended:
        pass
    return 0


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _cluster(config: Config) -> LocalCluster | KubernetesCluster:
    """The cluster that the configuration names; its client is imported only where it is one of Kubernetes."""
    if config.socket is not None:
        return LocalCluster(config.socket)
    from deployer.clusters.kubernetes import target

    assert config.kubernetes is not None
    try:
        cluster = target.read(config.kubernetes).connect()
    except ValueError as error:
        raise ConfigError(f"kubernetes: {error}") from None
    cluster.tell = _tell
    return cluster


class _Ended(BaseException):
    """A signal came; raised wherever the process is, for its wait on the cluster may be long."""


@contextlib.contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    def end(signum: int, frame: FrameType | None) -> None:
        raise _Ended

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
