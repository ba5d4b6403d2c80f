"""The fast crowd against the oracle: the same users, held against each other in distribution."""

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from deployer.draining import After, DrainSettings
from deployer.fleet import Limits
from loadgen.behaviour.arrivals import Diurnal, Fixed, Poisson
from loadgen.behaviour.attempts import Attempt
from loadgen.behaviour.backoff import Backoff, Immediate
from loadgen.behaviour.backoff import Fixed as FixedWait
from loadgen.behaviour.sessions import Exponential, Forever, Lognormal, Mixture
from loadgen.behaviour.settings import Behaviour
from sim.fast import rooms, tables
from sim.setup import CrowdKind, Fault, FaultKind, Level, PlannedDeploy, ServerSetup, SetupError
from sim.world import simulate

STRATEGIES = ("recreate", "rolling", "graceful", "rainbow")


def table(outcome):
    """Table `connections`, whichever crowd made it."""
    if isinstance(outcome.connections, pl.DataFrame):
        return outcome.connections
    rows = [{name: getattr(row, name) for name in Attempt.__slots__} for row in outcome.connections]
    return pl.DataFrame(rows, infer_schema_length=None)


def measured(setup, crowd):
    """What is compared: forced reconnects, peak rate, pod-hours, and how many old connections are left when."""
    outcome = simulate(replace(setup, crowd=crowd))
    rows = table(outcome)
    forced = rows.filter(
        pl.col("t_open_s").is_not_null() & pl.col("closed_by").is_in(["server", "pod_gone", "network"])
    )
    again = rows.filter((pl.col("reason") == "reconnect") & (pl.col("t_request_s") >= 0))
    bins = Counter(int(t_s) for t_s in again["t_request_s"])
    end_s = setup.duration_s
    hours = sum((end_s if p.t_gone_s is None else p.t_gone_s) - max(p.t_created_s, 0) for p in outcome.pods)
    old = rows.filter((pl.col("release") == setup.initial) & (pl.col("t_open_s") <= 6.0))
    closed = old["t_close_s"].fill_null(1e9).to_numpy()
    return {
        "forced": forced.height,
        "peak": max(bins.values(), default=0),
        "pod_hours": hours,
        **{f"left at {t_s} s": int((closed > t_s).sum()) for t_s in (8, 12, 18, 24, 30)},
    }


def same_law(of_oracle, of_fast):
    """Whether two-sample Kolmogorov–Smirnov tests at 1 % find no difference; which quantity differs, if any."""
    return [
        (name, sorted(one[name] for one in of_oracle), sorted(one[name] for one in of_fast))
        for name in of_oracle[0]
        if ks_2samp([one[name] for one in of_oracle], [one[name] for one in of_fast]).pvalue < 0.01
    ]


def both(setup_of, seeds, *args, **changes):
    oracle = [measured(setup_of(*args, seed=seed, **changes), CrowdKind.ORACLE) for seed in range(seeds)]
    fast = [measured(setup_of(*args, seed=seed + 1000, **changes), CrowdKind.FAST) for seed in range(seeds)]
    return oracle, fast


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_twenty_seeds_of_quick_tell_no_crowd_from_the_other(setup_of, strategy):
    assert same_law(*both(setup_of, 20, strategy)) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ten_seeds_of_fewer_users_tell_no_crowd_from_the_other(setup_of, strategy):
    users = replace(setup_of().behaviour, population=Fixed(60), messages_per_min=0.0)
    found = both(setup_of, 10, strategy, behaviour=users, duration_s=45.0, deploys=setup_of().deploys[:2])
    assert same_law(*found) == []


STORMS = {
    "full jitter": Backoff(1.0, 8.0, give_up=6),
    "no jitter": Backoff(0.5, 4.0, "none"),
    "equal": Backoff(0.5, 4.0, "equal"),
    "decorrelated": Backoff(0.3, 4.0, "decorrelated"),
    "fixed": FixedWait(1.0),
    "immediate": Immediate(give_up=30),
}


@pytest.mark.parametrize("policy", STORMS)
def test_a_storm_that_overruns_every_queue_fails_the_same_logins(setup_of, policy):
    """Backlogs are full, clients hang up, the backend lags: how attempts end, kind by kind, within 3 %."""
    setup = setup_of(
        "recreate",
        duration_s=40.0,
        limits=Limits(2),
        behaviour=Behaviour(
            Fixed(400),
            Exponential(300.0),
            STORMS[policy],
            ramp_per_s=20.0,
            connect_timeout_s=2.0,
            messages_per_min=0,
        ),
        deploys=(PlannedDeploy(3.0, "b2c3d4"),),
        server=ServerSetup(
            login_cpu_s=0.03, backlog=16, handshake_timeout_s=1.0, backend_logins_per_s=50.0, linger_s=0.5
        ),
    )
    ends = [[], []]
    for seed in range(4):
        for at, crowd in enumerate((CrowdKind.ORACLE, CrowdKind.FAST)):
            outcome = simulate(replace(setup, seed=seed + 50 * at, crowd=crowd))
            columns = ("closed_by", "failure", "reason", "close_code")
            ends[at] += table(outcome).select(columns).rows()
    of_oracle, of_fast = Counter(ends[0]), Counter(ends[1])
    assert len(of_oracle) >= 4
    for kind in of_oracle | of_fast:
        one, other = of_oracle[kind], of_fast[kind]
        assert abs(one - other) <= 0.03 * len(ends[0]) + 5 * np.sqrt(max(one, other)), (kind, one, other)


@pytest.mark.parametrize(
    "session",
    [
        Lognormal(20.0, 1.0),
        Mixture(((1.0, Exponential(2.0)), (2.0, Lognormal(30.0, 0.5)))),
    ],
)
@pytest.mark.parametrize("population", [Poisson(8.0), Diurnal(8.0, 0.9, 60.0, 30.0)])
def test_users_who_come_and_go_are_as_many(setup_of, session, population):
    found = []
    for crowd in (CrowdKind.ORACLE, CrowdKind.FAST):
        rows = [
            table(
                simulate(
                    setup_of(
                        seed=seed,
                        duration_s=90.0,
                        crowd=crowd,
                        behaviour=Behaviour(population, session, messages_per_min=0),
                    )
                )
            )
            for seed in range(8)
        ]
        found.append([one.height for one in rows] + [one["t_close_s"].is_null().sum() for one in rows])
    half = len(found[0]) // 2
    for part in (slice(None, half), slice(half, None)):
        means = [np.mean(one[part]) for one in found]
        spread = np.hypot(*(np.std(one[part], ddof=1) / np.sqrt(half) for one in found))
        assert abs(means[0] - means[1]) < 4 * spread


def test_without_chance_both_crowds_do_the_same_to_the_microsecond(setup_of):
    """No jitter, one pod, nobody leaves: each attempt's times are the same."""
    found = []
    for crowd in (CrowdKind.ORACLE, CrowdKind.FAST):
        outcome = simulate(
            setup_of(
                "recreate",
                duration_s=30.0,
                limits=Limits(1),
                crowd=crowd,
                behaviour=Behaviour(
                    Fixed(80),
                    Forever(),
                    FixedWait(0.7),
                    ramp_per_s=10.0,
                    connect_timeout_s=1.5,
                    messages_per_min=0,
                ),
                deploys=(PlannedDeploy(3.0, "b2c3d4"),),
                server=ServerSetup(login_cpu_s=0.06, backlog=8, backend_logins_per_s=14.0),
            )
        )
        rows = table(outcome).sort("user", "attempt")
        times = ("t_request_s", "t_open_s", "t_ready_s", "t_close_s")
        found.append(rows.select("user", "attempt", "closed_by", "failure", pl.col(times).round(4)))
    assert found[0].height > 300
    assert found[0]["failure"].n_unique() >= 3
    different = (
        found[0]
        .join(found[1], on=["user", "attempt"], how="full", suffix="_fast")
        .filter(
            pl.any_horizontal(
                (pl.col(name) - pl.col(f"{name}_fast")).abs() > 2e-4
                for name in ("t_request_s", "t_open_s", "t_ready_s", "t_close_s")
            )
            | pl.col("failure").ne_missing(pl.col("failure_fast"))
        )
    )
    assert different.height <= 0.01 * found[0].height, different


@pytest.mark.parametrize("level", ["lost", "series"])
def test_a_level_changes_what_is_kept_and_nothing_that_happens(setup_of, level):
    from scenarios.record import kept, series_of

    setup = setup_of("rolling", crowd=CrowdKind.FAST)
    full = simulate(setup)
    less = simulate(replace(setup, level=Level(level)))
    assert less.connections.sort("user", "attempt").equals(
        kept(full.connections, level).sort("user", "attempt")
    )
    whole = series_of(full.connections, setup.duration_s).filter(pl.col("t_s") >= 0)
    order = ["t_s", "release"]
    assert less.series.sort(order).cast(dict(whole.schema)).equals(whole.sort(order))


def test_the_series_of_a_run_over_many_windows_is_that_of_its_rows(setup_of):
    from scenarios.record import series_of

    lonely = Behaviour(Poisson(0.1), Exponential(20.0), Backoff(), messages_per_min=0)
    deploys = (PlannedDeploy(900.0, "b2c3d4"), PlannedDeploy(2100.0, "c3d4e5"))
    setup = setup_of("rainbow", crowd=CrowdKind.FAST, duration_s=3500.0, behaviour=lonely, deploys=deploys)
    full = simulate(setup)
    with patch.object(tables, "ROWS_AT_ONCE", 500):
        less = simulate(replace(setup, level=Level.SERIES))
    whole = series_of(full.connections, setup.duration_s)
    order = ["t_s", "release"]
    assert 0 < whole.height < 3500  # at times nobody is there
    assert less.series.sort(order).cast(dict(whole.schema)).equals(whole.sort(order))


PEOPLE = st.one_of(
    st.builds(Fixed, st.integers(20, 400)),
    st.builds(Poisson, st.floats(1.0, 120.0)),
    st.builds(Diurnal, st.just(30.0), st.just(0.9), st.just(40.0), st.just(20.0)),
)
WAITS = st.sampled_from(
    [
        Backoff(0.5, 8.0, give_up=5),
        Backoff(0.5, 4.0, "equal"),
        Backoff(0.2, 2.0, "decorrelated"),
        Backoff(0.5, 4.0, "none"),
        FixedWait(0.4),
        Immediate(give_up=9),
    ]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 1 << 30),
    people=PEOPLE,
    session=st.sampled_from(
        [
            Exponential(25.0),
            Lognormal(8.0, 1.2),
            Lognormal(2.0, 2.0),
            Exponential(0.5),
            Exponential(400.0),
            Forever(),
        ]
    ),
    waits=WAITS,
    timeout_s=st.sampled_from([0.05, 2.0, 10.0]),
    login_cpu_s=st.sampled_from([0.0, 0.0008, 0.002, 0.03]),
    backend_logins_per_s=st.sampled_from([0.0, 30.0, 500.0]),
    backlog=st.sampled_from([4, 128]),
    fault=st.sampled_from(["", "kill_pod", "backend_down", "node_loss"]),
    level=st.sampled_from(["full", "lost", "series"]),
)
def test_the_short_way_through_quiet_times_leads_to_the_same_to_the_last_bit(
    setup_of,
    strategy,
    seed,
    people,
    session,
    waits,
    timeout_s,
    login_cpu_s,
    backend_logins_per_s,
    backlog,
    fault,
    level,
):
    if not isinstance(people, Fixed) and isinstance(session, Forever):
        session = Exponential(60.0)
    setup = setup_of(
        strategy,
        seed=seed,
        crowd=CrowdKind.FAST,
        duration_s=40.0,
        level=Level(level),
        behaviour=Behaviour(
            people, session, waits, ramp_per_s=40.0, connect_timeout_s=timeout_s, messages_per_min=0
        ),
        deploys=(PlannedDeploy(3.0, "b2c3d4"), PlannedDeploy(20.0, "c3d4e5")),
        faults=(Fault(12.0, FaultKind(fault), duration_s=5.0),) if fault else (),
        server=ServerSetup(
            login_cpu_s=login_cpu_s, backlog=backlog, backend_logins_per_s=backend_logins_per_s, linger_s=0.5
        ),
    )
    found = []
    for shortens in (1, 0):
        with patch.object(rooms, "SHORTENS", shortens):
            try:
                outcome = simulate(setup)
            except SetupError as error:
                found.append((str(error),))
                continue
        # which of two free rows of memory the next user gets may differ, and with it the order in the table
        connections = outcome.connections.sort("user", "attempt")
        found.append((connections, outcome.series, list(outcome.samples), outcome.pods))
    for short, long in zip(*found, strict=True):
        assert short.equals(long) if isinstance(short, pl.DataFrame) else short == long


def test_a_drain_policy_that_counts_sees_the_same(setup_of):
    drain = DrainSettings(After(5.0), deadline_s=None, hold_s=2.0, check_every_s=1.0)
    found = [
        len(simulate(setup_of("rainbow", drain=drain, crowd=crowd)).pods)
        for crowd in (CrowdKind.ORACLE, CrowdKind.FAST)
    ]
    assert found[0] == found[1]
