"""The numbers that the pictures show."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from scenarios.report.bands import name_bands
from scenarios.report.figures import PAINTERS, draw_pods, figure_of, panels, side_by_side
from scenarios.report.render import clock
from scenarios.report.style import png_of, svg_file_of, svg_of
from scenarios.report.timeline import Stack, connections_by_release, faults_of, per_second, span_s
from scenarios.report.way_back import QUANTILES, way_back


def test_connections_are_those_that_are_open_at_each_instant(tiny):
    record = tiny("rolling")
    stack = connections_by_release(record)
    rows = record.connections.filter(pl.col("t_open_s").is_not_null())
    for at in range(0, len(stack.t_s), 11):
        t_s = stack.t_s[at]
        now = rows.filter((pl.col("t_open_s") <= t_s) & (pl.col("t_close_s").fill_null(1e9) > t_s))
        assert stack.counts[:, at].sum() == now.height


def test_a_record_without_connections_shows_the_same_from_its_series(tiny):
    full, series = (
        connections_by_release(tiny("rolling", f"record={level}")) for level in ("full", "series")
    )
    whole = np.flatnonzero(full.t_s == np.floor(full.t_s))[:-1]
    assert len(whole) > 1
    assert (full.counts[:, whole] == series.counts[:, whole]).all()
    assert series.counts[:, -1].sum() > 0


def test_the_highest_bar_is_the_metric(tiny, summary_of):
    record = tiny("rolling")
    _, reconnects = per_second(record, "reconnect_requests")
    assert reconnects.max() == summary_of(record)["peak_reconnects_per_s"] > 0


def test_in_a_long_run_a_bar_is_its_busiest_second(tiny):
    record = tiny("rolling")
    spec = {**record.run["spec"], "duration": "1h", "deploys": []}
    events = record.events.filter(pl.col("kind") == "start")
    longer = replace(record, run={**record.run, "spec": spec}, tables={**record.tables, "events": events})
    assert span_s(longer) == 8
    assert (
        per_second(longer, "reconnect_requests")[1].max() == per_second(record, "reconnect_requests")[1].max()
    )


def test_the_way_back_has_the_summary_s_quantiles(tiny, summary_of):
    record = tiny("recreate")
    found = way_back(record)
    expected = tuple(summary_of(record)[f"reconnect_s_p{round(100 * q)}"] for q in QUANTILES)
    assert found.quantiles_s == expected
    assert found.losses >= found.censored
    assert (np.diff(found.share) >= 0).all()
    assert ((found.low <= found.share + 1e-9) & (found.share <= found.high + 1e-9)).all()


def test_who_never_came_back_is_censored_and_not_dropped(tiny):
    record = tiny("recreate")
    gone = record.connections.filter((pl.col("reason") == "arrival") | pl.col("t_ready_s").is_null())
    found = way_back(replace(record, tables={**record.tables, "connections": gone}))
    assert found.censored == found.losses > 0
    assert found.share.max() == 0
    assert found.quantiles_s == (None, None, None)


def test_there_is_no_way_back_where_nobody_was_lost(tiny):
    record = tiny("rainbow")
    assert (
        way_back(replace(record, tables={**record.tables, "connections": record.connections.clear()})) is None
    )


@pytest.mark.parametrize("name", PAINTERS)
def test_a_picture_repeats_byte_by_byte(name, tiny):
    record = tiny("rolling")
    first, again = (figure_of(PAINTERS[name], record) for _ in range(2))
    assert png_of(first, dpi=50) == png_of(again, dpi=50)
    assert svg_of(first, name) == svg_of(again, name)


def test_panels_and_grids_share_their_axes(tiny):
    records = [tiny("rolling"), tiny("rainbow")]
    for axes in (
        [f.axes[0] for f in panels(draw_pods, records)],
        side_by_side(draw_pods, records, "ab").axes[:2],
    ):
        assert len({one.get_ylim() for one in axes}) == 1
        assert len({one.get_xlim() for one in axes}) == 1


def test_an_svg_file_is_xml_with_a_size_and_without_the_stand_in_for_ink(tiny):
    from xml.etree import ElementTree

    text = svg_file_of(svg_of(figure_of(draw_pods, tiny("rainbow")), "pods", "pods & more"))
    root = ElementTree.fromstring(text)
    assert root.get("width", "").endswith("pt")
    assert root.get("aria-label") == "pods & more"
    assert "#010203" not in text


def test_a_name_is_written_only_where_its_band_has_room():
    from matplotlib.figure import Figure

    t_s = np.linspace(0, 100, 200)
    wide, thin = np.full(200, 50.0), np.full(200, 0.5)
    axes = Figure(figsize=(9, 3)).add_subplot()
    axes.set_ylim(0, 60)
    name_bands(axes, Stack(t_s, ("aaaaaa", "bbbbbb"), np.array([wide, thin])))
    assert [text.get_text() for text in axes.texts] == ["aaaaaa"]


@pytest.mark.parametrize(
    ("t_s", "duration_s", "text"),
    [
        (None, 90, "–"),
        (12.34, 90, "12.3 s"),
        (-5.0, 90, "−5.0 s"),
        (3 * 3600 + 62, 80_000, "03:01:02"),
        (90_061, 604_800, "1 d 01:01:01"),
        (-8, 604_800, "−00:00:08"),
    ],
)
def test_moments_are_written_as_the_run_s_length_asks(t_s, duration_s, text):
    assert clock(t_s, duration_s) == text


def test_faults_are_marked_when_they_happened(tiny):
    record = tiny("rainbow", "faults=[{at: 12s, kill_pod: random}]")
    assert faults_of(record) == pytest.approx([12.0], abs=0.5)
    assert faults_of(tiny("rainbow")) == []
