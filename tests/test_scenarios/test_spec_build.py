"""From a spec to what the rooms below take: nothing is lost or changed on the way."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from deployer.draining import After, Empty, Few, Manual, WorthIt
from deployer.strategies.leaving import Leaving, Nudge
from deployer.strategies.registry import STRATEGIES
from loadgen.behaviour import arrivals, backoff, sessions
from scenarios import build
from scenarios.assemble import finish
from scenarios.metrics import summarise
from scenarios.plan import read_lengths
from scenarios.record import record_of
from scenarios.spec import SpecError, catalog, compressed, load, require_built
from sim.setup import Bad, FaultKind
from sim.world import simulate


def test_quick_becomes_the_behaviour_that_it_describes() -> None:
    behaviour = build.behaviour_of(load("quick"))
    assert behaviour.population == arrivals.Fixed(300)
    assert behaviour.session == sessions.Weibull(22.0, 4.0)
    assert behaviour.reconnect == backoff.Backoff(1.0, 60.0, "full", 20)
    assert (behaviour.ramp_per_s, behaviour.connect_timeout_s, behaviour.messages_per_min) == (
        100.0,
        10.0,
        2.0,
    )


@pytest.mark.parametrize(
    ("session", "made"),
    [
        ("forever", sessions.Forever()),
        ("{exponential: 5s}", sessions.Exponential(5.0)),
        ("{lognormal: {median: 3s, sigma: 2}}", sessions.Lognormal(3.0, 2.0)),
        ("{lognormal: {mean: 3s, sigma: 2}}", sessions.Lognormal.of_mean(3.0, 2.0)),
        (
            "{mixture: [{weight: 1, exponential: 5s}, {weight: 3, weibull: {mean: 9s, shape: 2}}]}",
            sessions.Mixture(((1.0, sessions.Exponential(5.0)), (3.0, sessions.Weibull(9.0, 2.0)))),
        ),
    ],
)
def test_every_session_length(session: str, made: sessions.Session) -> None:
    assert build.behaviour_of(load("tiny", [f"users.session={session}"])).session == made


@pytest.mark.parametrize(
    ("reconnect", "made"),
    [
        ("immediate", backoff.Immediate()),
        ("{immediate: {give_up: 3}}", backoff.Immediate(3)),
        ("{fixed: {wait: 2s, give_up: 4}}", backoff.Fixed(2.0, 4)),
        ("exponential", backoff.Backoff()),
        ("xmpp.js", backoff.PRESETS["xmpp.js"]),
        ("converse", backoff.PRESETS["converse"]),
        ("slixmpp", backoff.PRESETS["slixmpp"]),
    ],
)
def test_every_way_to_reconnect(reconnect: str, made: backoff.Reconnect) -> None:
    assert build.behaviour_of(load("tiny", [f"users.reconnect={reconnect}"])).reconnect == made


def test_files_of_measured_times_are_read_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text("seconds\n10\n30\n")
    (tmp_path / "arrivals.csv").write_text("4\n2\n")
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, duration: 60s, compress: 2, "
        "users: {arrivals: {trace: arrivals.csv}, session: {empirical: sessions.csv}}}"
    )
    spec = load(tmp_path / "mine.yaml")
    slow, fast = build.behaviour_of(spec), build.behaviour_of(compressed(spec))
    assert (slow.population, slow.session) == (arrivals.Trace((2.0, 4.0)), sessions.Empirical((10.0, 30.0)))
    assert (fast.population, fast.session) == (arrivals.Trace((1.0, 2.0)), sessions.Empirical((5.0, 15.0)))
    (tmp_path / "sessions.csv").write_text("10\nlong\n")
    with pytest.raises(SpecError, match=r"sessions\.csv, line 2: 'long' is no number of seconds"):
        build.behaviour_of(spec)


def test_a_scenario_reads_a_file_as_a_plan_does(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text("user,length_min,idle_min\n7,2,1\n8,4,1\n")
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, duration: 60s, users: {count: 3, session: {mixture: [{weight: 1, "
        "empirical: {file: sessions.csv, column: length_min}}]}}}"
    )
    spec = load(tmp_path / "mine.yaml")
    measured = read_lengths(tmp_path / "sessions.csv", "length_min").session
    assert measured == sessions.Empirical((120.0, 240.0))
    assert build.behaviour_of(spec).session == sessions.Mixture(((1.0, measured),))
    numbered = load(tmp_path / "mine.yaml", ["users.session={empirical: {file: sessions.csv, column: 2}}"])
    assert build.behaviour_of(numbered).session == measured
    with pytest.raises(SpecError, match="user, length_min, idle_min; say by column"):
        build.behaviour_of(load(tmp_path / "mine.yaml", ["users.session={empirical: sessions.csv}"]))


def test_a_trace_in_calendar_time_is_refused_and_not_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_text("time\n1767225600.5\n")
    (tmp_path / "mine.yaml").write_text("{name: m, duration: 60s, users: {arrivals: {trace: arrivals.csv}}}")
    with pytest.raises(SpecError, match=r"first arrival is at 1,767,225,600.* ends at 1m;.*since time zero"):
        build.behaviour_of(load(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    "users", ["{poisson: {per_s: 2}}", "{diurnal: {per_s: 2, swing: 0.5, period: 12h, peak: 3h}}"]
)
def test_compressing_the_spec_is_compressing_the_behaviour(users: str) -> None:
    spec = load(
        "quick",
        ["compress=10", f"users={{arrivals: {users}, session: {{weibull: {{mean: 22s, shape: 4}}}}}}"],
    )
    assert build.behaviour_of(compressed(spec)) == build.behaviour_of(spec).compressed(10.0)


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ("empty", Empty()),
        ("manual", Manual()),
        ("{after: 5s}", After(5.0)),
        ("{few: 5}", Few(count=5)),
        ("{few: 1%}", Few(share=0.01)),
        ("{worth_it: {reconnect_price: 0.1}}", WorthIt(pod_hour_price=0.05, reconnect_price=0.1)),
        (
            "{worth_it: {reconnect_price: 0.1, pod_hour_price: 2}}",
            WorthIt(pod_hour_price=2.0, reconnect_price=0.1),
        ),
    ],
)
def test_every_drain_policy(policy: str, made: object) -> None:
    drain = build.drain_of(load("tiny", [f"drain={{policy: {policy}, deadline: never}}"]))
    assert drain.policy == made
    assert drain.deadline_s is None
    assert (drain.hold_s, drain.check_every_s) == (60.0, 60.0)  # where none is given


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_takes_its_settings(name: str) -> None:
    given = [
        f"strategy.{name}={{min_ready: 2s, grace: 45s}}",
        "strategy.progress_deadline=77s",
    ]
    made = build.strategy_of(load("tiny", given), name)
    assert made.name == name
    assert (made.min_ready_s, made.grace_s, made.progress_deadline_s) == (2.0, 45.0, 77.0)
    own = build.strategy_of(load("tiny", [f"strategy.{name}.progress_deadline=5s"]), name)
    assert own.progress_deadline_s == 5.0


def test_the_other_drain_settings() -> None:
    given = "drain={policy: empty, deadline: 9h, hold: 7s, check_every: 3s, keep_warm: 9s}"
    drain = build.drain_of(load("tiny", [given]))
    assert (drain.deadline_s, drain.hold_s, drain.check_every_s, drain.keep_warm_s) == (
        32_400.0,
        7.0,
        3.0,
        9.0,
    )


def test_modifiers_reach_the_strategy() -> None:
    made = build.strategy_of(
        load("tiny", ["strategy.rainbow={shrink: true, nudge: {after: 5s, per_s: 3}}"]), "rainbow"
    )
    assert isinstance(made, Leaving)
    assert made.shrink
    assert made.nudge == Nudge(after_s=5.0, per_s=3.0)


def test_a_simulation_gets_deploys_faults_and_bad_releases() -> None:
    spec = load(
        "quick",
        [
            "deploys=[{at: 6s, bad: crashes}, {at: 9s}, {rollback_at: 20s}]",
            "faults=[{at: 3s, kill_pod: random}]",
        ],
    )
    setup = build.setup_of(spec, "rainbow")
    initial, first, second = spec.releases()
    assert setup.initial == initial
    assert [(d.at_s, d.release, str(d.kind), d.bad) for d in setup.deploys] == [
        (6.0, first, "deploy", Bad.CRASHES),
        (9.0, second, "deploy", None),
        (20.0, None, "rollback", None),
    ]
    assert [(f.at_s, f.kind, f.target) for f in setup.faults] == [(3.0, FaultKind.KILL_POD, "random")]
    assert setup.limits.capacity_pods == 48


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_tiny_runs_in_the_simulation_and_gives_a_whole_summary(strategy: str) -> None:
    spec = load("tiny")
    require_built(spec, strategy, "sim")
    tables = finish(build.frames_of(simulate(build.setup_of(spec, strategy))), spec.duration, spec.record)
    record = record_of({"spec": spec.data(), "strategy": strategy, "world": "sim"}, tables)
    summary = summarise(record)
    assert summary["deploys_requested"] == 2
    forced = summary["forced_reconnects"]
    assert forced is not None
    # recreate and rolling end pods under their users; the others wait for them
    assert (forced > 0) == (strategy in ("recreate", "rolling"))
    assert summary["pod_hours"] == pytest.approx(sum(_lives(record.pods, spec.duration)) / 3600)
    owners = set(record.pods.filter(record.pods["t_terminating_s"].is_not_null())["why"])
    assert owners <= {"deploy 1", "deploy 2", "scale-down deploy 1", "scale-down deploy 2"}


def _lives(pods: pl.DataFrame, duration_s: float) -> list[float]:
    rows = pods.select("t_created_s", "t_gone_s").iter_rows()
    return [min(duration_s, gone if gone is not None else duration_s) - max(0.0, at) for at, gone in rows]


@pytest.mark.parametrize("name", catalog())
def test_every_scenario_of_the_catalog_can_be_set_up_for_every_strategy(name: str) -> None:
    spec = load(name)
    for strategy in STRATEGIES:
        setup = build.setup_of(spec, strategy)
        assert setup.strategy.name == strategy
