"""Run folders appear whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from scenarios.errors import UserMistake
from scenarios.folders import FAILED, RECORD, abandoned, name_of, new_run


def test_a_run_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with new_run(tmp_path, "one") as (work, final):
        (work / RECORD).mkdir()
        assert not final.exists()
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    assert final.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_run_that_fails_keeps_what_it_logged(tmp_path):
    def failing_run():
        with new_run(tmp_path, "one") as (work, _):
            (work / "load.log").write_text("why")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing_run()
    assert (tmp_path / f"one{FAILED}" / "load.log").read_text() == "why"


def test_a_run_that_fails_before_it_said_anything_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_run(tmp_path, "one"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_runs_of_one_second_have_names_of_their_own(tmp_path):
    with new_run(tmp_path, "one") as (first, _), new_run(tmp_path, "one") as (second, final):
        (first / RECORD).mkdir()
        (second / RECORD).mkdir()
        assert final.name == "one-2"
    assert {path.name for path in tmp_path.iterdir()} == {"one", "one-2"}


def test_a_root_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserMistake, match="--out"), new_run(tmp_path / "file", "one"):
        pass


def test_only_folders_of_dead_runs_are_abandoned(tmp_path):
    with new_run(tmp_path, "alive") as (work, _):
        assert abandoned(tmp_path) == []
        (work / RECORD).mkdir()
    kill = (
        "import os, pathlib, sys; from scenarios.folders import new_run\n"
        "with new_run(pathlib.Path(sys.argv[1]), 'dead') as (work, _): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(tmp_path)], check=False).returncode == -9
    assert [path.name for path in abandoned(tmp_path)] == [".dead.partial"]


def test_a_pid_that_another_process_has_now_does_not_own_the_folder(tmp_path):
    work = tmp_path / ".old.partial"
    work.mkdir()
    (work / "runner.json").write_text(json.dumps({"pid": os.getpid(), "started_s": 1.0}))
    assert abandoned(tmp_path) == [work]


def test_names_sort_by_time():
    assert name_of("quick", "rainbow", "local", 0.0) == "19700101-000000-quick-rainbow-local"
