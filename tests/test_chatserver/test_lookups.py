"""Looking up the XMPP server's name, where the name server is silent: nothing waits for it but who asks."""

import asyncio
import socket
import threading

import pytest
import uvloop

from chatserver import backend as backend_module
from chatserver.backend import Backend


class Guest(asyncio.Protocol):
    """Leaves as soon as it is connected."""

    def connection_made(self, transport):
        transport.close()


class NameServer:
    """Answers with loopback's address once it may."""

    def __init__(self, patch):
        self.asked, self.may_answer, self.questions = threading.Event(), threading.Event(), 0
        self._real = socket.getaddrinfo
        patch.setattr(backend_module.socket, "getaddrinfo", self.answer)

    def answer(self, host, port, **options):
        self.questions += 1
        self.asked.set()
        assert self.may_answer.wait(30)
        if host != "xmppd":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self._real("127.0.0.1", port, **options)


@pytest.fixture
def names(monkeypatch):
    found = NameServer(monkeypatch)
    yield found
    found.may_answer.set()


@pytest.fixture
def runner():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as found:
        yield found


def test_a_process_that_ends_waits_for_no_lookup(names):
    async def watch():
        watching = asyncio.create_task(Backend(asyncio.get_running_loop(), "xmppd", 5222).watch())
        while not names.asked.is_set():
            await asyncio.sleep(0.005)
        watching.cancel()

    def whole():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watch())

    thread = threading.Thread(target=whole)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert not names.may_answer.is_set()


def test_many_who_log_in_share_one_lookup(names, runner):
    async def log_in():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Guest, "127.0.0.1", 0)
        backend = Backend(loop, "xmppd", server.sockets[0].getsockname()[1])
        users = [asyncio.create_task(backend.connect(Guest)) for _ in range(50)]
        await asyncio.sleep(0.01)
        names.may_answer.set()
        await asyncio.gather(*users)
        await asyncio.sleep(0.05)
        server.close()

    runner.run(log_in())
    assert names.questions == 1


def test_a_name_that_is_none_is_a_server_out_of_reach_and_is_looked_up_again(names, runner):
    async def look():
        names.may_answer.set()
        backend = Backend(asyncio.get_running_loop(), "nowhere", 5222)
        for _ in range(2):
            with pytest.raises(OSError, match="no such name"):
                await backend.connect(asyncio.Protocol)

    runner.run(look())
    assert names.questions == 2
