"""A simulated run as a record in memory, to hold a plan against and to draw."""

from __future__ import annotations

from scenarios.record import Record, record_of
from scenarios.run import simulated
from scenarios.spec import Spec


def trial(spec: Spec, strategy: str) -> Record:
    """One simulated run of which nothing is written. Raises UserMistake as a run does."""
    tables, notes = simulated(spec, strategy)
    run = {"spec": spec.data(), "strategy": strategy, "world": "sim", "seed": spec.seed, "notes": notes}
    return record_of(run, tables)
