"""Runs of the same strategy, world and spec are repetitions of one another; everything else is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scenarios.record import Record
from scenarios.replicate import Spread, spread_of
from scenarios.spec import spec_of

Summary = Mapping[str, Any]
_WORLDS = ("local", "kind", "current", "kubernetes", "sim")


@dataclass(frozen=True)
class Group:
    """Runs that differ by nothing but their seed and their luck."""

    name: str  # what tells it from the other groups
    strategy: str
    world: str
    records: tuple[Record, ...]
    summaries: tuple[Summary, ...]
    folders: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How many were made; of simulated ones not every record need be kept."""
        return len(self.summaries)

    @property
    def first(self) -> Record:
        """The run that is drawn."""
        return self.records[0]

    def values(self, key: str) -> list[float]:
        """What each run says of a metric; nulls left out."""
        return [summary[key] for summary in self.summaries if summary.get(key) is not None]

    def mean(self, key: str) -> float | None:
        """Of a metric over the runs; None where no run gives it."""
        known = self.values(key)
        return sum(known) / len(known) if known else None

    def spread(self, key: str) -> Spread | None:
        """The mean's 95 % interval; None below two runs."""
        return spread_of(self.values(key))

    @property
    def all_done(self) -> bool:
        """Whether each deploy that was asked for was done: otherwise costs do not compare."""
        return all(s.get("deploys_done") == s.get("deploys_requested") for s in self.summaries)

    @property
    def deploys(self) -> str:
        """Such as "1 of 3 deploys", the mean over runs."""
        done, asked = self.mean("deploys_done") or 0, self.mean("deploys_requested") or 0
        return f"{done:.3g} of {asked:.3g} deploys"


def grouped(records: Sequence[Record], summaries: Sequence[Summary], folders: Sequence[str]) -> list[Group]:
    """The groups in the order of their first runs, those of one strategy together; runs by seed."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for at, record in enumerate(records):
        key = (record.run["strategy"], record.run["world"], json.dumps(_spec_of(record), sort_keys=True))
        found.setdefault(key, []).append(at)
    strategies = list(dict.fromkeys(record.run["strategy"] for record in records))
    keys = sorted(found, key=lambda key: (strategies.index(key[0]), _place(key[1])))
    names = _names([records[found[key][0]] for key in keys])
    groups = []
    for name, key in zip(names, keys, strict=True):
        runs = sorted(found[key], key=lambda at: (records[at].run.get("seed", 0), at))
        groups.append(
            Group(
                name,
                key[0],
                key[1],
                tuple(records[at] for at in runs),
                tuple(summaries[at] for at in runs),
                tuple(folders[at] for at in runs),
            )
        )
    return groups


def differences(records: Sequence[Record]) -> dict[str, list[str]]:
    """The keys of the specs in which runs differ, the seed left out, each with its values."""
    flat = [dict(_flat(_spec_of(record))) for record in records]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: list(dict.fromkeys(str(one.get(key, "–")) for one in flat)) for key in keys}
    return {key: values for key, values in found.items() if len(values) > 1}


def _spec_of(record: Record) -> dict[str, Any]:
    """Every default written out: an older record lacks the keys that came later."""
    spec = spec_of(record.run["spec"], "run.json").data()
    return {key: value for key, value in spec.items() if key != "seed"}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _place(world: str) -> int:
    return _WORLDS.index(world) if world in _WORLDS else len(_WORLDS)


def _names(firsts: Sequence[Record]) -> list[str]:
    """The strategy, and what else it takes to tell the groups apart."""
    worlds = {record.run["world"] for record in firsts}
    scenarios = {record.run["spec"]["name"] for record in firsts}
    names = []
    for record in firsts:
        also = [record.run["spec"]["name"]] if len(scenarios) > 1 else []
        also += [record.run["world"]] if len(worlds) > 1 else []
        same = [r for r in firsts if _kin(r) == _kin(record)]
        if len(same) > 1:
            mine = dict(_flat(_spec_of(record)))
            also += [f"{key.split('.')[-1]} {mine.get(key, '–')}" for key in list(differences(same))[:2]]
        names.append(f"{record.run['strategy']} ({', '.join(also)})" if also else record.run["strategy"])
    return [
        f"{name} #{names[:at].count(name) + 1}" if names.count(name) > 1 else name
        for at, name in enumerate(names)
    ]


def _kin(record: Record) -> tuple[str, str, str]:
    return record.run["strategy"], record.run["world"], record.run["spec"]["name"]
