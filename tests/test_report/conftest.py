"""Simulated runs of the scenario `tiny`, each made once."""

from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser

import pytest

from scenarios.metrics import summarise
from scenarios.record import Record, record_of
from scenarios.run import Options, read_spec, simulated

VOID = {"meta", "br", "link", "img", "input", "hr"}


@cache
def _tiny(strategy: str, settings: tuple[str, ...], seed: int) -> Record:
    spec = read_spec("tiny", strategy, "sim", Options(settings=settings, seed=seed))
    run = {
        "spec": spec.data(),
        "strategy": strategy,
        "world": "sim",
        "seed": seed,
        "command": f"drainbow run tiny --strategy {strategy} --world sim",
        "versions": {"drainbow": "0.1.0"},
    }
    return record_of(run, simulated(spec, strategy)[0])


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Record]:
    """tiny(strategy, *settings, seed=7): the record of a simulated run."""

    def run(strategy: str, *settings: str, seed: int = 7) -> Record:
        return _tiny(strategy, settings, seed)

    return run


@pytest.fixture(scope="session")
def summary_of() -> Callable[[Record], dict]:
    return summarise


class Page(HTMLParser):
    """What a page is made of; `wrong` tells what a validator would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) != len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()} closes nothing that is open")

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if attrs.get("id")]


@pytest.fixture(scope="session")
def page_of() -> type[Page]:
    return Page
