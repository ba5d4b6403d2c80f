"""All places of one crowd behind one clock hand: for drivers that want a single next moment to wake at."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How
from loadgen.behaviour.errors import require
from loadgen.behaviour.mailroom import Mailroom
from loadgen.behaviour.place import TRYING, Phase, Place, Step
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams


@dataclass(frozen=True)
class Share:
    """Which part of a population one process drives: places first_place … first_place + count − 1 of `total`.

    Of arrivals it drives those whose number modulo `total` is in that range.
    """

    first_place: int = 0
    count: int = 1
    total: int = 1

    def __post_init__(self) -> None:
        require(
            self.first_place >= 0 and self.count >= 0 and self.first_place + self.count <= self.total,
            f"a share of places {self.first_place} + {self.count} must lie within the total of {self.total}",
        )

    @classmethod
    def whole(cls, behaviour: Behaviour) -> Share:
        """Everybody."""
        population = behaviour.population
        return cls(0, population.count, population.count) if isinstance(population, Fixed) else cls()


@dataclass(frozen=True, slots=True)
class Tally:
    """A crowd at one moment, and what it has done so far."""

    online: int
    connecting: int
    offline: int  # waiting for a retry
    attempts: int
    reconnects: int  # attempts with reason reconnect
    forced: int  # connections that opened and were closed by someone else than the user
    by_release: Mapping[str, int] = field(default_factory=dict)  # users online


class Crowd:
    """The users of one share of a population.

    A driver calls `start`, later `zero`, reports what happens on each place's connection, carries out the
    commands that come back (they name their place), and calls `due` at `due_s`. Steps are as in `place`.
    """

    def __init__(self, behaviour: Behaviour, seed: int, share: Share | None = None) -> None:
        self.behaviour = behaviour
        self.share = share or Share.whole(behaviour)
        self._streams = Streams(seed)
        self._mail = Mailroom()
        self._places: dict[int, Place] = {}
        self._next_place = self.share.first_place
        self._zero_s: float | None = None
        self._arrivals: Iterator[tuple[int, float]] = iter(())
        self._arrival: tuple[int, float] = (-1, math.inf)  # the next one: number, world time
        self._heap: list[tuple[float, int, int]] = []  # (due, tie-breaker, place); stale entries stay
        self._pushed: dict[int, float] = {}
        self._order = itertools.count()
        self._past = Counter[str]()  # of places that are no more

    @property
    def due_s(self) -> float:
        """When `due` is to be called, infinite if time alone changes nothing."""
        heap = self._heap
        while heap and self._stale(heap[0]):
            heapq.heappop(heap)
        mail_s = self._mail.due_s
        return min(heap[0][0] if heap else math.inf, self._arrival[1], math.inf if mail_s is None else mail_s)

    @property
    def online(self) -> int:
        """Users logged in."""
        return self._mail.online

    @property
    def all_online(self) -> bool:
        """Every place of the share is occupied by a user who is logged in."""
        expected = self.share.count if isinstance(self.behaviour.population, Fixed) else 0
        return self._mail.online == len(self._places) >= expected

    def start(self, now_s: float) -> None:
        """A fixed population comes from now on, evenly spaced at the ramp's rate over all shares."""
        if isinstance(self.behaviour.population, Fixed):
            for _ in range(self.share.count):
                self.add(now_s + self._next_place / self.behaviour.ramp_per_s)

    def add(self, begin_s: float) -> int:
        """One more place, occupied from `begin_s` on; returns its index."""
        index, self._next_place = self._next_place, self._next_place + 1
        self._put(
            Place(index, self.behaviour, self._streams, self._mail, begin_s=begin_s, zero_s=self._zero_s)
        )
        return index

    def remove(self, place: int, t_s: float) -> list[Step]:
        """One place less: who is there leaves."""
        found = self._places[place]
        steps = found.leave(t_s)
        self._forget(found)
        return steps

    def zero(self, t_s: float) -> None:
        """Time zero: residual lives, or arrivals, run from here. Raises OutOfOrderError the second time."""
        for place in self._places.values():
            place.zero(t_s)
            self._schedule(place)
        self._zero_s = t_s
        population = self.behaviour.population
        if not isinstance(population, Fixed) and self.share.count:
            numbered = enumerate(population.times(self._streams["arrivals"]))
            share = self.share
            self._arrivals = (
                (number, t_s + at_s)
                for number, at_s in numbered
                if share.first_place <= number % share.total < share.first_place + share.count
            )
            self._next_arrival()

    def connected(self, place: int, t_s: float) -> list[Step]:
        """As `Place.connected`."""
        return self._told(place, self._places[place].connected(t_s))

    def opened(self, place: int, t_s: float, release: str | None, pod: str | None) -> list[Step]:
        """As `Place.opened`."""
        return self._told(place, self._places[place].opened(t_s, release, pod))

    def ready(self, place: int, t_s: float) -> list[Step]:
        """As `Place.ready`."""
        return self._told(place, self._places[place].ready(t_s))

    def failed(
        self,
        place: int,
        t_s: float,
        failure: Failure,
        how: How | None = None,
        close_code: int | None = None,
    ) -> list[Step]:
        """As `Place.failed`."""
        return self._told(place, self._places[place].failed(t_s, failure, how, close_code))

    def lost(
        self,
        place: int,
        t_s: float,
        closed_by: ClosedBy,
        how: How | None = None,
        close_code: int | None = None,
    ) -> list[Step]:
        """As `Place.lost`."""
        return self._told(place, self._places[place].lost(t_s, closed_by, how, close_code))

    def received(self, message: str, t_s: float) -> float | None:
        """As `Mailroom.received`: seconds under way, None for a message that is not known."""
        return self._mail.received(message, t_s)

    def due(self, now_s: float) -> list[Step]:
        """What time alone has brought by `now_s`, in the order of the moments for which it was intended."""
        steps: list[Step] = []
        while (due_s := self.due_s) <= now_s:
            if self._arrival[1] == due_s:
                self._arrive()
            elif self._heap and self._heap[0][0] == due_s:
                index = heapq.heappop(self._heap)[2]
                self._pushed.pop(index, None)
                steps += self._told(index, self._places[index].due(now_s))
            else:
                steps += self._mail.due(now_s)
        return steps

    def end(self, t_s: float) -> list[Attempt]:
        """The run is over: rows of all that is open, under way, or waited for its messages' fate."""
        rows: list[Step] = []
        for place in self._places.values():
            rows += place.end(t_s)
        self._heap.clear()
        self._arrival = (-1, math.inf)
        return [row for row in rows if isinstance(row, Attempt)] + self._mail.end(t_s)

    def tally(self) -> Tally:
        """The crowd now."""
        places = self._places.values()
        return Tally(
            online=self._mail.online,
            connecting=sum(place.phase in TRYING for place in places),
            offline=sum(place.phase is Phase.WAITING for place in places),
            attempts=self._past["attempts"] + sum(place.attempts for place in places),
            reconnects=self._past["reconnects"] + sum(place.reconnects for place in places),
            forced=self._past["forced"] + sum(place.forced for place in places),
            by_release=dict(Counter(place.release or "" for place in places if place.phase is Phase.ONLINE)),
        )

    def _arrive(self) -> None:
        number, at_s = self._arrival
        self._next_arrival()
        self._put(
            Place(
                number,
                self.behaviour,
                self._streams,
                self._mail,
                begin_s=at_s,
                zero_s=self._zero_s,
                replaced=False,
            )
        )

    def _next_arrival(self) -> None:
        self._arrival = next(self._arrivals, (-1, math.inf))

    def _told(self, index: int, steps: list[Step]) -> list[Step]:
        place = self._places[index]
        if place.phase is Phase.VACANT and place.begin_s == math.inf:
            self._forget(place)
        else:
            self._schedule(place)
        return steps

    def _put(self, place: Place) -> None:
        self._places[place.index] = place
        self._schedule(place)

    def _forget(self, place: Place) -> None:
        del self._places[place.index]
        self._pushed.pop(place.index, None)
        self._past.update(attempts=place.attempts, reconnects=place.reconnects, forced=place.forced)

    def _schedule(self, place: Place) -> None:
        due_s = place.due_s
        if due_s < math.inf and self._pushed.get(place.index) != due_s:
            self._pushed[place.index] = due_s
            heapq.heappush(self._heap, (due_s, next(self._order), place.index))

    def _stale(self, entry: tuple[float, int, int]) -> bool:
        place = self._places.get(entry[2])
        return place is None or place.due_s != entry[0]
