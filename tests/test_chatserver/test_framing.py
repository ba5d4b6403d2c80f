from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.framing import (
    CLOSE_FRAME,
    End,
    FrameError,
    LoggedIn,
    LogIn,
    StreamOpen,
    ToBackend,
    ToClient,
    Translator,
    read_frame,
)
from chatserver.namespaces import FRAMING, SASL
from chatserver.xmlstream import StreamError

OPEN = f'<open xmlns="{FRAMING}" to="chat.local" version="1.0"/>'
AUTH = f'<auth xmlns="{SASL}" mechanism="PLAIN">AGEAYg==</auth>'
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='1' from='chat.local' version='1.0' xml:lang='en'>"
)
FEATURES = (
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
    b"</stream:features>"
)
SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"


def translator() -> Translator:
    return Translator("chat.local", "pod-1", "a1b2c3")


def opened() -> Translator:
    core = translator()
    core.from_client(OPEN)
    core.from_backend(HEADER + FEATURES)
    return core


def test_open_becomes_a_stream_header() -> None:
    (step,) = translator().from_client(OPEN)
    assert isinstance(step, ToBackend)
    assert b'<stream:stream xmlns="jabber:client"' in step.data
    assert b'to="chat.local"' in step.data


def test_the_answer_is_an_open_frame_and_features_in_a_frame_of_their_own() -> None:
    core = translator()
    core.from_client(OPEN)
    opening, is_open, features = core.from_backend(HEADER + FEATURES)
    assert isinstance(opening, ToClient)
    assert opening.text.startswith(f'<open xmlns="{FRAMING}" id="1"')
    assert 'pod:name="pod-1"' in opening.text
    assert is_open == StreamOpen()
    assert isinstance(features, ToClient)
    assert 'xmlns:stream="http://etherx.jabber.org/streams"' in features.text
    assert "starttls" not in features.text
    assert "<mechanism>PLAIN</mechanism>" in features.text


def test_credentials_cost_a_login_before_they_are_passed_on() -> None:
    assert opened().from_client(AUTH) == (LogIn(), ToBackend(AUTH.encode()))


@given(st.lists(st.integers(1, 200), max_size=8))
def test_any_chunking_of_the_backend_gives_the_same_frames(cuts: list[int]) -> None:
    data = HEADER + FEATURES + SUCCESS + HEADER + b"<presence from='\xc3\xa4@b'/>" + b"</stream:stream>"

    def steps(cuts: list[int]) -> list[object]:
        core = translator()
        core.from_client(OPEN)
        return [
            step
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
            for step in core.from_backend(data[start:end])
        ]

    assert steps(sorted(cuts)) == steps([])
    assert LoggedIn() in steps([])
    assert steps([])[-2:] == [ToClient(CLOSE_FRAME), End(1000, "backend")]


def test_close_is_answered_with_the_bytes_that_strophe_looks_for() -> None:
    core = opened()
    assert core.from_client(f'<close xmlns="{FRAMING}"/>') == [
        ToBackend(b"</stream:stream>"),
        ToClient('<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />'),
        End(1000, "client"),
    ]
    assert core.from_client(OPEN) == ()


def test_a_stream_error_of_the_backend_reaches_the_client_before_the_close() -> None:
    error = b"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    frame, close, end = opened().from_backend(error + b"</stream:stream>")
    assert isinstance(frame, ToClient)
    assert "system-shutdown" in frame.text
    assert (close, end) == (ToClient(CLOSE_FRAME), End(1012, "backend"))


def test_a_lost_backend_ends_the_stream_once() -> None:
    core = opened()
    assert core.backend_lost()[-1] == End(1011, "backend")
    assert core.backend_lost() == ()


def test_an_error_before_the_stream_is_open_opens_it_first() -> None:
    first, error, close, end = translator().end("sigterm", "system-shutdown", 1012)
    assert isinstance(first, ToClient)
    assert first.text.startswith("<open ")
    assert isinstance(error, ToClient)
    assert "<stream:error" in error.text
    assert (close, end) == (ToClient(CLOSE_FRAME), End(1012, "sigterm"))


@pytest.mark.parametrize(
    ("frame", "condition"),
    [
        ("<a/><b/>", "not-well-formed"),
        ("<a>", "not-well-formed"),
        ("<a/>text", "not-well-formed"),
        ("<p:a/>", "not-well-formed"),
        ("<a>&b;</a>", "not-well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "restricted-xml"),
        ("<a><!-- b --></a>", "restricted-xml"),
        ("<a><?b c?></a>", "restricted-xml"),
        ('<?xml version="1.0"?><a/>', "restricted-xml"),
    ],
)
def test_malformed_frames_have_their_defined_condition(frame: str, condition: str) -> None:
    with pytest.raises(StreamError) as caught:
        read_frame(frame)
    assert caught.value.condition == condition


@pytest.mark.parametrize("frame", ["", " ", "hello", " <a/>"])
def test_what_does_not_start_with_an_element_is_no_xmpp(frame: str) -> None:
    with pytest.raises(FrameError) as caught:
        read_frame(frame)
    assert caught.value.code == 1007


@pytest.mark.parametrize(
    ("frames", "condition"),
    [
        (['<message xmlns="jabber:client"/>'], "not-authorized"),
        ([f'<open xmlns="{FRAMING}" to="chat.local"/>'], "unsupported-version"),
        ([OPEN, OPEN], "policy-violation"),
        ([OPEN, f'<opne xmlns="{FRAMING}"/>'], "bad-format"),
        ([OPEN, '<stream:stream xmlns:stream="http://etherx.jabber.org/streams"/>'], "bad-format"),
    ],
)
def test_frames_out_of_place_end_the_stream(frames: list[str], condition: str) -> None:
    core = translator()
    steps = [step for frame in frames for step in core.from_client(frame)]
    assert any(isinstance(step, ToClient) and f"<{condition} " in step.text for step in steps)
    assert steps[-1] == End(1002, "client_error")


@given(st.text())
def test_no_frame_can_say_more_than_one_element_to_the_backend(text: str) -> None:
    frame = f"<message xmlns='jabber:client'>{text}</message>"
    core = opened()
    for step in core.from_client(frame):
        if isinstance(step, ToBackend):
            assert read_frame(step.data.decode()).name == "message"
