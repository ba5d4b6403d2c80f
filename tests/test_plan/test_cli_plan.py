"""What a person sees of `drainbow plan`: an answer, JSON alone on stdout, one line for a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from scenarios import cli, cli_plan

if not any(command.name == "plan" for command in cli.app.registered_commands):
    cli_plan.register(cli.app)


def drainbow(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


OWN = ("--connections", "2000", "--deploys-per-day", "2")


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    path = tmp_path / "sessions.csv"
    path.write_text(
        "user,duration_ms\n" + "".join(f"u{n},{60_000 + 30_000 * n}\n" for n in range(200)) + "u,0\n"
    )
    return path


def test_the_sources_numbers_are_in_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = drainbow("olark", "--json", capsys=capsys)
    found = json.loads(out)["strategies"]
    assert code == 0
    assert found["colors"]["pods_peak"] == 128
    assert found["rainbow after"]["pods_mean"] == pytest.approx(144, abs=0.05)
    assert found["rainbow after"]["pods_peak"] == 160


def test_a_person_gets_a_recommendation_and_what_it_hangs_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = drainbow("olark", "--drain", "24h", capsys=capsys)
    assert (code, err) == (0, "")
    for word in ("Take ", "128", "1.00", "Shrink saves", "halved and doubled", "When an old release may go"):
        assert word in out


def test_own_numbers_and_a_csv_are_enough(lengths: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = drainbow(*OWN, "--sessions", str(lengths), "--column", "duration_ms", capsys=capsys)
    assert code == 0
    assert "200 sessions" in out
    assert "in milliseconds" in " ".join(out.split())
    assert "1 of length 0" in out


def test_the_one_column_with_a_unit_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("id,began,duration_min,bytes\n" + "".join(f"{n},x,{n + 1},9\n" for n in range(30)))
    code, out, _ = drainbow(*OWN, "--sessions", str(path), capsys=capsys)
    assert code == 0
    assert "(duration_min, in minutes)" in " ".join(out.split())


def test_two_quantiles_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = drainbow(*OWN, "--session-quantiles", "p50=20m,p99=6h", "--json", capsys=capsys)
    session = json.loads(out)["service"]["session"]
    assert code == 0
    assert session["kind"] == "lognormal"
    assert session["median_s"] == pytest.approx(1200)


def test_options_go_over_the_scenarios_values(capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--replicas",
        "8",
        "--pod-cpu",
        "500m",
        "--pod-memory",
        "1Gi",
        "--price",
        "0.1",
        "--nodes",
        "5",
    )
    _, out, _ = drainbow("olark", *options, "--json", capsys=capsys)
    service = json.loads(out)["service"]
    assert (service["replicas"], service["pod_cpu"], service["price_per_pod_hour"]) == (8, 0.5, 0.1)
    assert (service["nodes"]["count"], service["connections"]) == (5, 5000)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_written(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"plan{suffix}"
    code, _, _ = drainbow("olark", "--figure", str(path), capsys=capsys)
    assert code == 0
    assert path.stat().st_size > 5000


@pytest.mark.parametrize("name", ["quick", "storm", "weekly"])
def test_every_scenario_of_the_catalog_can_be_planned(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = drainbow(name, capsys=capsys)
    assert code == 0
    assert "Take " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["scenario", "--connections"]),
        (["--connections", "5"], ["--sessions", "--session-quantiles"]),
        (["--connections", "0", "--session-quantiles", "p50=1h"], ["connections=0", "1"]),
        (["olarc"], ["olarc", "olark"]),
        (["olark", "--set", "users.cuont=3"], ["cuont", "count"]),
        (["--set", "users.count=3"], ["users.count", "scenario"]),
        (["olark", "--limit", "ngingx"], ["ngingx", "ingress-nginx"]),
        (["olark", "--drain", "48"], ["48", "24h"]),
        (["olark", "--drain", "0s"], ["drain=0", "above 0"]),
        (["olark", "--pod-memory", "2 potatoes"], ["2 potatoes", "2Gi"]),
        (["olark", "--pod-cpu", "many"], ["many", "500m"]),
        (["olark", "--pod-cpu", "100"], ["100 CPU", "--node-cpu"]),
        (["olark", "--deploys-per-day", "0"], ["deploys-per-day=0"]),
        (["olark", "--colors", "1"], ["colors=1", "2"]),
        (["olark", "--max-surge", "a lot"], ["a lot"]),
        (["olark", "--figure", "plan.pdf"], ["plan.pdf", ".png"]),
        (["olark", "--figure", f"{__file__}/all.png"], ["/all.png", "--figure"]),
        (["olark", "--connections", "1e5"], ["--connections", "'1e5'", "whole number"]),
        (["olark", "--connections", "10000000000000"], ["connections=10000000000000", "1,000,000,000"]),
        (["olark", "--replicas", "1000000000"], ["replicas=1000000000", "100,000"]),
        (["olark", "--price", "cheap"], ["--price", "'cheap'"]),
        (["olark", "--deploys-per-day", "1e9"], ["1e+09", "86,400"]),
        (["olark", "--startup", "0s"], ["startup=0", "above 0"]),
        (["olark", "--nodes", "0"], ["nodes=0", "from 1"]),
        (["olark", "--max-surge", "0", "--max-unavailable", "0%"], ["max-surge=0", "max-unavailable=0%"]),
        ([*OWN, "--session-quantiles", "p50=1h,p50=2h"], ["p50", "twice"]),
        ([*OWN, "--session-quantiles", ""], ["''", "p50=20m,p99=6h"]),
        ([*OWN, "--session-quantiles", "half=2h"], ["half=2h", "p50=20m,p99=6h"]),
        ([*OWN, "--session-quantiles", "p50=20m,p99=10m"], ["higher quantile"]),
        ([*OWN, "--session-quantiles", "p50"], ["p50=20m"]),
        ([*OWN, "--session-quantiles", "p150=3h"], ["p150", "100"]),
        ([*OWN, "--sessions", "nowhere.csv"], ["nowhere.csv"]),
        ([*OWN, "--node-cpu", "4"], ["--nodes"]),
        (["olark", "--column", "x"], ["--column", "--sessions"]),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = drainbow(*arguments, capsys=capsys)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_a_scenario_without_deploys_can_be_planned_with_a_rate_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text("{name: quiet, duration: 1h, users: {count: 500}}")
    code, _, err = drainbow(str(path), capsys=capsys)
    assert (code, "--deploys-per-day" in err) == (2, True)
    code, out, _ = drainbow(str(path), "--deploys-per-day", "2", capsys=capsys)
    assert code == 0
    assert "2.00 deploys a day" in " ".join(out.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("length\n", ["no session"]),
        ("a,b\n1,2\n", ["--column", "a, b"]),
        ("length\n5\nlong\n", ["line 3", "long"]),
        ("length\n-5\n", ["line 2", "-5"]),
        ("length\nnan\n", ["line 2", "nan"]),
        ("length\n\n5\n\nlong\n", ["line 5", "long"]),
        ("length\n5,3\n", ["line 2", "5,3", "2 cells", "point"]),
        ("user;length_s\n7;0,5\n", ["line 2", "0,5", "seconds", "12.5"]),
    ],
)
def test_a_csv_that_cannot_be_used_gets_one_line(
    text: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(text)
    code, _, err = drainbow(*OWN, "--sessions", str(path), capsys=capsys)
    assert code == 2
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_the_command_can_be_added_to_any_program() -> None:
    app = typer.Typer()
    cli_plan.register(app)
    assert [command.name for command in app.registered_commands] == ["plan"]
