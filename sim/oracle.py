"""The exact crowd: every user is simulated alone, with the same state machine as a real one.

Slow and without any approximation of its own, it is what faster crowds are held against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import simpy

from deployer.fleet import Count, Release
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.attempts import Attempt, ClosedBy, Failure, How
from loadgen.behaviour.mailroom import Mailroom
from loadgen.behaviour.place import Connect, Leave, Phase, Place, Send, Step
from loadgen.behaviour.settings import Behaviour
from loadgen.behaviour.streams import Streams
from sim.clock import Call
from sim.crowd import Cut, Log
from sim.latencies import Latencies, syn_again_s
from sim.network import Answer, Door
from sim.pods import Limiter
from sim.setup import ServerSetup, Throttled
from sim.sockets import ENDS, SILENT_PINGS, TCP_GIVES_UP_S, Connection, Listener, User


class Oracle:
    """A `Crowd` of single users."""

    def __init__(
        self,
        env: simpy.Environment,
        behaviour: Behaviour,
        server: ServerSetup,
        latencies: Latencies,
        streams: Streams,
        no_endpoints: Throttled | None = None,
    ) -> None:
        self._env, self._behaviour, self._server, self._latencies = env, behaviour, server, latencies
        self._streams, self._door = streams, Door(streams["route"], no_endpoints)
        self._mail = Mailroom()
        self._users: list[User] = []
        self._pods: dict[str, Listener] = {}
        self._backend = Limiter(env, server.backend_logins_per_s, self._served, self._let_in)
        self._backend_back_s = -math.inf
        self._arrivals: Iterator[float] = iter(())
        self._zero_s = math.inf
        self._rows: list[Attempt] = []
        self.online = env.event()

    def start(self) -> None:
        """The fixed population comes, evenly spaced."""
        population = self._behaviour.population
        if not isinstance(population, Fixed) or population.count == 0:
            self.online.succeed()
            return
        for index in range(population.count):
            at_s = self._env.now + index / self._behaviour.ramp_per_s
            self._add(Place(index, self._behaviour, self._streams, self._mail, begin_s=at_s))

    def zero(self) -> None:
        """Residual lives run, or the first arrivals come."""
        self._zero_s = self._env.now
        for user in self._users:
            user.place.zero(self._zero_s)
            self._arm(user)
        population = self._behaviour.population
        if not isinstance(population, Fixed):
            self._arrivals = population.times(self._streams["arrivals"])
            self._next_arrival()

    def route(self, backends: tuple[str, ...]) -> None:
        """The proxy's table has changed."""
        self._door.backends = backends

    def listen(self, pod: str, release: Release, emptied: Callable[[], None]) -> None:
        """A pod accepts from now on, with an idle CPU and no connection."""
        self._pods[pod] = Listener(pod, release, emptied)

    def watch(self, pod: str) -> None:
        """`emptied` is called anyway."""

    def stop_listening(self, pod: str) -> None:
        """A pod's listener is closed; who waited in its backlog is reset."""
        listener = self._pods.get(pod)
        if listener:
            listener.listening = False
            for connection in tuple(listener.not_accepted):
                self._cut(connection, ClosedBy.NETWORK, How.RESET, None)

    def cut(self, pod: str, how: Cut) -> None:
        """Everything that a pod has accepted ends now."""
        listener = self._pods.get(pod)
        if listener:
            for connection in tuple(listener.open):
                self._cut(connection, *ENDS[how])

    def pace(self, pod: str, per_s: float, newcomers: bool) -> None:
        """Begin to ask a pod's clients to leave."""
        listener = self._pods.get(pod)
        if listener:
            listener.paces += 1
            if per_s:
                self._ask(listener, per_s, math.inf if newcomers else self._env.now, listener.paces)

    def lose_backend(self, until_s: float) -> None:
        """All that is accepted ends now, and each login that gets so far before the backend is back."""
        self._backend_back_s = max(self._backend_back_s, until_s)
        for pod in self._pods:
            self.cut(pod, Cut.BACKEND)

    def freeze(self, pod: str, until_s: float) -> None:
        """Its CPU has no time before then; each client looks for a sign of life within its keepalive."""
        listener = self._pods.get(pod)
        if listener is None:
            return
        listener.cpu.free_s = max(listener.cpu.free_s, until_s)
        listener.frozen_until_s = until_s
        rng = self._streams["peers"]
        for connection in listener.open:
            asks_s = rng.random() * self._behaviour.keepalive_s
            self._later(asks_s + self._behaviour.connect_timeout_s, self._unanswered, connection, listener)

    def _unanswered(self, connection: Connection, listener: Listener) -> None:
        """The client has waited for a sign of life."""
        if not connection.left and self._env.now < listener.frozen_until_s:
            self._lost(connection, ClosedBy.NETWORK, How.TIMEOUT, None)
            self._forget(connection)

    def ahead(self, until_s: float) -> None:
        """All of its events are SimPy's."""

    def tell(self) -> None:
        """Nothing: it tells by itself."""

    def count(self, pod: str) -> Count:
        """Connections that the pod has accepted; of these, the zombies that three pings have not reached."""
        listener = self._pods.get(pod)
        silent_since_s = self._env.now - SILENT_PINGS * self._server.ping_interval_s
        return Count(0) if listener is None else listener.count(silent_since_s)

    def counts(self, pods: Sequence[str]) -> Sequence[Count]:
        """As `count`, of many."""
        return [self.count(pod) for pod in pods]

    def open_connections(self, pods: Sequence[str]) -> Sequence[int]:
        """As `count`."""
        known = self._pods
        return [len(known[pod].open) if pod in known else 0 for pod in pods]

    def end(self) -> Log:
        """All rows in order of request."""
        now_s = self._env.now
        for user in self._users:
            self._keep(user.place.end(now_s))
        self._rows += self._mail.due(now_s)
        self._rows += self._mail.end(now_s)
        self._rows.sort(key=lambda row: (row.t_request_s, row.user, row.attempt))
        return Log(self._rows)

    # Users

    def _add(self, place: Place) -> None:
        user = User(place)
        self._users.append(user)
        self._arm(user)

    def _next_arrival(self) -> None:
        at_s = next(self._arrivals, None)
        if at_s is not None:
            Call(self._env, self._zero_s + at_s - self._env.now, self._arrive)

    def _arrive(self) -> None:
        place = Place(
            len(self._users),
            self._behaviour,
            self._streams,
            self._mail,
            begin_s=self._env.now,
            zero_s=self._zero_s,
            replaced=False,
        )
        self._add(place)
        self._next_arrival()

    def _arm(self, user: User) -> None:
        """Have the place called when its time has come."""
        due_s = user.place.due_s
        if due_s == user.timer_s:
            return
        if user.timer:
            user.timer.cancel()
        user.timer, user.timer_s = None, due_s
        if due_s < math.inf:
            user.timer = Call(self._env, due_s - self._env.now, partial(self._due, user))

    def _due(self, user: User) -> None:
        user.timer, user.timer_s = None, math.inf
        self._do(user, user.place.due(self._env.now))

    def _do(self, user: User, steps: Sequence[Step]) -> None:
        """Carry out what a place asks for, and have it called again when that is due."""
        for step in steps:
            if isinstance(step, Connect):
                user.connection = Connection(user)
                self._later(self._latencies.one_way_s, self._knock, user.connection, 0.0)
            elif isinstance(step, Send):
                self._send(user, step)
            elif isinstance(step, Leave):
                self._leave(user, step.silently)
            else:
                self._rows.append(step)
        self._arm(user)

    def _keep(self, steps: Sequence[Step]) -> None:
        self._rows += [step for step in steps if isinstance(step, Attempt)]

    def _later(self, delay_s: float, do: Callable[..., None], *args: object) -> None:
        Call(self._env, delay_s, partial(do, *args))

    def _leave(self, user: User, silently: bool) -> None:
        """The client's side of its connection ends; the server learns of it a moment later, or by its TCP."""
        connection, user.connection = user.connection, None
        if connection and not connection.left:
            connection.left = True
            if silently and connection.listener:
                connection.listener.zombies[connection] = self._env.now
                self._later(self._server.ping_interval_s + TCP_GIVES_UP_S, self._forget, connection)
                return
            self._later(self._latencies.one_way_s, self._forget, connection)

    # Servers

    def _knock(self, connection: Connection, waited_s: float) -> None:
        """A SYN reaches the proxy, so long after the first of its connection; nobody answered those before."""
        if connection.left:
            return
        listener = connection.listener
        if listener is None:
            found = self._door.knock(self._env.now)
            if isinstance(found, Answer):
                self._turned_away(connection, found, waited_s)
                return
            listener = self._pods.get(found)
        if listener is None or not listener.listening:
            # TCP connected to the proxy, which found nobody behind.
            self._later(self._latencies.one_way_s, self._failed, connection, Failure.HANDSHAKE, How.RESET)
            return
        connection.listener = listener
        if len(listener.not_accepted) >= self._server.backlog:
            self._knock_again(connection, waited_s)
            return
        listener.not_accepted[connection] = None
        now_s = self._env.now
        done_s = listener.cpu.serve(now_s, self._latencies.handshake_cpu_s)
        self._later(self._latencies.one_way_s, self._connected, connection)
        self._later(done_s - now_s, self._accept, connection, now_s)

    def _turned_away(self, connection: Connection, answer: Answer, waited_s: float) -> None:
        """There is no pod for this SYN. Where nothing is said the client may send another, or lose patience."""
        if answer is Answer.REFUSED:
            self._later(self._latencies.one_way_s, self._failed, connection, Failure.REFUSED)
        elif answer is Answer.SILENCE:
            self._knock_again(connection, waited_s)

    def _knock_again(self, connection: Connection, waited_s: float) -> None:
        """Nobody answers this SYN; the client's TCP sends another."""
        again_s = syn_again_s(waited_s, self._latencies.first_syn_again_s)
        self._later(again_s, self._knock, connection, waited_s + again_s)

    def _accept(self, connection: Connection, since_s: float) -> None:
        """The server's turn has come to this handshake."""
        listener = connection.listener
        assert listener is not None
        if connection not in listener.not_accepted:
            return
        del listener.not_accepted[connection]
        if connection.left:
            return
        now_s = self._env.now
        connection.accepted_s = now_s
        listener.open[connection] = None
        if now_s - since_s > self._server.handshake_timeout_s:
            self._cut(connection, ClosedBy.SERVER, How.EOF, None)
            return
        self._later(self._latencies.one_way_s, self._opened, connection, listener)

    def _log_in(self, connection: Connection, listener: Listener) -> None:
        """The login's expensive part reaches the server."""
        if not self._served(connection):
            return
        if self._env.now < self._backend_back_s:
            self._cut(connection, *ENDS[Cut.BACKEND])
        else:
            done_s = listener.cpu.serve(self._env.now, self._server.login_cpu_s)
            self._later(done_s - self._env.now, self._backend.enter, connection)

    def _let_in(self, connection: Connection) -> None:
        """The backend's turn has come to this login; what is left of it takes a fixed time."""
        self._later(self._latencies.login_network_s - self._latencies.one_way_s, self._ready, connection)

    def _served(self, connection: Connection) -> bool:
        """Whether the server still has this connection."""
        return connection.listener is not None and connection in connection.listener.open

    def _ask(self, listener: Listener, per_s: float, until_s: float, pace: int) -> None:
        """Ask the oldest concerned client to leave, and the next in its turn."""
        if pace != listener.paces:
            return
        oldest = next(iter(listener.open), None)
        if oldest is not None and oldest.accepted_s <= until_s:
            self._cut(oldest, *ENDS[Cut.SERVER])
        elif until_s < math.inf or not listener.listening:
            return
        self._later(1 / per_s, self._ask, listener, per_s, until_s, pace)

    def _cut(self, connection: Connection, closed_by: ClosedBy, how: How, close_code: int | None) -> None:
        """The server's side ends now, the client's a moment later."""
        connection.cut_s = self._env.now
        self._later(self._latencies.one_way_s, self._lost, connection, closed_by, how, close_code)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        """The server has it no more."""
        listener = connection.listener
        if listener is None:
            return
        listener.not_accepted.pop(connection, None)
        listener.zombies.pop(connection, None)
        if connection in listener.open:
            del listener.open[connection]
            connection.cut_s = min(connection.cut_s, self._env.now)
            if not listener.open:
                listener.emptied()

    # What clients see

    def _failed(self, connection: Connection, failure: Failure, how: How | None = None) -> None:
        if self._ends(connection):
            self._do(connection.user, connection.user.place.failed(self._env.now, failure, how))

    def _connected(self, connection: Connection) -> None:
        if not connection.left:
            self._do(connection.user, connection.user.place.connected(self._env.now))

    def _opened(self, connection: Connection, listener: Listener) -> None:
        if connection.left:
            return
        user = connection.user
        self._do(user, user.place.opened(self._env.now, listener.release, listener.pod))
        if user.connection is connection:
            self._later(self._latencies.one_way_s, self._log_in, connection, listener)

    def _ready(self, connection: Connection) -> None:
        if connection.left or not self._served(connection):
            return
        user = connection.user
        self._do(user, user.place.ready(self._env.now))
        population = self._behaviour.population
        everyone = isinstance(population, Fixed) and self._mail.online == population.count
        if everyone and not self.online.triggered:
            self.online.succeed()

    def _lost(self, connection: Connection, closed_by: ClosedBy, how: How, close_code: int | None) -> None:
        place = connection.user.place
        if not self._ends(connection):
            return
        now_s = self._env.now
        if place.phase in (Phase.CONNECTING, Phase.SHAKING):
            self._do(connection.user, place.failed(now_s, Failure.HANDSHAKE, how, close_code))
        else:
            self._do(connection.user, place.lost(now_s, closed_by, how, close_code))

    def _ends(self, connection: Connection) -> bool:
        """The client's side ends now, unless it has already."""
        if connection.left:
            return False
        connection.left = True
        if connection.user.connection is connection:
            connection.user.connection = None
        return connection.user.place.phase is not Phase.ENDED

    # Messages

    def _send(self, user: User, step: Send) -> None:
        """A message is under way: it arrives unless an end of its way is cut before it has passed there."""
        way, addressee = user.connection, self._users[step.to_place].connection
        if way is not None and addressee is not None:
            sent = (step.message, way, addressee, self._env.now)
            self._later(self._latencies.message_s, self._arrives, *sent)

    def _arrives(self, message: str, way: Connection, addressee: Connection, sent_s: float) -> None:
        now_s, hop_s = self._env.now, self._latencies.one_way_s
        if way.cut_s >= sent_s + hop_s and addressee.cut_s >= now_s - hop_s and not addressee.left:
            self._mail.received(message, now_s)
