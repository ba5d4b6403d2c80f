"""The API server over HTTP: addresses, credentials and TLS from the official client, objects as plain JSON.

Plain JSON, because a watch over a hundred pods must not spend its time on model classes, and because whatever
a manifest holds, known to this client or not, has to survive being copied.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes.client
import kubernetes.config
import urllib3
import yaml
from kubernetes.config.config_exception import ConfigException

from deployer.clusters import ClusterUnreachable
from deployer.clusters.controlplane.objects import RejectedError
from deployer.clusters.kubernetes import answers

Object = Mapping[str, Any]
"""An object of the API as JSON has it."""

OLDEST = (1, 29)
"""Kubernetes versions before this one are refused: native sidecars and what we rely on of pods' conditions
came then, and nobody supports older ones any more. Tried on 1.34."""

TIMEOUT_S = 10.0
"""For one request and its answer; reads of pods have their own, shorter one."""
CONNECT_S = 4.0
BUSY_S = 5.0
"""A request that the API server turns away (429) is asked again within so long, when it says to; nothing was done
of it, so that a write may be repeated too."""
SILENCE_S = 10
"""A connection on which nothing gets through any more is given up after so long, idle watches too: the kernel asks the
other one's kernel, so that a server which has nothing to say is not taken for one that is gone."""
SOCKET_OPTIONS = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {
            "TCP_KEEPIDLE": SILENCE_S // 2,
            "TCP_KEEPINTVL": 1,
            "TCP_KEEPCNT": SILENCE_S // 2,
            "TCP_USER_TIMEOUT": SILENCE_S * 1000,  # for what was sent and is not acknowledged
        }.items()
        if hasattr(socket, name)
    ),
]
LARGEST_ANSWER_BYTES = 4 << 20  # of a pod
POOL = 64
"""Connections to the API server that are kept: one for each pod that is asked at once."""


_config: Any = kubernetes.config  # it has no types
_UNUSABLE = (ConfigException, OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError)
"""What reading a kubeconfig raises: the official client takes whatever is in the file for one."""


class NotFoundError(Exception):
    """There is no such object."""


class ConflictError(Exception):
    """The object has changed since it was read, or is there already; the message is the API server's."""


class GoneError(Exception):
    """What was asked for is too old for a watch to go on from: list again."""


class BusyError(ClusterUnreachable):
    """The API server has no time for us now, and says when to come again."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class NoClusterError(RejectedError):
    """No kubeconfig that can be used, no such context in it and no pod around us, or credentials that do not count."""


class Api:
    """Requests to one API server; every method may be called from any thread.

    Nothing is tried twice in here, but for a right that is denied and what a busy server turned away: who calls
    knows whether that is safe and how long it may take.
    """

    def __init__(self, client: kubernetes.client.ApiClient, name: str, namespace: str | None = None) -> None:
        """`name` is how errors call the cluster; `namespace` is what the context prefers."""
        self.name = name
        self.namespace = namespace
        self.configuration = client.configuration
        self._client = client
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._base = self.configuration.host.rstrip("/")

    @classmethod
    def connect(cls, context: str | None = None, kubeconfig: str | None = None) -> Api:
        """From a kubeconfig's context (None: its current one), or, where there is none, from within a pod.

        Raises NoClusterError where neither is there, the kubeconfig cannot be used or the context is unknown.
        """
        configuration = kubernetes.client.Configuration()
        configuration.retries = False
        configuration.connection_pool_maxsize = POOL
        configuration.socket_options = SOCKET_OPTIONS
        try:
            _config.load_kube_config(kubeconfig, context, client_configuration=configuration)
            name, namespace = _context(kubeconfig, context)
        except _UNUSABLE as error:
            if context is not None or kubeconfig is not None:
                raise NoClusterError(
                    f"context {context or '(current)'!s} of {kubeconfig or 'the kubeconfig'}: "
                    f"{_why_unusable(error)}; `kubectl config get-contexts` lists what there is"
                ) from None
            try:
                _config.load_incluster_config(client_configuration=configuration)
            except ConfigException:
                raise NoClusterError(
                    f"no cluster: no kubeconfig ({_why_unusable(error)}) and not within a pod; set KUBECONFIG, "
                    "or make a cluster with `kind create cluster`"
                ) from None
            name, namespace = "in-cluster", _own_namespace()
        return cls(kubernetes.client.ApiClient(configuration), name, namespace)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def version(self) -> tuple[int, int]:
        """The API server's version, as (major, minor). Raises ClusterUnreachable, RejectedError."""
        try:
            found = self.call("GET", "/version")
        except NotFoundError:
            raise RejectedError(
                f"cluster {self.name}: {self._base} does not say its version, as an API server of Kubernetes "
                "does; look at the server in the kubeconfig"
            ) from None
        return (_leading_int(found.get("major", "")), _leading_int(found.get("minor", "")))

    def check_version(self) -> None:
        """Raise RejectedError with one line where the cluster is too old for us."""
        found = self.version()
        if found < OLDEST:
            raise RejectedError(
                f"cluster {self.name} runs Kubernetes {found[0]}.{found[1]}; drainbow needs "
                f"{OLDEST[0]}.{OLDEST[1]} or newer: upgrade the cluster"
            )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_s: float = TIMEOUT_S,
        before: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """One request with a JSON answer; `timeout_s` bounds each wait for the server.

        `before` is called ahead of each try; what it raises ends them.

        Raises NotFoundError, ConflictError, GoneError, RejectedError where the API server refuses for good,
        ClusterUnreachable where it could not be asked or is too busy.
        """
        sent = None if body is None else json.dumps(body).encode()

        def ask() -> urllib3.BaseHTTPResponse:
            before()
            return self._request(
                method,
                path,
                query,
                body=sent,
                headers={"Content-Type": content_type},
                timeout=urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
            )

        response = answers.in_time(ask, BUSY_S)
        if response.status >= 400:
            raise self._error(response, response.data, f"{method} {path}")
        try:
            answer = json.loads(response.data)
        except ValueError:
            raise ClusterUnreachable(f"cluster {self.name}: {method} {path}: the answer is no JSON") from None
        return answer if isinstance(answer, dict) else {}

    def merge(self, path: str, patch: Object, **options: Any) -> dict[str, Any]:
        """A JSON merge patch: None removes a key. `options` and what it raises are as of `call`."""
        return self.call("PATCH", path, patch, content_type="application/merge-patch+json", **options)

    def watch(
        self, path: str, query: Mapping[str, Any], timeout_s: float, opened: list[urllib3.BaseHTTPResponse]
    ) -> Iterator[dict[str, Any]]:
        """The events of a watch until it ends; the response is put into `opened` so that it can be cut off.

        Raises GoneError where it must list again, else as `call`.
        """
        asked = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": int(timeout_s)}
        timeout = urllib3.Timeout(connect=CONNECT_S, read=timeout_s + TIMEOUT_S)
        try:
            # Who watches has a back-off of its own for a busy server.
            response = answers.in_time(
                lambda: self._request("GET", path, asked, preload_content=False, timeout=timeout), busy_s=0.0
            )
        except urllib3.exceptions.HTTPError as error:  # while it said why not
            raise self._unreachable(f"watch {path}", error) from error
        opened.append(response)
        try:
            if response.status >= 400:
                raise self._error(response, response.data, f"watch {path}")
            for line in answers.lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise self._error(response, line, f"watch {path}", int(event["object"].get("code", 500)))
                yield event
        except RejectedError:  # which is a ValueError
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._unreachable(f"watch {path}", error) from error
        finally:
            opened.remove(response)
            response.close()

    def ask_pod(
        self, namespace: str, pod: str, port: int, target: str, method: str, timeout_s: float
    ) -> tuple[int, bytes]:
        """One HTTP exchange with a pod through the API server's proxy: status and body, within `timeout_s`.

        Raises ClusterUnreachable where there is no answer in time; any status is an answer.
        """
        until_s = time.monotonic() + timeout_s
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}:{port}/proxy/{target.lstrip('/')}"
        response = self._request(
            method,
            path,
            None,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
        )
        try:
            body = b""
            while chunk := response.read1(65536):
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES or time.monotonic() > until_s:
                    raise ClusterUnreachable(f"pod {pod}:{port}/{target}: no end of its answer in time")
            response.release_conn()
            return response.status, body
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(f"pod {pod}:{port}/{target}", error) from error
        finally:
            response.close()

    def exec_in_pod(
        self, namespace: str, pod: str, container: str | None, command: list[str], timeout_s: float
    ) -> str:
        """What a command in a pod prints to its standard output. Raises ClusterUnreachable."""
        import websocket
        from kubernetes.stream import ws_client as untyped

        ws_client: Any = untyped

        query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "false")]
        if container is not None:
            query.append(("container", container))
        url = f"{self._base}/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/exec?{urlencode(query)}"
        if websocket.getdefaulttimeout() is None:
            websocket.setdefaulttimeout(CONNECT_S)
        what = f"exec in pod {pod}"
        try:
            client = ws_client.WSClient(
                self.configuration, ws_client.get_websocket_url(url), self._auth(), capture_all=True
            )
            # Its own close() leaves the socket open where the other side has closed first.
            with contextlib.closing(client), contextlib.ExitStack() as stack:
                stack.callback(client.sock.shutdown)
                client.run_forever(timeout=timeout_s)
                if client.is_open():
                    raise ClusterUnreachable(f"{what}: no end in {timeout_s:g} s")
                if client.returncode != 0:
                    raise ClusterUnreachable(f"{what}: `{' '.join(command)}` failed")
                printed: str = client.read_all()
                return printed
        except ClusterUnreachable:
            raise
        except Exception as error:
            # the websocket library's, and those of a status that cannot be read
            raise self._unreachable(what, error) from error

    def _auth(self) -> dict[str, str]:
        """The header that says who we are; a token that runs out is refreshed by the client's own hook."""
        return {
            str(found["key"]): str(found["value"])
            for found in self.configuration.auth_settings().values()
            if found.get("value")
        }

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> urllib3.BaseHTTPResponse:
        url = self._base + path + (f"?{urlencode(query)}" if query else "")
        try:
            sent = {
                "Accept": "application/json, */*",
                "User-Agent": "drainbow",
                **self._auth(),
                **(headers or {}),
            }
            return self._pool.request(method, url, headers=sent, retries=False, redirect=False, **options)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(f"{method} {path}", error) from error
        except ConfigException as error:
            raise NoClusterError(f"cluster {self.name}: credentials: {answers.line(error)}") from error

    def _unreachable(self, what: str, error: object) -> ClusterUnreachable:
        return ClusterUnreachable(f"cluster {self.name}: {what}: {answers.line(error) or 'no answer'}")

    def _error(
        self, response: urllib3.BaseHTTPResponse, body: bytes, what: str, code: int | None = None
    ) -> Exception:
        """What to raise for this answer, or for an error within it that has a `code` of its own."""
        status, message = code or response.status, answers.message(body)
        if status == 404:
            return NotFoundError(message)
        if status == 409:
            return ConflictError(message)
        if status == 410:
            return GoneError(message)
        text = f"cluster {self.name}: {message or f'{what}: status {status}'}"
        if status == 429:
            return BusyError(text, answers.retry_after_s(response))
        if status == 408 or status >= 500:
            return ClusterUnreachable(text)
        if status == 401:
            return NoClusterError(
                f"{text}: the credentials are not accepted: they have expired, or are another cluster's; log in again "
                f"(`kubectl auth whoami` says whether that has helped)"
            )
        return RejectedError(text)


def _why_unusable(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return answers.line(error) if isinstance(error, ConfigException) else "the file is no kubeconfig in YAML"


def _leading_int(text: str) -> int:
    found = re.match(r"\d+", str(text))
    return int(found[0]) if found else 0


def _context(kubeconfig: str | None, named: str | None) -> tuple[str, str | None]:
    contexts, active = _config.list_kube_config_contexts(kubeconfig)
    found = next((c for c in contexts if c["name"] == named), active)
    return str(found["name"]), found["context"].get("namespace")


def _own_namespace() -> str | None:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return None
