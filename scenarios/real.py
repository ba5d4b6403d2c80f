"""A scenario in a world of real pods under real users: one loop over an agenda of moments.

The same loop serves every real world; what differs stands behind `worlds.RealWorld`.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.clusters import ClusterUnreachable
from deployer.fleet import Fleet, Kind, PodState, Release
from deployer.requests import previous_release
from scenarios.errors import OutOfReach, Stop
from scenarios.interrupts import Interrupts
from scenarios.load import Load
from scenarios.progress import Progress, Snapshot
from scenarios.record import INTERRUPTED, RUN_END, RUN_START
from scenarios.worlds import Event, Harvest, RealWorld

READY_WITHIN_S = 180.0
"""The first release must be ready within this time; the machine may be slow, the cluster cold."""
ZERO_WITHIN_S = 90.0
"""All users are online, but those in a cluster whose API server is away cannot be told that the run begins."""
SOON_S = 0.5
"""Time zero is so long after it is told."""
TICK_S = 0.25
RETRY_S = 1.0
"""A deploy or fault that needs the API server while that is away is tried again after so long."""
FEW_PODS = 32
"""Up to so many pods are asked every second, more of them every five."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something the scenario does at a time after time zero."""

    at_s: float
    kind: str  # deploy | rollback | fault
    release: Release = ""  # of a rollback without one: the release that served before
    target: str = ""  # of a fault
    duration_s: float = 0.0
    fault: str = ""


@dataclass(slots=True)
class Raw:
    """What one real run gave, times in Unix seconds."""

    zero_s: float
    end_s: float
    interrupted: bool
    harvest: Harvest
    connections: Sequence[Mapping[str, Any]]
    samples: list[tuple[float, str, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what the tables do not say


class Sampler:
    """Asks every pod for its connections at a steady rate, in a thread of its own."""

    def __init__(self, world: RealWorld, every_s: float) -> None:
        self.rows: list[tuple[float, str, int]] = []
        self._world, self._every_s = world, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(max(next_s - time.monotonic(), 0.0)):
            next_s = max(next_s + self._every_s, time.monotonic())
            t_s = time.time()
            # whether the run goes on then is not for this thread to say
            with contextlib.suppress(ClusterUnreachable, OutOfReach):
                for pod, count in self._world.sample().items():
                    if count is not None:
                        self.rows.append((t_s, pod, count.open))


def run_real(
    world: RealWorld,
    load: Load,
    moments: Sequence[Moment],
    duration_s: float,
    show: Progress,
    interrupts: Interrupts,
) -> Raw:
    """Start the world and its users, live through the agenda, end everything; keeps what was measured.

    KeyboardInterrupt after the users have started ends the run early, with its record; earlier it goes on
    to the caller. Once anything is ended nothing interrupts any more. Raises Stop when the world or the load does not come up.
    """
    with contextlib.ExitStack() as at_end:
        at_end.callback(world.close)
        at_end.callback(load.stop)
        try:
            return _measure(world, load, moments, duration_s, show, interrupts)
        finally:
            interrupts.defer()


def _measure(
    world: RealWorld,
    load: Load,
    moments: Sequence[Moment],
    duration_s: float,
    show: Progress,
    interrupts: Interrupts,
) -> Raw:
    events: list[Event] = []
    order: list[tuple[float, int, Moment]] = []
    zero_s, interrupted = 0.0, False
    show.phase(f"starting {world.name}")
    front = world.start()
    interrupts.check()
    show.phase("waiting for the first release to be ready")
    _wait_until_selected(world, events, interrupts)
    load.start(front)
    with Sampler(world, 1.0 if len(world.observe().pods) <= FEW_PODS else 5.0) as sampler:
        try:
            show.phase(f"{load.population} users come online")
            _wait_until_online(world, load, show, duration_s, events, interrupts)
            zero_s = _begin(world, load, show, events, interrupts)
            events.append(Event(zero_s, RUN_START, ""))
            show.phase("measuring")
            order = [(moment.at_s, number, moment) for number, moment in enumerate(moments)]
            heapq.heapify(order)
            for moment in _agenda(order, zero_s, duration_s, world, load, show, events, interrupts):
                try:
                    events.extend(_do(world, moment, show, zero_s))
                except ClusterUnreachable:  # as a person would, try again
                    heapq.heappush(order, (time.time() - zero_s + RETRY_S, moments.index(moment), moment))
        except KeyboardInterrupt:
            interrupted = True
            show.note("interrupted: ending the run and keeping what was measured")
        interrupts.defer()
        end_s = time.time()
        zero_s = zero_s or end_s
        events.append(Event(end_s, INTERRUPTED if interrupted else RUN_END, ""))
        show.phase("collecting")
        load.stop()
    harvest = world.harvest()
    events.extend([*harvest.events, *load.events])
    notes = [] if interrupted else [_left_out(moment) for *_, moment in sorted(order)]
    return Raw(zero_s, end_s, interrupted, harvest, load.rows(), sampler.rows, events, [*notes, *load.notes])


def _begin(
    world: RealWorld, load: Load, show: Progress, events: list[Event], interrupts: Interrupts
) -> float:
    """Time zero: a moment after the users can be told of it, for until then nothing is measured."""
    deadline_s, said = time.monotonic() + ZERO_WITHIN_S, False
    while (zero_s := load.zero(time.time() + SOON_S)) is None:
        interrupts.check()
        events.extend(world.supervise())
        if load.exit_code is not None:
            raise Stop(f"the load generator ended early: {load.last_words()}")
        if time.monotonic() >= deadline_s:
            raise OutOfReach(f"for {ZERO_WITHIN_S:.0f} s the users could not be told when time zero is")
        if not said:
            show.note(f"waiting up to {ZERO_WITHIN_S:.0f} s: the users cannot be told when time zero is")
            said = True
        time.sleep(RETRY_S)
    return zero_s


def _left_out(moment: Moment) -> str:
    """Of a moment that is still to come when the run is over."""
    what = f"fault {moment.fault}" if moment.kind == "fault" else f"{moment.kind} {moment.release}".rstrip()
    return f"The {what} of {moment.at_s:g} s never came about: the cluster could not be asked until the end."


def _agenda(
    order: list[tuple[float, int, Moment]],
    zero_s: float,
    duration_s: float,
    world: RealWorld,
    load: Load,
    show: Progress,
    events: list[Event],
    interrupts: Interrupts,
) -> Iterator[Moment]:
    """Each moment of the heap when its time has come; in between, the processes are looked after and the
    picture drawn.
    """
    while (t_s := time.time() - zero_s) < duration_s:
        interrupts.check()
        if order and order[0][0] <= t_s:
            yield heapq.heappop(order)[2]
            continue
        events.extend(world.supervise())
        _show(world, load, show, t_s, duration_s)
        next_s = min(order[0][0] if order else duration_s, duration_s)
        time.sleep(max(min(TICK_S, next_s - t_s), 0.005))


def _do(world: RealWorld, moment: Moment, show: Progress, zero_s: float) -> Sequence[Event]:
    t_s = time.time() - zero_s
    if moment.kind == "fault":
        show.note(f"t={t_s:+.1f}s fault: {moment.fault} {moment.target}".rstrip())
        return world.inject(moment.fault, moment.target, moment.duration_s)
    kind = Kind.ROLLBACK if moment.kind == "rollback" else Kind.DEPLOY
    release = moment.release or previous_release(world.observe()) or ""
    deploy = world.request(release, kind)
    show.note(f"t={t_s:+.1f}s {kind} {deploy}: {release}")
    with contextlib.suppress(ClusterUnreachable):
        world.observe()  # so that the request is known even if nothing answers from now on
    return ()


def _wait_until_selected(world: RealWorld, events: list[Event], interrupts: Interrupts) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    reason = "its deployer has not begun"
    while time.monotonic() < deadline_s:
        interrupts.check()
        events.extend(world.supervise())
        with contextlib.suppress(ClusterUnreachable):
            fleet = world.observe()
            first = fleet.requests[0] if fleet.requests else None
            if first is not None and first.outcome is not None:
                if first.outcome == "done":
                    return
                raise OutOfReach(f"the first release did not start: {first.outcome}, {first.reason}")
            ready = sum(pod.state is PodState.READY for pod in fleet.pods)
            reason = f"{ready} of {fleet.limits.replicas} pods are ready"
        time.sleep(0.1)
    raise OutOfReach(
        f"the first release was not ready within {READY_WITHIN_S:.0f} s: {reason}; see the pods' logs"
    )


def _wait_until_online(
    world: RealWorld,
    load: Load,
    show: Progress,
    duration_s: float,
    events: list[Event],
    interrupts: Interrupts,
) -> None:
    deadline_s = time.monotonic() + load.ramp_s + 60.0
    while not load.all_online:
        interrupts.check()
        if load.exit_code is not None:
            raise Stop(f"the load generator ended early: {load.last_words()}")
        if time.monotonic() > deadline_s:
            seen = load.latest
            raise OutOfReach(
                f"after {load.ramp_s + 60:.0f} s only {seen.get('online', 0)} of {load.population} users are online: "
                f"{load.last_words()}; see {load.log.name} in the run's folder, whose name ends in .failed now"
            )
        events.extend(world.supervise())
        _show(world, load, show, -1.0, duration_s)
        time.sleep(0.05)


def _show(world: RealWorld, load: Load, show: Progress, t_s: float, duration_s: float) -> None:
    load.read()
    if load.exit_code is not None:
        raise Stop(f"the load generator ended early: {load.last_words()}")
    try:
        fleet: Fleet | None = world.observe()
    except ClusterUnreachable:
        fleet = None
    seen = load.latest
    states = [pod.state.value for pod in fleet.pods] if fleet else []
    show.update(
        Snapshot(
            t_s=t_s,
            duration_s=duration_s,
            online=seen.get("online", 0),
            connecting=seen.get("connecting", 0),
            offline=seen.get("offline", 0),
            reconnects=seen.get("reconnects", 0),
            forced=seen.get("forced", 0),
            by_release=seen.get("by_release", {}),
            selected=fleet.selected if fleet else None,
            pods={state: states.count(state) for state in dict.fromkeys(states)},
        )
    )
