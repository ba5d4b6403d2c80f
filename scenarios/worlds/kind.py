"""A kind cluster of our own: made where it is absent, woken where it sleeps, and left for the next run."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from scenarios.errors import OutOfReach, UserMistake
from scenarios.worlds import Front

IMAGE = "drainbow-chat"
"""What images of ours are called; the tag is a hash of the content."""
IMAGES = "_images"
"""A lock's name that no cluster can have: who builds, loads or removes images does so alone on this machine."""
IMAGE_VARIABLE = "DRAINBOW_KIND_IMAGE"
CONFIG = Path(__file__).with_name("kind-cluster.yaml")
AWAY = "/etc/kubernetes/kube-apiserver.yaml"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ANSWER_S = 30.0
WAKE_S = 90.0
"""For a cluster that was asleep; one that should be awake gets `ANSWER_S`."""
BUSY_S = 10.0
"""For one that is only looked for."""
CREATE_S = 600.0
_ELSEWHERE = "or take --world local (with make: WORLD=local)"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KindCluster:
    """A kind cluster that answers."""

    name: str
    kubeconfig: Path  # its own file; the person's own stays as it is
    fronts: Mapping[int, Front]  # by node port: where this machine reaches it
    control_plane: str  # names of nodes, which are names of containers too
    workers: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """All of them."""
        return (self.control_plane, *self.workers)

    @property
    def context(self) -> str:
        """As kind calls it."""
        return f"kind-{self.name}"

    def pause(self, node: str) -> None:
        """Freeze a node and all that runs on it. Raises OutOfReach."""
        docker("pause", node)

    def unpause(self, node: str) -> None:
        """Let a frozen node go on; one that is not frozen is no error."""
        with contextlib.suppress(OutOfReach):
            docker("unpause", node)

    def take_api_away(self, duration_s: float) -> None:
        """Stop the API server for a while, which ends whether or not this process lives on."""
        script = f"mv {MANIFEST} {AWAY}; sleep {duration_s:g}; mv {AWAY} {MANIFEST}"
        docker("exec", "--detach", self.control_plane, "sh", "-c", script)

    def bring_api_back(self) -> None:
        """Let the API server start again, if it is away."""
        _bring_api_back(self.control_plane)


def ensure(name: str, image: str | None, recreate: bool, say: Say) -> KindCluster:
    """The cluster of this name, made from `kind-cluster.yaml` if there is none.

    `image` is that of its nodes (else DRAINBOW_KIND_IMAGE, else kind's own choice) and counts only where the
    cluster is made. `say` hears of what takes long. Raises OutOfReach with one line: Docker or kind are missing
    or do not answer, the cluster is there and does not answer, or could not be made.
    """
    require_tools()
    with alone(name):
        nodes = _nodes(name)
        if nodes and recreate:
            say(f"deleting the kind cluster {name}")
            _kind("delete", "cluster", "--name", name, timeout_s=120.0)
            nodes = {}
        if not nodes:
            _create(name, image or os.environ.get(IMAGE_VARIABLE), say)
            return _found(name, _nodes(name), WAKE_S)
        asleep = _wake(nodes, say)
        return _found(name, nodes, WAKE_S if asleep else ANSWER_S)


def existing(name: str) -> KindCluster | None:
    """The cluster of this name if it is there and answers; raises nothing and wakes nothing.

    One whose nodes all run may be busy, and has some seconds to answer.
    """
    try:
        require_tools()
        nodes = _nodes(name)
        awake = all(state == "running" for state in nodes.values())
        return _found(name, nodes, BUSY_S if awake else 0.0) if nodes else None
    except OutOfReach:
        return None


def thaw(name: str) -> list[str]:
    """Let the cluster's frozen nodes go on, which a killed run left so; their names. Raises nothing."""
    try:
        require_tools()
        frozen = [node for node, state in _nodes(name).items() if state == "paused"]
        for node in frozen:
            docker("unpause", node)
    except OutOfReach:
        return []
    return frozen


def delete(name: str) -> bool:
    """Delete the cluster; False where there was none. Raises OutOfReach."""
    require_tools()
    with alone(name):
        there = bool(_nodes(name))
        _kind("delete", "cluster", "--name", name, timeout_s=120.0)
        _kubeconfig(name).unlink(missing_ok=True)
        return there


def provide_image(cluster: KindCluster, folder: Path, say: Say, name: str = IMAGE) -> str:
    """The image of a folder with a Dockerfile, on every node; built only where its content is new.

    Returns its name, whose tag is a hash of the content. Raises OutOfReach.
    """
    image = f"{name}:{content_hash(folder)}"
    with alone(cluster.name), alone(IMAGES):
        if not _there(image):
            say(f"building the image {image}")
            docker("build", "--quiet", "--tag", image, str(folder), timeout_s=CREATE_S)
        if not all(_on_node(node, image) for node in cluster.nodes):
            say(f"loading the image {image} into the kind cluster {cluster.name}")
            load_image(cluster, image)
    return image


def load_image(cluster: KindCluster, image: str) -> None:
    """Put an image of this machine's Docker on every node. Raises UserMistake where Docker has none."""
    if not _there(image):
        raise UserMistake(
            f"image {image}: Docker has none of that name here; build or pull it, or leave --image out"
        )
    _kind("load", "docker-image", image, "--name", cluster.name, timeout_s=CREATE_S)


def content_hash(folder: Path) -> str:
    """Twelve hex digits that change with the name or the content of any file that the image is built from."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def require_tools() -> None:
    """Raises OutOfReach where Docker or kind are missing or Docker's engine does not answer."""
    if shutil.which("docker") is None:
        raise OutOfReach(f"there is no docker command here; install Docker Engine, {_ELSEWHERE}")
    if shutil.which("kind") is None:
        raise OutOfReach(f"there is no kind command here; install kind, {_ELSEWHERE}")
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except OutOfReach as error:
        raise OutOfReach(f"Docker's engine does not answer; start it, {_ELSEWHERE} ({error})") from None


def _create(name: str, image: str | None, say: Say) -> None:
    say(f"creating the kind cluster {name}, which the next runs use too")
    chosen = ("--image", image) if image else ()
    try:
        _kind(
            *("create", "cluster", "--name", name, "--config", str(CONFIG)),
            *("--kubeconfig", str(_kubeconfig(name)), *chosen),
            timeout_s=CREATE_S,
        )
    except BaseException:
        # half a cluster is of no use; kind itself removes it when it fails, not when it is stopped
        with contextlib.suppress(OutOfReach):
            _kind("delete", "cluster", "--name", name, timeout_s=120.0)
        raise


def _wake(nodes: Mapping[str, str], say: Say) -> bool:
    """Undo what a killed run or a stopped engine left: frozen and stopped nodes, an API server that is away."""
    asleep = {node: state for node, state in nodes.items() if state != "running"}
    for node, state in asleep.items():
        say(f"waking the kind node {node}, which is {state}")
        docker("unpause" if state == "paused" else "start", node)
    return _bring_api_back(_control_plane(nodes)) or bool(asleep)


def _bring_api_back(control_plane: str) -> bool:
    script = f"[ -e {AWAY} ] && mv {AWAY} {MANIFEST}"
    with contextlib.suppress(OutOfReach):
        docker("exec", control_plane, "sh", "-c", script)
        return True
    return False


def _found(name: str, nodes: Mapping[str, str], patience_s: float) -> KindCluster:
    broken = f"the kind cluster {name} exists and %s; make it anew with --recreate, {_ELSEWHERE}"
    control_plane = _control_plane(nodes)
    fronts = _fronts(control_plane)
    wanted = _node_ports()
    if not wanted <= fronts.keys():
        raise OutOfReach(
            broken % f"is another than ours (it does not publish port {min(wanted - fronts.keys())})"
        )
    kubeconfig = _kubeconfig(name)
    _write_private(kubeconfig, _kind("get", "kubeconfig", "--name", name))
    workers = tuple(sorted(node for node in nodes if node != control_plane))
    deadline_s = time.monotonic() + patience_s
    while (why := _not_ready(control_plane, len(nodes))) is not None:
        if time.monotonic() >= deadline_s:
            raise OutOfReach(broken % f"does not answer ({why})")
        time.sleep(0.5)
    return KindCluster(name, kubeconfig, {port: fronts[port] for port in wanted}, control_plane, workers)


def _not_ready(control_plane: str, nodes: int) -> str | None:
    """Why the cluster cannot be used yet; asked from within, so that it needs no connection to be kept."""
    command = (
        "kubectl",
        "--kubeconfig",
        "/etc/kubernetes/admin.conf",
        "--request-timeout=5s",
        "get",
        "nodes",
    )
    columns = "custom-columns=S:.status.conditions[?(@.type=='Ready')].status"
    try:
        told = docker("exec", control_plane, *command, "--no-headers", "-o", columns, timeout_s=15.0)
    except OutOfReach as error:
        return str(error)
    ready = told.split().count("True")
    return None if ready >= nodes else f"{ready} of {nodes} nodes are ready"


def _nodes(name: str) -> dict[str, str]:
    """The containers of the cluster and their states (running, paused, exited …)."""
    told = docker(
        *("ps", "--all", "--filter", f"label=io.x-k8s.kind.cluster={name}"),
        *("--format", '{{.Label "io.x-k8s.kind.role"}} {{.Names}} {{.State}}'),
    )
    found = (line.split() for line in told.splitlines())
    return {node: state for role, node, state in sorted(found) if role in ("control-plane", "worker")}


def _control_plane(nodes: Mapping[str, str]) -> str:
    return next(iter(nodes))  # its role sorts first


def _fronts(control_plane: str) -> dict[int, Front]:
    told = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", control_plane))
    return {
        int(port.partition("/")[0]): Front(places[0]["HostIp"], int(places[0]["HostPort"]))
        for port, places in told.items()
        if places
    }


def _node_ports() -> set[int]:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return {mapping["containerPort"] for mapping in config["nodes"][0]["extraPortMappings"]}


def _there(image: str) -> bool:
    return bool(docker("images", "--quiet", image).strip())


def _on_node(node: str, image: str) -> bool:
    """Whether a node has an image that was loaded from this machine's Docker."""
    name = f"name==docker.io/library/{image}"
    return bool(docker("exec", node, "ctr", "--namespace", "k8s.io", "images", "ls", "--quiet", name).strip())


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drainbow"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _kubeconfig(name: str) -> Path:
    return _cache() / f"kind-{name}.kubeconfig"


def _write_private(path: Path, text: str) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """While this lasts no other run on this machine does the same: two that start together make one cluster."""
    with (_cache() / f"kind-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def docker(*words: str, timeout_s: float = ANSWER_S) -> str:
    """What the command prints. Raises OutOfReach with docker's reason, or where it takes too long."""
    return _told("docker", words, timeout_s)


def _kind(*words: str, timeout_s: float = ANSWER_S) -> str:
    return _told("kind", words, timeout_s)


def _told(program: str, words: Sequence[str], timeout_s: float) -> str:
    """What the command prints. Raises OutOfReach with its last line, which holds docker's and kind's reasons."""
    shown = f"`{program} {words[0]}`"
    try:
        # a session of its own: Ctrl-C is this process's to handle
        asked = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise OutOfReach(f"{shown} did not end within {timeout_s:.0f} s") from None
    except OSError as error:
        raise OutOfReach(f"{shown}: {error.strerror}") from None
    if asked.returncode != 0:
        lines = asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"]
        raise OutOfReach(f"{shown} failed: {next((line for line in lines if 'ERROR' in line), lines[-1])}")
    return asked.stdout
