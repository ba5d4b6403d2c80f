"""Run folders appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.errors import UserMistake
from scenarios.folders import FAILED, RECORD, abandoned, check_writable, name_of, new_run, whole_file


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


def test_a_mistake_that_shows_only_as_the_world_starts_leaves_nothing(tmp_path):
    def run_on_a_port_in_use():
        with new_run(tmp_path, "one") as (work, _):
            (work / "cluster.log").write_text("in use")
            raise UserMistake("in use; choose another")

    with pytest.raises(UserMistake):
        run_on_a_port_in_use()
    assert list(tmp_path.iterdir()) == []


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


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_line_with_a_way_out_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserMistake, match="No space left on device; give another folder by --out"):
        new_run(tmp_path, "one").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_as_a_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "made" / "page.html"
    with whole_file(path, "") as part:
        part.write_text("first")

    def half_a_page():
        with whole_file(path, "name another") as part:
            part.write_text("sec")
            full()

    with pytest.raises(UserMistake, match=r"page\.html: No space left on device; name another$"):
        half_a_page()
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/parent", "folder"])
def test_a_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "no").write_text("a file")
    with pytest.raises(UserMistake, match="name another"):
        check_writable(tmp_path / name, "name another")
    with pytest.raises(UserMistake, match="name another"), whole_file(tmp_path / name, "name another"):
        pytest.fail("the block is entered")


def test_looking_whether_a_file_can_be_written_leaves_it_alone(tmp_path):
    (tmp_path / "there").write_text("kept")
    for name in ("there", "new"):
        check_writable(tmp_path / name, "")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "kept"
