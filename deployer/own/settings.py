"""What a service said of itself at its last deploy, kept on the Service so that it need not say it again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from deployer.clusters.controlplane.objects import UnreadableError
from deployer.clusters.controlplane.requests import shown
from deployer.clusters.kubernetes.api import Object
from deployer.clusters.kubernetes.app import App, Counting, Hooks
from deployer.clusters.kubernetes.reading import annotation
from deployer.draining import DrainError, DrainSettings
from deployer.draining.parse import settings_of
from deployer.fleet import PREFIX, Limits
from deployer.strategies import StrategyError
from deployer.strategies.registry import AnyStrategy, make

CONFIG = PREFIX + "config"
"""On the Service: these settings, as JSON."""
STRATEGIES = ("rainbow", "immutable")
"""Those with a Deployment for each release; the others need slots of their own, or none of us."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class OwnError(Exception):
    """What the user asked for cannot be; one line that names the value and the way out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one service is deployed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    deployment: Annotated[str, Field(min_length=1)]  # the adopted one: the template of all others
    selector: Annotated[Mapping[str, str], Field(min_length=1)]  # the Service's own, before one release
    strategy: str = "rainbow"
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)  # as `strategies.make` takes them
    drain: Mapping[str, Any] = field(default_factory=dict)  # as `draining.parse.settings_of` takes them
    counting: Counting = field(default_factory=lambda: Counting("tcp", port=80))
    hooks: Hooks | None = None
    container: str | None = None  # whose image a release changes; None: the only one
    replicas: Annotated[int, Field(ge=1)] | None = None  # None: as many as the selected release has
    first_replicas: Annotated[int, Field(ge=1)] = 1  # pods at the adoption
    hpa: Literal["follow", "ignore"] | None = None
    accept_pdb: bool = False

    def to_json(self) -> str:
        """What `read` reads."""
        return _ADAPTER.dump_json(self, exclude_defaults=True).decode()

    def app(self, namespace: str, service: str, template: Object) -> App:
        """As the cluster takes it."""
        size = self.replicas if self.replicas is not None else self.first_replicas
        return App(
            name=self.deployment,
            namespace=namespace,
            service=service,
            selector=self.selector,
            template=template,
            limits=Limits(replicas=size),
            counting=self.counting,
            hooks=self.hooks,
            follow_replicas=self.replicas is None,
        )

    def made_strategy(self, template: Object | None = None) -> AnyStrategy:
        """The strategy. Raises StrategyError, OwnError.

        Where nothing was set, what the template Deployment says counts: `minReadySeconds`, and
        `progressDeadlineSeconds`.
        """
        if self.strategy not in STRATEGIES:
            raise OwnError(
                f"--strategy {self.strategy}: a service of one's own takes {' or '.join(STRATEGIES)}; "
                "a rolling update or a Recreate needs no help: `kubectl set image` does it"
            )
        made = make(self.strategy, {**_of_template(template), **_long(self.strategy_settings)})
        if self.hooks is None and (self.strategy == "immutable" or getattr(made, "nudge", None)):
            what = "--strategy immutable" if self.strategy == "immutable" else "nudge"
            raise OwnError(
                f"{what} tells pods to send clients away, and the service has no hook for that; "
                "give its admin port with --hooks, or use --strategy rainbow without nudge"
            )
        return made

    def made_drain(self) -> DrainSettings:
        """The drain settings. Raises DrainError."""
        return settings_of(self.drain)


def _of_template(template: Object | None) -> dict[str, float]:
    spec = {} if template is None else template["spec"]
    said = {
        "min_ready_s": spec.get("minReadySeconds"),
        "progress_deadline_s": spec.get("progressDeadlineSeconds"),
    }
    return {key: float(value) for key, value in said.items() if value}


def _long(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the full names of what a template can say too."""
    full = {"min_ready": "min_ready_s", "progress_deadline": "progress_deadline_s"}
    return {full.get(key, key): value for key, value in settings.items()}


_ADAPTER: TypeAdapter[Settings] = TypeAdapter(Settings)


def read(service: Object) -> Settings | None:
    """The settings that a Service keeps; None where nobody has deployed to it yet.

    Raises UnreadableError where they are none, or none that anything could be deployed by.
    """
    text = annotation(service, CONFIG)
    if text is None:
        return None
    try:
        found = _ADAPTER.validate_json(text)
        found.made_strategy()
        found.made_drain()
        ports = {
            found.counting.port,
            *found.counting.more_ports,
            *([found.hooks.port] if found.hooks else ()),
        }
        if all(1 <= port <= 65535 for port in ports):
            return found
        why = f"ports {', '.join(map(str, sorted(ports)))}: a port is 1 to 65535"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"]
    except (OwnError, StrategyError, DrainError) as error:
        why = str(error)
    name = service["metadata"]["name"]
    raise UnreadableError(
        f"annotation {CONFIG} of Service {name} cannot be read ({why}): {shown(text)}; another version of drainbow may "
        f"have written it: use that one, or correct it with `kubectl edit service {name}`"
    )


def changed(settings: Settings, **given: Any) -> Settings:
    """With what was given now; None means not given. Mappings are added to."""
    values = {key: value for key, value in given.items() if value is not None}
    for key in ("strategy_settings", "drain"):
        if key in values:
            values[key] = {**getattr(settings, key), **values[key]}
    if values.get("strategy", settings.strategy) != settings.strategy and "strategy_settings" not in given:
        values["strategy_settings"] = {}
    return replace(settings, **values)


def counting_of(text: str, ports: Sequence[int]) -> Counting:
    """From `metric:NAME:PORT[/PATH]`, `http:PORT/PATH`, `tcp:PORT[,PORT]`, or `tcp`, which means the one in `ports`.

    Raises OwnError, also where `tcp` could mean several ports: who is on one that is not looked at would not count.
    """
    kind, _, rest = text.partition(":")
    try:
        if text == "tcp":
            return _tcp_of(ports)
        if kind == "tcp":
            first, *others = (_port(each) for each in rest.split(","))
            return Counting("tcp", port=first, more_ports=tuple(others))
        if kind == "http":
            at, slash, path = rest.partition("/")
            return Counting("endpoint", port=_port(at), path=slash + path or "/")
        if kind == "metric":
            name, _, address = rest.rpartition(":")
            at, slash, path = address.partition("/")
            if name:
                return Counting("metric", port=_port(at), path=slash + path or "/metrics", metric=name)
    except ValueError:
        pass
    raise OwnError(
        f"--count {text}: give metric:NAME:PORT (with /PATH where it is not /metrics), http:PORT/PATH, "
        "tcp, tcp:PORT or tcp:PORT,PORT; a port is 1 to 65535"
    )


def _tcp_of(ports: Sequence[int]) -> Counting:
    if len(ports) == 1:
        return Counting("tcp", port=ports[0])
    if not ports:
        raise OwnError(
            "--count tcp: the Service names no port of its pods; say which one with --count tcp:PORT"
        )
    shown = ",".join(map(str, ports))
    raise OwnError(
        f"--count tcp: the Service sends to the ports {shown} of its pods; say which ones hold users with "
        f"--count tcp:PORT, or --count tcp:{shown} for all of them"
    )


def _port(text: str) -> int:
    """Raises ValueError for what is none."""
    if not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def seconds_of(value: object) -> float:
    """Seconds of a duration such as 90s, 24h or 1h30m. Raises OwnError."""
    text = str(value).replace(" ", "")
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise OwnError(f"{value!r} is no duration; write it as 90s, 24h or 1h30m")
    return math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
