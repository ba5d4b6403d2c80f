"""Which runs repeat one another, what they are called, and who is on the frontier."""

from dataclasses import replace

import pytest

from scenarios.replicate import spread_of
from scenarios.report.frontier import COST, FORCED, frontier_figure, points_of
from scenarios.report.groups import differences, grouped


def groups_of(records, summaries=None):
    given = summaries or [{COST: 1.0, FORCED: 0.0, "deploys_done": 2, "deploys_requested": 2}] * len(records)
    return grouped(records, given, [f"runs/{n}" for n in range(len(records))])


def in_world(record, world):
    return replace(record, run={**record.run, "world": world})


def test_runs_that_differ_by_their_seed_alone_are_one_group(tiny):
    records = [tiny("rainbow", seed=8), tiny("rolling"), tiny("rainbow", seed=7)]
    groups = groups_of(records)
    assert [(g.name, [r.run["seed"] for r in g.records]) for g in groups] == [
        ("rainbow", [7, 8]),
        ("rolling", [7]),
    ]


def test_names_say_what_tells_groups_apart(tiny):
    record, other = tiny("rainbow"), tiny("rainbow", "users.count=40")
    assert [g.name for g in groups_of([in_world(record, "sim"), in_world(record, "local")])] == [
        "rainbow (local)",
        "rainbow (sim)",
    ]
    count = record.run["spec"]["users"]["count"]
    assert [g.name for g in groups_of([record, other])] == [f"rainbow (count {count})", "rainbow (count 40)"]


def test_a_record_older_than_a_key_compares_by_that_key_s_default(tiny):
    record = tiny("rainbow")
    spec = {key: value for key, value in record.run["spec"].items() if key != "network"}
    older = replace(record, run={**record.run, "spec": spec})
    assert differences([record, older]) == {}
    assert len(groups_of([record, older])) == 1


def test_a_group_s_spread_is_that_of_its_runs(tiny):
    values = [1.0, 2.0, 4.0]
    summaries = [{COST: value} for value in values]
    (group,) = groups_of([tiny("rainbow", seed=7)] * 3, summaries)
    assert group.spread(COST) == spread_of(values)
    assert group.mean(COST) == pytest.approx(7 / 3)
    assert group.mean(FORCED) is None


def test_on_the_frontier_is_whom_nobody_beats_in_both(tiny):
    names = ("recreate", "rolling", "rainbow", "colors", "bluegreen")
    numbers = ((1.0, 1.0), (1.2, 1.1), (2.0, 0.0), (8.0, 0.0), (0.5, 0.0))
    summaries = [
        {COST: cost, FORCED: forced, "deploys_done": 1 if name == "bluegreen" else 3, "deploys_requested": 3}
        for name, (cost, forced) in zip(names, numbers, strict=True)
    ]
    points = {p.strategy: p for p in points_of(groups_of([tiny(name) for name in names], summaries))}
    assert {name for name, point in points.items() if point.on_frontier} == {"recreate", "rainbow"}
    assert not points["bluegreen"].comparable
    assert points["bluegreen"].name == "bluegreen, 1 of 3 deploys"


def test_the_frontier_s_names_cover_no_point_no_other_name_and_not_its_line(tiny):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    names = ("recreate", "rolling", "rainbow", "immutable", "graceful")
    summaries = [
        {COST: cost, FORCED: forced, "deploys_done": 3, "deploys_requested": 3}
        for cost, forced in ((1.0, 1.0), (1.02, 1.01), (2.0, 0.0), (2.01, 0.0), (1.99, 0.0))
    ]
    figure = frontier_figure(groups_of([tiny(name) for name in names], summaries))
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) == len(names)
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    line = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    (x, y), (next_x, _) = axes.transData.transform(line.get_xydata()[:2])
    assert not any(box.y0 < y < box.y1 and x < box.x1 and box.x0 < next_x for box in boxes)


def test_one_point_is_no_frontier(tiny):
    assert frontier_figure(groups_of([tiny("rainbow")])) is None
