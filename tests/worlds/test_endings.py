"""How pods end, and what that does to the connections on them, in every world."""

from deployer.actions import CloseConnections, NotifyDeselected, Scale
from deployer.fleet import Count, PodState
from tests.worlds.stage import APP, A, B, named


def connect_to_every_pod(stage):
    connections = {}
    while len(connections) < stage.play.replicas:
        found = stage.connected()
        connections[found.pod] = found
    return connections


def test_a_server_that_closes_on_sigterm_ends_when_its_linger_is_over(staged):
    stage = staged(replicas=1, linger_s=2.0)
    stage.begin(A)
    connection = stage.connected()
    began_s = stage.now_s
    stage.act(Scale(APP, 0))
    closed_s = stage.closed(connection)
    gone_s = stage.gone(connection.pod)
    assert closed_s - began_s >= 2.0
    assert gone_s - closed_s >= 0.2  # objects outlive their processes


def test_a_server_that_holds_on_ends_with_its_grace(staged):
    stage = staged(replicas=1, grace_s=6.0, on_sigterm="hold")
    stage.begin(A)
    connection = stage.connected()
    began_s = stage.now_s
    stage.act(Scale(APP, 0))
    assert 4.0 <= stage.closed(connection) - began_s <= 8.0
    assert stage.gone(connection.pod) - began_s <= 10.0


def test_a_server_that_holds_on_ends_with_its_last_connection(staged):
    stage = staged(replicas=1, grace_s=3600.0, on_sigterm="hold")
    stage.begin(A)
    pod = stage.connected().pod
    stage.act(Scale(APP, 0))
    stage.wait("it is terminating", lambda fleet: named(fleet, pod).state is PodState.TERMINATING)
    stage.pass_time(3.0)
    assert named(stage.observe(), pod) is not None
    stage.act(CloseConnections((pod,), 100.0))
    stage.gone(pod)


def test_a_grace_that_is_shorter_than_the_server_knows_ends_in_a_kill(staged):
    stage = staged(replicas=1, grace_s=3600.0, on_sigterm="hold")
    stage.begin(A)
    connection = stage.connected()
    began_s = stage.now_s
    stage.delete_pod(connection.pod, 4.0)
    assert 3.9 <= stage.closed(connection) - began_s <= 6.0
    stage.gone(connection.pod)


def test_a_grace_that_has_begun_cannot_be_shortened(staged):
    stage = staged(replicas=1, grace_s=3600.0, on_sigterm="hold")
    stage.begin(A)
    connection = stage.connected()
    stage.delete_pod(connection.pod)
    stage.delete_pod(connection.pod, 1.0)
    stage.pass_time(5.0)
    assert connection.is_open
    assert named(stage.observe(), connection.pod).state is PodState.TERMINATING


def test_a_killed_server_loses_its_connections_and_starts_again_in_the_same_pod(staged):
    stage = staged(replicas=2)
    stage.begin(A)
    connections = connect_to_every_pod(stage)
    victim = min(connections)
    stage.kill_server(victim)
    stage.closed(connections[victim])
    pod = stage.wait(
        "it is ready again",
        lambda fleet: (p := named(fleet, victim)) and p.restarts == 1 and p.state is PodState.READY and p,
    )
    assert pod.name == victim
    assert all(c.is_open for name, c in connections.items() if name != victim)


def test_a_release_that_crashes_is_restarted_and_never_ready(staged):
    stage = staged(replicas=1, selects_release=True, bad={B: "crashes"})
    stage.begin(A)
    from deployer.actions import CreateDeployment

    stage.act(CreateDeployment(f"{APP}-{B}", B, 1))
    stage.wait("it has restarted", lambda fleet: any(p.release == B and p.restarts >= 2 for p in fleet.pods))
    assert stage.observe().deployments[f"{APP}-{B}"].ready == 0


def test_pods_count_their_connections(staged):
    stage = staged(replicas=1)
    stage.begin(A)
    (pod,) = stage.observe().pods
    there = stage.ask(pod.name)
    assert isinstance(there, Count)
    stage.connected()
    stage.connected()
    stage.wait("two more are counted", lambda _: stage.ask(pod.name) == Count(there.open + 2))
    assert stage.ask("no-such-pod") is None


def test_asking_clients_to_leave_closes_their_connections_and_leaves_the_pod(staged):
    stage = staged(replicas=1)
    stage.begin(A)
    connections = [stage.connected() for _ in range(3)]
    stage.act(CloseConnections((connections[0].pod,), 50.0))
    for connection in connections:
        stage.closed(connection)
    pod = named(stage.observe(), connections[0].pod)
    assert pod.state is PodState.READY
    assert pod.restarts == 0


def test_a_pod_that_is_told_of_its_deselection_leaves_when_it_is_empty(staged):
    stage = staged(replicas=2)
    stage.begin(A)
    connections = connect_to_every_pod(stage)
    pods = tuple(sorted(connections))
    stage.act(NotifyDeselected(pods[:1]))
    stage.pass_time(3.0)
    assert connections[pods[0]].is_open
    stage.act(CloseConnections(pods[:1], 100.0))
    # no Deployment wants it to end: the kubelet starts it again
    stage.wait("its server has ended", lambda fleet: named(fleet, pods[0]).restarts == 1)
    assert connections[pods[1]].is_open
