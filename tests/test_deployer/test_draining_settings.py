"""Settings from plain values, and what is wrong with those that cannot be used."""

import pytest
from pydantic import TypeAdapter

from deployer.draining import (
    After,
    DrainError,
    DrainSettings,
    Empty,
    Few,
    Manual,
    Pin,
    WorthIt,
    policy_of,
    settings_of,
)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("manual", Manual()),
        ("empty", Empty()),
        ({"after": 172800}, After(172800.0)),
        ({"few": 5}, Few(count=5)),
        ({"few": "1%"}, Few(share=0.01)),
        ({"worth_it": {"pod_hour_price": 0.05, "reconnect_price": 0.01}}, WorthIt(0.05, 0.01)),
        (Few(count=2), Few(count=2)),
    ],
)
def test_policies_are_read(value, policy):
    assert policy_of(value) == policy


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("emtpy", "'emtpy' is not known; it can be manual, empty"),
        ({"after": "48h"}, "duration_s='48h' must be a number"),
        ({"after": -1}, "-1.0 must be a number of seconds, 0 or more"),
        ({"after": float("nan")}, "nan must be a number of seconds"),
        ({"few": -2}, "-2 must be 0 or more"),
        ({"few": True}, "True must be a whole number"),
        ({"few": "x%"}, "'x%' must be a whole number"),
        ({"few": "100%"}, "below 100 %"),
        ({"few": 1, "after": 2}, "is not known"),
        ({"worth_it": {"pod_hour_price": 1}}, "pod_hour_price and reconnect_price"),
        ({"worth_it": {"pod_hour_price": 0, "reconnect_price": 1}}, "must be a price above 0"),
        (None, "None is not known"),
    ],
)
def test_a_wrong_policy_is_one_clear_line(value, words):
    with pytest.raises(DrainError) as error:
        policy_of(value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dedline_s": 3}, "did you mean 'deadline_s'?"),
        ({"hold_s": 1}, "hold_s=1.0 must be at least 2"),
        ({"hold_s": None}, "hold_s=None must be a number"),
        ({"check_every_s": 0}, "check_every_s=0.0 must be above 0"),
        ({"pinned": []}, "'pinned' is not known"),
        ({"deadline_s": -5}, "deadline_s=-5.0 must be a finite number"),
        ({"keep_warm_s": 10, "deadline_s": 5}, "must not exceed deadline_s=5.0"),
        ({"policy": {"after": 10}, "deadline_s": 5}, "leave the deadline out"),
        ({"discount_silent": "no"}, "must be true or false"),
        ({"pin_annotation": ""}, "must be the name of an annotation"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values, words):
    with pytest.raises(DrainError) as error:
        settings_of(values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_policies_that_count_get_a_deadline_of_two_days_and_others_none():
    assert settings_of({}) == DrainSettings(Empty(), deadline_s=172800.0)
    assert settings_of({"policy": "manual"}).deadline_s is None
    assert settings_of({"policy": {"after": 1e6}}).deadline_s is None
    assert settings_of({"policy": {"few": 5}, "deadline_s": None}).deadline_s is None


@pytest.mark.parametrize("policy", [Manual(), After(5.0), Empty(), Few(share=0.1), WorthIt(1.0, 2.0)])
def test_settings_survive_json(policy):
    settings = DrainSettings(
        policy, deadline_s=99.0, discount_silent=True, pinned=(Pin("aaaaaa"), Pin("bbbbbb", 5.0))
    )
    adapter = TypeAdapter(DrainSettings)
    assert adapter.validate_json(adapter.dump_json(settings)) == settings
