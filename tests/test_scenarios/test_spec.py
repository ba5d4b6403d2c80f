"""Scenario specs: what is read, and that nothing gets lost on the way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from scenarios.spec import Spec, catalog, compressed, load, releases, require_built, spec_of
from scenarios.spec.base import models_in
from scenarios.spec.built import KNOWN
from scenarios.spec.releases import difference
from scenarios.spec.text import read_yaml
from scenarios.spec.units import (
    cpus,
    duration_s,
    duration_text,
    memory_bytes,
    memory_text,
    rate_per_s,
    share_of,
    share_or_count,
)
from tests.test_scenarios.specs import SMALL, refusal

# Units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("24h", 86_400.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("7d", 604_800.0),
        ("5.21h", 18_756.0),
        ("1.5m", 90.0),
        ("1h 30m", 5400.0),
        (0, 0.0),
    ],
)
def test_durations_are_read_with_their_units(text: str | int, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["90", "s", "90 seconds", "-5s", "1:30", "", "1h30", "infs", "1e999s", True, None, 5, [5]]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"write it as 90s, 24h|has no unit; write 5s"):
        duration_s(text)


@given(st.floats(0, 1e9, allow_nan=False) | st.integers(0, 10_000_000).map(float))
def test_a_duration_survives_being_written(seconds: float) -> None:
    assert duration_s(duration_text(seconds)) == seconds


def test_rates_quantities_and_shares() -> None:
    assert rate_per_s("100/s") == 100.0
    assert rate_per_s("5/min") == 5 / 60
    assert rate_per_s("4/day") == 4 / 86_400
    assert cpus("10m") == 0.01
    assert cpus(2) == 2.0
    assert memory_bytes("2Gi") == 2 * 2**30
    assert memory_bytes("512M") == 512e6
    assert memory_text(64 * 2.0**20) == "64Mi"
    assert share_or_count("25%") == "25%"
    assert share_or_count(3) == 3
    assert share_of("1%") == 0.01
    for read, bad in (
        (rate_per_s, "100"),
        (cpus, "2x"),
        (memory_bytes, "2GiB"),
        (share_or_count, "120%"),
        (share_or_count, -1),
    ):
        with pytest.raises(ValueError, match="write it as"):
            read(bad)


# Reading


def test_quick_is_what_it_says() -> None:
    spec = load("quick")
    assert spec.duration == 95.0
    assert spec.fleet.replicas == 4
    assert spec.users.count == 300
    assert spec.users.session.weibull is not None
    assert (spec.users.session.weibull.mean, spec.users.session.weibull.shape) == (22.0, 4.0)
    assert spec.users.reconnect.kind == "exponential"
    assert spec.server.linger == 2.0
    assert [deploy.at_s for deploy in spec.planned_deploys()] == [6.0, 24.0, 42.0]
    assert spec.strategy.rolling.max_unavailable == 0
    assert (spec.drain.policy.kind, spec.drain.deadline_s, spec.drain.hold) == ("empty", 172_800.0, 2.0)


@pytest.mark.parametrize("name", catalog())
def test_every_scenario_of_the_catalog_is_sound_and_says_what_it_shows(name: str) -> None:
    spec = load(name)
    assert spec.name == name
    assert spec.description
    assert spec_of(spec.data()) == spec
    for strategy in KNOWN["strategy"]:
        require_built(spec, strategy, "sim")


def test_the_catalog_has_what_is_promised() -> None:
    assert {"quick", "tiny", "olark", "weekly", "storm", "metastable", "rollback"} <= set(catalog())


def test_olark_has_the_numbers_of_the_article() -> None:
    spec = load("olark")
    assert (spec.fleet.replicas, spec.fleet.pod.cpu, spec.fleet.pod.memory) == (16, 1.0, 2 * 2.0**30)
    assert spec.fleet.capacity_pods == 160
    assert spec.users.count == 5000
    assert (
        len(spec.planned_deploys()) == 27
    )  # every six hours, the last one six hours before the week is over
    assert spec.drain.policy.few is not None
    assert spec.drain.policy.few.left == 5


def test_a_path_is_a_file_and_its_data_files_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text("1\n2\n")
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({**SMALL, "users": {"count": 3, "session": {"empirical": "sessions.csv"}}})
    )
    spec = load(tmp_path / "mine.yaml")
    assert spec.users.session.empirical is not None
    assert spec.users.session.empirical.file == str(tmp_path / "sessions.csv")
    (tmp_path / "sessions.csv").unlink()
    assert "sessions.csv is not there; name a CSV file" in refusal(scenario=tmp_path / "mine.yaml")


def test_what_is_no_scenario_says_so(tmp_path: Path) -> None:
    assert "no scenario 'quik' in the catalog; the nearest known one is quick" in refusal(scenario="quik")
    assert "cannot be read: No such file or directory" in refusal(scenario=tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    assert "a scenario is a mapping" in refusal(scenario=tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("name: [\nduration: 3s")
    assert "line 2, column 13: not YAML" in refusal(scenario=tmp_path / "broken.yaml")
    (tmp_path / "twice.yaml").write_text("name: a\nname: b")
    assert "line 2, column 1: not YAML: the key 'name' is there twice" in refusal(
        scenario=tmp_path / "twice.yaml"
    )
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    assert "not UTF-8" in refusal(scenario=tmp_path / "bytes.yaml")


def test_overrides_reach_every_place_and_are_yaml() -> None:
    spec = load(
        "quick",
        ["users.count=5000", "deploys=[{at: 6s}]", "strategy.rainbow.min_ready=3s", "fleet.pod.cpu=500m"],
    )
    assert spec.users.count == 5000
    assert len(spec.planned_deploys()) == 1
    assert spec.strategy.rainbow.min_ready == 3.0
    assert spec.fleet.pod.cpu == 0.5
    assert load("quick", ["deploys.1.at=25s"]).planned_deploys()[1].at_s == 25.0
    assert load("tiny", ["server.linger=1s"]).server.linger == 1.0  # a mapping that the file leaves out


def test_the_same_releases_are_drawn_whatever_else_is_set() -> None:
    assert load("quick", ["users.count=5", "duration=60s"]).releases() == load("quick").releases()
    assert load("quick", ["seed=8"]).releases() != load("quick").releases()


def test_deploys_come_in_order_with_their_kinds_and_releases() -> None:
    spec = load(
        "quick",
        ["deploys=[{rollback_at: 50s}, {every: 10s, count: 2, first: 5s}, {at: 40s, release: 'abc123'}]"],
    )
    planned = spec.planned_deploys()
    assert [(deploy.at_s, deploy.kind) for deploy in planned] == [
        (5.0, "deploy"),
        (15.0, "deploy"),
        (40.0, "deploy"),
        (50.0, "rollback"),
    ]
    initial, *new = spec.releases()
    assert [deploy.release for deploy in planned] == [*new, ""]
    assert new[2] == "abc123"
    assert len({initial, *new}) == 4


def test_short_and_long_forms_are_the_same() -> None:
    for short, long in (
        ("users.session={exponential: 5s}", "users.session={exponential: {mean: 5s}}"),
        ("users.reconnect={fixed: 2s}", "users.reconnect={fixed: {wait: 2s}}"),
        ("users.reconnect=immediate", "users.reconnect={immediate: {}}"),
        ("drain.policy={after: 5s}", "drain.policy={after: {duration: 5s}}"),
        ("drain.policy={few: 1%}", "drain.policy={few: {left: 1%}}"),
        ("deploys={at: 6s}", "deploys=[{at: 6s}]"),
        ("faults=[{at: 3s, deployer_killed: 5s}]", "faults=[{at: 3s, deployer_killed: true, duration: 5s}]"),
    ):
        assert load("quick", [short]) == load("quick", [long])


def test_a_deadline_is_48_hours_unless_the_policy_has_its_own_time() -> None:
    found = {}
    for policy in ("empty", "manual", "{after: 72h}"):
        found[policy] = load("tiny", [f"drain.policy={policy}"]).drain.deadline_s
    assert found == {"empty": 172_800.0, "manual": None, "{after: 72h}": None}
    assert load("tiny", ["drain.deadline=never"]).drain.deadline_s is None


# YAML


def test_numbers_and_texts_are_what_they_look_like() -> None:
    text = "{a: 1e3, b: 010, c: 1:30, d: on, e: yes, f: 0x10, g: 1_000, h: .5, i: ~, j: true, k: 2024-01-01}"
    assert read_yaml(text, "x") == {
        "a": 1000.0, "b": 10, "c": "1:30", "d": "on", "e": "yes", "f": 16, "g": "1_000", "h": 0.5, "i": None,
        "j": True, "k": "2024-01-01",
    }  # fmt: skip


def test_texts_that_look_like_numbers_are_quoted_when_written() -> None:
    spec = load("quick", ["deploys=[{at: 6s, release: '1e5000'}, {at: 7s, release: '012345'}]"])
    text = spec.to_yaml()
    assert 'release: "1e5000"' in text
    assert 'release: "012345"' in text
    assert spec_of(read_yaml(text, "x")) == spec


@pytest.mark.parametrize(
    "override",
    [
        "users={arrivals: {poisson: {per_s: 2}}, session: forever, reconnect: xmpp.js}",
        "users={arrivals: {diurnal: {per_s: 2, swing: 0.5, period: 12h, peak: 3h}}, reconnect: slixmpp}",
        "users.session={mixture: [{weight: 2, exponential: 5s}, {weight: 1, weibull: {mean: 3s, shape: 2}}]}",
        "users.reconnect=converse",
        "drain={policy: {worth_it: {reconnect_price: 0.1}}, deadline: never}",
        "drain.policy={few: 1%}",
        "fleet.startup={fixed: 1s}",
        "faults=[{at: 3s, kill_pod: random}, {at: 1h, deployer_killed: true}]",
        "thresholds={forced_reconnects: {max: 0}}",
        "strategy.rainbow={nudge: {after: 5s, per_s: 3}, shrink: true}",
        "deploys=[{every: 5s, count: 3, first: 0s, bad: never_ready}, {rollback_at: 40s}]",
    ],
)
def test_a_spec_survives_json_and_yaml(override: str) -> None:
    spec = load("tiny", ["duration=2h", override])
    assert spec_of(spec.data()) == spec
    assert spec_of(read_yaml(spec.to_yaml(), "x")) == spec


# Compression


def test_compression_divides_times_multiplies_rates_and_leaves_the_rest() -> None:
    settings_ = [
        "compress=10", "drain.hold=5s", "users={arrivals: {poisson: {per_s: 2}}, session: {exponential: 5m}}",
        "warm_up=5s", "faults=[{at: 20s, deployer_killed: 5s}]", "drain.policy={after: 24h}",
        "drain.keep_warm=10s", "strategy.graceful={grace: 10h, grace_cut: 10m}",
        "strategy.rainbow.nudge={after: 30s, per_s: 3}",
        "strategy.rolling.grace=30s", "drain.deadline=48h",
    ]  # fmt: skip
    spec = load("quick", settings_)
    fast = compressed(spec)
    assert (fast.duration, fast.warm_up, fast.compress) == (9.5, 0.5, 1.0)
    assert [deploy.at_s for deploy in fast.planned_deploys()] == pytest.approx([0.6, 2.4, 4.2])
    assert fast.users.arrivals is not None
    assert fast.users.arrivals.poisson is not None
    assert fast.users.arrivals.poisson.per_s == 20.0
    assert fast.users.session.exponential is not None
    assert fast.users.session.exponential.mean == 30.0
    assert (fast.faults[0].at, fast.faults[0].lasts_s) == (2.0, 0.5)
    assert fast.drain.policy.after is not None
    assert fast.drain.policy.after.duration == 8640.0
    assert (fast.drain.deadline_s, fast.drain.keep_warm) == (17_280.0, 1.0)
    assert (fast.strategy.graceful.grace, fast.strategy.graceful.grace_cut) == (3600.0, 60.0)
    assert fast.strategy.rainbow.nudge is not None
    assert (fast.strategy.rainbow.nudge.after, fast.strategy.rainbow.nudge.per_s) == (3.0, 3.0)
    # as they are
    assert fast.drain.hold == 5.0
    assert fast.strategy.rolling.grace == 30.0
    assert fast.strategy.progress_deadline == 60.0
    for part in ("fleet", "server", "network", "kubernetes"):
        assert getattr(fast, part) == getattr(spec, part)
    assert fast.users.reconnect == spec.users.reconnect
    assert (fast.users.connect_timeout, fast.users.messages_per_min) == (10.0, 2.0)


def test_hold_and_check_every_become_short_only_where_they_were_not_given() -> None:
    given_ = compressed(load("quick", ["compress=10"])).drain
    assert (given_.hold, given_.check_every) == (2.0, 1.0)
    left_out = compressed(load("quick", ["compress=10", "drain={policy: empty}"])).drain
    assert (left_out.hold, left_out.check_every) == (2.0, 1.0)
    uncompressed = compressed(load("quick", ["drain={policy: empty}"])).drain
    assert (uncompressed.hold, uncompressed.check_every) == (None, None)


def test_a_compressed_spec_is_a_spec_and_is_compressed_once() -> None:
    fast = compressed(load("quick", ["compress=7"]))
    assert spec_of(fast.data()) == fast
    assert compressed(fast) == fast


@settings(max_examples=30, deadline=None)
@given(st.floats(1.0, 1000.0))
def test_compression_keeps_every_ratio_of_times(factor: float) -> None:
    spec = spec_of({**SMALL, "deploys": [{"at": "7s"}, {"at": "31s"}], "compress": factor})
    fast = compressed(spec)
    for slow, quick in zip(spec.planned_deploys(), fast.planned_deploys(), strict=True):
        assert quick.at_s / fast.duration == pytest.approx(slow.at_s / spec.duration)


# Releases


def test_releases_are_shas_whose_colours_can_be_told_apart() -> None:
    drawn = releases(7, 9)
    assert all(len(sha) == 40 and set(sha) <= set("0123456789abcdef") for sha in drawn)
    colours = ["ffffff", "000000", *(sha[:6] for sha in drawn)]
    apart = [difference(one, other) for n, one in enumerate(colours) for other in colours[:n]]
    assert min(apart) > 20


def test_the_first_releases_do_not_depend_on_how_many_are_drawn() -> None:
    assert releases(7, 40)[:4] == releases(7, 4)
    assert releases(8, 4) != releases(7, 4)


def test_many_releases_are_drawn_although_colours_are_few() -> None:
    assert len({sha[:6] for sha in releases(3, 200)}) == 200


def test_the_difference_of_colours_is_that_of_cie_lab() -> None:
    assert difference("ffffff", "000000") == pytest.approx(100.0, abs=0.01)
    # L*a*b* of the sRGB primaries: red 53.24, 80.09, 67.20 and green 87.73, -86.18, 83.18
    assert difference("ff0000", "00ff00") == pytest.approx(
        math.dist((53.24, 80.09, 67.20), (87.73, -86.18, 83.18)), abs=0.1
    )
    assert difference("123456", "123456") == 0.0


# Documentation


def test_every_key_of_the_spec_tells_what_it_is() -> None:
    """The reference is generated from these."""

    def undescribed(model: type[BaseModel], path: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            inner = models_in(field.annotation)
            if not field.description and not inner:
                found.append(f"{path}{name}")
            for part in inner:
                if not part.__doc__:
                    found.append(part.__name__)
                found += undescribed(part, f"{path}{name}.")
        return found

    assert undescribed(Spec, "") == []
