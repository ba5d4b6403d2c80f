"""Stream management through the gateway (XEP-0198)."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

SM = "urn:xmpp:sm:3"


async def enable(client: Any) -> str:
    heard = await client.ask(f'<enable xmlns="{SM}" resume="true"/>')
    assert 'resume="true"' in heard
    match = re.search(' id="([^"]+)"', heard)
    assert match is not None
    return match[1]


async def resume(client: Any, previous: str, handled: int) -> str:
    await client.open()
    await client.authenticate("ann")
    await client.open()
    return str(await client.ask(f'<resume xmlns="{SM}" previd="{previous}" h="{handled}"/>'))


def test_a_cut_session_is_resumed_through_another_gateway_and_loses_nothing(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service(gateways=2) as service:
            ann, bob = await service.user("ann", 0), await service.user("bob", 1)
            previous = await enable(ann)
            await bob.message(ann.jid, "one")
            await ann.hear_until("one")
            service.gateways[0].drain(1000)
            assert (await ann.closed())[0] == 1012
            await bob.message(ann.jid, "two")
            await bob.iq("get", '<ping xmlns="urn:xmpp:ping"/>', "chat.local")  # the message was handled
            again = await service.client(1)
            assert f'<resumed xmlns="{SM}" h="0" previd="{previous}"' in await resume(
                again, previous, handled=1
            )
            assert "two" in await again.hear()
            await bob.message(ann.jid, "three")
            assert "three" in await again.hear_until("three")

    chat.run(main)


def test_an_unknown_resumption_fails_and_binding_is_still_possible(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            client = await service.client()
            heard = await resume(client, "nothing", handled=0)
            assert "<failed " in heard
            assert "item-not-found" in heard
            assert (await client.bind()).startswith("ann@chat.local/")

    chat.run(main)


def test_a_session_that_nobody_resumes_sends_its_messages_back(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--resume-for=1s") as service:
            ann, bob = await service.user("ann"), await service.user("bob")
            await enable(ann)
            ann.ws.transport.abort()
            await chat.until(lambda: len(service.gateways[0].connections) == 1)
            await bob.message(ann.jid, "lost?")
            heard = await bob.hear()
            assert 'type="error"' in heard
            assert "service-unavailable" in heard

    chat.run(main)


def test_stream_management_answers_requests_at_once(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            ann = await service.user("ann")
            await enable(ann)
            await ann.iq("get", '<ping xmlns="urn:xmpp:ping"/>')
            assert 'h="1"' in await ann.ask(f'<r xmlns="{SM}"/>')
            await ann.say(f'<a xmlns="{SM}" h="7"/>')
            code, heard = await ann.closed()
            assert "undefined-condition" in "".join(heard)
            assert code == 1000

    chat.run(main)
