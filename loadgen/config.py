"""What one process of real users is to do, as a JSON file."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from loadgen.behaviour.arrivals import Diurnal, Fixed, Poisson
from loadgen.behaviour.crowd import Share
from loadgen.behaviour.errors import require
from loadgen.behaviour.settings import Behaviour

_SPARE_FILES = 200  # the log, pipes, Locust, and connections that say goodbye while others open


class LoadError(Exception):
    """Something that the person who started the load can mend; its text is one line that says how."""


@dataclass(frozen=True)
class Team:
    """A master and workers that share one population, each a process, on one machine or many."""

    workers: int
    master: str = "127.0.0.1"  # name or address, as workers reach it
    port: int = 5557  # Locust's, on the master
    control_port: int = 9090  # each process's own: what it is asked and told over HTTP

    def __post_init__(self) -> None:
        require(self.workers >= 1, f"a team's workers={self.workers} must be at least 1")


@dataclass(frozen=True)
class LoadConfig:
    """One process of real users, or a team of them."""

    url: str  # ws://host:port/xmpp-websocket
    behaviour: Behaviour
    seed: int
    connections: str  # path of the connection log (JSON lines), appended to
    share: Share | None = None  # None: the whole population
    domain: str = "chat.local"
    password: str = "chat"
    progress_s: float = 0.5  # between two progress events
    html: str | None = None  # path of Locust's report
    csv_prefix: str | None = None  # of Locust's statistics
    team: Team | None = None  # None: this process alone


_ADAPTER = TypeAdapter(LoadConfig)


def to_json(config: LoadConfig) -> bytes:
    """The config as a file's content."""
    return _ADAPTER.dump_json(config)


def read_config(path: Path) -> LoadConfig:
    """Read a config file. Raises LoadError."""
    try:
        config = _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise LoadError(f"{path} cannot be read ({error.strerror}); give a JSON config file") from error
    except ValidationError as error:
        found = error.errors(include_url=False)
        # All members of a union complain; the one that was meant got as far as its own checks.
        first = next((e for e in found if e["type"] == "value_error"), found[0])
        where = ".".join(str(part) for part in first["loc"]) or "config"
        raise LoadError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    server(config.url)
    return config


def server(url: str) -> WebSocketURI:
    """The parsed address of the chat server. Raises LoadError."""
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise LoadError(
            f"url={url} is no websocket address; give one like ws://HOST:5280/xmpp-websocket"
        ) from error
    if uri.secure:
        raise LoadError(f"url={url} asks for TLS, which these users do not speak; give a ws:// address")
    return uri


def part_of(behaviour: Behaviour, index: int, workers: int) -> Share:
    """The share of worker `index`: as many places as any other or one more, or each `workers`-th arrival."""
    require(0 <= index < workers, f"worker {index} must be one of 0 … {workers - 1}")
    population = behaviour.population
    if not isinstance(population, Fixed):
        return Share(index, 1, workers)
    each, over = divmod(population.count, workers)
    return Share(index * each + min(index, over), each + (index < over), population.count)


def expected_users(behaviour: Behaviour, share: Share | None = None) -> int:
    """Users that this share will have online at once: exact for a fixed population, else Little's law."""
    population = behaviour.population
    if isinstance(population, Fixed):
        return population.count if share is None else share.count
    part = 1.0 if share is None else share.count / share.total
    if isinstance(population, Poisson):
        online = population.per_s * behaviour.session.mean_s
    elif isinstance(population, Diurnal):
        online = population.per_s * (1 + population.swing_ratio) * behaviour.session.mean_s
    else:
        online = len(population.times_s)
    return int(part * min(online, 1e6))


def reserve_files(users: int) -> None:
    """Make sure that so many connections fit under the limit of open files; raises the soft limit if it can.

    Raises LoadError where the hard limit is too low.
    """
    needed = users + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LoadError(
            f"{users} users need {needed} open files and the limit is {hard}; raise it (ulimit -Hn {needed}, "
            f"or LimitNOFILE=) or take at most {max(hard - _SPARE_FILES, 0)} users"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
