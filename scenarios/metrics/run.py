"""What all metrics are taken from: a record, what it was run with, and the time that counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from deployer.strategies.registry import STRATEGIES
from scenarios.record import RUN_ENDS, Level, Record, RecordError
from scenarios.spec import Spec, spec_of

SKEW_S = 0.25
"""Clocks of clients and clusters may differ by so much."""
FAULT_S = 5.0
"""What happens to a pod's connections so soon after a fault that names the pod is the fault's doing."""
_SELECT = r"^Select\(release=(?<release>[^,)]+), slot=(?<slot>[^,)]+)"
"""The action that points the Service at a slot."""


@dataclass(frozen=True)
class Span:
    """From one moment to another, the end not in it."""

    from_s: float
    to_s: float


@dataclass(frozen=True)
class Run:
    """A record with its spec; everything counts that happened in `window`: [warm_up, end)."""

    record: Record

    @cached_property
    def spec(self) -> Spec:
        """The spec that was run."""
        return spec_of(self.record.run["spec"], "run.json")

    @property
    def level(self) -> Level:
        """How much of the connections there is."""
        return self.spec.record

    @cached_property
    def window(self) -> Span:
        """From the end of the warm-up to the end of the run, be it the planned one or an earlier one."""
        ends = self.record.events.filter(pl.col("kind").is_in(RUN_ENDS))["t_s"].to_list()
        return Span(self.spec.warm_up, min([self.spec.duration, *ends]))

    @property
    def selects_release(self) -> bool:
        """Whether the Service selects one release; else deselected means terminating."""
        name = self.record.run["strategy"]
        if name not in STRATEGIES:
            raise RecordError(f"the record was made with strategy {name!r}, which this version does not know")
        return STRATEGIES[name].selects_release

    def within(self, time: str) -> pl.Expr:
        """Whether a row's time is in the window."""
        return (pl.col(time) >= self.window.from_s) & (pl.col(time) < self.window.to_s)

    @cached_property
    def deploys(self) -> pl.DataFrame:
        """The deploys that count: not the initial one, and requested in the window."""
        return self.record.deploys.filter((pl.col("kind") != "initial") & self.within("t_requested_s"))

    @cached_property
    def bins(self) -> pl.DataFrame:
        """Sums of `series` over releases in the whole-second bins that begin in the window, by time."""
        counts = [name for name in self.record.series.columns if name not in ("t_s", "release")]
        rows = self.record.series.filter(self.within("t_s"))
        return rows.group_by("t_s").agg(pl.col(*counts).sum()).sort("t_s")

    @cached_property
    def selections(self) -> list[tuple[float, str, int]]:
        """(when, which release, by which deploy) the Service was pointed at releases, in order."""
        return selections(self.record.deploys)

    @cached_property
    def reachable(self) -> pl.Series:
        """For each row of `pods`: whether new connections go there while its release is selected.

        Where the Service selects a slot too, another slot with the same release gets none: fixed colours all
        start with the initial release.
        """
        chosen = self.record.actions["action"].str.extract_groups(_SELECT).struct.unnest().drop_nulls()
        slotted = chosen["release"].unique()
        ends = chosen.select("release", pl.col("slot").alias("_slot")).unique()
        rows = self.record.pods.select("release", "deployment").with_row_index("code")
        hit = rows.join(ends, on="release").filter(
            pl.col("deployment").str.ends_with(pl.concat_str(pl.lit("-"), "_slot"))
        )
        plain = ~pl.col("release").is_in(slotted.implode())
        return rows.select(
            (plain | pl.col("code").is_in(hit["code"].implode())).alias("reachable")
        ).to_series()

    @cached_property
    def held(self) -> pl.DataFrame:
        """The samples as spans: a count holds until the pod's next sample, until it is gone or the run over.

        Columns: code (of the pod), release, from_s, to_s, open_connections, ready_s, unready_s (terminating
        or gone), gone_s. Unknown counts hold nothing.
        """
        pods = self.record.pods.with_row_index("code").select(
            "pod",
            pl.col("code").cast(pl.Int64),
            "release",
            pl.col("t_ready_s").alias("ready_s"),
            pl.min_horizontal("t_terminating_s", "t_gone_s").fill_null(math.inf).alias("unready_s"),
            pl.col("t_gone_s").fill_null(math.inf).alias("gone_s"),
        )
        samples = self.record.samples.join(pods, on="pod", maintain_order="left")
        # What does not change holds on: a week of samples is mostly that.
        before = pl.col("open_connections").shift(1).over("code")
        changed = pl.col("open_connections").ne_missing(before) | pl.col("code").is_first_distinct()
        kept = samples.filter(changed)
        until = pl.col("t_s").shift(-1).over("code").fill_null(math.inf)
        return kept.select(
            "code",
            "release",
            pl.max_horizontal("t_s", pl.lit(self.window.from_s)).alias("from_s"),
            pl.min_horizontal(until, "gone_s", pl.lit(self.window.to_s)).alias("to_s"),
            "open_connections",
            "ready_s",
            "unready_s",
            "gone_s",
        ).filter((pl.col("to_s") > pl.col("from_s")) & pl.col("open_connections").is_not_null())

    def selected_spans(self, release: str) -> list[Span]:
        """When this release was selected."""
        spans = []
        for at, (t_s, selected, _) in enumerate(self.selections):
            if selected == release:
                until = self.selections[at + 1][0] if at + 1 < len(self.selections) else float("inf")
                spans.append(Span(t_s, until))
        return spans

    def deselected_spans(self, release: str) -> list[Span]:
        """When this release was not selected any more."""
        spans = self.selected_spans(release)
        again = [*(span.from_s for span in spans[1:]), float("inf")]
        return [
            Span(span.to_s, until) for span, until in zip(spans, again, strict=False) if span.to_s < until
        ]


def selections(deploys: pl.DataFrame) -> list[tuple[float, str, int]]:
    """(when, which release, by which deploy) the Service was pointed at releases, in order."""
    rows = deploys.filter(pl.col("t_selected_s").is_not_null()).sort("t_selected_s", "deploy")
    return list(rows.select("t_selected_s", "release", "deploy").iter_rows())
