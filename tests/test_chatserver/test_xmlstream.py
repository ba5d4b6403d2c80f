from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver import xmlstream
from chatserver.namespaces import SASL
from chatserver.xmlstream import Closed, Element, Opened, StreamError, StreamParser

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='a&gt;\"b' xml:lang='de'>"
)
ELEMENTS = (
    b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>",
    b"<message to='x>y' from=\"a'b\"><body>1 &lt; 2 &amp; \xc3\xa4\xf0\x9f\x98\x80</body></message >",
    b"<r xmlns='urn:xmpp:sm:3'/>",
    b"<presence/>",
    b"<iq type='get' id='1'><q:query xmlns:q='jabber:iq:roster' q:ver='1'/></iq>",
    b"<message><body><![CDATA[</message>]]></body></message>",
    b"<client:message xmlns:client='jabber:client' to='a'><client:body>b</client:body></client:message>",
    b" \n ",
)


def parse(data: bytes, cuts: list[int], **options: object) -> list[object]:
    parser = StreamParser(100_000, **options)  # type: ignore[arg-type]
    events: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += parser.feed(data[start:end])
    return events


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    data = (
        HEADER
        + b"".join(draw(st.lists(st.sampled_from(ELEMENTS))))
        + draw(st.sampled_from([b"", b"</stream:stream>"]))
    )
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))


@pytest.fixture(params=[xmlstream.DEFERS, True], ids=["as it is", "expat that defers"], scope="module")
def expat_of_its_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    with patch.object(xmlstream, "DEFERS", request.param):
        yield


@pytest.mark.usefixtures("expat_of_its_kind")
@given(cut_streams())
def test_any_chunking_gives_the_same_events(case: tuple[bytes, list[int]]) -> None:
    data, cuts = case
    assert parse(data, cuts) == parse(data, [])


@pytest.mark.usefixtures("expat_of_its_kind")
def test_byte_by_byte_gives_the_same_events() -> None:
    data = HEADER + b"".join(ELEMENTS) + b"</stream:stream>"
    assert parse(data, list(range(1, len(data)))) == parse(data, [])


@given(st.lists(st.sampled_from(ELEMENTS[:-1]), min_size=1))
def test_an_element_stands_alone_and_says_what_it_said_in_the_stream(elements: list[bytes]) -> None:
    stream = ElementTree.fromstring(HEADER + b"".join(elements) + b"</stream:stream>")
    found = [event for event in parse(HEADER + b"".join(elements), []) if isinstance(event, Element)]
    alone = [ElementTree.fromstring(element.xml()) for element in found]
    assert list(map(ElementTree.canonicalize, map(ElementTree.tostring, alone))) == [
        ElementTree.canonicalize(ElementTree.tostring(child)) for child in stream
    ]


def test_header_and_end_are_told() -> None:
    events = parse(HEADER + b"</stream:stream>junk after the end", [])
    assert events == [Opened({"id": 'a>"b', "xml:lang": "de"}), Closed()]


def test_an_unused_prefix_of_the_header_is_not_repeated() -> None:
    (_, element) = parse(HEADER + b"<presence/>", [])
    assert isinstance(element, Element)
    assert element.xml() == b'<presence xmlns="jabber:client"/>'


def test_a_new_document_begins_after_success() -> None:
    success = f"<success xmlns='{SASL}'/>".encode()
    events = parse(HEADER + success + HEADER + b"<presence/>", [], restart_after=(SASL, "success"))
    assert [type(event) for event in events] == [Opened, Element, Opened, Element]


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (HEADER + b"<a></b>", "not-well-formed"),
        (HEADER + b"<p:a/>", "not-well-formed"),
        (HEADER + b"<a>&unknown;</a>", "not-well-formed"),
        (HEADER + b"<a>\xff</a>", "not-well-formed"),
        (HEADER + b"<!-- comment -->", "restricted-xml"),
        (HEADER + b"<?pi x?>", "restricted-xml"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + HEADER, "restricted-xml"),
        (b"GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
        (HEADER + b"<a>" + b"x" * 100_001, "policy-violation"),
        (HEADER + b"<a>" + b"x" * 100_001 + b"</a>", "policy-violation"),
    ],
)
def test_offences_have_their_defined_condition(data: bytes, condition: str) -> None:
    with pytest.raises(StreamError) as caught:
        parse(data, [])
    assert caught.value.condition == condition


def test_an_attribute_can_be_changed_and_is_escaped() -> None:
    (_, element) = parse(HEADER + b"<message to='a'>t</message>", [])
    assert isinstance(element, Element)
    changed = ElementTree.fromstring(element.changed(from_="\"<&>'\n").xml())
    assert changed.attrib == {"to": "a", "from": "\"<&>'\n"}
