"""The cluster's API: one JSON object a line over a Unix socket, requests and their answers.

A request is `{"op": …, "args": {…}}`; its answer `{"ok": …}`, or `{"error": …, "kind": …}` with rejected,
unreachable or internal. Requests of one connection are answered in order; one that waits (`watch`) needs its
own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.local import codec
from deployer.clusters.local.world import ApiDownError, World
from deployer.fleet import Kind

LONGEST_LINE_BYTES = 16 << 20
LONGEST_WATCH_S = 600.0

Handler = Callable[..., Any]


class Api:
    """Answers requests about one world."""

    def __init__(self, world: World, network: str, front: str, shut_down: Callable[[], None]) -> None:
        """`shut_down` starts the cluster's end and returns at once."""
        self._world = world
        self._about = {"network": network, "front": front}
        self._shut_down = shut_down
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._handlers: dict[str, Handler] = {
            "observe": self._observe,
            "act": self._act,
            "ask": self._ask,
            "request": self._request,
            "watch": self._watch,
            "status": self._status,
            "sample": self._sample,
            "kill_pod": self._kill_pod,
            "delete_pod": self._delete_pod,
            "freeze_node": self._freeze_node,
            "api_down": self._api_down,
            "shutdown": self._shutdown,
        }

    async def listen(self, path: Path) -> None:
        """Answer on this socket from now on."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=LONGEST_LINE_BYTES)

    async def close(self) -> None:
        """Answer nothing more."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request."""
        try:
            request = json.loads(line)
            handler = self._handlers[request["op"]]
            result = handler(**request.get("args", {}))
            return {"ok": await result if isinstance(result, Awaitable) else result}
        except ApiDownError as error:
            return {"error": str(error), "kind": "unreachable"}
        except RejectedError as error:
            return {"error": str(error), "kind": "rejected"}
        except (KeyError, TypeError, ValueError) as error:
            text = f"not understood ({type(error).__name__}: {error}): {line[:200]!r}"
            return {"error": text, "kind": "rejected"}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}", "kind": "internal"}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):
                while line := await reader.readline():
                    writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            self._connections.discard(task)
            writer.close()

    def _observe(self) -> dict[str, Any]:
        return codec.fleet_to_json(self._world.observe())

    async def _act(self, action: dict[str, Any]) -> None:
        await self._world.act(codec.action_from_json(action))

    async def _ask(self, pods: list[str]) -> dict[str, Any]:
        return codec.counts_to_json(await self._world.ask(pods))

    def _request(self, release: str, kind: str) -> int:
        return self._world.request(release, Kind(kind))

    async def _watch(self, version: int, timeout_s: float) -> int:
        return await self._world.watch(version, min(max(timeout_s, 0.0), LONGEST_WATCH_S))

    async def _sample(self) -> dict[str, Any]:
        return codec.counts_to_json(await self._world.sample())

    def _kill_pod(self, pod: str) -> bool:
        return self._world.kill_pod(pod)

    def _delete_pod(self, pod: str, grace_s: float | None = None, why: str = "deleted") -> None:
        self._world.delete_pod(pod, grace_s, why)

    def _freeze_node(self, node: str, duration_s: float) -> bool:
        return self._world.freeze_node(node, duration_s)

    def _api_down(self, duration_s: float) -> None:
        self._world.take_api_down(duration_s)

    def _shutdown(self) -> None:
        self._shut_down()

    def _status(self) -> dict[str, Any]:
        world = self._world
        through = world.proxy.connections
        pods = [
            {
                "pod": pod.name,
                "release": pod.release,
                "deployment": pod.deployment,
                "node": pod.node,
                "address": world.kubelet.address_of(pod.name),
                "pid": world.kubelet.pid_of(pod.name),
                "ready": pod.ready,
                "terminating": pod.terminating,
                "restarts": pod.restarts,
                "connections": through.get(world.kubelet.address_of(pod.name) or "", 0),
            }
            for pod in world.state.pods.values()
        ]
        return {**self._about, "version": world.state.version, "routes": world.routes, "pods": pods}
