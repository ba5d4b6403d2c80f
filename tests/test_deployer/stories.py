"""A cluster in memory that allows nothing forbidden, and the words in which tests tell a story on it."""

from deployer.actions import (
    DeleteDeployment,
    Scale,
    Select,
    SetRelease,
)
from deployer.clusters.memory import MemoryCluster, play
from deployer.draining import DrainSettings
from deployer.fleet import Kind, Limits, Outcome
from deployer.journal import MemoryJournal
from deployer.strategies import make

SELECTING = ["bluegreen", "colors", "rainbow", "immutable"]
PER_RELEASE = ["rainbow", "immutable"]
DRAIN = DrainSettings(hold_s=2, check_every_s=10)
HOUR_S = 3600.0


class Checked(MemoryCluster):
    """Holds every action against what may never happen."""

    def act(self, action):
        fleet = self.observe()
        if isinstance(action, Select):
            at = next(
                d for d in fleet.deployments.values() if (d.release, d.slot) == (action.release, action.slot)
            )
            assert at.ready == at.desired == fleet.limits.replicas, f"{at} is not ready"
        if isinstance(action, DeleteDeployment | SetRelease | Scale) and fleet.selected is not None:
            hit = fleet.deployments[action.deployment]
            if (hit.release, hit.slot) == (fleet.selected, fleet.selected_slot):
                assert isinstance(action, Scale)
                assert action.replicas >= hit.desired
        if not self.selects_release and any(r.outcome is Outcome.DONE for r in fleet.requests):
            assert not isinstance(action, DeleteDeployment)
            assert getattr(action, "replicas", fleet.limits.replicas) == fleet.limits.replicas
        super().act(action)


class Run:
    """One strategy on one cluster, with the words in which tests tell a story."""

    def __init__(self, name, drain=DRAIN, replicas=2, limits=None, start=True, **settings):
        self.strategy = make(name, settings)
        limits = limits or Limits(replicas)
        self.cluster = Checked("chat", self.strategy.shape, self.strategy.selects_release, limits)
        self.drain, self.journal, self.zero_s = drain, MemoryJournal(), self.cluster.now_s
        self.steps = []
        if start:
            self.ask("aaaaaa", Kind.INITIAL)
            self.wait(10)

    def ask(self, release, kind=Kind.DEPLOY):
        return self.cluster.request(release, kind)

    def wait(self, duration_s):
        until_s = self.cluster.now_s + duration_s
        self.steps += play(self.cluster, self.strategy, self.drain, self.journal, until_s)

    def deploy(self, release, kind=Kind.DEPLOY, wait_s=10):
        self.ask(release, kind)
        self.wait(wait_s)

    def users(self, release, count):
        for pod in self.pods(release):
            self.cluster.users[pod] = count

    def pods(self, release):
        return [p.name for p in self.fleet.pods if p.release == release]

    @property
    def fleet(self):
        return self.cluster.observe()

    @property
    def outcomes(self):
        return [r.outcome for r in self.fleet.requests]

    def reason(self, deploy):
        return next(r.reason for r in self.fleet.requests if r.deploy == deploy)

    def done(self, kind):
        return [a for _, a in self.journal.actions if isinstance(a, kind)]

    @property
    def releases(self):
        return {d.name: d.release for d in self.fleet.deployments.values()}
