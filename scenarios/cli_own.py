"""Commands for one's own service: deploy, status, rollback, sweep, operate, and doctor's data-plane probe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from scenarios.cli_options import PORT, Context, Namespace, Service, whole
from scenarios.errors import Exit, OutOfReach, UserMistake

if TYPE_CHECKING:
    from deployer.fleet import Request
    from deployer.own.opening import Where

PROBE_IMAGE = "python:3.11-slim"
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, and nothing else, on stdout")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (deploy, status, rollback, sweep, operate):
        app.command()(command)


def deploy(
    service: Service,
    image: Annotated[str, typer.Option(help="of the new release")],
    release: Annotated[
        str | None, typer.Option(help="its git SHA (six digits count); left out: `git rev-parse HEAD`")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="rainbow (at first) or immutable")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="a setting of the strategy; the value is YAML"),
    ] = [],  # noqa: B006  # typer's way to say "none given"; never changed
    count: Annotated[
        str | None,
        typer.Option(
            help="how connections are counted: metric:NAME:PORT, http:PORT/PATH, tcp or tcp:PORT[,PORT]"
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="when an old release may go: empty, manual, 'few: 5', 'few: 1%', 'after: 24h'"),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="from the switch until an old release goes in any case; or none")
    ] = None,
    hold: Annotated[str | None, typer.Option(help="how long the policy's condition must have held")] = None,
    keep_warm: Annotated[str | None, typer.Option(help="how long an old release stays whole")] = None,
    hooks: Annotated[
        int | None,
        typer.Option(parser=PORT, metavar="PORT", help="of the pods: takes POST /deselected and POST /drain"),
    ] = None,
    deployment: Annotated[str | None, typer.Option(help="which one to adopt, of several")] = None,
    container: Annotated[str | None, typer.Option(help="whose image a release changes")] = None,
    replicas: Annotated[
        int | None,
        typer.Option(parser=whole(1), metavar="N", help="of each release; left out: as the selected one has"),
    ] = None,
    hpa: Annotated[
        str | None, typer.Option(help="what becomes of a HorizontalPodAutoscaler: follow or ignore")
    ] = None,
    accept_pdb: Annotated[
        bool, typer.Option("--accept-pdb", help="a PodDisruptionBudget may span releases")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Deploy a release of your own service, and wait for the outcome. The first time, adopt what is there."""
    from deployer.clusters.kubernetes import Hooks, Variant
    from deployer.fleet import Kind
    from deployer.own.opening import deploy_to
    from deployer.strategies.base import DNS_LABEL

    wanted = (release or _head())[:6]
    if not DNS_LABEL.fullmatch(wanted):
        raise UserMistake(f"--release {release!r}: use a git SHA, or a name of a-z, 0-9 and inner dashes")
    if hpa not in (None, "follow", "ignore"):
        raise UserMistake(f"--hpa {hpa}: say follow or ignore")
    given = {
        "strategy": strategy,
        "strategy_settings": _pairs(set_) or None,
        "drain": _drain(policy, deadline, hold, keep_warm) or None,
        "hooks": None if hooks is None else Hooks(port=hooks),
        "replicas": replicas,
        "hpa": hpa,
        "accept_pdb": True if accept_pdb else None,
    }
    with (
        _one_line_errors(),
        deploy_to(_where(service, namespace, context), deployment, count, container, given) as session,
    ):
        variant = Variant(image=image, container=session.settings.container)
        request = session.request(wanted, Kind.DEPLOY, variant)
        ended = _see_through(session, request)
    _end(ended, as_json)


def rollback(
    service: Service,
    to: Annotated[
        str | None,
        typer.Option(
            help="release to return to; left out: the one that serves while a deploy is under way, which is taken back; "
            "else the one that served before"
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """Return to a release that served before: at once where it still drains, else it is made again."""
    from deployer.clusters.kubernetes import writing
    from deployer.fleet import Kind
    from deployer.own.opening import open_service
    from deployer.requests import returns_to

    with _one_line_errors(), open_service(_where(service, namespace, context)) as session:
        fleet = session.cluster.observe()
        target = to[:6] if to is not None else returns_to(fleet)
        if target is None:
            raise UserMistake(f"Service {service} has had no other release than {fleet.selected}")
        known = writing.variants_of(session.cluster.service())
        if target not in known:
            raise UserMistake(f"--to {target}: nobody knows its image; there are {', '.join(known)}")
        if target == fleet.selected and fleet.goal is not None and fleet.goal.release == target:
            raise UserMistake(f"--to {target}: it is the release that serves")
        request = session.request(target, Kind.ROLLBACK, None)
        ended = _see_through(session, request)
    _end(ended, as_json)


def status(
    service: Service, namespace: Namespace = None, context: Context = None, as_json: AsJson = False
) -> None:
    """Show the releases in their colours: pods, connections, age, and whether each may go."""
    from deployer.clusters.kubernetes import writing
    from deployer.own import looking
    from deployer.own.opening import open_service
    from scenarios.show_own import print_status

    with _one_line_errors(), open_service(_where(service, namespace, context)) as session:
        settings, cluster = session.settings, session.cluster
        now_s = time.time()
        look = looking.would_do(cluster, session.strategy, settings.made_drain(), now_s)
        warnings = looking.warnings(cluster, now_s)
        fleet = looking.counted(cluster, cluster.observe())
        rows = looking.rows(fleet, look.verdicts, writing.variants_of(cluster.service()), now_s)
    if as_json:
        last = fleet.requests[-1] if fleet.requests else None
        document = {
            "service": service,
            "namespace": session.namespace,
            "strategy": settings.strategy,
            "selected": fleet.selected,
            "wanted": fleet.wanted,
            "releases": [row.as_json() for row in rows],
            "warnings": warnings,
            "last_request": None if last is None else _request_json(last),
        }
        print(json.dumps(document, indent=1))
    else:
        print_status(Console(), fleet, rows, warnings, now_s)


def sweep(
    service: Service,
    namespace: Namespace = None,
    context: Context = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge the old releases, and let those go that may: once, for a CronJob or by hand."""
    from deployer.journal import MemoryJournal
    from deployer.own import looking
    from deployer.own.opening import open_service
    from scenarios.show_own import action_json, print_sweep, verdict_json

    with _one_line_errors(), open_service(_where(service, namespace, context)) as session:
        session.refresh()
        session.tell = _tell
        settings, cluster = session.settings, session.cluster
        held_by_other = False
        journal = MemoryJournal()
        found = None if dry_run else session.sweep(journal)
        if found is None:
            held_by_other = not dry_run
            found = looking.would_do(cluster, session.strategy, settings.made_drain(), time.time())
            for warning in looking.warnings(cluster, time.time()):
                print(f"warning: {warning}", file=sys.stderr)
    done = found.actions if not (dry_run or held_by_other) else ()
    if as_json:
        document = {
            "dry_run": dry_run,
            "left_to_another": held_by_other,
            "verdicts": [verdict_json(v) for v in found.verdicts],
            "due" if not done else "done": [action_json(a) for a in found.actions],
        }
        print(json.dumps(document, indent=1))
    else:
        print_sweep(Console(), found, dry_run, held_by_other)


def operate(service: Service, namespace: Namespace = None, context: Context = None) -> None:
    """Run the loop until stopped, here or in the cluster: whatever is asked for is done, old releases go."""
    from deployer.own.opening import open_service

    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with _one_line_errors(), open_service(_where(service, namespace, context)) as session:
            session.operate(_Told(_tell), stop, _tell)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def probe_data_plane(
    world: str | None, image: str | None, context: str | None, tell: Callable[[str], None] = lambda _: None
) -> Any:
    """What this cluster does to connections whose pod is deselected, for `doctor --data-plane`.

    Returns a `deployer.clusters.kubernetes.dataplane.Answer`. Raises UserMistake, OutOfReach.
    """
    from scenarios.probing import probe_and_keep

    kubeconfig: str | None = None
    if world == "kind":
        from scenarios.worlds import Where as Place
        from scenarios.worlds.grounds import OnKind

        kubeconfig, context, image = OnKind(Place(image=image)).prepare(tell)
    elif world not in (None, "current"):
        raise UserMistake(f"--world {world}: there is a data plane of Kubernetes in current and kind")
    with _one_line_errors():
        return probe_and_keep(context, kubeconfig, image or PROBE_IMAGE, tell)


class _Told:
    """A journal for people: a line for each action and each new verdict."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        from deployer.journal import Changes

        self._tell = tell
        self._changes = Changes()

    def action(self, t_s: float, action: Any) -> None:
        """An action was carried out."""
        from scenarios.show_own import action_text

        text = action_text(action)
        if text:
            self._tell(text)

    def verdict(self, t_s: float, verdict: Any) -> None:
        """A verdict was given."""
        if self._changes.note(verdict):
            self._tell(f"{verdict.deployment}: {verdict.decision}: {verdict.reason}")


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _see_through(session: Any, request: Request) -> Request:
    if request.outcome is not None:
        return request
    try:
        ended: Request = session.see_through(request.deploy, _Told(_tell), _tell)
    except KeyboardInterrupt:
        _tell(
            f"interrupted: {request.release} is still asked for; the same command goes on with it, "
            "`drainbow rollback` takes it back"
        )
        raise
    return ended


def _end(ended: Request, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_request_json(ended), indent=1))
    else:
        print(f"{ended.release} {ended.outcome}: {ended.reason}")
    raise typer.Exit(Exit.DONE if ended.outcome == "done" else Exit.DEPLOY_NOT_DONE)


def _request_json(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in type(request).__slots__}


def _where(service: str, namespace: str | None, context: str | None) -> Where:
    from deployer.own.opening import Where

    return Where(service, namespace, context)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from deployer.clusters import ClusterUnreachable
    from deployer.clusters.controlplane.objects import RejectedError
    from deployer.clusters.kubernetes.api import NoClusterError
    from deployer.draining.policies import DrainError
    from deployer.own.settings import OwnError
    from deployer.strategies import StrategyError

    try:
        yield
    except (ClusterUnreachable, NoClusterError) as error:
        raise OutOfReach(str(error)) from None
    except (RejectedError, OwnError, StrategyError, DrainError) as error:
        raise UserMistake(str(error)) from None


def _head() -> str:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=15, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        asked = None
    if asked is None or asked.returncode != 0:
        raise UserMistake("no git commit here to name the release after; name it with --release SHA")
    return asked.stdout.strip()


def _pairs(texts: Sequence[str]) -> dict[str, Any]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserMistake(f"--set {text}: write KEY=VALUE")
        try:
            found[key.strip()] = _with_seconds(yaml.safe_load(value))
        except yaml.YAMLError:
            raise UserMistake(f"--set {text}: the value is no YAML") from None
    return found


def _with_seconds(value: Any) -> Any:
    """Durations with their unit become seconds, also within a mapping."""
    if isinstance(value, dict):
        return {key: _with_seconds(inner) for key, inner in value.items()}
    from deployer.own.settings import OwnError, seconds_of

    if isinstance(value, str):
        with suppress(OwnError):
            return seconds_of(value)
    return value


def _drain(
    policy: str | None, deadline: str | None, hold: str | None, keep_warm: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if policy is not None:
        try:
            parsed = yaml.safe_load(policy)
        except yaml.YAMLError:
            raise UserMistake(f"--policy {policy}: write empty, manual, 'few: 5' or 'after: 24h'") from None
        if isinstance(parsed, dict) and "after" in parsed:
            parsed = {"after": _duration("--policy after", parsed["after"])}
        found["policy"] = parsed
    if deadline is not None:
        found["deadline_s"] = None if deadline == "none" else _duration("--deadline", deadline)
    if hold is not None:
        found["hold_s"] = _duration("--hold", hold)
    if keep_warm is not None:
        found["keep_warm_s"] = _duration("--keep-warm", keep_warm)
    return found


def _duration(option: str, text: Any) -> float:
    from deployer.own.settings import OwnError, seconds_of

    try:
        return seconds_of(text)
    except OwnError as error:
        raise UserMistake(f"{option}: {error}") from None
