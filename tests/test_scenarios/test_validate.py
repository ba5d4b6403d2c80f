"""A real run is held against simulated ones: what is inside, what is outside, and what is no question."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from scenarios import cli
from scenarios.cli_validate import print_validation, verdict
from scenarios.errors import Exit, UserMistake
from scenarios.metrics import summarise, summary_json
from scenarios.plan.trial import trial
from scenarios.record import Record, record_of, write_record
from scenarios.replicate import Replications
from scenarios.run import Options, read_spec
from scenarios.spec.fleet import NoEndpoints
from scenarios.thresholds import METRICS
from scenarios.validate import (
    HELD,
    MIN_SEEDS,
    Validation,
    as_in_world,
    as_measured,
    fitted_start,
    judge,
    removal_of,
    validate_record,
)

PAGE = Path(__file__).parents[2] / "docs" / "how-to-validate.md"
NOTHING = dict.fromkeys(METRICS)


def simulations(**values: list[float]) -> Replications:
    runs = max(len(of) for of in values.values())
    return Replications(tuple({**NOTHING, **{k: of[n] for k, of in values.items()}} for n in range(runs)))


def row_of(metric: str, real: float | None, simulated: list[float]):
    rows = judge({**NOTHING, metric: real}, simulations(**{metric: simulated}))
    return next(row for row in rows if row.metric == metric)


@pytest.fixture(scope="module")
def as_if_real() -> Record:
    """A simulated run with another seed and slower pods, which says that it was a real one."""
    spec = read_spec(
        "tiny",
        "rolling",
        "sim",
        Options(settings=("fleet.startup={lognormal: {median: 900ms, sigma: 0.2}}",)),
    )
    record = trial(spec.model_copy(update={"seed": 41}), "rolling")
    slower = {"command": "drainbow run tiny", "world": "local", "seed": 41}
    return record_of({**record.run, **slower}, record.tables)


@pytest.fixture(scope="module")
def found(as_if_real: Record) -> Validation:
    return validate_record(Path("runs/one"), as_if_real, summarise(as_if_real), seeds=8, jobs=1)


def test_what_was_simulated_lies_where_the_simulation_says_a_run_lies(found):
    assert found.outside == ()
    assert found.exit_code is Exit.DONE
    assert {row.metric for row in found.held} <= set(HELD)
    assert {"forced_reconnects_per_client_deploy", "pod_hours", "deploys_done"} <= {
        row.metric for row in found.held
    }


def test_the_simulated_pods_start_as_those_of_the_run_did(as_if_real, found):
    assert found.start.pods == 4
    assert 0.5 < found.start.median_s < 1.4
    measured, _ = as_measured(found_spec(as_if_real), as_if_real)
    assert measured.fleet.startup.lognormal is not None
    assert measured.fleet.startup.lognormal.median == pytest.approx(found.start.median_s, abs=1e-5)


def found_spec(record: Record):
    from scenarios.spec import spec_of

    return spec_of(dict(record.run["spec"]))


def test_a_run_that_no_simulation_gives_is_told_and_ends_with_3(as_if_real, found):
    other = {**summarise(as_if_real), "forced_reconnects_per_client_deploy": 3.0}
    rows = judge(other, found.simulated)
    outside = [row for row in rows if row.inside is False]
    assert [row.metric for row in outside] == ["forced_reconnects_per_client_deploy"]
    told = Validation(
        found.folder, as_if_real, other, found.twin, found.simulated, found.start, rows, found.spec
    )
    assert told.exit_code is Exit.THRESHOLD_MISSED


def test_where_the_simulation_cuts_nobody_a_single_cut_is_outside():
    assert row_of("forced_reconnects_per_client_deploy", 0.0, [0.0] * 5).inside is True
    assert row_of("forced_reconnects_per_client_deploy", 1 / 900, [0.0] * 5).inside is False


def test_a_tolerance_makes_room_where_simulated_runs_are_all_alike():
    assert row_of("drain_s_p50", 3.1, [2.74] * 5).inside is True
    assert row_of("drain_s_p50", 3.9, [2.74] * 5).inside is False
    assert row_of("deploys_done", 2, [3.0] * 5).inside is False


@pytest.mark.parametrize(("real", "simulated"), [(None, [1.0, 2.0]), (1.0, [1.0])])
def test_what_one_side_cannot_tell_has_no_verdict(real, simulated):
    assert row_of("pod_hours", real, simulated).inside is None


def test_a_metric_that_is_only_shown_has_an_interval_and_no_verdict():
    row = row_of("messages_lost", 99, [0.0, 1.0, 0.0])
    assert row.inside is None
    assert row.high is not None


@settings(max_examples=10)
@given(median_s=st.floats(0.3, 5), sigma=st.floats(0.1, 0.6), seed=st.integers(0, 99))
def test_the_law_of_starts_is_found_again_through_the_probe(median_s, sigma, seed):
    rng, period_s, ready_s = Random(seed), 0.5, []
    for _ in range(400):
        listens_s, phase_s = median_s * rng.lognormvariate(0, sigma), rng.uniform(0, period_s)
        ready_s.append(phase_s + period_s * max(0, -(-(listens_s - phase_s) // period_s)))
    found_median_s, found_sigma = fitted_start(ready_s, period_s, said=(1.0, 0.3))
    assert found_median_s == pytest.approx(median_s, rel=0.15, abs=0.05)
    assert found_sigma == pytest.approx(sigma, rel=0.4, abs=0.05)


def test_a_few_pods_behind_a_slow_probe_leave_the_scenario_s_law_nearly_as_it_was():
    median_s, sigma = fitted_start([0.45, 0.5, 0.6], 0.5, said=(0.5, 0.2))
    assert median_s == pytest.approx(0.5, rel=0.4)
    assert sigma == pytest.approx(0.2, rel=0.5)


def test_a_run_that_started_no_pods_is_simulated_as_its_scenario_says(as_if_real):
    none = {**as_if_real.tables, "pods": as_if_real.pods.clear()}
    spec = found_spec(as_if_real)
    same, start = as_measured(spec, record_of(as_if_real.run, none))
    assert same == spec
    assert start.pods == 0


@pytest.mark.parametrize(
    ("changed", "seeds", "wrong"),
    [
        ({"world": "sim"}, 8, "simulated run"),
        ({"interrupted": True}, 8, "interrupted"),
        ({"spec": {"fleat": {}}}, 8, "cannot be simulated: .*fleat"),
        ({}, MIN_SEEDS - 1, "--seeds"),
    ],
)
def test_what_cannot_be_held_against_simulations_is_told_in_a_line(as_if_real, changed, seeds, wrong):
    record = Record({**as_if_real.run, **changed}, as_if_real.tables)
    with pytest.raises(UserMistake, match=wrong):
        validate_record(Path("runs/one"), record, summarise(as_if_real), seeds)


def drainbow(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["validate", *arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


@pytest.fixture
def folder(as_if_real: Record, tmp_path: Path) -> Path:
    run = {key: value for key, value in as_if_real.run.items() if key != "schema"}
    write_record(
        tmp_path / "run", run, as_if_real.tables, {"summary.json": summary_json(summarise(as_if_real))}
    )
    return tmp_path / "run"


def test_a_finished_run_is_read_and_put_beside_its_simulations(folder, capsys, tmp_path):
    code, out, err = drainbow(
        str(folder), "--seeds", "5", "--jobs", "1", "--json", "--out", str(tmp_path), capsys=capsys
    )
    document = json.loads(out)
    [one] = document["validations"]
    page = Path(document["page"]).read_text(encoding="utf-8")
    assert (code, err) == (0, "")
    assert one["outside"] == []
    assert one["metrics"]["pod_hours"]["inside"] is True
    assert one["metrics"]["cost"]["inside"] is None
    assert page.index("rolling (local)") < page.index("rolling (simulated)")
    assert 'class="n best"' not in page


def test_a_person_gets_a_table_with_verdicts_and_the_start_that_was_measured(found):
    console = Console(width=120, record=True, file=io.StringIO())
    print_validation(console, found)
    out = console.export_text()
    assert "inside" in out
    assert "shown" in out
    assert "OUTSIDE" not in out
    assert re.search(r"4 new ones did: median \d\.\d+ s", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny", "--world", "sim"], ["--world sim", "local"]),
        (["tiny", "--seeds", "2"], ["--seeds 2", str(MIN_SEEDS)]),
        (["tiny", "quick"], ["tiny, quick"]),
        (["tinny"], ["tinny", "tiny"]),
        ([".", "--strategy", "rolling"], ["--strategy"]),
        ([".", "--seed", "0"], ["--seed"]),
        (["."], ["run.json"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_before_anything_runs(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = drainbow(*arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


def test_the_documentation_tells_every_tolerance():
    said = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].strip("`") in METRICS:
            said[cells[0].strip("`")] = (cells[1], cells[2])
    assert said == {key: (_told(one.share, one.amount), one.why) for key, one in HELD.items()}


def _told(share: float, amount: float) -> str:
    parts = [f"{share * 100:g} %"] if share else []
    return " + ".join([*parts, f"{amount:g}"] if amount or not parts else parts)


def test_only_a_kubernetes_is_held_against_throttled_refusals_and_only_where_the_scenario_is_silent(
    as_if_real,
):
    def assumed(world, given=None):
        spec = found_spec(as_if_real)
        if given:
            network = spec.network.model_copy(update={"no_endpoints": NoEndpoints.model_validate(given)})
            spec = spec.model_copy(update={"network": network})
        said = as_in_world(spec, record_of({**as_if_real.run, "world": world}, as_if_real.tables)).network
        return said.no_endpoints and said.no_endpoints.kind

    assert [assumed(world) for world in ("local", "kind", "current")] == [None, "throttled", "throttled"]
    assert assumed("kind", "refuse") == "refuse"


def test_the_fast_crowd_is_not_asked_for_what_it_does_not_know(as_if_real):
    def crowd(world, **users):
        spec = found_spec(as_if_real)
        update = {"crowd": "fast", "users": spec.users.model_copy(update=users)}
        spec = spec.model_copy(update=update)
        return as_in_world(spec, record_of({**as_if_real.run, "world": world}, as_if_real.tables)).crowd

    assert [crowd("local"), crowd("kind"), crowd("local", vanish="5%")] == ["fast", "auto", "auto"]


def test_a_person_is_told_what_was_assumed_of_a_service_without_endpoints(as_if_real, found):
    assert not any("no_endpoints" in line for line in verdict(found))
    spec = as_in_world(found.spec, record_of({**as_if_real.run, "world": "kind"}, as_if_real.tables))
    assert "no_endpoints=throttled (1 refused in a second" in verdict(replace(found, spec=spec))[-1]


def test_pods_are_simulated_to_go_as_fast_as_they_went():
    def pods(took_s):
        ended = {"t_terminating_s": [5.0] * len(took_s), "t_gone_s": [5.0 + took for took in took_s]}
        return pl.DataFrame(ended)

    assert removal_of(pods([2.54, 2.74, 2.94, 3.04, 600.0]), linger_s=2.0) == pytest.approx(0.8)
    assert removal_of(pods([2.5, 2.7, 2.9]), linger_s=2.0) is None
