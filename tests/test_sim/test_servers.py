"""What a simulated chat server does when it is told to end."""

import pytest
import simpy

from deployer.fleet import Count
from sim.crowd import Cut
from sim.pods import ChatServer, Phase
from sim.setup import Sigterm


class OnePod:
    """A crowd of nothing but a number of connections and a log."""

    def __init__(self, env, open_connections):
        self.env, self.open, self.log = env, open_connections, []

    def listen(self, pod, release, emptied):
        self.emptied = emptied

    def watch(self, pod):
        """It tells anyway."""

    def stop_listening(self, pod):
        self.log.append(("deaf", self.env.now))

    def cut(self, pod, how):
        self.log.append((how, self.env.now, self.open))
        self.open = 0

    def pace(self, pod, per_s, newcomers):
        self.log.append(("pace", self.env.now, per_s, newcomers))

    def count(self, pod):
        return Count(self.open)

    def last_leaves(self):
        self.open = 0
        self.emptied()


def ended(mode, linger_s=2.0, grace_s=30.0, open_connections=5, leave_at_s=None):
    """SIGTERM at 0; the crowd's log, and when the process exits."""
    env = simpy.Environment()
    crowd, exits = OnePod(env, open_connections), []
    server = ChatServer(env, "p", "r", mode, linger_s, 3.0, 0.02, crowd, lambda: exits.append(env.now))
    server.listen()
    assert server.ready
    server.sigterm(grace_s)
    assert not server.ready
    if leave_at_s is not None:
        env.timeout(leave_at_s).callbacks.append(lambda _: crowd.last_leaves())
    env.run()
    return crowd.log, exits


def test_close_lingers_and_then_closes_everything():
    assert ended(Sigterm.CLOSE) == ([("deaf", 2.0), (Cut.SERVER, 2.0, 5)], [2.02])


def test_close_serves_its_linger_even_when_it_is_empty():
    assert ended(Sigterm.CLOSE, open_connections=0)[1] == [2.02]


def test_hold_exits_when_the_last_has_left():
    log, exits = ended(Sigterm.HOLD, grace_s=3600.0, leave_at_s=100.0)
    assert log[0] == ("deaf", 2.0)
    assert log[-1] == (Cut.SERVER, 100.0, 0)
    assert exits == [100.02]


def test_hold_goes_on_accepting_through_its_linger():
    assert ended(Sigterm.HOLD, leave_at_s=0.5)[1] == [2.02]


def test_hold_closes_what_is_left_just_before_the_grace_ends():
    log, exits = ended(Sigterm.HOLD, grace_s=30.0)
    assert log[-1] == (Cut.SERVER, 28.5, 5)
    assert exits == [28.52]


def test_pace_asks_newcomers_too():
    log, _ = ended(Sigterm.PACE)
    assert log[0] == ("pace", 0.0, 3.0, True)


@pytest.mark.parametrize("mode", [Sigterm.CLOSE, Sigterm.HOLD, Sigterm.PACE])
@pytest.mark.parametrize("grace_s", [0.0, 0.1, 1.0, 1.6])
def test_a_short_grace_is_no_reason_to_hang(mode, grace_s):
    assert len(ended(mode, grace_s=grace_s)[1]) == 1


def test_a_killed_server_resets_its_connections_and_exits_once():
    env = simpy.Environment()
    crowd, exits = OnePod(env, 5), []
    server = ChatServer(env, "p", "r", Sigterm.CLOSE, 2.0, 3.0, 0.02, crowd, lambda: exits.append(env.now))
    server.listen()
    server.sigterm(30.0)
    server.kill()
    server.kill()
    env.run()
    assert crowd.log == [("deaf", 0), (Cut.POD_GONE, 0, 5)]
    assert exits == [0]
    assert server.phase is Phase.EXITED


def test_a_server_that_has_not_started_ends_at_once():
    env, exits = simpy.Environment(), []
    server = ChatServer(
        env, "p", "r", Sigterm.HOLD, 2.0, 3.0, 0.02, OnePod(env, 0), lambda: exits.append(env.now)
    )
    server.sigterm(30.0)
    assert exits == [0]


@pytest.mark.parametrize(("leaves_s", "exits_s"), [(1.0, 2.02), (50.0, 50.02)])
def test_a_deselected_server_leaves_when_it_is_empty_but_not_before_its_linger(leaves_s, exits_s):
    env, exits = simpy.Environment(), []
    crowd = OnePod(env, 5)
    server = ChatServer(env, "p", "r", Sigterm.CLOSE, 2.0, 3.0, 0.02, crowd, lambda: exits.append(env.now))
    server.listen()
    server.deselected()
    env.timeout(leaves_s).callbacks.append(lambda _: crowd.last_leaves())
    env.run()
    assert exits == [exits_s]
