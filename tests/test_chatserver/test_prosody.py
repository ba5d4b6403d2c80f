"""The gateway in front of Prosody instead of the embedded server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatserver.options import Address

pytestmark = pytest.mark.skipif(shutil.which("prosody") is None, reason="Prosody is not installed")

CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}"
log = {{ {{ levels = {{ min = "warn" }}, to = "file", filename = "{folder}/prosody.log" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
modules_enabled = {{ "saslauth", "roster", "disco", "ping", "presence", "message", "iq", "c2s", "smacks" }}
modules_disabled = {{ "s2s", "tls", "posix" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
VirtualHost "chat.local"
    authentication = "internal_plain"
Component "conference.chat.local" "muc"
    muc_room_locking = false
"""


@contextlib.asynccontextmanager
async def prosody(folder: Path) -> AsyncIterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    config = folder / "prosody.cfg.lua"
    config.write_text(CONFIG.format(folder=folder, port=port))
    for name in ("ann", "bob"):
        accounts = folder / "chat%2elocal" / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{name}.dat").write_text('return { ["password"] = "pw" };')
    process = await asyncio.create_subprocess_exec("prosody", "--config", str(config), "-F")
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, (folder / "prosody.log").read_text()
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield Address("127.0.0.1", port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def test_users_of_prosody_log_in_talk_and_meet(chat: SimpleNamespace, tmp_path: Path) -> None:
    async def main() -> None:
        async with prosody(tmp_path) as address, chat.service(gateways=2, backend=address) as service:
            ann, bob = await service.user("ann", 0), await service.user("bob", 1)
            await ann.message(bob.jid, "to you")
            assert "<body>to you</body>" in await bob.hear_until("<message")
            await bob.message("ann@chat.local", "to you too")
            assert "<body>to you too</body>" in await ann.hear_until("<message")
            room = "lobby@conference.chat.local"
            await ann.join(room, "Ann")
            await bob.join(room, "Bob")
            await bob.message(room, "all", "groupchat")
            for user in (ann, bob):
                await user.hear_until("<body>all</body>")
            assert 'resume="true"' in await ann.ask('<enable xmlns="urn:xmpp:sm:3" resume="true"/>')
            await ann.say(f'<close xmlns="{chat.FRAMING}"/>')
            assert (await ann.closed())[0] == 1000

    chat.run(main)
