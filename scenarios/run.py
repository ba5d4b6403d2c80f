"""One scenario, one strategy, one world: from names on the command line to a finished run folder."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from deployer.draining import DrainError
from deployer.strategies import StrategyError
from loadgen.behaviour.settings import Behaviour
from loadgen.config import expected_users
from scenarios import build
from scenarios.assemble import finish, tables_of
from scenarios.errors import Exit, UserMistake
from scenarios.folders import RECORD, name_of, new_run, whole_file
from scenarios.housekeeping import docker, kind_tool
from scenarios.interrupts import Interrupts
from scenarios.load import HostLoad, Load
from scenarios.metrics import summarise, summary_json
from scenarios.notes import doubts_of, notes_of, vain_faults
from scenarios.progress import Progress, for_person
from scenarios.real import Moment, run_real
from scenarios.record import Record, RecordError, read_record, record_of, write_record
from scenarios.repeat import WORLDS as REPEATED
from scenarios.repeat import SlowStart, note_of, slow_start
from scenarios.spec import SpecError, compressed, load, require_built
from scenarios.spec.shape import Spec
from scenarios.thresholds import missed
from scenarios.worlds import RealWorld, Where
from scenarios.worlds.local import LocalWorld, Plan, check_files


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chooses besides scenario, strategy and world."""

    settings: tuple[str, ...] = ()  # KEY=VALUE
    seed: int | None = None
    port: int = 0
    out: Path = Path("runs")
    quiet: bool = False
    where: Where = field(default_factory=Where)  # the worlds on Kubernetes: which cluster, which image
    repeat: bool = True  # once, where a pod of a real cluster took unusually long to start


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has its record."""

    folder: Path
    strategy: str
    world: str
    summary: Mapping[str, Any]
    missed: tuple[str, ...]
    interrupted: bool

    @property
    def exit_code(self) -> Exit:
        """Interrupted before missed: what a run cut short has missed says little."""
        if self.interrupted:
            return Exit.INTERRUPTED
        return Exit.THRESHOLD_MISSED if self.missed else Exit.DONE


def run_scenario(scenario: str, strategy: str, world: str | None, options: Options) -> Finished:
    """Run it and write its folder. Raises UserMistake before anything starts, and Stop when a world fails."""
    chosen, why = _world(world)
    _check_options(options, chosen)
    if options.where.load_image and not options.where.load_workers:
        raise UserMistake(
            f"--load-image {options.where.load_image} is for --load-workers N, which is left out"
        )
    if options.where.front and options.where.load_workers:
        raise UserMistake(
            f"--front {options.where.front} is for users on this machine; with --load-workers they are in the "
            "cluster and reach the Service by its name; leave one of the two out"
        )
    spec = read_spec(scenario, strategy, chosen, options)
    show = for_person(f"{spec.name} · {strategy} · {chosen}", options.quiet)
    try:
        show.note(f"world: {chosen} ({why})")
        finished, slow = _run(scenario, spec, strategy, chosen, options, show)
        if slow is not None:
            show.note(f"{slow}: the run is repeated once; this one is kept in {finished.folder}")
            options = replace(options, where=replace(options.where, recreate=False))  # it is new enough
            finished, _ = _run(scenario, spec, strategy, chosen, options, show, repeats=finished.folder.name)
        return finished
    finally:
        show.close()


_ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "port": ("local",),
    "context": ("current",),
    "image": ("kind", "current"),
    "front": ("current",),
    "kind_image": ("kind",),
    "recreate": ("kind",),
    "load_workers": ("kind", "current"),
}
"""The worlds in which an option counts."""


def _check_options(options: Options, world: str) -> None:
    """Raises UserMistake for an option that would count for nothing."""
    for name, worlds in _ONLY_IN.items():
        value = options.port if name == "port" else getattr(options.where, name)
        if value and world not in worlds:
            given = f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
            raise UserMistake(
                f"{given} counts for nothing in world {world}; take --world {' or '.join(worlds)}, or leave it out"
            )


def run_each(scenario: str, strategies: Sequence[str], world: str | None, options: Options) -> list[Finished]:
    """One run of each strategy, up to one that is interrupted. Raises UserMistake before the first one starts."""
    names = list(dict.fromkeys(strategies))
    chosen, _ = _world(world)
    for name in names:
        read_spec(scenario, name, chosen, options)
    finished: list[Finished] = []
    for name in names:
        finished.append(run_scenario(scenario, name, world, options))
        if finished[-1].interrupted:
            break
    return finished


def read_spec(scenario: str, strategy: str, world: str, options: Options) -> Spec:
    """The spec with the options' overrides, checked against what this world and strategy can do."""
    overrides = [*options.settings, *([f"seed={options.seed}"] if options.seed is not None else [])]
    try:
        spec = load(scenario, overrides)
        require_built(spec, strategy, world)
        build.strategy_of(spec, strategy)
        build.drain_of(spec)
        build.behaviour_of(spec)
    except (SpecError, StrategyError, DrainError, ValueError) as error:
        raise UserMistake(str(error)) from None
    return spec


def simulated(spec: Spec, strategy: str) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The tables of a simulated run, and what to know of how they were made; nothing is written."""
    from sim.setup import SetupError
    from sim.world import simulate

    try:
        outcome = simulate(build.setup_of(spec, strategy))
    except SetupError as error:
        raise UserMistake(str(error)) from None
    return finish(build.frames_of(outcome), spec.duration, spec.record), list(outcome.notes)


def run_in_memory(spec: Spec, strategy: str) -> Mapping[str, Any]:
    """The summary of a simulated run of which nothing is kept."""
    run = {"spec": spec.data(), "strategy": strategy, "world": "sim", "seed": spec.seed}
    return summarise(record_of(run, simulated(spec, strategy)[0]))


def read_finished(folder: Path) -> Finished:
    """A run that was finished before. Raises RecordError for what is no run folder."""
    record = read_record(folder)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RecordError(
            f"{folder}: summary.json cannot be read; `drainbow report {folder}` makes it again"
        ) from None
    return _finished(folder, record, summary)


def remake(folder: Path) -> Finished:
    """Make summary.json and report.html again from a run's tables. Raises RecordError, UserMistake."""
    record = read_record(folder)
    summary = summarise(record)
    for name, text in (("summary.json", summary_json(summary)), ("report.html", _page(record, summary))):
        with whole_file(folder / name, "make room, or copy the folder to where you may write") as part:
            part.write_text(text, encoding="utf-8")
    return _finished(folder, record, summary)


def _finished(folder: Path, record: Record, summary: Mapping[str, Any]) -> Finished:
    run = record.run
    bounds = run["spec"].get("thresholds", {})
    late = tuple(missed(summary, bounds))
    return Finished(folder, run["strategy"], run["world"], summary, late, bool(run.get("interrupted")))


@dataclass(frozen=True, slots=True)
class _Lived:
    """What a world gave for the record."""

    tables: Mapping[str, pl.DataFrame]
    notes: Sequence[str] = ()
    interrupted: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)


def _run(
    scenario: str,
    spec: Spec,
    strategy: str,
    world: str,
    options: Options,
    show: Progress,
    repeats: str | None = None,
) -> tuple[Finished, SlowStart | None]:
    """A run, and why it is to be repeated; `repeats` is the folder's name of the run that this one repeats."""
    when_s = time.time()
    if world != "sim" and not options.where.load_workers:
        check_files(expected_users(build.behaviour_of(compressed(spec))))
    name = name_of(spec.name, strategy, world, when_s)
    with Interrupts() as interrupts, new_run(options.out, name) as (work, final):
        lived = spec if world == "sim" else compressed(spec)
        if world == "sim":
            show.phase("simulating")
            with interrupts.raising():
                given = _Lived(*simulated(lived, strategy))
            interrupts.defer()
        else:
            given = _lived(lived, strategy, world, work, options, show, interrupts)
        slow = slow_start(given.tables["pods"], lived) if world in REPEATED else None
        again = slow is not None and options.repeat and not given.interrupted and repeats is None
        told = note_of(slow, again, repeats)
        notes = [*([told] if told else []), *given.notes]
        run = {
            "spec": lived.data(),
            "strategy": strategy,
            "world": world,
            "seed": spec.seed,
            "compress": spec.compress,
            "started_s": when_s,
            "interrupted": given.interrupted,
            "notes": notes,
            "versions": {**_versions(), **given.versions},
            "git_commit": _git_commit(),
            "command": _command(scenario, strategy, world, options),
        }
        record = record_of(run, given.tables)
        summary = summarise(record)
        notes = [*vain_faults(lived, record.tables["pods"]), *notes]
        run["notes"] = [*notes_of(lived, strategy, summary), *doubts_of(run, summary), *notes]
        record = Record({**record.run, **run}, record.tables)
        show.phase("writing the report")
        texts = {"summary.json": summary_json(summary), "report.html": _page(record, summary)}
        write_record(work / RECORD, run, given.tables, texts)
        if (work / "logs").is_dir():
            shutil.move(work / "logs", work / RECORD / "logs")
    return _finished(final, record, summary), slow if again else None


def _lived(
    spec: Spec,
    strategy: str,
    world: str,
    work: Path,
    options: Options,
    show: Progress,
    interrupts: Interrupts,
) -> _Lived:
    deployed = build.strategy_of(spec, strategy)
    planned = spec.planned_deploys()
    plan = Plan(
        spec=spec,
        strategy=deployed,
        strategy_settings=build.strategy_settings(spec, strategy),
        drain=build.drain_of(spec),
        limits=build.limits_of(spec),
        startup=build.startup_of(spec),
        initial=spec.releases()[0],
        bad={deploy.release: deploy.bad for deploy in planned if deploy.bad is not None},
        folder=work,
        port=options.port,
    )
    moments = [Moment(deploy.at_s, deploy.kind, deploy.release) for deploy in planned]
    moments += [
        Moment(fault.at, "fault", target=fault.target, duration_s=fault.lasts_s or 0.0, fault=fault.kind)
        for fault in spec.faults
    ]
    behaviour = build.behaviour_of(spec)
    real = _real_world(world, plan, options, show, interrupts)
    users = _users(real, behaviour, spec, work, options, show)
    raw = run_real(real, users, moments, spec.duration, show, interrupts)
    return _Lived(
        tables_of(raw, deployed.selects_release, spec.record),
        raw.notes,
        raw.interrupted,
        raw.harvest.versions,
    )


def _real_world(
    world: str, plan: Plan, options: Options, show: Progress, interrupts: Interrupts
) -> RealWorld:
    if world == "local":
        return LocalWorld(plan)
    from scenarios.worlds.kubernetes import open_world

    return open_world(world, plan, options.where, show.phase, interrupts.raising)


def _users(
    real: RealWorld, behaviour: Behaviour, spec: Spec, work: Path, options: Options, show: Progress
) -> Load:
    workers = options.where.load_workers
    if not workers:
        return HostLoad(behaviour, spec.seed, work)
    from scenarios.worlds.kubernetes import KubernetesWorld
    from scenarios.worlds.load_job import JobLoad

    assert isinstance(real, KubernetesWorld)
    return JobLoad(behaviour, spec.seed, work, workers, lambda: real.site, show.note, spec.duration)


def _page(record: Record, summary: Mapping[str, Any]) -> str:
    from scenarios.report.pages import run_page

    return run_page(record, summary)


def _world(world: str | None) -> tuple[str, str]:
    """The world to run in, and why."""
    if world is not None:
        return world, "as asked"
    lacking = [finding for finding in (docker(), kind_tool()) if not finding.ok]
    if not lacking:
        return "kind", "Docker and kind are here; --world local, with make WORLD=local, needs neither"
    return "local", f"the embedded cluster, for {lacking[0].what} is not here: {lacking[0].found}"


def _versions() -> dict[str, str]:
    names = ("drainbow", "simpy", "locust", "websockets", "uvloop", "polars")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def _git_commit() -> str | None:
    """Of the source tree that runs; None where it is not a checkout."""
    here = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def _command(scenario: str, strategy: str, world: str, options: Options) -> str:
    words = ["drainbow", "run", scenario, "--strategy", strategy, "--world", world]
    words += [word for setting in options.settings for word in ("--set", setting)]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    words += [] if options.repeat else ["--no-repeat"]
    words += ["--load-workers", str(options.where.load_workers)] if options.where.load_workers else []
    for name in ("context", "image", "front", "kind_image", "load_image"):
        if (value := getattr(options.where, name)) is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(words)
