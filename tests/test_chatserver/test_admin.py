"""The admin port, and what plain HTTP gets on the websocket port."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace


def test_a_paced_drain_asks_one_after_the_other_and_leaves_the_pod_ready(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service() as service:
            users = [await service.user(f"u{number}") for number in range(3)]
            await chat.until(lambda: service.gateways[0].is_ready)
            assert (await service.admin("POST /drain?per_s=10"))[0] == 202
            loop = asyncio.get_running_loop()
            start_s = loop.time()
            for user in users:
                code, heard = await user.closed()
                assert code == 1012
                assert "system-shutdown" in "".join(heard)
            assert loop.time() - start_s >= 0.15
            late = await service.user("late")
            assert (await service.admin("GET /readyz"))[0] == 200
            await late.iq("get", '<ping xmlns="urn:xmpp:ping"/>')
            assert service.gateways[0].counts.closes == {"drain": 3}

    chat.run(main)


def test_the_admin_port_keeps_its_contract(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--linger=0s") as service:
            ann = await service.user("ann")
            await chat.until(lambda: service.gateways[0].is_ready)
            assert await service.admin("GET /readyz") == (200, "ready\n")
            assert (await service.admin("GET /healthz"))[0] == 200
            _, metrics = await service.admin("GET /metrics")
            for line in (
                "chat_open_connections 1.0",
                "chat_silent_connections 0.0",
                "chat_logins_total 1.0",
                "chat_ready 1.0",
                'chat_connection_age_seconds_bucket{le="+Inf"} 1.0',
                "chat_session_seconds_count 0.0",
            ):
                assert line in metrics.splitlines()
            for request, status in (
                ("POST /drain?per_s=-1", 400),
                ("POST /drain?per_s=fast", 400),
                ("POST /drain?per_s=nan", 400),
                ("GET /drain", 405),
                ("GET /nothing", 404),
                ("GET //[", 400),
                ("nonsense", 400),
            ):
                assert (await service.admin(request))[0] == status, request
            assert (await service.admin("POST /deselected"))[0] == 202
            assert not service.gateways[0].finished.is_set()
            assert (await service.admin("DELETE /deselected"))[0] == 202
            assert (await service.admin("POST /deselected"))[0] == 202
            await ann.ws.close()
            await asyncio.wait_for(service.gateways[0].finished.wait(), 5)
            assert 'chat_closes_total{cause="client"} 1.0' in (await service.admin("GET /metrics"))[1]

    chat.run(main)


def test_quit_closes_everybody_and_finishes(chat: SimpleNamespace) -> None:
    async def main() -> None:
        async with chat.service("--on-sigterm=hold") as service:
            ann = await service.user("ann")
            assert (await service.admin("POST /quit"))[0] == 202
            assert (await ann.closed())[0] == 1012
            await asyncio.wait_for(service.gateways[0].finished.wait(), 5)
            assert (await service.admin("GET /readyz"))[0] == 503

    chat.run(main)


def test_the_page_and_the_way_to_the_websocket_are_served_and_are_no_connections(
    chat: SimpleNamespace,
) -> None:
    async def main() -> None:
        async with chat.service("--pod=pod-1", "--release=a1b2c3") as service:
            authority = service.urls[0].removeprefix("ws://").removesuffix("/xmpp-websocket")
            status, page = await chat.http(authority, "GET /")
            assert status == 200
            assert '{"pod": "pod-1", "release": "a1b2c3", "domain": "chat.local"}' in page
            for path in ("/.well-known/host-meta", "/.well-known/host-meta.json"):
                status, told = await chat.http(authority, f"GET {path}")
                assert (status, service.urls[0] in told) == (200, True)
            assert (await chat.http(authority, "GET /elsewhere"))[0] == 404
            assert (await chat.http(authority, "POST /"))[0] == 405
            assert (await chat.http(authority, "GET /xmpp-websocket"))[0] == 426
            await chat.until(lambda: not service.gateways[0].connections)

    chat.run(main)
