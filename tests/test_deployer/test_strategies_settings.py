"""Strategies by name, and what their settings may be."""

import pytest

from deployer.clusters.controlplane.objects import UpdateType
from deployer.strategies import STRATEGIES, StrategyError, make

NAMES = ["recreate", "rolling", "graceful", "bluegreen", "colors", "rainbow", "immutable"]


def test_the_strategies_are_those_of_the_documentation():
    assert list(STRATEGIES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_made_without_settings_and_knows_its_name(name):
    assert make(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_service_selects_releases_unless_one_deployment_holds_them_all(name):
    assert make(name).selects_release == (name not in ("recreate", "rolling", "graceful"))


def test_times_may_be_named_without_their_unit():
    assert make("rolling", {"progress_deadline": 60}) == make("rolling", {"progress_deadline_s": 60.0})


def test_a_nudge_is_made_of_a_mapping():
    nudge = make("rainbow", {"nudge": {"after": 3600, "per_s": 5}}).nudge
    assert (nudge.after_s, nudge.per_s) == (3600.0, 5.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("recreate", UpdateType.RECREATE),
        ("rolling", UpdateType.ROLLING),
        ("graceful", UpdateType.ROLLING),
        ("bluegreen", UpdateType.RECREATE),
        ("colors", UpdateType.RECREATE),
    ],
)
def test_the_shape_says_how_deployments_replace_their_pods(name, kind):
    assert make(name).shape.update.type is kind


def test_the_shape_carries_bounds_and_times():
    shape = make(
        "rolling", {"max_surge": "10%", "max_unavailable": 0, "min_ready": 3, "progress_deadline": 60}
    ).shape
    assert (shape.update.max_surge, shape.update.max_unavailable) == ("10%", 0)
    assert (shape.min_ready_s, shape.progress_deadline_s, shape.grace_s) == (3, 60, 30)


def test_graceful_has_a_grace_of_hours():
    assert make("graceful").shape.grace_s == 48 * 3600
    assert make("graceful", {"grace": 7200, "grace_cut": 600}).grace_cut_s == 600


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("rainbw", {}, ["rainbw", "did you mean 'rainbow'?"]),
        ("xyz", {}, ["xyz", "there are", "rolling"]),
        ("rolling", {"max_surg": 1}, ["max_surg", "did you mean 'max_surge'?"]),
        ("rolling", {"max_surge": 0, "max_unavailable": "0%"}, ["max_surge=0", "raise one"]),
        ("rolling", {"max_surge": "25"}, ["max_surge='25'", "25%"]),
        ("rolling", {"max_surge": -1}, ["max_surge=-1"]),
        ("rolling", {"progress_deadline": "soon"}, ["progress_deadline_s='soon'", "number"]),
        ("rolling", {"progress_deadline": 0}, ["progress_deadline=0", "min_ready=0"]),
        ("recreate", {"grace": -1}, ["grace=-1", "at least 0"]),
        ("graceful", {"grace": 10, "grace_cut": 20}, ["grace_cut=20", "grace=10"]),
        ("colors", {"count": 1}, ["count=1", "at least 2"]),
        ("colors", {"when_busy": "kill"}, ["when_busy='kill'", "block"]),
        ("bluegreen", {"count": 3}, ["count=3", "take colors"]),
        ("rainbow", {"max_releases": 1}, ["max_releases=1", "at least 2"]),
        ("rainbow", {"nudge": {"after": 1, "per_s": 0}}, ["per_s=0", "above 0"]),
        ("rainbow", {"nudge": {"afer": 1, "per_s": 1}}, ["'afer'", "did you mean 'after'?"]),
        ("immutable", {"at_cap": "wait"}, ["at_cap='wait'", "retire_oldest"]),
    ],
)
def test_a_mistake_is_told_in_one_line_with_the_way_out(name, settings, words):
    with pytest.raises(StrategyError) as error:
        make(name, settings)
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text
