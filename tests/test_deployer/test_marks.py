"""What is noted of who was told: bounded, and read as it was written."""

import string

from hypothesis import given
from hypothesis import strategies as st

from deployer.marks import AGAIN, told_names, told_text

MOST_BYTES = 256 * 1024  # of all annotations of an object, keys and values
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NAMES = st.builds(
    lambda first, end, again: f"{first}-{end}{again}",
    st.from_regex("[a-z][-a-z0-9.]{0,10}[a-z0-9]", fullmatch=True),
    st.text(string.ascii_lowercase, min_size=1, max_size=5),
    st.sampled_from(("", AGAIN)),
)


@given(st.lists(st.one_of(NAMES, st.sampled_from(("chat", "chat?", "x-y", "x-z?")))))
def test_pods_are_read_as_they_were_noted(names):
    text = told_text(names)
    assert set(told_names(text or "")) == set(names)
    assert (text is None) == (not names)


def test_whole_names_are_read_too_as_they_were_noted_once():
    assert told_names("web-aaaaaa-7d9f-x2b4z web-aaaaaa-7d9f-q9k2m? ") == (
        "web-aaaaaa-7d9f-x2b4z",
        "web-aaaaaa-7d9f-q9k2m?",
    )


def test_twenty_thousand_pods_find_room_where_whole_names_of_four_thousand_did_not():
    beginning = f"{'a-long-name-for-a-service' * 2}-aaaaaa-7d9f8b6c5"[-57:]
    names = [f"{beginning}-{a}{b}{c}xx{AGAIN}" for a in LETTERS for b in LETTERS for c in LETTERS]
    assert len(names) > 19_000
    assert len(told_text(names)) < MOST_BYTES
    assert len(" ".join(names[:4_200])) > MOST_BYTES
