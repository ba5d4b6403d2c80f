"""One's own service on the API server in memory, as the commands come to it."""

import contextlib

from deployer.clusters.kubernetes import Api, Variant
from deployer.fleet import Kind
from deployer.journal import MemoryJournal
from deployer.own.opening import Where, deploy_to, open_service

COUNT = "http:9090/count"


def stand_in(monkeypatch, server):
    """The server is what every kubeconfig names."""
    monkeypatch.setattr(Api, "connect", classmethod(lambda *_: server))


@contextlib.contextmanager
def deploying(count=COUNT, **given):
    given.setdefault("drain", {"hold_s": 2.0})
    with deploy_to(Where("web"), None, count, None, given) as session:
        yield session


def deploy(release, count=COUNT, tell=lambda line: None, image=None, **given):
    """What `drainbow deploy` does; the request at its end."""
    with deploying(count, **given) as session:
        request = session.request(release, Kind.DEPLOY, Variant(image=image or f"reg/web:{release}"))
        return session.see_through(request.deploy, MemoryJournal(), tell)


def sweep(tell=lambda line: None):
    """What `drainbow sweep` does."""
    with open_service(Where("web")) as session:
        session.tell = tell
        return session.sweep(MemoryJournal())
