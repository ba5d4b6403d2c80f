"""Where clients end up, and what they are told of a connection's end."""

import socket
import struct
import threading
import time

import pytest

from deployer.actions import DeleteDeployment, Select


def test_a_connection_lands_on_a_ready_pod_of_the_selected_release(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    client = lab.client(running)
    assert client.release == "aaaaaa"
    assert client.pod in lab.ready(running.cluster, "aaaaaa")
    assert client.works()


def test_new_connections_follow_the_selector_and_established_ones_stay(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa")
    old = [lab.client(running) for _ in range(80)]
    lab.deploy(running.cluster, "bbbbbb", select=False)
    assert {lab.client(running).release for _ in range(20)} == {"aaaaaa"}
    running.cluster.act(Select("bbbbbb"))
    new = [lab.client(running) for _ in range(40)]
    assert {client.release for client in new} == {"bbbbbb"}
    assert {client.pod for client in new} == set(lab.ready(running.cluster, "bbbbbb"))
    assert {client.release for client in old} == {"aaaaaa"}
    assert all(client.works() for client in old)


def test_an_endpoint_change_counts_only_after_the_sync_period(lab):
    running = lab.cluster(sync_period_s=3.0)
    lab.deploy(running.cluster, "aaaaaa", replicas=1, select=False)
    lab.deploy(running.cluster, "bbbbbb", replicas=1, select=False)
    began_s = time.time()
    running.cluster.act(Select("aaaaaa"))
    first = lab.eventually(lambda: running.cluster.status()["routes"])
    running.cluster.act(Select("bbbbbb"))
    lab.eventually(lambda: running.cluster.status()["routes"] != first)
    assert time.time() - began_s >= 3.0
    assert lab.client(running).release == "bbbbbb"


def test_without_an_endpoint_clients_are_refused_and_the_port_stays_the_clusters(lab):
    running = lab.cluster()
    assert lab.refused(running)
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    lab.eventually(lambda: not running.cluster.status()["routes"])
    assert lab.refused(running)
    assert client.was_reset()
    for reuse in (0, 1):
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            with pytest.raises(OSError, match="in use"):
                thief.bind(running.front)
    lab.deploy(running.cluster, "bbbbbb", replicas=1)
    assert lab.client(running).release == "bbbbbb"


def test_with_only_terminating_pods_these_still_serve(lab):
    running = lab.cluster(pod=lab.spec("--ignore-sigterm"))
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    name = lab.client(running).pod
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    lab.eventually(lambda: lab.pod(running.cluster, name)["terminating"])
    assert lab.client(running).works()


def test_a_pods_reset_reaches_the_client_as_a_reset(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    client.sock.sendall(b"reset\n")
    assert client.was_reset()


def test_a_pods_end_reaches_the_client_as_an_end_and_the_other_way_stays_open(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    assert client.says(b"finish\n") == b""
    client.sock.sendall(b"still here")
    client.sock.shutdown(socket.SHUT_WR)
    lab.eventually(lambda: "after my end still here" in lab.log(running, client.pod))


def test_a_clients_end_reaches_the_pod_as_an_end(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.sock.recv(100) == b"goodbye"
    assert client.sock.recv(100) == b""
    lab.eventually(lambda: not lab.pod(running.cluster, client.pod)["connections"])


def test_a_clients_reset_reaches_the_pod_as_a_reset(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    lab.eventually(lambda: "reset by client" in lab.log(running, client.pod))


def test_a_client_of_a_pod_that_refuses_is_reset(lab):
    running = lab.cluster(sync_period_s=600.0)  # the routes never follow
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    running.cluster.act(DeleteDeployment("chat-aaaaaa"))
    lab.eventually(lambda: not running.cluster.status()["pods"])
    with pytest.raises(ConnectionResetError):
        lab.client(running)


def test_a_pod_that_stops_reading_stops_its_client(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client, other = lab.client(running), lab.client(running)
    client.sock.sendall(b"stop reading\n")
    client.sock.settimeout(1.0)
    with pytest.raises(TimeoutError):
        client.sock.sendall(bytes(64 << 20))
    assert other.works()


def test_bytes_come_through_whole_when_the_client_reads_late(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=1)
    client = lab.client(running)
    sent = bytes(range(256)) * (64 << 10)  # 16 MiB: more than all buffers on the way
    writer = threading.Thread(target=client.sock.sendall, args=(sent,))
    writer.start()
    writer.join(0.5)
    received = bytearray()
    while len(received) < len(sent):
        received += client.sock.recv(1 << 20)
    writer.join()
    assert received == sent


def test_three_hundred_connections_at_once_spread_over_the_pods(lab):
    running = lab.cluster()
    lab.deploy(running.cluster, "aaaaaa", replicas=3)
    clients = [lab.client(running) for _ in range(300)]
    shares = {pod["pod"]: pod["connections"] for pod in running.cluster.status()["pods"]}
    assert sum(shares.values()) == 300
    assert min(shares.values()) > 50  # of 100 expected: six standard deviations
    assert {p: c.open for p, c in running.cluster.sample().items()} == shares
    assert all(client.works() for client in clients)
    for client in clients:
        client.sock.close()
    lab.eventually(lambda: sum(p["connections"] for p in running.cluster.status()["pods"]) == 0)
