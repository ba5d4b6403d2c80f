"""The hook's answers count as on Kubernetes: who could not be told is told again, within bounds."""

from deployer.actions import NotifyDeselected
from deployer.clusters.telling import TRIES
from deployer.marks import NOTIFIED
from deployer.strategies import immutable


def look(cluster, undo=False):
    """What `immutable` does of the hook at a look; how many pods it tells."""
    fleet = cluster.observe()
    (old,) = fleet.deployments.values()
    actions = (immutable._told_back if undo else immutable._told)(fleet, old)
    for action in actions:
        cluster.act(action)
    return sum(len(action.pods) for action in actions if isinstance(action, NotifyDeselected))


def noted(cluster):
    (old,) = cluster.observe().deployments.values()
    return old.annotations.get(NOTIFIED, "")


def test_a_hook_that_fails_is_called_again_until_it_has_heard(lab):
    running = lab.cluster(pod=lab.spec("--hook-fails", "2"))
    lab.deploy(running.cluster, "aaaaaa")
    assert look(running.cluster) == 2
    assert noted(running.cluster).count("?") == 2
    assert [look(running.cluster) for _ in range(3)] == [2, 2, 0]
    assert "?" not in noted(running.cluster)
    for name in lab.ready(running.cluster, "aaaaaa"):
        lab.eventually(lambda name=name: lab.log(running, name).count("/deselected") == 1)
    assert look(running.cluster, undo=True) == 2
    assert noted(running.cluster) == ""


def test_a_hook_that_always_fails_is_given_up_and_said_so_once(lab):
    running = lab.cluster(pod=lab.spec("--hook-fails", "99"))
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    assert [look(running.cluster) for _ in range(TRIES + 2)] == [1] * TRIES + [0] * 2
    said = (lab.dir_of(running) / "cluster.log").read_text()
    assert said.count(f"could not be told in {TRIES} tries") == 1
