"""The cluster's own life: its start, its API, its end, and what is left of it."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.actions import Annotate, CreateDeployment, Scale, SetRelease
from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.local import leftovers
from deployer.clusters.local.client import LocalCluster
from deployer.clusters.local.config import ConfigError
from deployer.fleet import Kind


def pids(running) -> list[int]:
    return [pod["pid"] for pod in running.cluster.status()["pods"]]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_killed_cluster_takes_its_pods_with_it_and_clean_removes_its_socket(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    client = lab.client(running)
    there = pids(running)
    assert all(map(alive, there))
    socket_dir = Path(running.cluster.path).parent
    assert socket_dir not in leftovers.clean()
    running.process.kill()
    running.process.wait()
    lab.eventually(lambda: not any(map(alive, there)))
    assert client.was_reset() or not client.works()
    with pytest.raises(ClusterUnreachable, match="local cluster at"):
        running.cluster.observe()
    assert socket_dir in leftovers.clean()
    assert not socket_dir.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_cluster_and_leaves_nothing(lab, number):
    running = lab.cluster(pod=lab.spec("--ignore-sigterm"))
    lab.deploy(running.cluster, "aaaaaa")
    there = pids(running)
    running.process.send_signal(number)
    assert running.process.wait(60) == 0
    assert not any(map(alive, there))
    assert not Path(running.cluster.path).parent.exists()
    assert lab.refused(running)


def test_the_cluster_ends_with_its_parent(lab):
    path = lab.run_dir / "cluster.json"
    path.write_bytes(lab.config_for(lab.run_dir / "run").to_json())
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'deployer.clusters.local', sys.argv[1]], "
        "stdout=subprocess.PIPE, text=True, start_new_session=True)\n"
        "print(child.pid, child.stdout.readline(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, _, about = parent.stdout.readline().partition(" ")
        cluster = LocalCluster(json.loads(about)["socket"])
        lab.deploy(cluster, "aaaaaa", replicas=1)
        there = [int(pid), *(pod["pid"] for pod in cluster.status()["pods"])]
        cluster.close()
        parent.kill()
    lab.eventually(lambda: not any(map(alive, there)))


def test_two_clusters_of_one_seed_run_side_by_side(lab):
    one, other = lab.cluster(), lab.cluster()
    assert one.network != other.network
    assert one.front != other.front
    lab.deploy(one.cluster, "aaaaaa", replicas=1)
    lab.deploy(other.cluster, "bbbbbb", replicas=1)
    assert lab.client(one).release == "aaaaaa"
    assert lab.client(other).release == "bbbbbb"


def test_a_front_port_in_use_is_the_users_mistake(lab):
    running = lab.cluster()
    port = running.front[1]
    with pytest.raises(ConfigError, match=rf"^port {port} of 127\.0\.0\.1 is in use; .*\S$"):
        lab.cluster(front_port=port)
    assert running.stop() == 0
    assert lab.cluster(front_port=port).front == ("127.0.0.1", port)


def test_a_pods_port_in_use_everywhere_is_the_users_mistake(lab):
    with (
        lab.listening_everywhere() as port,
        pytest.raises(ConfigError, match=f"^port {port} is in use on all"),
    ):
        lab.cluster(pod=replace(lab.spec(), gateway_port=port))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "run_dir: Field required"),
        ("nonsense", "Invalid JSON"),
        ('{"nodes": 0}', "run_dir"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(lab, text, says):
    path = lab.run_dir / "bad.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "deployer.clusters.local", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_program_that_is_not_there_is_named(lab):
    with pytest.raises(ConfigError, match="no program 'no-such-program'"):
        lab.cluster(pod=replace(lab.spec(), command=("no-such-program",)))


def test_requests_and_annotations_are_kept_on_the_cluster(lab):
    running = lab.cluster()
    assert running.cluster.request("aaaaaa", Kind.INITIAL) == 0
    assert running.cluster.request("bbbbbb", Kind.DEPLOY) == 1
    running.cluster.act(CreateDeployment("chat-aaaaaa", "aaaaaa", 0))
    running.cluster.act(Annotate("chat-aaaaaa", "drainbow.dev/quiet-since", "12.5"))
    with LocalCluster(running.cluster.path) as other:
        fleet = other.observe()
    assert fleet.wanted == "bbbbbb"
    assert [request.release for request in fleet.requests] == ["aaaaaa", "bbbbbb"]
    assert float(fleet.deployments["chat-aaaaaa"].annotations["drainbow.dev/quiet-since"]) == 12.5


def test_a_write_that_kubernetes_would_refuse_is_rejected(lab):
    running = lab.cluster()
    running.cluster.act(CreateDeployment("chat-aaaaaa", "aaaaaa", 0))
    with pytest.raises(RejectedError, match="aaaaaa for good"):
        running.cluster.act(SetRelease("chat-aaaaaa", "bbbbbb"))
    with pytest.raises(RejectedError, match="not understood"):
        running.cluster._call("no such op")


def test_a_watch_ends_with_a_change_or_its_time(lab):
    running = lab.cluster()
    version = running.cluster.watch(-1, 0.0)
    assert running.cluster.watch(version, 0.1) == version
    found = []
    watcher = threading.Thread(target=lambda: found.append(running.cluster.watch(version, 60.0)))
    watcher.start()
    running.cluster.act(CreateDeployment("chat-aaaaaa", "aaaaaa", 0))
    watcher.join(60)
    assert found[0] > version


def test_threads_share_one_client(lab):
    running = lab.cluster()
    running.cluster.act(CreateDeployment("chat-aaaaaa", "aaaaaa", 0))
    seen = []

    def annotate(number: int) -> None:
        for step in range(10):
            running.cluster.act(Annotate("chat-aaaaaa", f"key-{number}", str(step)))
            seen.append(
                running.cluster.observe().deployments["chat-aaaaaa"].annotations[f"key-{number}"] == str(step)
            )

    threads = [threading.Thread(target=annotate, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 80


def test_while_the_api_is_down_pods_run_and_nothing_is_decided(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    victim = lab.client(running).pod
    running.cluster.take_api_down(3.0)
    with pytest.raises(ClusterUnreachable, match="the API server is down"):
        running.cluster.act(Scale("chat-aaaaaa", 0))
    assert running.cluster.ask([victim]) == {victim: None}
    assert running.cluster.kill_pod(victim)
    routes = running.cluster.status()["routes"]
    assert len(routes) == 2
    lab.eventually(lambda: lab.pod(running.cluster, victim)["restarts"] == 1)
    lab.eventually(lambda: len(lab.ready(running.cluster, "aaaaaa")) == 2)
    assert len(running.cluster.observe().pods) == 2


def test_the_client_says_what_it_cannot_reach(tmp_path):
    cluster = LocalCluster(tmp_path / "nothing.sock")
    with pytest.raises(ClusterUnreachable, match=r"nothing\.sock: connect: .*No such file"):
        cluster.observe()
    assert cluster.ask(["a"]) == {"a": None}
    cluster.shutdown()


def test_the_sockets_directory_is_only_the_users(lab):
    running = lab.cluster()
    path = Path(running.cluster.path)
    assert len(str(path)) <= leftovers.LONGEST_PATH
    assert path.parent.stat().st_mode & 0o777 == 0o700
