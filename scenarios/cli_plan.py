"""The command `drainbow plan`: from a scenario or one's own numbers to a recommendation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from scenarios.cli_options import number, whole
from scenarios.errors import UserMistake

if TYPE_CHECKING:
    from scenarios.plan import Plan, Service

V = TypeVar("V")
_FORMATS = (".png", ".svg")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="plan")(plan)


def _read(reader: Callable[[Any], V]) -> Callable[[Any], V]:
    """A reader of the spec's values as typer wants it; typer's own message would not say what is wrong."""

    def read(value: Any) -> V:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # typer reads what it has read once more
        try:
            return reader(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def _units() -> Any:
    """`scenarios.spec.units`, which loads what `--help` has no need of."""
    from scenarios.spec import units

    return units


def _duration_s(text: str) -> float:
    return _units().duration_s(text)  # type: ignore[no-any-return]


def _cpu(text: str) -> float:
    return _units().cpus(text)  # type: ignore[no-any-return]


def _memory(text: str) -> float:
    return _units().memory_bytes(text)  # type: ignore[no-any-return]


def _share(text: str) -> int | str:
    found: int | str = _units().share_or_count(int(text) if text.isdecimal() else text)
    return found


USERS, FLEET, DRAIN, OUTPUT = "Users", "Fleet", "Deploys and drains", "Output"


def plan(
    scenario: Annotated[
        str | None,
        typer.Argument(help="a name of the catalog, or the path of a YAML file; or give your own numbers"),
    ] = None,
    connections: Annotated[
        int | None, typer.Option(parser=whole(), metavar="N", help="open at one time", rich_help_panel=USERS)
    ] = None,
    sessions: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="measured session lengths, one a row", rich_help_panel=USERS),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="of the CSV, where it has several", rich_help_panel=USERS),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="ms|s|m|h", help="of the CSV's lengths", rich_help_panel=USERS)
    ] = None,
    session_quantiles: Annotated[
        str | None,
        typer.Option(
            metavar="p50=…,p99=…", help="instead of a CSV, such as p50=20m,p99=6h", rich_help_panel=USERS
        ),
    ] = None,
    logins_per_s: Annotated[
        float | None,
        typer.Option(parser=number, metavar="N", help="that the service can do [500]", rich_help_panel=USERS),
    ] = None,
    reconnect_base: Annotated[
        float | None,
        typer.Option(
            parser=_read(_duration_s),
            metavar="DURATION",
            rich_help_panel=USERS,
            help="clients wait up to so long before they come back, spread evenly [1s]",
        ),
    ] = None,
    tolerate: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="X",
            help="forced reconnects per user and deploy that may be [0.01]",
            rich_help_panel=USERS,
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(parser=whole(), metavar="N", help="pods of one release [4]", rich_help_panel=FLEET),
    ] = None,
    pod_cpu: Annotated[
        float | None,
        typer.Option(
            parser=_read(_cpu), metavar="CPU", help="of a pod, such as 1 or 500m [1]", rich_help_panel=FLEET
        ),
    ] = None,
    pod_memory: Annotated[
        float | None,
        typer.Option(
            parser=_read(_memory), metavar="MEMORY", help="of a pod, such as 2Gi [2Gi]", rich_help_panel=FLEET
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            parser=number, metavar="DOLLARS", help="of a pod for an hour [0.05]", rich_help_panel=FLEET
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            parser=whole(),
            metavar="N",
            help="that there are; as many as it takes if left out",
            rich_help_panel=FLEET,
        ),
    ] = None,
    node_cpu: Annotated[
        float | None,
        typer.Option(parser=_read(_cpu), metavar="CPU", help="of a node [16]", rich_help_panel=FLEET),
    ] = None,
    node_memory: Annotated[
        float | None,
        typer.Option(parser=_read(_memory), metavar="MEMORY", help="of a node [64Gi]", rich_help_panel=FLEET),
    ] = None,
    startup: Annotated[
        float | None,
        typer.Option(
            parser=_read(_duration_s),
            metavar="DURATION",
            help="until all pods of a release are ready [10s]",
            rich_help_panel=FLEET,
        ),
    ] = None,
    max_surge: Annotated[
        str | None,
        typer.Option(parser=_read(_share), metavar="N|%", help="of rolling [25%]", rich_help_panel=FLEET),
    ] = None,
    max_unavailable: Annotated[
        str | None,
        typer.Option(parser=_read(_share), metavar="N|%", help="of rolling [25%]", rich_help_panel=FLEET),
    ] = None,
    deploys_per_day: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="X",
            help="evenly spaced; 0.142857 is one a week [1]",
            rich_help_panel=DRAIN,
        ),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(
            parser=_read(_duration_s),
            metavar="DURATION",
            rich_help_panel=DRAIN,
            help="what old releases get under a fixed time [until most are empty]",
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            parser=_read(_duration_s),
            metavar="DURATION",
            rich_help_panel=DRAIN,
            help="after which they go, where they wait for users [48h]",
        ),
    ] = None,
    few: Annotated[
        int | None,
        typer.Option(
            parser=whole(),
            metavar="N",
            help="connections that may be cut to end a drain [0.1%]",
            rich_help_panel=DRAIN,
        ),
    ] = None,
    colors: Annotated[
        int | None,
        typer.Option(
            parser=whole(), metavar="N", help="fixed slots of strategy colors [8]", rich_help_panel=DRAIN
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=DRAIN,
            help="who cuts drains short: cluster-autoscaler, gke, ingress-nginx, haproxy, knative, argo, nlb, istio",
        ),
    ] = None,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="override one key of the scenario", rich_help_panel=OUTPUT
        ),
    ] = [],  # noqa: B006  # typer's way to say "none given"; never changed
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write a picture, .png or .svg", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="print the plan as JSON and nothing else on stdout", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """How many pods, nodes and dollars each strategy takes, what it does to users, and how often one can deploy."""
    from scenarios.plan import plan as make_plan
    from scenarios.plan.document import as_document
    from scenarios.plan.show import print_plan

    if figure is not None and figure.suffix not in _FORMATS:
        raise UserMistake(f"--figure {figure}: the name must end in {' or '.join(_FORMATS)}")
    given = _Given(scenario, tuple(set_), deploys_per_day)
    given.sessions(sessions, column, unit, session_quantiles)
    given.nodes(nodes, node_cpu, node_memory)
    given.put(
        connections=connections, logins_per_s=logins_per_s, tolerated=tolerate, replicas=replicas,
        pod_cpu=pod_cpu, pod_memory_bytes=pod_memory, price_per_pod_hour=price, startup_s=startup,
        max_surge=max_surge, max_unavailable=max_unavailable, deploys_per_day=deploys_per_day, drain_s=drain,
        deadline_s=deadline, few=few, colors=colors,
    )  # fmt: skip
    given.reconnect(reconnect_base)
    given.limit(limit)
    found = make_plan(given.service())
    if figure is not None:
        _write_figure(found, figure)
    if as_json:
        print(json.dumps({**as_document(found), "notes": given.notes}, indent=1))
        return
    console = Console()
    print_plan(console, found, given.notes)
    if figure is not None:
        console.print(Text(f"picture: {figure}"), soft_wrap=True)


class _Given:
    """What was given on the command line, on top of the scenario or of the defaults."""

    def __init__(
        self, scenario: str | None, settings: tuple[str, ...], deploys_per_day: float | None = None
    ) -> None:
        from scenarios.plan.service import service_of
        from scenarios.spec import SpecError, load

        if scenario is None and settings:
            raise UserMistake(f"--set {settings[0]} overrides a scenario's key; name the scenario")
        self._base: Service | None = None
        self._changes: dict[str, Any] = {}
        self.notes: list[str] = []
        if scenario is not None:
            try:
                self._base = service_of(load(scenario, settings), deploys_per_day)
            except SpecError as error:
                raise UserMistake(str(error)) from None

    def put(self, **values: Any) -> None:
        """What was given; None was not."""
        self._changes |= {name: value for name, value in values.items() if value is not None}

    def sessions(self, csv: Path | None, column: str | None, unit: str | None, quantiles: str | None) -> None:
        from scenarios.plan.lengths import read_lengths, sessions_of_quantiles

        if csv is not None and quantiles is not None:
            raise UserMistake(
                "--sessions and --session-quantiles both say how long sessions are; give one of them"
            )
        for name, value in (("--column", column), ("--unit", unit)):
            if value is not None and csv is None:
                raise UserMistake(f"{name} {value} tells how to read a CSV; give it by --sessions")
        if csv is not None:
            lengths = read_lengths(csv, column, unit)
            self.put(session=lengths.session)
            self.notes.append(lengths.told)
        if quantiles is not None:
            session = sessions_of_quantiles(quantiles)
            self.put(session=session)
            self.notes.append(f"session lengths: the {session.kind} law through {quantiles}")

    def nodes(self, count: int | None, cpu: float | None, memory: float | None) -> None:
        from scenarios.plan.service import Nodes

        before = self._base.nodes if self._base is not None else None
        if count is None and before is None:
            if cpu is not None or memory is not None:
                raise UserMistake("--node-cpu and --node-memory tell how large nodes are; give --nodes too")
            return
        sizes = {"cpu": cpu, "memory_bytes": memory}
        known = {"cpu": before.cpu, "memory_bytes": before.memory_bytes} if before is not None else {}
        chosen = {**known, **{name: value for name, value in sizes.items() if value is not None}}
        self.put(
            nodes=Nodes(count if count is not None else before.count if before is not None else 1, **chosen)
        )

    def reconnect(self, base_s: float | None) -> None:
        from loadgen.behaviour.backoff import Backoff

        if base_s is not None:
            if base_s <= 0:
                raise UserMistake("--reconnect-base 0s: clients must wait longer than that")
            self.put(reconnect=Backoff(base_s=base_s, cap_s=max(60.0, base_s)))

    def limit(self, name: str | None) -> None:
        from scenarios.plan.limits import limit_named

        if name is not None:
            self.put(limit=limit_named(name))

    def service(self) -> Service:
        from dataclasses import replace

        from scenarios.plan.service import Service

        if self._base is not None:
            return replace(self._base, **self._changes)
        for name, option in (
            ("connections", "--connections"),
            ("session", "--sessions or --session-quantiles"),
        ):
            if name not in self._changes:
                raise UserMistake(f"give a scenario, or {option} among your own numbers")
        return Service(**self._changes)


def _write_figure(found: Plan, path: Path) -> None:
    from scenarios.folders import whole_file
    from scenarios.plan.figures import file_of, plan_figure

    data = file_of(plan_figure(found), path.suffix)
    with whole_file(path, "name another file with --figure") as part:
        part.write_bytes(data)
