"""What a finished run leaves in memory: many are simulated in one process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from sim import choice
from sim.fast.memory import Store
from sim.setup import CrowdKind, Setup
from sim.world import simulate


def test_the_arrays_of_a_finished_run_are_gone_before_any_collection_of_rings(
    setup_of: Callable[..., Setup],
) -> None:
    arrays: list[weakref.ref[Store]] = []
    make = choice.make

    def watched(*given: Any) -> Any:
        crowd = make(*given)
        arrays.extend(weakref.ref(value) for value in vars(crowd).values() if isinstance(value, Store))
        return crowd

    gc.disable()
    try:
        with patch.object(choice, "make", watched):
            outcome = simulate(setup_of(crowd=CrowdKind.FAST, duration_s=10.0))
        assert [one() for one in arrays] == [None]
    finally:
        gc.enable()
    assert len(outcome.connections) > 0
    assert len(outcome.samples) > 0
