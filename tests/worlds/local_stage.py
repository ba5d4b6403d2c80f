"""The contract's verbs in the embedded cluster, with the real chat server in its pods."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

from deployer.clusters.local.client import start
from deployer.clusters.local.config import Config, PodSpec, Probe, Startup
from scenarios.worlds.local import BAD
from tests.worlds.real_stage import RealStage
from tests.worlds.stage import APP, Play

PORTS = {"gateway_port": 15280, "admin_port": 19090}


class Backend:
    """One XMPP server for all apps of the suite."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chatserver", "xmppd", "--xmpp", self.address],
            stderr=subprocess.DEVNULL,
        )
        host, port = self.address.split(":")
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
                return
            time.sleep(0.1)
        raise AssertionError("the XMPP server did not come up")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


class LocalStage(RealStage):
    """Each pod a process of its own."""

    name = "local"

    def __init__(self, play: Play, folder: Path, backend: str) -> None:
        command = (
            *(sys.executable, "-m", "chatserver", "gateway", "--backend", backend),
            *("--listen", "{address}:{gateway_port}", "--admin", "{address}:{admin_port}"),
            *("--pod", "{pod}", "--release", "{release}", "--grace", "{grace_s}s"),
            *("--on-sigterm", play.on_sigterm, "--linger", f"{play.linger_s}s", "--handshake-timeout", "1h"),
        )
        self._running = start(
            Config(
                run_dir=folder,
                app=APP,
                limits=play.limits,
                shape=play.shape,
                selects_release=play.selects_release,
                pod=PodSpec(
                    command, release_args={release: BAD[bad] for release, bad in play.bad.items()}, **PORTS
                ),
                startup=Startup(0.2),
                readiness=Probe("/readyz", 0.25, timeout_s=5.0),
            )
        )
        super().__init__(play, self._running.cluster)

    def front(self) -> tuple[str, int]:
        return self._running.front

    def delete_pod(self, pod: str, grace_s: float | None = None) -> None:
        self._running.cluster.delete_pod(pod, grace_s)

    def kill_server(self, pod: str) -> None:
        assert self._running.cluster.kill_pod(pod)

    def close(self) -> None:
        super().close()
        self._running.stop()
