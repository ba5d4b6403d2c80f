"""What a local cluster is told at its start: one JSON file, made of frozen dataclasses."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from deployer.clusters.controlplane.api import Shape
from deployer.clusters.controlplane.objects import Timing
from deployer.fleet import Limits

FORBID = ConfigDict(extra="forbid")


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line for the user."""


def _at_least(name: str, value: float, bound: float) -> None:
    if not (value >= bound and math.isfinite(value)):
        raise ValueError(f"{name}={value} must be at least {bound:g}")


def _port(name: str, value: int, lowest: int = 1) -> None:
    if not lowest <= value <= 65535:
        raise ValueError(f"{name}={value} must be between {lowest} and 65535")


@dataclass(frozen=True, slots=True)
class Startup:
    """How long after its creation a pod can be ready at the earliest: lognormal, fixed where sigma is 0."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID

    median_s: float = 1.0
    sigma: float = 0.0  # of the logarithm

    def __post_init__(self) -> None:
        _at_least("startup median_s", self.median_s, 0)
        _at_least("startup sigma", self.sigma, 0)

    def draw(self, rng: random.Random) -> float:
        """Seconds; takes one draw from the stream whatever sigma is."""
        return self.median_s * math.exp(self.sigma * rng.gauss(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Probe:
    """A kubelet's HTTP probe; one success passes, `failures` in a row fail (Kubernetes' defaults)."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID

    path: str
    period_s: float
    timeout_s: float = 1.0
    failures: int = 3

    def __post_init__(self) -> None:
        _at_least("probe period_s", self.period_s, 0.05)
        _at_least("probe timeout_s", self.timeout_s, 0.05)
        _at_least("probe failures", self.failures, 1)


@dataclass(frozen=True, slots=True)
class PodSpec:
    """The process of a pod.

    In `command`, `release_args` and the values of `env`, the words {pod} {release} {address} {grace_s}
    {gateway_port} {admin_port} are replaced. Every pod listens on the same two ports of its own address.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # added to the cluster's own
    release_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # appended for one release
    gateway_port: int = 5280
    admin_port: int = 9090

    def __post_init__(self) -> None:
        _port("gateway_port", self.gateway_port)
        _port("admin_port", self.admin_port)
        if self.gateway_port == self.admin_port:
            raise ValueError(f"gateway_port and admin_port are both {self.admin_port}; they must differ")
        if not self.command:
            raise ValueError("the pods' command is empty; give a program and its arguments")

    def argv(self, pod: str, release: str, address: str, grace_s: float) -> list[str]:
        """The command of one pod, its placeholders replaced."""
        words = (*self.command, *self.release_args.get(release, ()))
        return [self._fill(word, pod, release, address, grace_s) for word in words]

    def environment(self, pod: str, release: str, address: str, grace_s: float) -> dict[str, str]:
        """The whole environment of one pod."""
        filled = {k: self._fill(v, pod, release, address, grace_s) for k, v in self.env.items()}
        return {**os.environ, **filled}

    def _fill(self, word: str, pod: str, release: str, address: str, grace_s: float) -> str:
        values = {
            "pod": pod,
            "release": release,
            "address": address,
            "grace_s": f"{grace_s:g}",
            "gateway_port": str(self.gateway_port),
            "admin_port": str(self.admin_port),
        }
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        return word


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a container that ended waits for its restart: at once first, then CrashLoopBackOff.

    The kubelet's numbers: 10 s, doubled up to 300 s, forgotten after 600 s of running; `first_s` is what a
    kill -9 measures between the death and the new process.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID

    first_s: float = 0.6
    base_s: float = 10.0
    cap_s: float = 300.0
    forget_after_s: float = 600.0

    def delay_s(self, deaths: int) -> float:
        """The wait after this many deaths in a row (the first is 1)."""
        if deaths <= 1:
            return self.first_s
        return min(self.cap_s, self.base_s * 2.0 ** min(deaths - 2, 32))


@dataclass(frozen=True, slots=True)
class Config:
    """One app on one embedded cluster; times in seconds."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID

    run_dir: Path  # journal and pods' logs go here; it is made where missing
    app: str
    limits: Limits
    shape: Shape
    selects_release: bool  # False: the Service selects the whole app (strategies with one Deployment)
    pod: PodSpec
    startup: Startup = Startup()
    readiness: Probe = Probe("/readyz", 1.0)
    liveness: Probe = Probe("/healthz", 10.0)
    backoff: Backoff = Backoff()
    sync_period_s: float = 1.0  # kube-proxy's minimum; 0: endpoint changes count at once
    timing: Timing = field(default_factory=Timing)
    nodes: int = 3
    node_grace_s: float = 47.0  # from a node's silence until its pods count as not ready
    seed: int = 0
    front_port: int = 0  # of 127.0.0.1, where clients connect; 0: a free one

    def __post_init__(self) -> None:
        if not self.app:
            raise ValueError("app is empty; give the app a name")
        _at_least("sync_period_s", self.sync_period_s, 0)
        _at_least("nodes", self.nodes, 1)
        _at_least("node_grace_s", self.node_grace_s, 0)
        _port("front_port", self.front_port, lowest=0)

    def stream(self, name: str) -> random.Random:
        """The named random stream of this run; each caller keeps the one it asked for."""
        return random.Random(f"{self.seed}/{name}")

    def to_json(self) -> bytes:
        """What `read` reads."""
        return _ADAPTER.dump_json(self, indent=2)


_ADAPTER: TypeAdapter[Config] = TypeAdapter(Config)


def parse(text: bytes | str) -> Config:
    """Make a configuration of its JSON; raises ConfigError with one line."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def read(path: Path) -> Config:
    """Read a configuration and check that its pods can be started; raises ConfigError with one line."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a cluster's configuration") from None
    try:
        config = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    program = config.pod.command[0]
    if shutil.which(program) is None:
        raise ConfigError(f"{path}: pod.command: no program {program!r} here; install it or give its path")
    return config
