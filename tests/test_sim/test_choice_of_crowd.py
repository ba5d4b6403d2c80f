"""Where servers send clients away by themselves or by request, the fast crowd does as the oracle does."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from scipy.stats import ks_2samp

from deployer.draining import DrainSettings, Empty
from deployer.fleet import Kind, Limits
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt
from loadgen.behaviour.backoff import Backoff
from loadgen.behaviour.sessions import Weibull
from loadgen.behaviour.settings import Behaviour
from sim import choice
from sim.setup import Bad, CrowdKind, Deselected, PlannedDeploy, ServerSetup, SetupError, Sigterm
from sim.world import simulate

NEW = "b2c3d4"
SEEDS = 8
PACED = ServerSetup(on_deselected=Deselected.PACE, pace_per_s=3.0)
AFTER_SWITCH = (PlannedDeploy(5.0, NEW, bad=Bad.CRASHES_AFTER_SWITCH),)
BACK = (PlannedDeploy(5.0, NEW), PlannedDeploy(14.0, kind=Kind.ROLLBACK))
CASES = {
    "nudge": ("rainbow", {"nudge": {"after": 4.0, "per_s": 4.0}}, {}),
    "nudge, shrink": ("rainbow", {"nudge": {"after": 4.0, "per_s": 4.0}, "shrink": True}, {}),
    "the hook with pace": ("immutable", {}, {"server": PACED}),
    "the hook with pace, and back": ("immutable", {}, {"server": PACED, "deploys": BACK}),
    "SIGTERM with pace": (
        "graceful",
        {"grace": 30.0},
        {"server": ServerSetup(on_sigterm=Sigterm.PACE, pace_per_s=5.0)},
    ),
    "crashes after the switch": ("rainbow", {}, {"deploys": AFTER_SWITCH}),
    "rolling, crashes after the switch": ("rolling", {"max_unavailable": 0}, {"deploys": AFTER_SWITCH}),
    "auto_rollback, rainbow": ("rainbow", {"auto_rollback": 2}, {"deploys": AFTER_SWITCH}),
    "auto_rollback, rolling": (
        "rolling",
        {"auto_rollback": 2, "max_unavailable": 0},
        {"deploys": AFTER_SWITCH},
    ),
}


def case(setup_of, name):
    strategy, settings, changes = CASES[name]
    given = {
        "duration_s": 45.0,
        "limits": Limits(2),
        "behaviour": Behaviour(Fixed(60), Weibull(25.0, 2.0), Backoff(), messages_per_min=0),
        "drain": DrainSettings(Empty(), hold_s=2.0, check_every_s=1.0, keep_warm_s=15.0),
        "deploys": (PlannedDeploy(5.0, NEW),),
    }
    return setup_of(strategy, settings, **{**given, **changes})


def table(outcome):
    if isinstance(outcome.connections, pl.DataFrame):
        return outcome.connections
    columns = Attempt.__slots__
    return pl.DataFrame(
        [[getattr(row, name) for name in columns] for row in outcome.connections],
        schema=list(columns),
        orient="row",
        infer_schema_length=None,
    )


def measured(setup):
    outcome = simulate(setup)
    rows = table(outcome)
    cut = rows.filter(
        pl.col("t_open_s").is_not_null() & pl.col("closed_by").is_in(["server", "pod_gone", "network"])
    )
    end_s = setup.duration_s
    return {
        "forced": cut.height,
        "of these asked to leave": cut["close_code"].to_list().count(1012),
        "mean moment of a cut": cut["t_close_s"].mean() or 0.0,
        "failed attempts": (rows["t_ready_s"].is_null() & rows["failure"].is_not_null()).sum(),
        "on the old release at 20 s": _open_at(rows, 20.0).filter(pl.col("release") == setup.initial).height,
        "on the old release at the end": _open_at(rows, end_s)
        .filter(pl.col("release") == setup.initial)
        .height,
        "pod-seconds": sum(
            (end_s if p.t_gone_s is None else p.t_gone_s) - max(p.t_created_s, 0.0) for p in outcome.pods
        ),
    }, tuple((row.kind, row.outcome) for row in outcome.deploys)


def _open_at(rows, t_s):
    return rows.filter(
        (pl.col("t_open_s") <= t_s) & (pl.col("t_close_s").is_null() | (pl.col("t_close_s") > t_s))
    )


@pytest.mark.parametrize("name", CASES)
def test_both_crowds_agree_on_who_is_sent_away_and_on_what_the_deployer_makes_of_it(setup_of, name):
    """Kolmogorov–Smirnov on each quantity, at 1 % for all of them together; the deploys end alike."""
    setup = case(setup_of, name)
    found = {
        crowd: [measured(replace(setup, seed=seed + first, crowd=crowd)) for seed in range(SEEDS)]
        for crowd, first in ((CrowdKind.ORACLE, 0), (CrowdKind.FAST, 1000))
    }
    ends = {crowd: {deploys for _, deploys in runs} for crowd, runs in found.items()}
    assert ends[CrowdKind.ORACLE] == ends[CrowdKind.FAST]
    of_oracle, of_fast = ([numbers for numbers, _ in runs] for runs in found.values())
    assert sum(one["forced"] for one in of_oracle) > 0
    for quantity in of_oracle[0]:
        one, other = ([numbers[quantity] for numbers in side] for side in (of_oracle, of_fast))
        assert ks_2samp(one, other).pvalue > 0.01 / len(of_oracle[0]), (quantity, sorted(one), sorted(other))


def test_none_of_it_needs_the_oracle_and_the_notes_name_the_crowd(setup_of):
    for name in CASES:
        setup = replace(case(setup_of, name), crowd=CrowdKind.FAST)
        assert choice.choose(setup)[0] is CrowdKind.FAST
    assert simulate(replace(setup, duration_s=1.0)).notes == ("crowd: fast, as asked",)


def test_who_vanishes_is_left_to_the_oracle_and_the_notes_say_so(setup_of):
    behaviour = replace(case(setup_of, "nudge").behaviour, vanish_ratio=0.2)
    setup = replace(case(setup_of, "nudge"), behaviour=behaviour, duration_s=1.0)
    assert choice.choose(setup)[0] is CrowdKind.ORACLE
    (note,) = simulate(setup).notes
    assert "users.vanish: 0.2" in note
    with pytest.raises(SetupError, match=r"crowd: fast does not know users.vanish: 0.2; set crowd: auto"):
        replace(setup, crowd=CrowdKind.FAST)
