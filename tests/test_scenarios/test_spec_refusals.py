"""Scenario specs: what is refused, and that one line says why and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.spec import SpecError, load, require_built
from scenarios.spec.built import BUILT
from tests.test_scenarios.specs import refusal


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("users.sesion=forever", "users.sesion: unknown key; the nearest known one is session"),
        (
            "users.session.weibul={mean: 5s}",
            "users.session.weibul: unknown key; the nearest known one is weibull",
        ),
        (
            "strategy.rainbow.shirnk=true",
            "strategy.rainbow.shirnk: unknown key; the nearest known one is shrink",
        ),
        ("strategy.rainbo={}", "strategy.rainbo: unknown key; the nearest known one is rainbow"),
        ("duration=95", "duration: 95 has no unit; write 95s"),
        ("duration=1:30", "duration: '1:30' is no duration"),
        ("duration=0s", "duration: 0s must be above 0"),
        ("duration=999999999h", "duration: 999999999h is longer than 3650d, ten years; give a shorter one"),
        ("duration=3651d", "duration: 3651d is longer than 3650d"),
        ("users.count=-1", "users.count: -1 must be at least 0"),
        ("users.count=5.5", "users.count: 5.5 is not a whole number"),
        ("users.count='7'", "users.count: 7 is not a whole number"),
        ("users.count=true", "users.count: True is not a whole number"),
        ("users.count=null", "users: give either count or arrivals"),
        ("users.arrivals={poisson: {per_s: 5}}", "users: give either count or arrivals"),
        ("users.messages_per_min=.nan", "users.messages_per_min: nan is not a finite number"),
        ("users=5", "users: 5 is not a mapping; its keys are count, arrivals"),
        ("users.session={}", "users.session: give exactly one of exponential"),
        ("users.session={weibull: null}", "users.session: weibull has no value"),
        (
            "users.session=weibull",
            "users.session: weibull needs settings; write {weibull: {…}}, its keys are mean, shape",
        ),
        ("drain.policy={few:5}", "drain.policy.few:5: unknown key; write a space after the colon"),
        ("users.session={lognormal: {sigma: 1}}", "users.session.lognormal: give either median or mean"),
        (
            "users.reconnect.exponential.jitter=ful",
            "jitter: ful is not one of 'none', 'equal', 'full' or 'decorrelated'",
        ),
        (
            "users.reconnect.exponential.cap=500ms",
            "users.reconnect.exponential: cap=0.5s must be at least base=1s",
        ),
        ("drain.policy=emty", "drain.policy: 'emty' is not one of manual, empty, after, few, worth_it"),
        (
            "drain.policy={after: 90h}",
            "drain: policy after 90h must not exceed deadline=48h; leave the deadline out",
        ),
        ("drain.hold=1s", "drain.hold: 1s must be at least 2"),
        ("drain.keep_warm=72h", "drain: keep_warm=3d must not exceed the deadline"),
        ("record=al", "record: al is not one of 'full', 'lost' or 'series'"),
        ("name=Quick", "name: 'Quick' is no name"),
        ("fleet.replicas=900", "fleet: replicas=900 do not fit: the nodes hold 48 pods"),
        ("fleet.pod.memory=2GiB", "fleet.pod.memory: '2GiB' is no amount of memory; write it as 2Gi"),
        (
            "strategy.rolling={max_surge: 0, max_unavailable: 0%}",
            "strategy.rolling: max_surge and max_unavailable cannot both be 0",
        ),
        (
            "strategy.rolling.max_surge=120%",
            "strategy.rolling.max_surge: '120%' is neither a count nor a share",
        ),
        ("deploys=6s", "deploys: 6s is not a list"),
        ("deploys=[5]", "deploys.0: 5 is not a mapping"),
        ("deploys=[{at: 6s, every: 5s}]", "deploys.0: give exactly one of at, every, rollback_at"),
        ("deploys=[{every: 5s}]", "deploys.0: every needs a count"),
        ("deploys=[{every: 1ms, count: 1000000000}]", "deploys.0.count: 1000000000 must be at most 10000"),
        ("deploys=[{at: 5s, count: 3}]", "deploys.0: count does not go with at"),
        ("deploys.2.at=200s", "deploys.2 comes at 200s, which must be before the end at duration=95s"),
        ("deploys={every: 60s, count: 2}", "deploys.0 comes at 2m, which must be before the end"),
        ("deploys=[{rollback_at: 60s}]", "a rollback needs a deploy before it"),
        ("deploys=[{at: 6s, release: 012345}]", "deploys.0.release: YAML reads this as a number"),
        ("deploys=[{at: 6s, release: 1e5000}]", "deploys.0.release: YAML reads this as a number"),
        ("deploys=[{at: 6s, release: '12345g'}]", "deploys.0.release: '12345g' is no release"),
        ("faults=[{at: 3s}]", "faults.0: give exactly one of kill_pod, node_loss"),
        ("faults=[{at: 3s, kill_pod: random, duration: 3s}]", "faults.0: kill_pod has no duration"),
        ("faults=[{at: 95s, kill_pod: random}]", "faults.0 comes at 95s, which must be before the end"),
        (
            "thresholds={forced_reconects: {max: 0}}",
            "unknown metric; the nearest known one is forced_reconnects",
        ),
        ("thresholds={cost: {}}", "thresholds.cost: give max, min or both"),
        ("thresholds={cost: {min: 2, max: 1}}", "thresholds.cost: min=2 must not exceed max=1"),
        ("warm_up=95s", "warm_up=95s must be shorter than duration=95s"),
        ("compress=0.5", "compress: 0.5 must be at least 1"),
        ("seed=-1", "seed: -1 must be at least 0"),
        ("deploys.x.at=3s", "'x' is no place in a list of 3"),
        ("deploys.3.at=3s", "'3' is no place in a list of 3"),
        ("record.x=3", "record is full here; set record as a whole"),
        ("users", "write it as KEY=VALUE"),
        ("users..count=3", "write it as KEY=VALUE"),
        ("users={", "not YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_key_and_way_out(override: str, said: str) -> None:
    assert said in refusal(override)


def test_all_problems_are_told_at_once() -> None:
    text = refusal("users.count=-1", "duration=5", "foo=1")
    assert all(part in text for part in ("users.count: -1", "duration: 5 has no unit", "foo: unknown key"))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a")
    assert refusal(scenario=tmp_path / "a.yaml").endswith("a.yaml: duration: is missing; users: is missing")


@pytest.mark.parametrize("text", ["", "\n  \n", "# to be written\n", "---\n"])
def test_an_empty_file_is_called_empty_and_told_how_a_scenario_begins(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    said = refusal(scenario=tmp_path / "a.yaml")
    assert said.endswith("a.yaml is empty; a scenario begins with the keys name, duration and users")
    assert said == refusal("users.count=5", scenario=tmp_path / "a.yaml")


def test_ten_years_are_not_too_long() -> None:
    assert load("quick", ["duration=3650d"]).duration == 3650 * 86_400


def test_what_is_not_built_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = {**BUILT["sim"], "strategy": frozenset({"rolling"}), "modifier": frozenset[str]()}
    fewer |= {"drain.policy": frozenset({"empty"}), "fault": frozenset({"kill_pod"})}
    monkeypatch.setattr("scenarios.spec.built.BUILT", {"sim": fewer})
    spec = load("quick")
    require_built(spec, "rolling", "sim")
    with pytest.raises(
        SpecError, match="strategy rainbow is not built yet in world sim; this version can do: rolling"
    ):
        require_built(spec, "rainbow", "sim")
    with pytest.raises(SpecError, match="world local is not built yet; this version can do: sim"):
        require_built(spec, "rolling", "local")
    assert (
        refusal("drain.policy=manual") == "drain.policy manual is not built yet; this version can do: empty"
    )
    assert (
        refusal("faults=[{at: 3s, deployer_killed: 5s}]")
        == "fault deployer_killed is not built yet; this version can do: kill_pod"
    )
    assert refusal("drain.keep_warm=5s") == "modifier keep_warm is not built yet; this version can do: none"


def test_what_one_world_can_do_another_may_not_be_able_to() -> None:
    spec = load("quick", ["faults=[{at: 3s, api_down: 5s}]"])
    require_built(spec, "rainbow", "local")
    narrower = {"sim": {**BUILT["sim"], "fault": frozenset({"kill_pod"})}, "local": BUILT["local"]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("scenarios.spec.built.BUILT", narrower)
        require_built(spec, "rainbow")
        with pytest.raises(SpecError, match="fault api_down is not built yet in world sim"):
            require_built(spec, "rainbow", "sim")


def test_unknown_strategies_and_worlds_name_the_nearest() -> None:
    with pytest.raises(SpecError, match="strategy 'rainbo' is unknown; the nearest known one is rainbow"):
        require_built(load("quick"), "rainbo")
    with pytest.raises(SpecError, match="world 'kin' is unknown; the nearest known one is kind"):
        require_built(load("quick"), "rainbow", "kin")


def test_modifiers_count_only_for_the_strategy_that_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.spec.built.BUILT", {"sim": {**BUILT["sim"], "modifier": frozenset[str]()}})
    spec = load("quick", ["strategy.rainbow.shrink=true"])
    require_built(spec, "rolling")
    require_built(spec, "colors")
    with pytest.raises(SpecError, match="modifier shrink is not built yet"):
        require_built(spec, "rainbow")


def test_throttled_refusals_are_not_for_the_embedded_cluster() -> None:
    spec = load("quick", ["network.no_endpoints=throttled"])
    require_built(spec, "recreate", "sim")
    require_built(spec, "recreate", "kind")
    with pytest.raises(
        SpecError, match=r"network.no_endpoints throttled is not built yet in world local; .*: refuse"
    ):
        require_built(spec, "recreate", "local")
