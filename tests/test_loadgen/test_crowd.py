"""Whole crowds in worlds of any kind: invariants of the rows, and known answers."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.behaviour.arrivals import Fixed, Poisson, Trace
from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, Reason
from loadgen.behaviour.backoff import Backoff, Immediate, Reconnect
from loadgen.behaviour.crowd import Crowd, Share
from loadgen.behaviour.errors import BadSettingError
from loadgen.behaviour.place import Connect, Leave, OutOfOrderError, Send, Step
from loadgen.behaviour.sessions import Exponential, Forever, Session, Weibull
from loadgen.behaviour.settings import Behaviour


@dataclass
class World:
    """Everything that a network and servers may do to a crowd, at random times."""

    crowd: Crowd
    rng: Random
    latency_s: float = 0.01
    refuse_ratio: float = 0.0
    silent_ratio: float = 0.0  # attempts that nobody ever answers
    cut_mean_s: float = math.inf
    rows: list[Attempt] = field(default_factory=list)
    online_s: float = 0.0  # user seconds online
    now_s: float = 0.0
    _events: list[tuple[float, int, Callable[[], list[Step]]]] = field(default_factory=list)
    _connection: dict[int, int] = field(default_factory=dict)
    _count: int = 0

    def run(self, until_s: float, zero_s: float | None = 0.0, start_s: float = 0.0) -> list[Attempt]:
        self.now_s = start_s
        self.crowd.start(start_s)
        if zero_s is not None:
            self._at(zero_s, self._zero)
        while True:
            due_s = self.crowd.due_s
            event_s = self._events[0][0] if self._events else math.inf
            t_s = min(due_s, event_s)
            if t_s > until_s:
                break
            if t_s > self.now_s:
                self.online_s += self.crowd.online * (t_s - self.now_s)
                self.now_s = t_s
            self._carry_out(heappop(self._events)[2]() if event_s <= due_s else self.crowd.due(t_s))
        self.online_s += self.crowd.online * (until_s - self.now_s)
        self.rows += self.crowd.end(until_s)
        return self.rows

    def _zero(self) -> list[Step]:
        self.crowd.zero(self.now_s)
        return []

    def _at(self, t_s: float, work: Callable[[], list[Step]]) -> None:
        self._count += 1
        heappush(self._events, (t_s, self._count, work))

    def _carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Attempt):
                self.rows.append(step)
            elif isinstance(step, Connect):
                assert step.place not in self._connection, "one connection at most per place"
                self._count += 1
                self._connection[step.place] = self._count
                self._connect(step.place, self._count)
            elif isinstance(step, Leave):
                del self._connection[step.place]
            else:
                self._deliver(step)

    def _deliver(self, send: Send) -> None:
        there = self._connection.get(send.to_place)

        def arrive() -> list[Step]:
            if self._connection.get(send.to_place) == there:
                self.crowd.received(send.message, self.now_s)
            return []

        self._at(self.now_s + self.latency_s, arrive)

    def _connect(self, place: int, connection: int) -> None:
        def later(wait_s: float, work: Callable[[], list[Step]]) -> None:
            self._at(self.now_s + wait_s, lambda: work() if self._connection.get(place) == connection else [])

        def gone(steps: list[Step]) -> list[Step]:
            del self._connection[place]
            return steps

        def connected() -> list[Step]:
            later(self.latency_s, opened)
            return self.crowd.connected(place, self.now_s)

        def opened() -> list[Step]:
            later(self.latency_s, lambda: self.crowd.ready(place, self.now_s))
            if self.cut_mean_s < math.inf:
                later(
                    self.rng.expovariate(1 / self.cut_mean_s),
                    lambda: gone(self.crowd.lost(place, self.now_s, ClosedBy.NETWORK)),
                )
            return self.crowd.opened(place, self.now_s, "abc123", "pod-1")

        fate = self.rng.random()
        if fate < self.refuse_ratio:
            later(self.latency_s, lambda: gone(self.crowd.failed(place, self.now_s, Failure.REFUSED)))
        elif fate >= self.refuse_ratio + self.silent_ratio:
            later(self.latency_s, connected)


def by_user(rows: list[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in rows:
        found[row.user].append(row)
    return {user: sorted(mine, key=lambda row: row.attempt) for user, mine in found.items()}


worlds = st.fixed_dictionaries(
    {
        "refuse_ratio": st.sampled_from([0.0, 0.3, 0.6]),
        "silent_ratio": st.sampled_from([0.0, 0.2]),
        "cut_mean_s": st.sampled_from([1.0, 5.0, math.inf]),
    }
)
sessions = st.sampled_from([Exponential(4.0), Weibull(6.0, 4.0), Forever()])
policies = st.sampled_from([Immediate(), Immediate(3), Backoff(), Backoff(0.5, 4.0, "decorrelated", 4)])


@given(
    seed=st.integers(0, 2**32), population=st.sampled_from([Fixed(5), Poisson(1.0)]),
    session=sessions, policy=policies, world=worlds,
)  # fmt: skip
def test_rows_tell_a_consistent_story_in_any_world(
    seed: int,
    population: Fixed | Poisson,
    session: Session,
    policy: Reconnect,
    world: dict[str, float],
) -> None:
    behaviour = Behaviour(population, session, policy, connect_timeout_s=2.0, messages_per_min=30.0)
    crowd = Crowd(behaviour, seed)
    rows = World(crowd, Random(seed), **world).run(20.0, zero_s=1.0)
    assert crowd.due_s == math.inf
    for mine in by_user(rows).values():
        assert [row.attempt for row in mine] == list(range(1, len(mine) + 1))
        opened = False
        for row in mine:
            times = [
                t for t in (row.t_request_s, row.t_open_s, row.t_ready_s, row.t_close_s) if t is not None
            ]
            assert times == sorted(times)
            assert row.reason is (Reason.RECONNECT if opened else Reason.ARRIVAL)
            opened = opened or row.t_open_s is not None
            assert (row.t_close_s is None) is (row.closed_by is ClosedBy.RUN_END)
            assert (row.release is None) is (row.t_open_s is None)
            assert 0 <= row.messages_lost <= row.messages_sent
        for row, following in itertools.pairwise(mine):
            assert row.t_close_s is not None
            assert row.closed_by is not ClosedBy.USER or row.failure is not None
            assert following.t_request_s >= row.t_close_s
        failed = [row.t_ready_s is None for row in mine]
        if policy.give_up is not None:
            assert "0" * (policy.give_up + 1) not in "".join("0" if one else "1" for one in failed)


@given(seed=st.integers(0, 2**32), session=sessions, policy=policies, world=worlds)
def test_a_fixed_population_keeps_its_size(
    seed: int, session: Session, policy: Reconnect, world: dict[str, float]
) -> None:
    behaviour = Behaviour(Fixed(4), session, policy, connect_timeout_s=2.0, messages_per_min=0.0)
    rows = World(Crowd(behaviour, seed), Random(seed), **world).run(20.0, zero_s=1.0)
    first: dict[int, dict[int, float]] = defaultdict(dict)
    last: dict[tuple[int, int], float] = {}
    for user, mine in by_user(rows).items():
        place, occupant = (int(part) for part in user.removeprefix("u").split("-"))
        first[place][occupant] = mine[0].t_request_s
        if mine[-1].t_close_s is not None:
            last[place, occupant] = mine[-1].t_close_s
    assert set(first) == {0, 1, 2, 3}
    for place, came in first.items():
        assert sorted(came) == list(range(len(came)))
        for occupant in range(1, len(came)):
            assert came[occupant] >= last[place, occupant - 1]


@given(seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(seed: int) -> None:
    behaviour = Behaviour(Fixed(3), Exponential(4.0), Backoff())

    def play(crowd_seed: int) -> list[Attempt]:
        return World(Crowd(behaviour, crowd_seed), Random(1), cut_mean_s=3.0).run(10.0)

    assert play(seed) == play(seed)
    assert play(seed) != play(seed + 1)


def test_sessions_do_not_depend_on_what_the_world_does() -> None:
    behaviour = Behaviour(Fixed(20), Weibull(6.0, 4.0), Backoff(0.1, 0.1), messages_per_min=0.0)

    def ends(cut_mean_s: float) -> dict[str, float]:
        rows = World(Crowd(behaviour, 7), Random(1), cut_mean_s=cut_mean_s).run(30.0)
        return {
            row.user: row.t_close_s
            for row in rows
            if row.closed_by is ClosedBy.USER and row.t_close_s is not None
        }

    calm, stormy = ends(math.inf), ends(2.0)
    assert len(calm) > 80
    both = calm.keys() & stormy.keys()
    assert len(both) > 40
    assert {user: calm[user] for user in both} == pytest.approx({user: stormy[user] for user in both})


def test_the_ramp_takes_its_time_and_time_zero_finds_everybody_online() -> None:
    crowd = Crowd(Behaviour(Fixed(50), Weibull(22.0, 4.0), ramp_per_s=10.0, messages_per_min=0.0), 7)
    rows = World(crowd, Random(1)).run(0.0, zero_s=None, start_s=-6.0)
    assert [row.t_request_s for row in by_user(rows)["u0-0"]] == [-6.0]
    assert sorted(row.t_request_s for row in rows) == pytest.approx([-6.0 + n / 10 for n in range(50)])
    assert {row.closed_by for row in rows} == {ClosedBy.RUN_END}


def test_who_is_online_at_zero_burns_down_with_the_residual_survival() -> None:
    session, count = Weibull(22.0, 4.0), 4000
    behaviour = Behaviour(Fixed(count), session, ramp_per_s=1e6, messages_per_min=0.0)
    rows = World(Crowd(behaviour, 7), Random(1)).run(30.0, zero_s=0.5)
    for t_s in (3.0, 8.0, 14.0, 20.0):
        left = sum(
            row.user.endswith("-0") and (row.t_close_s is None or row.t_close_s - 0.5 > t_s) for row in rows
        )
        expected = count * session.residual_survival(t_s)
        assert abs(left - expected) < 4 * math.sqrt(count) / 2


def test_a_fixed_population_is_in_its_steady_state_from_zero_on() -> None:
    behaviour = Behaviour(Fixed(2000), Weibull(5.0, 4.0), ramp_per_s=1e6, messages_per_min=0.0)
    rows = World(Crowd(behaviour, 7), Random(1), latency_s=1e-6).run(11.0, zero_s=1.0)
    leaving = Counter(int(row.t_close_s) for row in rows if row.t_close_s is not None)
    for second in range(1, 11):  # count / mean a second, from the first second on
        assert leaving[second] == pytest.approx(400, abs=80)


def test_arrivals_obey_littles_law() -> None:
    behaviour = Behaviour(Poisson(20.0), Exponential(5.0), messages_per_min=0.0)
    crowd = Crowd(behaviour, 7)
    world = World(crowd, Random(1), latency_s=1e-6)
    world.run(400.0)
    filling = 20.0 * 5.0 * 5.0  # the crowd starts empty: λμ·μ user seconds are missing
    assert world.online_s == pytest.approx(20.0 * 5.0 * 400.0 - filling, rel=0.03)


def test_a_trace_brings_each_user_once_and_forgets_who_left() -> None:
    behaviour = Behaviour(Trace((1.0, 1.0, 2.5)), Weibull(1.0, 50.0), messages_per_min=0.0)
    crowd = Crowd(behaviour, 7)
    rows = World(crowd, Random(1)).run(10.0, zero_s=3.0)
    assert {row.user: row.t_request_s for row in rows} == {"u0-0": 4.0, "u1-0": 4.0, "u2-0": 5.5}
    assert len(rows) == 3
    tally = crowd.tally()
    assert (tally.online, tally.attempts) == (0, 3)
    assert crowd.all_online


def test_the_tally_counts_what_happened() -> None:
    behaviour = Behaviour(Fixed(10), Exponential(3.0), Backoff(0.1, 0.2), messages_per_min=0.0)
    crowd = Crowd(behaviour, 7)
    rows = World(crowd, Random(1), cut_mean_s=2.0).run(20.0)
    tally = crowd.tally()
    assert tally.attempts == len(rows)
    assert tally.reconnects == sum(row.reason is Reason.RECONNECT for row in rows) > 20
    assert tally.forced == sum(row.forced for row in rows) > 20


@given(cuts=st.lists(st.integers(0, 12), max_size=3), kind=st.sampled_from([Fixed(12), Poisson(3.0)]))
def test_shares_together_are_the_whole_population(cuts: list[int], kind: Fixed | Poisson) -> None:
    behaviour = Behaviour(kind, Exponential(3.0), messages_per_min=0.0)
    edges = [0, *sorted(cuts), 12]

    def rows(share: Share) -> list[Attempt]:
        return World(Crowd(behaviour, 7, share), Random(1)).run(8.0)

    whole = rows(Share(0, 12, 12))
    parts = [row for low, high in itertools.pairwise(edges) for row in rows(Share(low, high - low, 12))]
    assert len(whole) == len(parts)
    assert set(whole) == set(parts)


def test_a_share_outside_its_total_is_refused() -> None:
    with pytest.raises(BadSettingError, match=r"8 \+ 5 .* 12"):
        Share(8, 5, 12)


def test_places_can_be_added_and_removed() -> None:
    crowd = Crowd(Behaviour(Fixed(2), Forever(), messages_per_min=0.0), 7)
    crowd.start(0.0)
    assert crowd.add(5.0) == 2
    assert [step.user for step in crowd.due(5.0) if isinstance(step, Connect)] == ["u0-0", "u1-0", "u2-0"]
    crowd.connected(1, 5.0)
    crowd.opened(1, 5.0, "r", "p")
    crowd.ready(1, 5.0)
    assert [type(step) for step in crowd.remove(1, 6.0)] == [Leave, Attempt]
    assert crowd.tally().attempts == 3
    assert crowd.online == 0


def test_messages_to_and_from_who_is_cut_are_lost_and_others_arrive() -> None:
    behaviour = Behaviour(Fixed(20), Forever(), Backoff(0.1, 0.2), messages_per_min=120.0)
    slow = World(Crowd(behaviour, 7), Random(1), latency_s=0.2, cut_mean_s=5.0).run(40.0)
    assert sum(row.messages_lost for row in slow) > 20
    calm = World(Crowd(behaviour, 7), Random(1), latency_s=0.2).run(40.0)
    assert sum(row.messages_lost for row in calm) == 0
    assert sum(row.messages_sent for row in calm) == pytest.approx(20 * 2 * 39.4, rel=0.1)


def test_time_zero_comes_once() -> None:
    crowd = Crowd(replace(Behaviour(Fixed(1), Forever())), 7)
    crowd.start(0.0)
    crowd.zero(1.0)
    with pytest.raises(OutOfOrderError):
        crowd.zero(2.0)
