"""What the network and the processes take for their small steps, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

LINEAR_SYNS = 4
"""After so many more SYNs Linux still waits as long as after the first (`tcp_syn_linear_timeouts`)."""


def syn_again_s(waited_s: float, first_s: float, linear: int = LINEAR_SYNS) -> float:
    """How long Linux waits after a SYN that nobody answered before it sends the next one, in seconds.

    `waited_s` is the time since the first SYN. The first `linear` + 1 gaps last `first_s`, each later one twice
    the one before: 1, 1, 1, 1, 1, 2, 4 … s. So does Linux since 6.5 (ip-sysctl: `tcp_syn_linear_timeouts`, 4);
    with `linear` 0 it is what earlier ones did: 1, 2, 4 … s. Both crowds ask this function, the fast one compiled.
    """
    return first_s + max(waited_s - linear * first_s, 0.0)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Fixed small delays; what depends on load (queues for CPU and backend) is simulated, not in here.

    The defaults are those of one machine: client, proxy, gateway and backend on its loopback, each an
    event loop that needs about half a millisecond to turn round.
    """

    one_way_s: float = 0.001  # client → proxy → gateway, or back: two socket hops and two wake-ups
    handshake_cpu_s: float = 0.0002  # the gateway's CPU for accept and upgrade (0.04–0.3 ms measured)
    login_trips: int = 4  # round trips of a SASL PLAIN login after the upgrade: open, auth, open, bind
    backend_s: float = 0.001  # gateway → XMPP server → gateway, in every login and message
    exit_s: float = 0.02  # last connection closed → the process has exited
    first_syn_again_s: float = (
        1.0  # Linux sends an unanswered SYN again (TCP_TIMEOUT_INIT); see `syn_again_s`
    )
    address_gone_ratio: float = 0.5  # of the time from a pod's exit until it is gone, its address is there
    endpoint_gone_ratio: float = 0.1  # … and so much later its endpoint is out, if refusals are throttled
    address_spread_s: float = 0.12  # by which pods that exit together differ in that
    endpoint_told_s: float = 0.01  # then a sync takes in what changed until so long before its rules are in
    scheduled_s: float = 0.04  # pod created → it has a node (measured median)
    crash_seen_s: float = 0.4  # process died → endpoint out (measured median 0.43)
    restart_s: float = 0.6  # process died → the next one starts, the first time (measured)
    crash_loop_base_s: float = 10.0  # the kubelet waits 10, 20, 40 … s before it starts it again
    crash_loop_cap_s: float = 300.0
    crash_loop_forgotten_s: float = 600.0  # of running: then the next crash is the first one again
    reaction_s: float = 0.02  # an object changed → the deployer's step (watch, wake-up, observe)

    @property
    def login_network_s(self) -> float:
        """All of a login's time on the wire and in the backend that does not depend on load."""
        return self.login_trips * (2 * self.one_way_s + self.backend_s)

    @property
    def message_s(self) -> float:
        """From one client to another: up to the backend and down again."""
        return 2 * self.one_way_s + 2 * self.backend_s
