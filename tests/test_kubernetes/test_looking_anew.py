"""Who looks anew waits for a list that was begun after that, not for one that was under way."""

import threading

from deployer.clusters.kubernetes.watching import Store


class Lists:
    """An API whose lists end when they may; its watches are silent."""

    name = "test"

    def __init__(self):
        self.began = [threading.Event() for _ in range(2)]
        self.may_end = [threading.Event() for _ in range(2)]
        self.over = threading.Event()
        self.asked = 0

    def call(self, *_, **__):
        number, self.asked = self.asked, self.asked + 1
        self.began[number].set()
        self.may_end[number].wait(10.0)
        return {"metadata": {"resourceVersion": str(number + 1)}, "items": []}

    def watch(self, *_):
        self.over.wait(10.0)
        yield from ()


def test_a_list_that_was_under_way_is_not_enough():
    api = Lists()
    synced = threading.Event()
    store = Store(api, "/pods", {}, lambda *_: None, synced.set)
    store.start()
    assert api.began[0].wait(10.0)
    store.look_anew()
    assert store.waits_for_a_list
    api.may_end[0].set()
    assert api.began[1].wait(10.0)
    assert not store.synced
    api.may_end[1].set()
    assert synced.wait(10.0)
    assert store.synced
    api.over.set()
    store.close()
