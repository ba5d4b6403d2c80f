"""Reconnect policies: their waits, when they give up, and what their jitter does to a crowd."""

from __future__ import annotations

import heapq
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from loadgen.behaviour.backoff import PRESETS, Backoff, Fixed, Immediate, Jitter, Reconnect, Schedule
from loadgen.behaviour.errors import BadSettingError

JITTERS: tuple[Jitter, ...] = ("none", "equal", "full", "decorrelated")


def waits(policy: Reconnect, count: int, seed: int = 1) -> list[float | None]:
    rng, previous_s, found = Random(seed), 0.0, []
    for retry in range(count):
        wait_s = policy.delay_s(retry, previous_s, rng)
        found.append(wait_s)
        previous_s = previous_s if wait_s is None else wait_s
    return found


def test_immediate_is_at_once_and_then_every_100_ms() -> None:
    assert waits(Immediate(), 4) == [0.0, 0.1, 0.1, 0.1]


def test_presets_wait_as_the_real_clients_do() -> None:
    assert waits(PRESETS["xmpp.js"], 4) == [1.0] * 4
    assert waits(PRESETS["converse"], 4) == [0.0, 3.0, 3.0, 3.0]
    assert waits(PRESETS["slixmpp"], 12) == [0, 1, 3, 7, 15, 31, 63, 127, 255, 300, 300, 300]


def test_without_jitter_waits_double_up_to_the_cap() -> None:
    assert waits(Backoff(1.0, 60.0, "none"), 8) == [1, 2, 4, 8, 16, 32, 60, 60]


@given(
    jitter=st.sampled_from(JITTERS),
    base=st.floats(0.01, 10),
    widths=st.floats(1, 1000),
    retry=st.integers(0, 100_000),
    previous=st.floats(0, 10_000),
    seed=st.integers(),
)
def test_waits_stay_within_what_the_jitter_allows(
    jitter: Jitter, base: float, widths: float, retry: int, previous: float, seed: int
) -> None:
    cap = base * widths
    wait_s = Backoff(base, cap, jitter).delay_s(retry, previous, Random(seed))
    highest = min(cap, base * 2.0 ** min(retry, 60))
    assert wait_s is not None
    lowest = {"none": highest, "equal": highest / 2, "full": 0.0, "decorrelated": base}[jitter]
    assert lowest * (1 - 1e-9) <= wait_s <= cap * (1 + 1e-9)
    if jitter == "decorrelated":
        assert wait_s <= max(3 * max(previous, base), base)
    else:
        assert wait_s <= highest * (1 + 1e-9)


@pytest.mark.parametrize("make", [Immediate, lambda n: Fixed(1.0, n), lambda n: Backoff(give_up=n)])
def test_who_gives_up_does_so_after_that_many_retries(make: object) -> None:
    assert callable(make)
    found = waits(make(3), 5)
    assert [wait is None for wait in found] == [False, False, False, True, True]


def calls_until_all_are_served(policy: Reconnect, clients: int, seed: int) -> int:
    """Clients that all want to write one record under optimistic locking, as in the AWS simulation of 2015.

    Everyone reads the record's version and writes; a write of an old version fails, and its client waits and
    starts over. Each message takes N(10, 2) ms. Counts the writes.
    """
    rng = Random(seed)
    calls = version = order = 0
    heap: list[tuple[float, int, str, int, int, float, int]] = []

    def travel() -> float:
        return abs(rng.gauss(10.0, 2.0)) / 1000

    def put(at: float, kind: str, client: int, retry: int, previous: float, seen: int) -> None:
        nonlocal order
        order += 1
        heapq.heappush(heap, (at, order, kind, client, retry, previous, seen))

    for client in range(clients):
        put(travel(), "read", client, 1, 0.0, 0)  # their first wait is doubled once already
    while heap:
        at, _, kind, client, retry, previous, seen = heapq.heappop(heap)
        if kind == "read":
            # The answer travels back, and the write travels out.
            put(at + travel() + travel(), "write", client, retry, previous, version)
            continue
        calls += 1
        if seen == version:
            version += 1
            continue
        wait = policy.delay_s(retry, previous, rng)
        assert wait is not None
        put(at + travel() + wait + travel(), "read", client, retry + 1, wait, 0)
    return calls


@pytest.mark.known_answer
def test_jitter_orders_total_calls_as_in_the_aws_simulation() -> None:
    policies: dict[str, Reconnect] = {
        jitter: Backoff(base_s=0.005, cap_s=2.0, jitter=jitter) for jitter in JITTERS
    }
    # No backoff at all: a wait far below one message's time.
    policies["no backoff"] = Fixed(1e-9)
    runs = 10
    mean = {
        name: sum(calls_until_all_are_served(policy, 100, seed) for seed in range(runs)) / runs
        for name, policy in policies.items()
    }
    published = {"full": 796, "equal": 812, "decorrelated": 999, "none": 1852, "no backoff": 2422}
    assert mean == pytest.approx(published, rel=0.05)
    assert mean["full"] < mean["equal"] < mean["decorrelated"] < mean["none"] < mean["no backoff"], mean


@pytest.mark.parametrize("policy", [Immediate(), Fixed(2.0, 7), Schedule((0.0, 3.0)), Backoff(give_up=20)])
def test_policies_survive_a_trip_through_json(policy: Reconnect) -> None:
    adapter: TypeAdapter[Reconnect] = TypeAdapter(Reconnect)
    assert adapter.validate_json(adapter.dump_json(policy)) == policy


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Fixed(0.0), "immediate"),
        (lambda: Backoff(0.0), "base=0.0"),
        (lambda: Backoff(2.0, 1.0), "cap=1.0"),
        (lambda: Backoff(jitter="some"), "jitter=some"),  # type: ignore[arg-type]
        (lambda: Backoff(give_up=0), "give_up=0"),
        (lambda: Schedule(()), "no waits"),
        (lambda: Schedule((1.0, 0.0)), "last wait=0.0"),
        (lambda: Schedule((-1.0, 1.0)), "wait=-1.0"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_value(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(BadSettingError, match=says):
        make()
