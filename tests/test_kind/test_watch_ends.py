"""A watch ends when it is closed, whatever the API server does meanwhile, and takes its connection with it."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes.client
import pytest

from deployer.clusters.kubernetes import Api
from deployer.clusters.kubernetes.watching import Store


class Server(ThreadingHTTPServer):
    """Answers lists at once, and a watch only when it is allowed to; then it is silent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.may_answer, self.over = threading.Event(), threading.Event(), threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if "watch=true" not in self.path:
            body = json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.server.asked.set()
        self.server.may_answer.wait(10.0)
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.server.over.wait(10.0)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.may_answer.set()
        found.over.set()
        found.shutdown()
        thread.join()


def test_one_that_is_closed_while_it_is_being_asked_for_ends_with_the_answer(server):
    configuration = kubernetes.client.Configuration(host=f"http://127.0.0.1:{server.server_address[1]}")
    with closing(Api(kubernetes.client.ApiClient(configuration), "test")) as api:
        store = Store(api, "/pods", {}, lambda *_: None)
        store.start()
        assert server.asked.wait(10.0)
        closer = threading.Thread(target=store.close)
        closer.start()
        threading.Timer(0.1, server.may_answer.set).start()
        closer.join(10.0)
        assert not closer.is_alive()
        assert not any(thread.name == "watch /pods" for thread in threading.enumerate())
