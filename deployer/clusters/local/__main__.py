"""Run an embedded cluster: `python -m deployer.clusters.local CONFIG.json`.

When it is up it prints one JSON line, `{"socket": …, "front": "127.0.0.1:PORT", "network": "127.x.y.0/24"}`,
and nothing more on stdout. It ends with its parent, on SIGTERM, SIGINT or the API's `shutdown`, and takes all
pods with it. Exit codes: 0 ended as asked, 1 an error of this program, 2 the configuration or a port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from deployer.clusters.local import leftovers
from deployer.clusters.local.config import Config, ConfigError, read
from deployer.clusters.local.journal import Journal
from deployer.clusters.local.network import Front, Network, PortInUseError, claim_network
from deployer.clusters.local.process import die_with_parent
from deployer.clusters.local.server import Api
from deployer.clusters.local.world import World

PATIENCE_S = 1.0  # for the pods' SIGTERM at the very end


async def run(config: Config, network: Network, front: Front, socket_dir: Path) -> int:
    """Run one cluster until it is told to end; returns the exit code."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()

    def end(code: int = 0) -> None:
        if not over.done():
            over.set_result(code)

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        end(1)

    loop.set_exception_handler(fail)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    journal = Journal(config.run_dir)
    world = World(config, network, front, journal)
    api = Api(world, network.cidr, front.address, end)
    socket = socket_dir / leftovers.SOCKET
    try:
        await api.listen(socket)
        world.event("cluster_up", config.app, front.address)
        print(
            json.dumps({"socket": str(socket), "front": front.address, "network": network.cidr}), flush=True
        )
        return await over
    finally:
        world.event("cluster_down", config.app)
        await world.shut_down(PATIENCE_S)
        await api.close()
        journal.close()


def main(arguments: list[str]) -> int:
    """Read the configuration and run; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m deployer.clusters.local CONFIG.json", file=sys.stderr)
        return 2
    die_with_parent(signal.SIGTERM)
    with contextlib.suppress(ValueError, OSError):  # two files a connection; more is better, none is an error
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with contextlib.ExitStack() as stack:
        try:
            config = read(Path(arguments[0]))
            config.run_dir.mkdir(parents=True, exist_ok=True)
            rng = config.stream("network")
            front = Front(config.front_port, rng)
            stack.callback(front.close)
            network = claim_network(rng, (config.pod.gateway_port, config.pod.admin_port))
            stack.callback(network.close)
        except (ConfigError, PortInUseError) as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:
            print(f"{error.filename}: {error.strerror}; choose another run_dir", file=sys.stderr)
            return 2
        socket_dir = leftovers.make_socket_dir(os.getpid())
        stack.callback(shutil.rmtree, socket_dir, ignore_errors=True)
        return uvloop.run(run(config, network, front, socket_dir))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
