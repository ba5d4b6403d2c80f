"""What a reader of a run is told besides its numbers."""

from __future__ import annotations

import polars as pl
import pytest

from scenarios.notes import vain_faults
from scenarios.spec import load

PODS = pl.DataFrame(
    {
        "pod": ["chat-a", "chat-b"],
        "node": ["node-1", None],
        "t_created_s": [-5.0, 30.0],
        "t_gone_s": [20.0, None],
    },
    schema_overrides={"node": pl.String()},
)


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ("[{at: 10s, kill_pod: chat-a}]", []),
        ("[{at: 10s, kill_pod: random}, {at: 3s, backend_down: 5s}]", []),
        ("[{at: 10s, kill_pod: chat-b}]", ["kill_pod chat-b at 10s broke nothing"]),
        ("[{at: 25s, kill_pod: chat-a}]", ["kill_pod chat-a at 25s broke nothing"]),
        ("[{at: 10s, node_loss: node-1, duration: 5s}]", []),
        ("[{at: 10s, node_loss: node-7, duration: 5s}]", ["node_loss node-7 at 10s broke nothing"]),
    ],
)
def test_a_fault_that_hit_nothing_is_told(faults: str, told: list[str]) -> None:
    found = vain_faults(load("quick", [f"faults={faults}"]), PODS)
    assert [line.partition(":")[0] for line in found] == told


def test_it_names_what_could_have_been_hit() -> None:
    (line,) = vain_faults(load("quick", ["faults=[{at: 10s, kill_pod: chat-1}]"]), PODS)
    assert line.endswith("those that were there: chat-a.")
