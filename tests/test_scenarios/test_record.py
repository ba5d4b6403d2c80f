"""Records: what is written is read back, what cannot be read says so, and derived tables count right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.record import (
    EXTRA,
    TABLES,
    RecordError,
    classify_losses,
    is_cut,
    kept,
    read_record,
    record_of,
    series_of,
    write_record,
)


def connections(*rows: dict[str, Any]) -> pl.DataFrame:
    """A table of attempts; a column that a row leaves out has the plainest value."""
    plain = {"user": "u0-0", "attempt": 1, "reason": "arrival", "t_request_s": 0.0, "closed_by": "run_end"}
    schema = {**TABLES["connections"], **EXTRA["connections"]}
    return pl.DataFrame(
        [{column: {**plain, **row}.get(column) for column in schema} for row in rows], schema=schema
    )


def online(user: str, from_s: float, to_s: float | None, closed_by: str, **more: Any) -> dict[str, Any]:
    times = {"t_request_s": from_s, "t_open_s": from_s, "t_ready_s": from_s, "t_close_s": to_s}
    return {"user": user, "closed_by": closed_by, "release": "aaaaaa", "pod": "p1", **times, **more}


def pods(**ends: tuple[float | None, float | None]) -> pl.DataFrame:
    rows = [
        {
            "pod": name,
            "release": "aaaaaa",
            "deployment": "chat",
            "t_terminating_s": end[0],
            "t_gone_s": end[1],
        }
        for name, end in ends.items()
    ]
    return pl.DataFrame([{c: row.get(c) for c in TABLES["pods"]} for row in rows], schema=TABLES["pods"])


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    table = connections(online("u1-0", 1.0, 2.5, "server"), online("u0-0", -3.0, None, "run_end"))
    write_record(tmp_path / "run", {"strategy": "rainbow"}, {"connections": table}, {"summary.json": "{}\n"})
    record = read_record(tmp_path / "run")
    assert record.run == {"schema": 1, "strategy": "rainbow"}
    assert record.connections["user"].to_list() == ["u0-0", "u1-0"]  # in order of time
    assert record.connections["t_close_s"].to_list() == [None, 2.5]
    assert {name: record.tables[name].height for name in TABLES if name != "connections"} == dict.fromkeys(
        [name for name in TABLES if name != "connections"], 0
    )
    assert (tmp_path / "run" / "summary.json").read_text() == "{}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_every_table_has_the_columns_and_types_that_are_promised(tmp_path: Path) -> None:
    record = record_of({}, {})
    for name, columns in TABLES.items():
        schema = record.tables[name].schema
        assert list(schema.items())[: len(columns)] == list(columns.items())


def test_the_same_tables_give_the_same_bytes_in_whatever_order_their_rows_came(tmp_path: Path) -> None:
    one, two = online("u0-0", 1.0, 2.0, "user"), online("u1-0", 1.0, None, "run_end")
    write_record(tmp_path / "a", {"seed": 7}, {"connections": connections(one, two)})
    write_record(tmp_path / "b", {"seed": 7}, {"connections": connections(two, one)})
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(["run.json", *(f"{name}.parquet" for name in TABLES)])
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_value_gives_other_bytes(tmp_path: Path) -> None:
    write_record(tmp_path / "a", {}, {"connections": connections(online("u0-0", 1.0, 2.0, "user"))})
    write_record(tmp_path / "b", {}, {"connections": connections(online("u0-0", 1.0, 2.0, "server"))})
    assert (tmp_path / "a/connections.parquet").read_bytes() != (
        tmp_path / "b/connections.parquet"
    ).read_bytes()


def test_a_record_joins_the_logs_that_are_in_its_folder_and_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pod.log").write_text("hello")
    write_record(tmp_path / "run", {}, {})
    assert (tmp_path / "run" / "pod.log").read_text() == "hello"
    assert read_record(tmp_path / "run").connections.is_empty()
    with pytest.raises(RecordError, match="holds a record; one is never overwritten"):
        write_record(tmp_path / "run", {}, {})


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(tmp_path / "run", {"seed": float("nan")}, {})
    with pytest.raises(RecordError, match="column 'user' is missing"):
        write_record(tmp_path / "run", {}, {"connections": pl.DataFrame({"attempt": [1]})})
    with pytest.raises(RecordError, match="table 'conections' is not one of connections, pods"):
        write_record(tmp_path / "run", {}, {"conections": pl.DataFrame()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "not a run folder (no run.json)"),
        ("{", "not JSON; the record is damaged"),
        ('{"schema": 2}', "its schema version is 2, this build reads 1; run the scenario again"),
        ("[]", "its schema version is None, this build reads 1"),
    ],
)
def test_what_cannot_be_read_says_why_in_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RecordError) as error:
        read_record(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_is_read_only_when_it_is_asked_for(tmp_path: Path) -> None:
    write_record(tmp_path / "run", {}, {})
    (tmp_path / "run" / "samples.parquet").write_bytes(b"broken")
    (tmp_path / "run" / "pods.parquet").unlink()
    record = read_record(tmp_path / "run")
    assert record.connections.is_empty()
    with pytest.raises(RecordError, match=r"samples\.parquet: not a readable table"):
        _ = record.samples
    with pytest.raises(RecordError, match=r"pods\.parquet: the table is missing"):
        _ = record.pods


def test_series_counts_per_second_and_release() -> None:
    table = connections(
        online("u0-0", -0.5, 3.0, "pod_gone"),
        online("u0-0", 3.25, None, "run_end", reason="reconnect", release="bbbbbb", attempt=2),
        online("u1-0", 0.0, 1.5, "user"),
        {
            "user": "u2-0",
            "t_request_s": 2.0,
            "t_close_s": 2.5,
            "closed_by": "never_opened",
            "failure": "refused",
        },
    )
    rows = series_of(table, 5.0).drop("logins").rows()
    assert rows == [
        # t, release, open, arrivals, reconnect_requests, user_closes, forced_closes
        (-1.0, "aaaaaa", 0, 1, 0, 0, 0),
        (0.0, "aaaaaa", 2, 1, 0, 0, 0),  # one opened at the bin's very start
        (1.0, "aaaaaa", 2, 0, 0, 1, 0),
        (2.0, None, 0, 1, 0, 0, 0),
        (2.0, "aaaaaa", 1, 0, 0, 0, 0),
        (3.0, "aaaaaa", 0, 0, 0, 0, 1),  # closed at the bin's very start
        (3.0, "bbbbbb", 0, 0, 1, 0, 0),
        (4.0, "bbbbbb", 1, 0, 0, 0, 0),
    ]


def test_series_of_nothing_is_empty() -> None:
    assert series_of(connections(), 10.0).is_empty()


times = st.floats(0.0, 30.0, allow_nan=False).map(lambda t: round(t, 1))


@st.composite
def attempt(draw: st.DrawFn) -> dict[str, Any]:
    request, wait, login, stay = draw(times), draw(times), draw(times), draw(times)
    closed_by = draw(st.sampled_from(["user", "server", "pod_gone", "network", "never_opened", "run_end"]))
    row: dict[str, Any] = {
        "user": f"u{draw(st.integers(0, 5))}-0",
        "attempt": draw(st.integers(1, 9)),
        "reason": draw(st.sampled_from(["arrival", "reconnect"])),
        "t_request_s": request,
        "closed_by": closed_by,
        "release": draw(st.sampled_from(["aaaaaa", "bbbbbb"])),
    }
    if closed_by == "never_opened":
        return {**row, "t_close_s": request + wait, "release": None}
    row["t_open_s"] = request + wait
    row["t_ready_s"] = request + wait + login if draw(st.booleans()) else None
    row["t_close_s"] = None if closed_by == "run_end" else request + wait + login + stay
    return row


@settings(max_examples=50, deadline=None)
@given(st.lists(attempt(), max_size=30))
def test_series_agrees_with_the_rows_it_was_made_from(rows: list[dict[str, Any]]) -> None:
    table = connections(*rows)
    series = series_of(table, 150.0)
    assert series["arrivals"].sum() + series["reconnect_requests"].sum() == table.height
    assert series["forced_closes"].sum() == table.filter(is_cut()).height
    assert series["logins"].sum() == table["t_ready_s"].is_not_null().sum()
    for t_s in (0.0, 7.0, 31.0):
        there = [r for r in rows if r.get("t_open_s") is not None and r["t_open_s"] <= t_s]
        expected = sum(r["t_close_s"] is None or r["t_close_s"] > t_s for r in there)
        assert series.filter(pl.col("t_s") == t_s)["open"].sum() == expected
    assert (series["open"] >= 0).all()


def test_level_lost_keeps_cuts_and_the_way_back() -> None:
    table = connections(
        online("u0-0", 0.0, 5.0, "server"),  # kept: cut
        {
            "user": "u0-0",
            "t_request_s": 5.5,
            "t_close_s": 6.0,
            "closed_by": "never_opened",
            "attempt": 2,
        },  # kept
        online("u0-0", 7.0, 9.0, "user", attempt=3),  # kept: logged in again
        online("u1-0", 0.0, 9.0, "user"),  # never cut
        {"user": "u2-0", "t_request_s": 1.0, "t_close_s": 2.0, "closed_by": "never_opened"},  # an arrival
        online("u2-0", 3.0, None, "run_end", attempt=2),
    )
    found = kept(table, "lost")
    assert found.select("user", "attempt").rows() == [("u0-0", 1), ("u0-0", 2), ("u0-0", 3)]
    assert kept(table, "full").height == 6
    assert kept(table, "series").height == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(attempt(), max_size=20))
def test_level_lost_keeps_every_cut_and_nothing_of_who_was_never_cut(rows: list[dict[str, Any]]) -> None:
    table = connections(*rows)
    found = kept(table, "lost")
    assert found.filter(is_cut()).height == table.filter(is_cut()).height
    assert set(found["user"]) == set(table.filter(is_cut())["user"])


@pytest.mark.parametrize(
    ("how", "t_close_s", "closed_by"),
    [
        ("eof", 10.5, "pod_gone"),  # the pod was terminating since 10
        ("reset", 9.9, "pod_gone"),  # within the skew of the clocks
        ("eof", 9.0, "network"),  # before
        ("timeout", 10.5, "network"),  # silence is no end of a process
        (None, 10.5, "pod_gone"),
    ],
)
def test_a_cut_is_the_pods_end_when_the_pod_was_ending(
    how: str | None, t_close_s: float, closed_by: str
) -> None:
    table = connections(online("u0-0", 0.0, t_close_s, "network", how=how))
    assert classify_losses(table, pods(p1=(10.0, 12.0), p2=(0.0, 1.0)))["closed_by"].to_list() == [closed_by]


def test_a_cut_right_after_a_fault_on_its_pod_is_the_pods_end() -> None:
    table = connections(
        online("u0-0", 0.0, 20.1, "network", how="reset"),
        online("u1-0", 0.0, 26.0, "network", how="reset"),
        online("u2-0", 0.0, 20.1, "network", how="reset", pod="p2"),
        online("u3-0", 0.0, 20.1, "user"),
    )
    events = pl.DataFrame({"t_s": [20.0], "kind": ["kill_pod"], "target": ["p1"]})
    found = classify_losses(table, pods(p1=(None, None), p2=(None, None)), events)
    assert found["closed_by"].to_list() == ["pod_gone", "network", "network", "user"]


def test_run_json_is_plain_text_that_anyone_can_read(tmp_path: Path) -> None:
    write_record(tmp_path / "run", {"scenario": "quick", "π": 3}, {})
    text = (tmp_path / "run" / "run.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"schema": 1, "scenario": "quick", "π": 3}
