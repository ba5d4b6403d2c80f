"""kube-proxy's table and its delays."""

import pytest
import simpy

from deployer.clusters.controlplane.endpoints import Endpoints
from sim.network import ServiceProxy


def routed(period_s, changes, told_s=None):
    """When each table came into force, for endpoints that change at given times."""
    env, log = simpy.Environment(), []
    proxy = ServiceProxy(env, period_s, 0.07, lambda table: log.append((round(env.now, 6), table)), told_s)

    def change():
        for at_s, ready in changes:
            yield env.timeout(at_s - env.now)
            proxy.changed(Endpoints(ready=ready))

    env.process(change())
    env.run()
    return log


def test_a_quiet_proxy_follows_after_its_latency():
    assert routed(1.0, [(5.0, ("a",))]) == [(5.07, ("a",))]


def test_a_busy_proxy_waits_for_its_period():
    found = routed(1.0, [(5.0, ("a",)), (5.2, ("b",)), (5.4, ("c",))])
    assert found == [(5.07, ("a",)), (6.07, ("c",))]


def test_a_change_just_before_a_sync_waits_for_the_next_one():
    found = routed(1.0, [(5.0, ("a",)), (5.2, ("b",)), (6.05, ("c",))])
    assert found == [(5.07, ("a",)), (6.07, ("b",)), (7.07, ("c",))]


def test_a_change_that_moves_no_traffic_makes_the_next_one_wait_all_the_same():
    env, log = simpy.Environment(), []
    proxy = ServiceProxy(env, 1.0, 0.07, lambda table: log.append((round(env.now, 6), table)))

    def change():
        proxy.changed(Endpoints(ready=("b",), serving=("a",)))
        yield env.timeout(5.0)
        proxy.changed(Endpoints(ready=("b",)))  # the terminating pod is gone
        yield env.timeout(0.3)
        proxy.changed(Endpoints(ready=("b", "c")))

    env.process(change())
    env.run()
    assert log == [(0.07, ("b",)), (6.07, ("b", "c"))]


def test_a_sync_takes_in_what_the_proxy_was_told_before_it():
    changes = [(5.0, ("a",)), (5.03, ("a", "b")), (5.065, ("a", "b", "c"))]
    assert routed(1.0, changes, told_s=0.01) == [(5.07, ("a", "b")), (6.07, ("a", "b", "c"))]


def test_a_period_of_zero_counts_at_once():
    assert routed(0.0, [(5.0, ("a",)), (5.2, ("b",))]) == [(5.0, ("a",)), (5.2, ("b",))]


@pytest.mark.parametrize("period_s", [0.0, 1.0])
def test_a_table_that_did_not_change_is_not_told_again(period_s):
    assert len(routed(period_s, [(5.0, ("a",)), (7.0, ("a",)), (9.0, ("a",))])) == 1


def test_terminating_pods_serve_only_where_no_ready_one_is_left():
    env, log = simpy.Environment(), []
    proxy = ServiceProxy(env, 0.0, 0.0, log.append)
    proxy.changed(Endpoints(ready=("a",), serving=("b",)))
    proxy.changed(Endpoints(serving=("b",)))
    proxy.changed(Endpoints())
    assert log == [("a",), ("b",), ()]
