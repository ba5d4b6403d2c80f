"""What a person sees of the program: one line for a mistake, JSON alone on stdout, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import cli


def drainbow(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "quikc"], ["quikc", "quick"]),
        (["run", "nowhere/x.yaml"], ["nowhere/x.yaml"]),
        (["run", "tiny", "--set", "users.cuont=5"], ["cuont", "count"]),
        (["run", "tiny", "--set", "duration=20"], ["duration", "20"]),
        (["run", "tiny", "--set", "duration=20 parsecs"], ["duration", "parsecs"]),
        (["run", "tiny", "--set", "users.count=-3"], ["users.count", "-3", "0"]),
        (["run", "tiny", "--set", "users.count"], ["users.count", "KEY=VALUE"]),
        (["run", "tiny", "--strategy", "rainbw"], ["rainbw", "rainbow"]),
        (["run", "tiny", "--world", "mars"], ["mars", "local"]),
        (["run", "tiny", "--port", "many"], ["--port", "many"]),
        (["run", "tiny", "--world", "local", "--port", "99999"], ["99999", "65535"]),
        (
            ["run", "tiny", "--world", "sim", "--set", "strategy.rolling={max_surge: 0, max_unavailable: 0}"],
            ["max_surge"],
        ),
        (["run", "tiny", "--bogus"], ["--bogus"]),
        (["simulate", "tiny", "--seeds", "0"], ["--seeds", "0"]),
        (["simulate", "tiny", "--seeds", "99999999999"], ["99999999999", "1,000,000"]),
        (["simulate", "tiny", "--seed", "9" * 5000], ["--seed", "whole number"]),
        (["validate", "tiny", "--seeds", "99999999999"], ["99999999999", "1,000,000"]),
        (["validate", "tiny", "--jobs", "-1"], ["--jobs", "-1", "0"]),
        (["deploy", "--service", "x", "--image", "y", "--replicas", "many"], ["--replicas", "'many'"]),
        (["report", "nowhere"], ["nowhere"]),
        (["compare", "nowhere"], ["nowhere"]),
        (["compare", "nowhere", "--set", "users.count=3"], ["--set", "finished run"]),
        (["compare", "nowhere", "-s", "rolling"], ["--strategy", "finished run"]),
        (["compare", "--scenario", "tiny", "--world", "sim", "-s", "rolling", "-s", "nope"], ["nope"]),
        (["run", "tiny", "--world", "sim", "--port", "80"], ["--port 80", "local"]),
        (["run", "tiny", "--world", "local", "--image", "x"], ["--image x", "kind or current"]),
        (["run", "tiny", "--world", "sim", "--recreate"], ["--recreate", "kind"]),
        (["simulate", "tiny", "--vary", "fleet.replicas=2,4", "--table", "x.csv"], ["x.csv", ".parquet"]),
        (["nonsense"], ["nonsense"]),
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_a_mistake_gets_one_line_that_names_it_and_exit_code_2(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = drainbow(*arguments, capsys=capsys)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


def test_without_a_command_the_help_is_all_that_is_said(capsys):
    code, out, err = drainbow(capsys=capsys)
    assert (code, err) == (2, "")
    assert "Commands" in out


def test_json_prints_the_summary_with_the_folder_and_nothing_else(capsys, tmp_path):
    code, out, err = drainbow(
        "run", "tiny", "--world", "sim", "--json", "--out", str(tmp_path), capsys=capsys
    )
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["forced_reconnects"] == 0
    assert document["run_dir"].startswith(str(tmp_path))


def test_a_threshold_missed_is_exit_code_3(capsys, tmp_path):
    bound = "thresholds={pod_hours: {max: 0}}"
    arguments = ("run", "tiny", "--world", "sim", "--out", str(tmp_path), "-q", "--set", bound)
    assert drainbow(*arguments, capsys=capsys)[0] == 3


def test_many_seeds_give_intervals(capsys, tmp_path):
    arguments = (
        "simulate",
        "tiny",
        "-s",
        "rolling",
        "--seeds",
        "3",
        "--jobs",
        "1",
        "--json",
        "--out",
        str(tmp_path),
    )
    code, out, _ = drainbow(*arguments, capsys=capsys)
    metric = json.loads(out)["metrics"]["forced_reconnects"]
    assert code == 0
    assert metric["n"] == 3
    assert metric["one_low"] < metric["mean_low"] < metric["mean"] < metric["mean_high"] < metric["one_high"]


def test_compare_puts_finished_runs_on_one_page(capsys, tmp_path):
    folders = [
        json.loads(
            drainbow(
                "run",
                "tiny",
                "-s",
                strategy,
                "--world",
                "sim",
                "--json",
                "--out",
                str(tmp_path),
                capsys=capsys,
            )[1]
        )["run_dir"]
        for strategy in ("recreate", "rainbow")
    ]
    code, out, _ = drainbow("compare", *folders, "--json", "--out", str(tmp_path), capsys=capsys)
    page = Path(json.loads(out)["page"]).read_text()
    assert code == 0
    assert page.index("recreate") < page.index("rainbow")
    assert page.count("<svg") >= 3


def test_clean_says_when_there_is_nothing_to_clean(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no Docker: whose images would these be?
    code, out, _ = drainbow("clean", "--out", str(tmp_path), capsys=capsys)
    assert code == 0
    assert "nothing" in out


def test_doctor_names_what_is_here(capsys):
    code, out, _ = drainbow("doctor", "--json", capsys=capsys)
    assert code == 0
    assert {"Python", "Docker", "kind"} <= {finding["what"] for finding in json.loads(out)}


def test_help_starts_fast_enough_to_be_used(tmp_path):
    """It must not load the simulator, Locust or a plotting library first."""
    heavy = "import sys, scenarios.cli; print([m for m in ('simpy', 'locust', 'matplotlib', 'polars') if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert told.stdout.strip() == "[]"


SHORT = "from scenarios.cli import main; main(['simulate', '--help'])"


def test_a_reader_that_goes_away_is_no_fault():
    """As with `| head -1`."""
    program = subprocess.Popen(
        [sys.executable, "-c", SHORT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    program.stdout.close()
    assert program.stderr.read() == ""
    program.stderr.close()
    assert program.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_told_in_one_line():
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            [sys.executable, "-c", SHORT], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert told.returncode == 2
    assert told.stderr == "drainbow: output cannot be written: No space left on device\n"


def test_a_terminal_that_knows_only_ascii_gets_the_answer_too():
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    told = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, env=ascii_only, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "KEY=V1,V2,?" in told.stdout


@pytest.mark.parametrize("made_of_it", [ImportError("initialization failed"), SystemError("returned NULL")])
def test_ctrl_c_while_a_compiled_module_is_loaded_is_an_interruption(capsys, monkeypatch, made_of_it):
    def load(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise made_of_it from interrupt

    monkeypatch.setattr("scenarios.housekeeping.examine", load)
    code, out, err = drainbow("doctor", capsys=capsys)
    assert (code, out) == (130, "")
    assert err == "drainbow: interrupted before anything was measured\n"


def test_an_import_that_fails_of_itself_is_no_interruption(capsys, monkeypatch):
    def load(*_, **__):
        raise ImportError("no such library")

    monkeypatch.setattr("scenarios.housekeeping.examine", load)
    with pytest.raises(ImportError, match="no such library"):
        drainbow("doctor", capsys=capsys)
