"""A run's loop and its sampler, over a world and users that are stand-ins."""

from __future__ import annotations

import pytest

from deployer.clusters import ClusterUnreachable
from deployer.fleet import Count, Fleet, Kind, Limits, Outcome, Request
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.settings import Behaviour
from scenarios import real
from scenarios.errors import OutOfReach
from scenarios.interrupts import Interrupts
from scenarios.load import Load
from scenarios.progress import Silent
from scenarios.real import Moment, Sampler, run_real
from scenarios.worlds import Event, Front, Harvest
from tests.end_to_end.conftest import wait_until


class World:
    """Whatever is asked for is done at once; `trouble` holds what the next looks raise."""

    name = "stand-in"

    def __init__(self):
        self.requests = [Request(0, "aaaaaa", Kind.INITIAL, 0.0, Outcome.DONE)]
        self.trouble: list[Exception] = []
        self.seen = 0  # requests at the last look

    def start(self):
        return Front("chat", 1)

    def observe(self):
        self.seen = len(self.requests)
        return Fleet("chat", Limits(1), requests=tuple(self.requests))

    def request(self, release, kind):
        if self.trouble:
            raise self.trouble.pop()
        self.requests.append(Request(len(self.requests), release, kind, 0.0, Outcome.DONE))
        return len(self.requests) - 1

    def inject(self, kind, target, duration_s):
        return [Event(1.0, kind, target)]

    def supervise(self):
        return ()

    def sample(self):
        if self.trouble:
            raise self.trouble.pop()
        return {"pod": Count(3), "silent": None}

    def harvest(self):
        return Harvest()

    def close(self):
        pass


class Users(Load):
    """They are online at once."""

    latest, all_online, exit_code = {}, True, None

    def start(self, front):
        pass

    def zero(self, zero_s):
        return zero_s

    def read(self):
        pass

    def stop(self, patience_s=20.0):
        pass

    def rows(self):
        return ()

    def last_words(self):
        return ""


@pytest.mark.parametrize("error", [ClusterUnreachable("too many requests"), OutOfReach("no right to list")])
def test_sampling_goes_on_after_the_cluster_could_not_be_asked(error):
    world = World()
    world.trouble.append(error)
    with Sampler(world, 0.001) as sampler:
        wait_until(lambda: sampler.rows)
    assert not world.trouble
    assert {row[1:] for row in sampler.rows} == {("pod", 3)}


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self):
        self.now_s = 1000.0

    def time(self):
        return self.now_s

    monotonic = time

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def live(tmp_path, monkeypatch):
    """Lives through an agenda of ten seconds in a world."""
    monkeypatch.setattr(real, "time", Clock())

    def go(world, *moments):
        users = Users(Behaviour(Fixed(1)), 7, tmp_path)
        return run_real(world, users, moments, 10.0, Silent(), Interrupts())

    return go


def test_a_rollback_without_a_release_asks_for_the_one_that_served_before(live):
    world = World()
    raw = live(world, Moment(2.0, "deploy", "bbbbbb"), Moment(4.0, "rollback"))
    assert [(each.release, each.kind) for each in world.requests[1:]] == [
        ("bbbbbb", Kind.DEPLOY),
        ("aaaaaa", Kind.ROLLBACK),
    ]
    assert raw.notes == []


def test_a_request_is_looked_at_once_it_is_made_for_the_cluster_may_be_gone_then(live, monkeypatch):
    world = World()
    monkeypatch.setattr(real, "_show", lambda *_: None)  # no other look
    live(world, Moment(2.0, "deploy", "bbbbbb"))
    assert world.seen == 2


def test_a_deploy_that_the_cluster_cannot_hear_is_asked_for_again(live):
    world = World()
    world.trouble.append(ClusterUnreachable("away"))
    world.sample = dict  # type: ignore[method-assign]  # the trouble is for the request
    assert live(world, Moment(2.0, "deploy", "bbbbbb")).notes == []
    assert [each.release for each in world.requests] == ["aaaaaa", "bbbbbb"]


def test_a_deploy_that_the_cluster_never_hears_is_left_out_and_said_so(live):
    world = World()
    world.trouble += [ClusterUnreachable("away")] * 100
    world.sample = dict  # type: ignore[method-assign]
    [note] = live(world, Moment(2.0, "deploy", "bbbbbb")).notes
    assert "deploy bbbbbb" in note
    assert "never came about" in note


def test_users_who_never_come_online_end_the_run_with_what_they_said_last(live, monkeypatch):
    monkeypatch.setattr(Users, "all_online", False)
    monkeypatch.setattr(Users, "last_words", lambda _: "worker 1 waits")
    with pytest.raises(OutOfReach, match=r"only 0 of 1 users are online: worker 1 waits; see load\.log"):
        live(World())


def test_a_run_begins_when_its_users_can_be_told_so(live, monkeypatch):
    answers = iter([None] * 20)
    monkeypatch.setattr(Users, "zero", lambda _, zero_s: next(answers, zero_s))
    raw = live(World(), Moment(2.0, "deploy", "bbbbbb"))
    assert raw.zero_s == pytest.approx(1020.5)
    assert raw.end_s - raw.zero_s == pytest.approx(10.0)


def test_a_run_whose_users_cannot_be_told_that_it_begins_ends_with_one_line(live, monkeypatch):
    monkeypatch.setattr(Users, "zero", lambda *_: None)
    with pytest.raises(OutOfReach, match="for 90 s the users could not be told when time zero is"):
        live(World())


def test_a_fault_is_an_event(live):
    assert (
        Event(1.0, "kill_pod", "random")
        in live(World(), Moment(2.0, "fault", "", "random", 0.0, "kill_pod")).events
    )
