"""Times and numbers in annotations that cannot be: nobody is cut off for them, and what can be is written anew."""

import pytest

from deployer.actions import Annotate
from deployer.draining import DrainSettings
from deployer.draining.memory import BURN_DOWN
from deployer.fleet import DESELECTED_AT, QUIET_SINCE, Decision
from deployer.marks import CRASHES, DRAINED_AT, NUDGED_UNTIL, SELECTED_AS
from tests.test_deployer.stories import HOUR_S, Run

TIMES = ("soon", "", "-5", "0", "nan", "-inf", "inf", "1e300", "99999999999", "1" * 400)


def draining(name="rainbow", users=3, **settings):
    run = Run(name, **settings)
    run.users("aaaaaa", users)
    run.deploy("bbbbbb")
    return run


def note(run, release, key, value):
    (name,) = (name for name, found in run.releases.items() if found == release)
    run.cluster.act(Annotate(name, key, value))
    return name


@pytest.mark.parametrize("value", TIMES)
def test_a_release_whose_deselection_is_no_time_that_could_be_stays_with_its_users_and_says_so(value):
    run = draining(nudge={"after": 20.0, "per_s": 5.0}, shrink=True)
    note(run, "aaaaaa", DESELECTED_AT, value)
    run.wait(100 * HOUR_S)
    assert len(run.pods("aaaaaa")) == 2
    verdict = run.steps[-1].verdicts[0]
    assert verdict.decision is Decision.KEEP
    assert DESELECTED_AT in verdict.reason
    assert "remove it, and it is written anew" in verdict.reason
    note(run, "aaaaaa", DESELECTED_AT, None)
    run.users("aaaaaa", 0)
    run.wait(HOUR_S)
    assert run.pods("aaaaaa") == []


@pytest.mark.parametrize("value", TIMES)
@pytest.mark.parametrize("name", ["rainbow", "bluegreen"])
def test_a_mark_of_being_drained_that_cannot_be_ends_no_release_with_users(name, value):
    run = draining(name)
    note(run, "aaaaaa", DRAINED_AT, value)
    before = run.pods("aaaaaa")
    run.wait(100)
    if name != "rainbow":
        run.ask("cccccc")
        run.wait(100)
    assert run.pods("aaaaaa") == before


@pytest.mark.parametrize("value", TIMES)
def test_a_quiet_time_that_cannot_be_holds_no_release_up(value):
    run = draining(users=0, drain=DrainSettings(hold_s=60, check_every_s=10))
    note(run, "aaaaaa", QUIET_SINCE, value)
    run.wait(100)
    assert run.pods("aaaaaa") == []


@pytest.mark.parametrize("value", ["nan=5", "inf=-3 1=2", "1e300=" + "9" * 400, "x", "2=1 1=1", "1=-1", "="])
def test_a_burn_down_of_nonsense_counts_as_none_and_is_begun_anew(value):
    run = draining()
    name = note(run, "aaaaaa", BURN_DOWN, value)
    run.wait(30)
    (pair,) = run.fleet.deployments[name].annotations[BURN_DOWN].split()
    assert pair.endswith("=6")


@pytest.mark.parametrize("key", [SELECTED_AS, CRASHES])
@pytest.mark.parametrize(
    "value", ["many", "", "-3", "inf", "aaaaaa/many", "bbbbbb/many", "bbbbbb/-1", "9" * 5000]
)
def test_marks_of_the_serving_release_that_are_no_numbers_are_written_anew(key, value):
    run = draining(auto_rollback=3)
    name = note(run, "bbbbbb", key, value)
    run.wait(30)
    found = run.fleet.deployments[name].annotations
    assert found[SELECTED_AS] == "bbbbbb/0"
    assert CRASHES not in found
    assert run.fleet.selected == "bbbbbb"


@pytest.mark.parametrize("value", ["soon", "", "nan", "-5"])
def test_clients_are_asked_to_leave_once_whatever_was_noted_of_it_before(value):
    run = draining(nudge={"after": 20.0, "per_s": 5.0})
    name = note(run, "aaaaaa", NUDGED_UNTIL, value)
    run.wait(12)
    assert float(run.fleet.deployments[name].annotations[NUDGED_UNTIL]) > run.zero_s
