"""slixmpp against the embedded XMPP server, over TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from chatserver.options import Options
from chatserver.xmppd.server import Server

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError

WAIT_S = 10


@contextlib.asynccontextmanager
async def server(options: Options) -> AsyncIterator[tuple[str, int]]:
    running = Server(options, asyncio.get_running_loop())
    address = await running.start()
    try:
        yield address.host, address.port
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def client(
    address: tuple[str, int], jid: str, password: str, *plugins: str
) -> AsyncIterator[ClientXMPP]:
    xmpp = ClientXMPP(jid, password)
    xmpp.enable_direct_tls = xmpp.enable_starttls = False
    xmpp.enable_plaintext = True
    xmpp.plugin["feature_mechanisms"].unencrypted_plain = True
    xmpp.plugin["feature_mechanisms"].unencrypted_scram = True
    for plugin in plugins:
        xmpp.register_plugin(plugin)
    online = expect(xmpp, "session_start")
    xmpp.connect(*address)
    await online
    xmpp.send_presence()
    await xmpp.get_roster()
    try:
        yield xmpp
    finally:
        await xmpp.disconnect(wait=1)


def expect(xmpp: ClientXMPP, event: str) -> Awaitable[Any]:
    """The next such event, from now on."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    xmpp.add_event_handler(event, future.set_result, disposable=True)
    return asyncio.wait_for(future, WAIT_S)


def run(main: object) -> None:
    """slixmpp wants asyncio's own loop."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(main(), 60))  # type: ignore[operator]


def test_two_users_log_in_ping_and_talk(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with (
            server(chat.options("--password=secret")) as address,
            client(address, "ann@chat.local", "secret", "xep_0199", "xep_0030") as ann,
            client(address, "bob@chat.local/desk", "secret") as bob,
        ):
            assert await ann.plugin["xep_0199"].ping(JID("chat.local")) < WAIT_S
            info = await ann.plugin["xep_0030"].get_info(JID("chat.local"))
            assert ("server", "im", None, "Drainbow chat") in info["disco_info"]["identities"]
            heard = expect(bob, "message")
            ann.send_message(JID("bob@chat.local"), "hi & <bye>")
            message = await heard
            assert (message["body"], message["from"]) == ("hi & <bye>", ann.boundjid)
            with pytest.raises(IqError) as refused:
                await ann.plugin["xep_0199"].send_ping(JID("zed@chat.local/nowhere"))
            assert refused.value.condition == "service-unavailable"

    run(main)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS"])
def test_every_mechanism_logs_in(chat: SimpleNamespace, mechanism: str) -> None:
    async def main() -> None:
        async with server(chat.options("--password=secret")) as address:
            xmpp = ClientXMPP(
                "chat.local" if mechanism == "ANONYMOUS" else "ann@chat.local", "secret", sasl_mech=mechanism
            )
            xmpp.enable_direct_tls = xmpp.enable_starttls = False
            xmpp.enable_plaintext = True
            xmpp.plugin["feature_mechanisms"].unencrypted_plain = True
            xmpp.plugin["feature_mechanisms"].unencrypted_scram = True
            online = expect(xmpp, "session_start")
            xmpp.connect(*address)
            await online
            assert xmpp.boundjid.domain == "chat.local"
            await xmpp.disconnect(wait=1)

    run(main)


def test_a_room_is_joined_heard_and_left(chat: SimpleNamespace) -> None:
    async def main() -> None:
        room = JID("lobby@conference.chat.local")
        async with (
            server(chat.options()) as address,
            client(address, "ann@chat.local", "x", "xep_0045") as ann,
            client(address, "bob@chat.local", "x", "xep_0045") as bob,
        ):
            await ann.plugin["xep_0045"].join_muc_wait(room, "Ann", timeout=WAIT_S)
            await bob.plugin["xep_0045"].join_muc_wait(room, "Bob", timeout=WAIT_S)
            assert set(bob.plugin["xep_0045"].get_roster(room)) == {"Ann", "Bob"}
            heard = [expect(user, "groupchat_message") for user in (ann, bob)]
            ann.send_message(room, "all", mtype="groupchat")
            assert [(await each)["mucnick"] for each in heard] == ["Ann", "Ann"]
            left = expect(ann, "muc::lobby@conference.chat.local::got_offline")
            bob.plugin["xep_0045"].leave_muc(room, "Bob")
            assert (await left)["from"].resource == "Bob"

    run(main)


def test_a_cut_client_resumes_its_session(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with (
            server(chat.options()) as address,
            client(address, "ann@chat.local", "x", "xep_0198") as ann,
            client(address, "bob@chat.local", "x") as bob,
        ):
            while not ann.plugin["xep_0198"].enabled_in:
                await asyncio.sleep(0.01)
            jid = ann.boundjid
            resumed, heard = expect(ann, "session_resumed"), expect(ann, "message")
            ann.abort()
            bob.send_message(jid, "while you were out")
            ann.connect(*address)
            await resumed
            assert (await heard)["body"] == "while you were out"
            assert ann.boundjid == jid

    run(main)
