"""One simulated run, from an empty cluster to the rows of a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import simpy

from deployer.clusters.controlplane import api
from deployer.fleet import Fleet, Kind, Release, Request
from deployer.fleet import Outcome as DeployOutcome
from deployer.history import PodSpan, deploy_rows
from loadgen.behaviour.arrivals import Fixed
from loadgen.behaviour.streams import Streams
from sim import choice
from sim.clock import EPOCH_S, Call
from sim.cluster import VirtualCluster
from sim.deploying import Deployer
from sim.kubelet import Kubelet
from sim.network import ServiceProxy
from sim.outcome import DIGITS, Event, Outcome, Samples, noted_since, since
from sim.setup import Fault, FaultKind, PlannedDeploy, Setup, SetupError

RUN_START, RUN_END = "run_start", "run_end"
FEW_PODS = 32
"""Up to so many pods are sampled every second, more of them every five, as in real worlds …"""
SAMPLES = 5_000
"""… but about so often at most: a simulated week has samples two minutes apart."""
PATIENCE_S = 600.0
"""How much longer than planned the start of a run may take before it is given up."""


def simulate(setup: Setup) -> Outcome:
    """Run it. The same setup gives the same rows, in the same order.

    Raises SetupError where the run cannot begin: the first release does not become ready, or its users
    cannot all log in.
    """
    world = _World(setup)
    try:
        return world.run()
    finally:
        world.let_go()


class _World:
    """Everything of one run, joined."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._env = env = simpy.Environment(initial_time=EPOCH_S)
        self._streams = streams = Streams(setup.seed)
        kind, self._crowd_note = choice.choose(setup)
        self._crowd = choice.make(kind, setup, env, streams)
        self._proxy = ServiceProxy(
            env,
            setup.network.sync_period_s,
            setup.timing.endpoint_s,
            self._crowd.route,
            None if setup.network.no_endpoints is None else setup.latencies.endpoint_told_s,
        )
        strategy = setup.strategy
        self._cluster = VirtualCluster(
            env,
            api.empty(setup.fleet.app, strategy.selects_release),
            strategy.shape,
            setup.limits,
            streams["victims"],
            self._crowd,
            self._proxy,
            self._changed,
        )
        self._kubelet = Kubelet(
            env, setup, streams, self._crowd, self._cluster.write, self._proxy.address_gone
        )
        self._cluster.run_pods_on(self._kubelet)
        self._deployer = Deployer(env, self._cluster, strategy, setup.drain, setup.latencies.reaction_s)
        self._up = env.event()
        self._zero_s = EPOCH_S
        self._samples = Samples()
        self._events: list[Event] = []

    def run(self) -> Outcome:
        """From the first request to the end."""
        self._cluster.request(self._setup.initial, Kind.INITIAL)
        self._bring_up()
        self._fill()
        self._zero_s = self._env.now
        self._crowd.zero()
        self._note(RUN_START, "")
        for deploy in self._setup.deploys:
            Call(self._env, deploy.at_s, partial(self._request, deploy))
        for fault in self._setup.faults:
            Call(self._env, fault.at_s, partial(self._break, fault))
        self._sample()
        self._run(self._zero_s + self._setup.duration_s)
        self._note(RUN_END, "")
        return self._outcome()

    def let_go(self) -> None:
        """Drop what is large: nothing is asked of this world any more.

        Its parts refer to each other, and the collector of such rings goes by the number of objects: it would
        leave several dead worlds where they are, though a few arrays of each hold hundreds of megabytes.
        """
        vars(self._crowd).clear()
        vars(self).clear()

    def _run(self, until_s: float, stop: simpy.Event | None = None) -> None:
        """Up to this moment, or until that event has happened; the crowd always goes ahead."""
        while stop is None or not stop.processed:
            next_s = min(self._env.peek(), until_s)
            told_s = self._crowd.ahead(next_s)
            if told_s is not None:
                Call(self._env, told_s - self._env.now, self._crowd.tell)
                self._env.step()
            elif next_s < until_s:
                self._env.step()
            else:
                if until_s > self._env.now:
                    self._env.run(until=until_s)
                return

    def _bring_up(self) -> None:
        """Until the first release is selected and all of its pods, and slots, are ready and routed to."""
        limit_s = self._setup.strategy.shape.progress_deadline_s + PATIENCE_S
        self._run(self._env.now + limit_s, self._up)
        fleet = self._cluster.observe()
        if not _is_up(fleet):
            ready = sum(d.ready for d in fleet.deployments.values())
            wanted = sum(d.desired for d in fleet.deployments.values())
            why = self._failed() or f"after {limit_s:g} s {ready} of {wanted} pods are ready"
            raise SetupError(
                f"the first release does not come up: {why}; "
                "check that the nodes hold its pods and that they start within the progress deadline"
            )
        routed_s = self._setup.network.sync_period_s + self._setup.timing.endpoint_s
        self._run(self._env.now + routed_s + self._setup.latencies.one_way_s)

    def _fill(self) -> None:
        """The population logs in."""
        behaviour = self._setup.behaviour
        population = behaviour.population
        count = population.count if isinstance(population, Fixed) else 0
        limit_s = count / behaviour.ramp_per_s + PATIENCE_S
        self._crowd.start()
        self._run(self._env.now + limit_s, self._crowd.online)
        if not self._crowd.online.triggered:
            raise SetupError(
                f"after {limit_s:g} s of ramp the {count} users are not all logged in; raise "
                "backend_logins_per_s or replicas, or lower login_cpu, the ramp or the number of users"
            )

    def _changed(self) -> None:
        self._deployer.changed()
        if not self._up.triggered and (self._failed() or _is_up(self._cluster.observe())):
            self._up.succeed()

    def _failed(self) -> str | None:
        """Why the first release will never be up; None while it may."""
        first = self._cluster.requests[0]
        return None if first.outcome in (None, DeployOutcome.DONE) else first.reason

    def _request(self, deploy: PlannedDeploy) -> None:
        release = deploy.release or _before(self._cluster.observe())
        wait_s = self._cluster.down_until_s - self._env.now
        if wait_s > 0:
            Call(self._env, wait_s, partial(self._request, deploy))
        elif release is None:
            self._note("no_rollback", "there is no earlier release")
        else:
            self._cluster.request(release, deploy.kind)

    def _break(self, fault: Fault) -> None:
        if fault.kind is FaultKind.DEPLOYER_KILLED:
            self._note(fault.kind, "")
            self._deployer.die(fault.duration_s)
            return
        if fault.kind is FaultKind.API_DOWN:
            self._note(fault.kind, "")
            self._cluster.take_down(fault.duration_s)
            return
        if fault.kind is FaultKind.BACKEND_DOWN:
            self._note(fault.kind, "")
            self._crowd.lose_backend(self._env.now + fault.duration_s)
            self._kubelet.reach_backend(False)
            Call(self._env, fault.duration_s, partial(self._kubelet.reach_backend, True))
            return
        target = fault.target
        if target == "random":
            ready = [pod for pod in self._proxy.table if self._kubelet.server_of(pod)]
            target = self._streams["faults"].choice(ready) if ready else ""
            if fault.kind is FaultKind.NODE_LOSS:
                target = self._kubelet.node_of(target)
        self._note(fault.kind, target)
        if fault.kind is FaultKind.NODE_LOSS:
            self._kubelet.freeze(target, fault.duration_s)
        else:
            self._kubelet.kill(target)

    def _note(self, kind: str, target: str) -> None:
        self._events.append(Event(round(self._env.now - self._zero_s, DIGITS), str(kind), target))

    def _sample(self) -> None:
        pods = self._kubelet.serving()
        t_s = round(self._env.now - self._zero_s, DIGITS)
        self._samples.add(t_s, pods, self._crowd.open_connections(pods))
        every_s = max(1.0 if len(pods) <= FEW_PODS else 5.0, math.ceil(self._setup.duration_s / SAMPLES))
        Call(self._env, every_s, self._sample)

    def _outcome(self) -> Outcome:
        zero_s, journal = self._zero_s, self._deployer.journal
        deploys = deploy_rows(
            self._cluster.requests.values(),
            journal.actions,
            journal.verdicts,
            [PodSpan(life.release, life.t_created_s, life.t_gone_s) for life in self._kubelet.lives],
            self._setup.strategy.selects_release,
        )
        log = self._crowd.end()
        rows = log.connections
        connections = since(zero_s, rows) if isinstance(rows, Sequence) else rows
        return Outcome(
            connections=connections,
            series=log.series,
            pods=since(zero_s, self._kubelet.lives),
            deploys=since(zero_s, deploys),
            samples=self._samples,
            actions=noted_since(zero_s, journal.actions),
            verdicts=noted_since(zero_s, journal.verdicts),
            events=self._events,
            notes=(self._crowd_note,),
        )


def _is_up(fleet: Fleet) -> bool:
    done = any(r.deploy == 0 and r.outcome is DeployOutcome.DONE for r in fleet.requests)
    return done and all(d.complete for d in fleet.deployments.values())


def _before(fleet: Fleet) -> Release | None:
    """The release that was selected before the present one."""
    done: list[Request] = [r for r in fleet.requests if r.outcome is DeployOutcome.DONE]
    at = done[-1].release if done else None
    return next((r.release for r in reversed(done) if r.release != at), None)
