"""RFC 7395, step by step, by a real websocket client."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chatserver.options import Address

SM = "urn:xmpp:sm:3"


def test_the_upgrade_says_who_serves_and_takes_no_extension(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--pod=pod-1", "--release=a1b2c3") as service:
            client = await service.client(compression="deflate")
            assert client.ws.subprotocol == "xmpp"
            headers = client.ws.response.headers
            assert (headers["Chat-Pod"], headers["Chat-Release"]) == ("pod-1", "a1b2c3")
            assert "Sec-WebSocket-Extensions" not in headers

    chat.run(main)


def test_login_step_by_step(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--password=secret") as service:
            client = await service.client()
            opened, features = await client.open()
            assert opened.startswith('<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" ')
            assert 'from="chat.local"' in opened
            assert "<mechanism>SCRAM-SHA-256</mechanism>" in features
            assert "<not-authorized/>" in await client.authenticate("ann", "wrong")
            assert "<success " in await client.authenticate("ann", "secret")
            again, features = await client.open()
            assert re.findall(' id="[^"]+"', again) != re.findall(' id="[^"]+"', opened)
            assert "<bind " in features
            assert SM in features
            assert await client.bind("desk") == "ann@chat.local/desk"
            assert service.gateways[0].counts.logins == 1

    chat.run(main)


def test_messages_cross_gateways_to_full_and_bare_addresses(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service(gateways=2) as service:
            ann, bob = await service.user("ann", 0), await service.user("bob", 1)
            await ann.message(bob.jid, "to you")
            assert "<body>to you</body>" in await bob.hear()
            await bob.message("ann@chat.local", "ä &amp; 😀")
            heard = await ann.hear()
            assert "<body>ä &amp; 😀</body>" in heard
            assert f'from="{bob.jid}"' in heard

    chat.run(main)


def test_rooms_reach_everybody_and_the_sender(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service(gateways=2) as service:
            room = "lobby@conference.chat.local"
            ann, bob = await service.user("ann", 0), await service.user("bob", 1)
            await ann.join(room, "Ann")
            await bob.join(room, "Bob")
            assert f'from="{room}/Bob"' in await ann.hear()
            await ann.message(room, "all", "groupchat")
            for user in (ann, bob):
                assert f'from="{room}/Ann"' in await user.hear_until("<body>all</body>")
            await bob.say(f'<presence xmlns="jabber:client" to="{room}/Bob" type="unavailable"/>')
            assert 'type="unavailable"' in await ann.hear()

    chat.run(main)


def test_a_message_to_nobody_comes_back(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann = await service.user("ann")
            await ann.message("zed@chat.local", "are you there?")
            heard = await ann.hear()
            assert 'type="error"' in heard
            assert "service-unavailable" in heard

    chat.run(main)


def test_what_the_server_does_not_know_it_refuses(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann = await service.user("ann")
            assert "service-unavailable" in await ann.iq("get", '<vCard xmlns="vcard-temp"/>')
            assert 'type="result"' in await ann.iq("get", '<ping xmlns="urn:xmpp:ping"/>', "chat.local")
            assert '<query xmlns="jabber:iq:roster"/>' in await ann.iq(
                "get", '<query xmlns="jabber:iq:roster"/>'
            )
            disco = '<query xmlns="http://jabber.org/protocol/disco#info"/>'
            for to in ("chat.local", "ann@chat.local", "conference.chat.local", "x@conference.chat.local"):
                assert "<identity " in await ann.iq("get", disco, to)

    chat.run(main)


def test_the_same_address_bound_again_replaces_the_old_connection(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            old = await service.user("ann", resource="desk")
            await service.user("ann", resource="desk")
            code, heard = await old.closed()
            assert code == 1000
            assert "conflict" in "".join(heard)

    chat.run(main)


def test_close_gets_close_and_1000(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann = await service.user("ann")
            await ann.say(f'<close xmlns="{chat.FRAMING}"/>')
            assert await ann.closed() == (1000, ['<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />'])
            await chat.until(lambda: not service.gateways[0].connections)
            assert service.gateways[0].counts.closes == {"client": 1}

    chat.run(main)


@pytest.mark.parametrize(
    ("frame", "code", "condition"),
    [
        (b"\x00", 1003, None),
        ("hello", 1007, None),
        ("<a>" + "x" * 70_000 + "</a>", 1009, None),
        ("<a/><b/>", 1002, "not-well-formed"),
        ("<!DOCTYPE a><a/>", 1002, "restricted-xml"),
        ("<?xml version='1.0'?><a/>", 1002, "restricted-xml"),
        ('<message xmlns="jabber:client"/>', 1002, "not-authorized"),
    ],
)
def test_malformed_input_closes_with_its_code(
    chat: SimpleNamespace, frame: str | bytes, code: int, condition: str | None
) -> None:
    async def main() -> None:
        async with chat.service("--max-frame-bytes=65536") as service:
            client = await service.client()
            await client.ws.send(frame)
            got, heard = await client.closed()
            assert got == code
            if condition is not None:
                assert heard[0].startswith("<open ")
                assert condition in heard[1]
                assert heard[2] == '<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />'
            await chat.until(lambda: not service.gateways[0].connections)
            assert service.gateways[0].counts.closes == {"client_error": 1}

    chat.run(main)


def test_a_fragmented_message_is_one_frame(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            client = await service.client()
            await client.ws.send([chat.OPEN[:7], chat.OPEN[7:30], chat.OPEN[30:]])
            assert (await client.hear()).startswith("<open ")

    chat.run(main)


def test_a_client_without_the_subprotocol_is_refused(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            with pytest.raises(InvalidStatus):
                await service.client(subprotocols=None)

    chat.run(main)


def test_who_does_not_open_a_stream_in_time_is_closed(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--handshake-timeout=300ms") as service:
            host, _, port = (
                service.urls[0].removeprefix("ws://").removesuffix("/xmpp-websocket").rpartition(":")
            )
            reader, writer = await asyncio.open_connection(host, int(port))
            client = await service.client()
            opened = await service.client()
            await opened.open()
            code, heard = await client.closed()
            assert code == 1008
            assert "connection-timeout" in "".join(heard)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
            await chat.until(lambda: len(service.gateways[0].connections) == 1)
            assert service.gateways[0].counts.closes == {"handshake_timeout": 2}

    chat.run(main)


def test_quiet_clients_are_pinged_and_dumb_ones_count_as_silent(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--ping-interval=300ms", "--silent-intervals=2") as service:
            gateway = service.gateways[0]
            await (await service.client()).open()
            dumb = await service.client()
            await dumb.open()
            dumb.ws.transport.pause_reading()
            await chat.until(lambda: gateway.snapshot().silent_connections == 1)
            assert gateway.snapshot().open_connections == 2

    chat.run(main)


def test_without_a_backend_the_pod_is_not_ready_and_says_so_to_clients(chat: SimpleNamespace) -> None:
    async def main() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            async with chat.service(backend=Address(*nobody.getsockname())) as service:
                assert (await service.admin("GET /readyz"))[0] == 503
                assert (await service.admin("GET /healthz"))[0] == 200
                client = await service.client()
                await client.say(chat.OPEN)
                code, heard = await client.closed()
                assert code == 1011
                assert "remote-connection-failed" in "".join(heard)

    chat.run(main)


def test_a_backend_that_stops_says_goodbye_through_the_gateway(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann = await service.user("ann")
            await chat.until(lambda: service.gateways[0].is_ready)
            await service.server.stop()
            code, heard = await ann.closed()
            assert code == 1012
            assert "system-shutdown" in "".join(heard)
            late = await service.client()
            await late.say(chat.OPEN)
            await late.closed()
            await chat.until(lambda: not service.gateways[0].is_ready)

    chat.run(main)


def test_a_client_that_does_not_read_holds_up_nobody_else_and_loses_nothing(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service(gateways=2) as service:
            slow, bob, ann = (
                await service.user("slow"),
                await service.user("bob"),
                await service.user("ann", 1),
            )
            slow.ws.transport.pause_reading()
            body = "x" * 60_000
            for _ in range(30):
                await ann.message(slow.jid, body)
            await ann.message(bob.jid, "still here")
            assert "still here" in await bob.hear()
            slow.ws.transport.resume_reading()
            for _ in range(30):
                assert body in await slow.hear()

    chat.run(main)


def test_logins_beyond_the_limit_wait_their_turn(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--logins-per-s=20") as service:
            loop = asyncio.get_running_loop()
            start_s = loop.time()
            await asyncio.gather(*(service.user(f"u{number}") for number in range(6)))
            assert loop.time() - start_s >= 5 / 20

    chat.run(main)


def test_a_backend_of_nonsense_ends_the_stream_and_harms_nobody_else(chat: SimpleNamespace) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async def main() -> None:
        nonsense = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with chat.service(backend=Address(*nonsense.sockets[0].getsockname())) as service:
            client = await service.client()
            await client.say(chat.OPEN)
            code, heard = await client.closed()
            assert code == 1011
            assert "internal-server-error" in "".join(heard)
        nonsense.close()

    chat.run(main)


def test_a_domain_that_is_not_served_is_refused(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            client = await service.client()
            await client.say(f'<open xmlns="{chat.FRAMING}" to="elsewhere.example" version="1.0"/>')
            _, heard = await client.closed()
            assert "host-unknown" in "".join(heard)

    chat.run(main)


def test_a_cut_client_without_stream_management_is_gone_at_once(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann, bob = await service.user("ann"), await service.user("bob")
            ann.ws.transport.abort()
            with pytest.raises(ConnectionClosed):
                await ann.ws.recv()
            await chat.until(lambda: len(service.gateways[0].connections) == 1)
            await bob.iq("get", '<ping xmlns="urn:xmpp:ping"/>')
            await bob.message(ann.jid, "?")
            assert "service-unavailable" in await bob.hear()
            assert service.gateways[0].counts.closes == {"lost": 1}

    chat.run(main)
