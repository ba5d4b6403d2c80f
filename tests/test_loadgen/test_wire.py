"""The client's protocol, joined with a server's by hand: no socket, no clock."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from loadgen.behaviour.attempts import Failure
from loadgen.config import server as parsed
from loadgen.wire import Closed, Event, Opened, Ready, Received, Refused, XmppClient

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
STREAM = 'xmlns:stream="http://etherx.jabber.org/streams"'
OPEN = f'<open xmlns="{FRAMING}" from="chat.local" id="s1" version="1.0"/>'
PLAIN = (
    f"<stream:features {STREAM}><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
)
SUCCESS = '<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>'
BIND = f'<stream:features {STREAM}><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features>'
BOUND = '<iq xmlns="jabber:client" type="result" id="bind"/>'
SHUTDOWN = (
    f"<stream:error {STREAM}><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
)
CLOSE = f'<close xmlns="{FRAMING}" />'


class Pair:
    """A client and the server's side of its websocket."""

    def __init__(self, subprotocol: str | None = "xmpp", status: int = 101, bytewise: bool = False) -> None:
        self.client = XmppClient(parsed("ws://chat.test:5280/xmpp-websocket"), "u1-0", "chat.local", "secret")
        self.ws = ServerProtocol(subprotocols=[Subprotocol("xmpp")] if subprotocol else None)
        self.events: list[Event] = []
        self.bytewise = bytewise
        self.sent: list[str] = []
        self.close_code: int | None = None
        self.ws.receive_data(self.client.outgoing())
        [self.request] = self.ws.events_received()
        assert isinstance(self.request, Request)
        if status == 101:
            response = self.ws.accept(self.request)
            response.headers["Chat-Pod"], response.headers["Chat-Release"] = "pod-1", "abc123"
        else:
            response = self.ws.reject(status, "no")
        self.ws.send_response(response)
        self.flow()

    def flow(self) -> None:
        """Until neither side has anything to say."""
        while data := b"".join(self.ws.data_to_send()):
            pieces = [data[n : n + 1] for n in range(len(data))] if self.bytewise else [data]
            for piece in pieces:
                self.events += self.client.receive(piece)
            self._hear()

    def _hear(self) -> None:
        answer = self.client.outgoing()
        if answer:
            self.ws.receive_data(answer)
        for event in self.ws.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.sent.append(bytes(event.data).decode())
            if isinstance(event, Frame) and event.opcode is Opcode.CLOSE and self.ws.close_rcvd is not None:
                self.close_code = self.ws.close_rcvd.code

    def say(self, *frames: str) -> None:
        for frame in frames:
            self.ws.send_text(frame.encode())
        self.flow()

    def log_in(self) -> None:
        self.say(OPEN, PLAIN)
        self.say(SUCCESS)
        self.say(OPEN, BIND)
        self.say(BOUND)

    def do(self, work: Callable[[XmppClient], object]) -> None:
        work(self.client)
        self._hear()
        self.flow()


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    made.log_in()
    made.events.clear()
    made.sent.clear()
    return made


@pytest.mark.parametrize("bytewise", [False, True])
def test_a_login_goes_step_by_step(bytewise: bool) -> None:
    pair = Pair(bytewise=bytewise)
    assert isinstance(pair.request, Request)
    assert pair.request.path == "/xmpp-websocket"
    assert pair.request.headers["Sec-WebSocket-Protocol"] == "xmpp"
    assert pair.events == [Opened("abc123", "pod-1")]
    assert not pair.client.ready
    pair.log_in()
    assert pair.events == [Opened("abc123", "pod-1"), Ready()]
    assert pair.client.ready
    sent = [ElementTree.fromstring(text) for text in pair.sent]
    names = [element.tag.rpartition("}")[2] for element in sent]
    assert names == ["open", "auth", "open", "iq", "presence"]
    assert sent[0].get("to") == "chat.local"
    assert sent[1].get("mechanism") == "PLAIN"
    assert base64.b64decode(sent[1].text or "") == b"\0u1-0\0secret"


def test_a_server_without_names_is_served_by_nobody_known() -> None:
    pair = Pair.__new__(Pair)
    pair.client = XmppClient(parsed("ws://chat.test/x"), "u1-0", "chat.local", "secret")
    ws = ServerProtocol(subprotocols=[Subprotocol("xmpp")])
    ws.receive_data(pair.client.outgoing())
    [request] = ws.events_received()
    assert isinstance(request, Request)
    ws.send_response(ws.accept(request))
    assert pair.client.receive(b"".join(ws.data_to_send())) == [Opened(None, None)]


@pytest.mark.parametrize(
    ("offer", "says"), [({"status": 503}, "HTTP status 503"), ({"subprotocol": None}, "subprotocol xmpp")]
)
def test_a_handshake_that_fails_says_why(offer: dict[str, Any], says: str) -> None:
    pair = Pair(**offer)
    [refused] = pair.events
    assert isinstance(refused, Refused)
    assert refused.failure is Failure.HANDSHAKE
    assert says in refused.detail


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([OPEN, PLAIN.replace("PLAIN", "EXTERNAL")], "no SASL PLAIN, but SCRAM-SHA-1, EXTERNAL"),
        (
            [OPEN, PLAIN, '<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><not-authorized/></failure>'],
            "not-authorized",
        ),
        ([OPEN, PLAIN, SUCCESS, OPEN, BIND, BOUND.replace("result", "error")], "binds no resource"),
    ],
)
def test_a_login_that_fails_says_why_and_goodbye(frames: list[str], says: str) -> None:
    pair = Pair()
    for frame in frames:
        pair.say(frame)
    refused = pair.events[-1]
    assert isinstance(refused, Refused)
    assert refused.failure is Failure.LOGIN
    assert says in refused.detail
    assert pair.sent[-1] == CLOSE


def test_a_message_is_received_by_its_id_and_an_error_is_none(pair: Pair) -> None:
    pair.say(
        '<message xmlns="jabber:client" type="chat" id="m1"><body>hi</body></message>',
        '<message xmlns="jabber:client" type="error" id="m2"/>',
        '<message xmlns="jabber:client" type="chat"><body>no id</body></message>',
        '<presence xmlns="jabber:client" from="u2-0@chat.local/x"/>',
    )
    assert pair.events == [Received("m1")]
    assert pair.sent == []


def test_a_message_in_fragments_is_put_together(pair: Pair) -> None:
    text = '<message xmlns="jabber:client" id="m1"><body>hi</body></message>'
    pair.ws.send_text(text[:20].encode(), fin=False)
    pair.ws.send_ping(b"between")
    pair.ws.send_continuation(text[20:].encode(), fin=True)
    pair.flow()
    assert pair.events == [Received("m1")]


def test_what_is_said_is_escaped(pair: Pair) -> None:
    pair.do(lambda client: client.say('u"2', "m<1", "a & b"))
    element = ElementTree.fromstring(pair.sent[0])
    assert (element.get("to"), element.get("id")) == ('u"2@chat.local', "m<1")
    assert [child.text for child in element] == ["a & b"]


def test_a_keepalive_is_an_xmpp_ping(pair: Pair) -> None:
    pair.do(lambda client: client.ping())
    element = ElementTree.fromstring(pair.sent[0])
    assert (element.get("type"), element.get("to"), element[0].tag) == (
        "get",
        "chat.local",
        "{urn:xmpp:ping}ping",
    )


def test_pings_of_the_server_are_answered_and_other_questions_refused(pair: Pair) -> None:
    pair.say(
        '<iq xmlns="jabber:client" type="get" id="p" from="chat.local"><ping xmlns="urn:xmpp:ping"/></iq>'
    )
    pair.say('<iq xmlns="jabber:client" type="set" id="q"><thing xmlns="what:ever"/></iq>')
    pair.say('<iq xmlns="jabber:client" type="result" id="r"/>')
    answers = [ElementTree.fromstring(text) for text in pair.sent]
    assert [(a.get("id"), a.get("type"), a.get("to")) for a in answers] == [
        ("p", "result", "chat.local"),
        ("q", "error", None),
    ]
    assert answers[1][0][0].tag.endswith("service-unavailable")


def test_a_websocket_ping_is_answered(pair: Pair) -> None:
    pair.ws.send_ping(b"alive?")
    data = b"".join(pair.ws.data_to_send())
    assert pair.client.receive(data) == []
    pair.ws.receive_data(pair.client.outgoing())
    [pong] = pair.ws.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"alive?")


def test_a_server_that_shuts_down_is_bidden_goodbye(pair: Pair) -> None:
    pair.say(SHUTDOWN)
    assert pair.client.goodbye_received
    assert not pair.client.ready
    assert pair.events == []
    pair.say(CLOSE)
    assert pair.sent == [CLOSE]
    pair.ws.send_close(1012)
    pair.flow()
    assert pair.events == [Closed(1012)]
    assert pair.close_code == 1012
    assert pair.ws.state is not State.OPEN


def test_a_bare_close_frame_ends_it_with_its_code(pair: Pair) -> None:
    pair.ws.send_close(1001)
    pair.flow()
    assert pair.events == [Closed(1001)]


def test_a_close_frame_before_the_login_ends_it_too() -> None:
    pair = Pair()
    pair.ws.send_close(1013)
    pair.flow()
    assert pair.events == [Opened("abc123", "pod-1"), Closed(1013)]


def test_who_leaves_says_goodbye_and_closes_when_it_is_returned(pair: Pair) -> None:
    left: list[bool] = []
    pair.do(lambda client: left.append(client.leave()))
    assert left == [True]
    assert pair.sent == [CLOSE]
    assert pair.close_code is None
    pair.say(CLOSE)
    assert pair.close_code == 1000
    assert pair.events == []


def test_who_leaves_before_the_handshake_has_nobody_to_say_it_to() -> None:
    assert not XmppClient(parsed("ws://chat.test/x"), "u1-0", "chat.local", "secret").leave()


@pytest.mark.parametrize("rubbish", ["no xml", "<two/><roots/>", ""])
def test_rubbish_ends_the_conversation(pair: Pair, rubbish: str) -> None:
    pair.say(rubbish)
    assert pair.client.goodbye_received
    assert pair.sent == [CLOSE]


def test_a_server_that_breaks_the_protocol_is_closed_on(pair: Pair) -> None:
    assert pair.client.receive(b"\xff\xff") == [Closed(None)]
    pair.ws.receive_data(pair.client.outgoing())
    assert pair.ws.close_rcvd is not None
    assert pair.ws.close_rcvd.code == 1002
