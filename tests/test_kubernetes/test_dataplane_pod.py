"""What runs in the data-plane probe's pods, as processes of this machine."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deployer" / "clusters" / "kubernetes" / "dataplane_pod.py"


def ports(count):
    with ExitStack() as stack:
        found = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def ask(port, path, method="GET"):
    deadline_s = time.monotonic() + 10
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


def test_all_connections_are_held_though_the_first_was_refused():
    service, client, server = ports(3)
    with ExitStack() as stack:

        def start(name, admin):
            words = [sys.executable, str(SCRIPT), name, f"127.0.0.1:{service}", str(admin)]
            process = stack.enter_context(subprocess.Popen(words))
            stack.callback(process.kill)

        start("client", client)
        ask(client, "/time")
        start("one", server)  # listens some hundredths of a second later, and the client begins now
        assert ask(client, "/begin", "POST") == "begun"
        held = json.loads(ask(client, "/report"))["held"]
    assert [closed_s for closed_s, _ in held] == [None] * 10
