"""How metrics are written for people."""

import pytest

from scenarios.labels import LABELS, bounds, interval, written

FORCED = LABELS["forced_reconnects"]


@pytest.mark.parametrize(
    ("key", "value", "several", "text"),
    [
        ("forced_reconnects", None, False, "–"),
        ("forced_reconnects", 1234, False, "1,234"),
        ("forced_reconnects", 1234.5, True, "1,234.5"),
        ("forced_reconnects", -0.04, True, "0.0"),
        ("hit_more_than_once_ratio", 0.125, False, "12.5 %"),
        ("cost", 0.5, False, "$0.5000"),
        ("cost", -0.5, False, "−$0.5000"),
        ("drain_s_p50", 74_700.0, False, "20.8 h"),
        ("peak_reconnects_per_s", 7, False, "7 /s"),
    ],
)
def test_metrics_are_written_with_their_units_digits_and_sign(key, value, several, text):
    assert written(LABELS[key], value, several) == text


def test_no_metric_is_written_below_nothing_but_a_difference_may_be():
    assert interval(FORCED, -3.2, 8) == "0.0 … 8.0"
    assert interval(FORCED, -3.2, 8, difference=True) == "−3.2 … 8.0"


def test_an_interval_of_a_single_value_is_left_out():
    assert bounds(FORCED, 2, 2) == ""
    assert bounds(FORCED, 2, 3) == "2.0 … 3.0"
