"""Arrivals against theory, settings, and files of measured ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from loadgen.behaviour.arrivals import Diurnal, Fixed, Poisson, Population, Trace
from loadgen.behaviour.backoff import PRESETS, Backoff
from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.files import read_sessions, read_trace
from loadgen.behaviour.sessions import Exponential, Weibull
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams


def until(times: Iterator[float], end_s: float) -> list[float]:
    return list(itertools.takewhile(lambda t_s: t_s < end_s, times))


def test_poisson_gaps_are_exponential() -> None:
    times = until(Poisson(5.0).times(Random(1)), 400.0)
    gaps = np.diff([0.0, *times])
    assert stats.kstest(gaps, stats.expon(scale=0.2).cdf).pvalue > 0.01
    assert 0.9 < np.std(gaps) / np.mean(gaps) < 1.1


def test_diurnal_arrivals_follow_their_rate() -> None:
    arrivals = Diurnal(0.5, swing_ratio=0.9, period_s=1000.0, peak_s=300.0)
    times = until(arrivals.times(Random(2)), 10_000.0)
    assert abs(len(times) - 5000) < 4 * math.sqrt(5000)

    def share_before(t_s: float) -> float:
        phase = 2 * math.pi / 1000.0
        return (t_s + 0.9 / phase * (math.sin(phase * (t_s - 300.0)) + math.sin(phase * 300.0))) / 1000.0

    assert stats.kstest(np.mod(times, 1000.0), np.vectorize(share_before)).pvalue > 0.01
    assert arrivals.rate_per_s(300.0) == pytest.approx(0.95)
    assert arrivals.rate_per_s(800.0) == pytest.approx(0.05)


def test_a_trace_plays_as_it_was_measured() -> None:
    assert list(Trace((0.0, 1.5, 1.5, 9.0)).times(Random(1))) == [0.0, 1.5, 1.5, 9.0]


def test_compression_makes_sessions_shorter_and_arrivals_denser_and_nothing_else() -> None:
    behaviour = Behaviour(Poisson(5.0), Weibull(3600.0, 4.0), Backoff(), connect_timeout_s=7.0)
    fast = behaviour.compressed(60.0)
    assert fast == Behaviour(Poisson(300.0), Weibull(60.0, 4.0), Backoff(), connect_timeout_s=7.0)
    assert Behaviour(Fixed(10)).compressed(60.0).population == Fixed(10)
    assert Trace((0.0, 60.0)).compressed(60.0) == Trace((0.0, 1.0))
    assert Diurnal(1.0).compressed(24.0) == Diurnal(24.0, period_s=3600.0, peak_s=1800.0)


@pytest.mark.parametrize("population", [Fixed(3), Poisson(2.0), Diurnal(2.0), Trace((1.0, 2.0))])
@pytest.mark.parametrize("reconnect", list(PRESETS.values()))
def test_behaviour_survives_a_trip_through_json(population: Population, reconnect: object) -> None:
    behaviour = Behaviour(population, Exponential(9.0), reconnect)  # type: ignore[arg-type]
    adapter = TypeAdapter(Behaviour)
    assert adapter.validate_json(adapter.dump_json(behaviour)) == behaviour


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Fixed(-1), "count=-1"),
        (lambda: Poisson(0.0), "per_s=0.0"),
        (lambda: Diurnal(1.0, swing_ratio=1.5), "swing=1.5"),
        (lambda: Diurnal(1.0, period_s=0.0), "period=0.0"),
        (lambda: Trace((2.0, 1.0)), "at 1.0"),
        (lambda: Trace((-1.0,)), "at -1.0"),
        (lambda: Behaviour(ramp_per_s=0.0), "ramp=0.0/s"),
        (lambda: Behaviour(connect_timeout_s=0.0), "connect_timeout=0.0s"),
        (lambda: Behaviour(messages_per_min=-1.0), "messages_per_min=-1.0"),
        (lambda: Behaviour().compressed(0.0), "compress=0.0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_value(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(BadSettingError, match=says):
        make()


def test_measured_sessions_and_arrivals_are_read_with_or_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "measured.csv"
    path.write_text("seconds,who\n9.5,a\n\n1e1,b\n2,c\n")
    assert read_sessions(path).lengths_s == (9.5, 10.0, 2.0)
    assert read_trace(path).times_s == (2.0, 9.5, 10.0)
    path.write_text("3\n4\n")
    assert read_sessions(path).lengths_s == (3.0, 4.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1\nlong\n", "line 2: 'long' is no number of seconds"),
        ("", "is empty"),
        ("seconds\n", "no session above 0"),
        ("seconds\n-4\n", "line 2: -4"),
        ("user,began\n7,3\n", "has the columns user, began; say by column"),
        ("7,1767225600\n8,long\n8,9\n7\nx\n", "line 5: 'x'"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "measured.csv"
    path.write_text(content)
    with pytest.raises(BadSettingError, match=says):
        read_sessions(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\x00", ", line 1: byte 0x89 is no UTF-8 text"),
        (b"seconds\n3\n4\xff\n", ", line 3: byte 0xff is no UTF-8 text"),
        (b"\x00\x01\x02\n\x03\x04\n", ", line 1: byte 0x00 is no text"),
        (b"3\n4\n" + b"x" * 5000 + b"\n", ", line 3: 'xxxx"),
        (b'3\n"' + b"4" * 200_000 + b'"\n', ", line 2: a cell of more than 131072 characters"),
    ],
    ids=["a picture", "another encoding", "zero bytes", "a long cell", "an open quote"],
)
def test_what_is_no_csv_is_refused_with_its_line_and_what_was_expected(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "measured.csv"
    path.write_bytes(content)
    for read in (read_sessions, read_trace):
        with pytest.raises(BadSettingError) as error:
            read(path)
        said = str(error.value)
        assert said.startswith(f"{path}{says}")
        assert "seconds" in said
        assert len(said) < len(str(path)) + 200
        assert "\n" not in said
        assert "codec" not in said


@pytest.mark.parametrize(
    ("content", "column", "lengths_s"),
    [
        ("duration_min\n2\n0.5\n", None, (120.0, 30.0)),
        ("user,began,Length (h),bytes\n7,x,2,9\n8,y,1,9\n", None, (7200.0, 3600.0)),
        ("user;duration_ms\n7;1500\n", None, (1.5,)),
        ("user\tduration_s\n7\t15\n", None, (15.0,)),
        ("duration_s,idle_s\n15,3\n", "idle_s", (3.0,)),
        ("7,15\n8,20\n", "2", (15.0, 20.0)),
        ("7,15\n8,20\n", None, (7.0, 8.0)),
        ("duration_s\n0\n4\n", None, (4.0,)),
    ],
)
def test_the_column_that_tells_its_unit_is_taken_and_in_that_unit(
    content: str, column: str | None, lengths_s: tuple[float, ...], tmp_path: Path
) -> None:
    path = tmp_path / "measured.csv"
    path.write_text(content)
    assert read_sessions(path, column).lengths_s == pytest.approx(lengths_s)


@pytest.mark.parametrize(
    ("column", "says"), [("idle", "nearest known one is idle_s"), ("3", "no column '3'")]
)
def test_a_column_that_is_not_there_is_refused(column: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "measured.csv"
    path.write_text("duration_s,idle_s\n15,3\n")
    with pytest.raises(BadSettingError, match=says):
        read_sessions(path, column)


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_first_number(tmp_path: Path) -> None:
    path = tmp_path / "measured.csv"
    path.write_bytes(b"\xef\xbb\xbf3\n4\n")
    assert read_sessions(path).lengths_s == (3.0, 4.0)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadSettingError, match=r"gone\.csv cannot be read"):
        read_trace(tmp_path / "gone.csv")


def test_streams_of_other_names_do_not_shift_each_other() -> None:
    alone, both = Streams(7), Streams(7)
    both["other"].random()
    assert alone["session/1"].random() == both["session/1"].random() == Random("7/session/1").random()
    assert alone["session/1"] is alone["session/1"]
    assert alone["session/1"].random() != alone.fresh("session/1").random()


def test_streams_of_other_seeds_differ() -> None:
    assert Streams(7)["route"].random() != Streams(8)["route"].random()
