"""`keep` of a deploy: its release is pinned, for a time or to the end, whatever drains."""

from __future__ import annotations

import math

import pytest

from deployer.draining import Pin
from scenarios.build import drain_of
from scenarios.run import simulated
from scenarios.spec import Spec, SpecError, compressed, require_built, spec_of

FIRST, SECOND = "aaaaaa", "bbbbbb"


def spec(keep: object, **changes: object) -> Spec:
    given: dict[str, object] = {
        "name": "pins",
        "duration": "60s",
        "fleet": {"replicas": 2},
        "users": {"count": 10, "session": {"exponential": {"mean": "2s"}}, "messages_per_min": 0},
        "deploys": [{"at": "2s", "release": FIRST, "keep": keep}, {"at": "10s", "release": SECOND}],
        "drain": {"hold": "2s", "check_every": "1s"},
    }
    return spec_of({**given, **changes})


def gone_s(scenario: Spec, strategy: str) -> float:
    """When the last pod of the first deploy's release was gone; inf: it is there at the end."""
    pods = simulated(scenario, strategy)[0]["pods"]
    of_first = pods.filter(pods["release"] == FIRST)["t_gone_s"].to_list()
    return max(math.inf if t_s is None else t_s for t_s in of_first)


@pytest.mark.parametrize("strategy", ["rainbow", "immutable"])
def test_a_release_to_be_kept_is_there_at_the_end_and_others_go(strategy):
    settings = (
        {"strategy": {"rainbow": {"shrink": True}}}
        if strategy == "rainbow"
        else {"server": {"on_deselected": "nothing"}}
    )
    assert gone_s(spec(True, **settings), strategy) == math.inf
    drains = spec(True).model_copy(update={"deploys": spec(True).deploys[1:]})
    assert simulated(drains, strategy)[0]["pods"]["t_gone_s"].count() == 2  # the initial one's


def test_a_release_kept_for_a_time_goes_when_it_is_over():
    scenario = spec("30s")
    selected_s = simulated(scenario, "rainbow")[0]["deploys"]["t_selected_s"][2]
    assert selected_s + 30 < gone_s(scenario, "rainbow") < selected_s + 40


def test_a_pin_beats_a_policy_of_time_and_shows_in_the_verdict():
    scenario = spec(True, drain={"policy": {"after": "5s"}})
    tables, _ = simulated(scenario, "rainbow")
    last = tables["verdicts"].filter(tables["verdicts"]["release"] == FIRST).row(-1, named=True)
    assert last["decision"] == "keep"
    assert last["reason"] == "pinned by drainbow.dev/keep: asked for with its deploy"


@pytest.mark.parametrize("when_busy", ["block", "force"])
def test_a_pinned_slot_is_not_taken_even_by_force(when_busy):
    deploys = [{"at": "2s", "keep": True}, {"at": "25s"}, {"at": "45s"}]
    strategy = {"bluegreen": {"when_busy": when_busy}}
    outcomes = simulated(spec(True, deploys=deploys, strategy=strategy), "bluegreen")[0]["deploys"]["outcome"]
    assert outcomes.to_list() == ["done", "done", "done", "blocked"]


def test_a_slot_can_be_taken_once_its_pin_is_over():
    deploys = [{"at": "2s", "keep": "10s"}, {"at": "25s"}, {"at": "50s"}]
    tables, _ = simulated(spec(True, deploys=deploys), "bluegreen")
    assert tables["deploys"]["outcome"].to_list() == ["done"] * 4
    assert tables["actions"]["reason"].to_list().count("its time to be kept is over") == 1


@pytest.mark.parametrize(
    ("deploy", "words"),
    [
        ({"at": "1s", "keep": "0s"}, "keep nothing"),
        ({"at": "1s", "keep": False}, "keep"),
        ({"at": "1s", "keep": "long"}, "long"),
        ({"rollback_at": "5s", "keep": True}, "keep does not go with rollback_at"),
    ],
)
def test_what_cannot_be_kept_is_told_in_one_line(deploy, words):
    with pytest.raises(SpecError) as error:
        spec(True, deploys=[{"at": "1s"}, deploy])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_it_is_written_out_and_read_back_and_lived_through_in_less_time():
    scenario = spec_of(spec("30s", compress=10).data())
    assert scenario.planned_deploys()[0].keep_s == 30
    assert drain_of(compressed(scenario)).pinned == (Pin(FIRST, 3.0),)
    for_ever = spec_of(spec(True, compress=10).data())
    assert drain_of(compressed(for_ever)).pinned == (Pin(FIRST),)


@pytest.mark.parametrize("strategy", ["recreate", "rolling", "graceful"])
@pytest.mark.parametrize(("keep", "said"), [(True, "always"), ("36s", "36s")])
def test_a_strategy_that_keeps_no_old_release_refuses_the_wish(strategy, keep, said):
    """Instead of doing as if it had not been said."""
    with pytest.raises(SpecError) as raised:
        require_built(spec(keep), strategy, "sim")
    assert str(raised.value) == (
        f"deploys.0.keep={said}: {strategy} has one Deployment and keeps no old release; leave keep out, or choose "
        "one of bluegreen, colors, rainbow, immutable"
    )


@pytest.mark.parametrize("strategy", ["bluegreen", "colors", "rainbow", "immutable"])
def test_the_others_take_it(strategy):
    require_built(spec("36s"), strategy, "sim")
