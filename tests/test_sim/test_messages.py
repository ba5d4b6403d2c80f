"""Messages under way when a connection is cut."""

from dataclasses import replace

from sim.latencies import Latencies
from sim.world import simulate


def test_nothing_is_lost_where_nobody_is_cut(setup_of):
    rows = simulate(setup_of("rainbow")).connections
    sent = sum(row.messages_sent for row in rows)
    online_min = 300 * 95 / 60
    assert abs(sent - 2 * online_min) < 0.15 * 2 * online_min
    assert sum(row.messages_lost for row in rows) == 0


def test_what_is_under_way_at_a_cut_is_lost(setup_of):
    """With a slow network and all connections cut at once, about rate × latency messages are."""
    slow = Latencies(backend_s=0.5)
    chatty = replace(setup_of().behaviour, messages_per_min=60.0)
    rows = simulate(setup_of("recreate", latencies=slow, behaviour=chatty)).connections
    lost = sum(row.messages_lost for row in rows)
    under_way = 300 * slow.message_s  # at one message a second from each
    assert 0.5 * 3 * under_way < lost < 1.2 * 3 * under_way
