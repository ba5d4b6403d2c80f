"""A plan's numbers as data frames, for notebooks and CSV files."""

from __future__ import annotations

import polars as pl

from scenarios.plan.advice import Plan
from scenarios.plan.text import time_text


def comparison(plan: Plan) -> pl.DataFrame:
    """A row for each strategy."""
    return pl.DataFrame(
        [
            {
                "strategy": one.name,
                "pods mean": round(one.pods_mean, 1),
                "pods peak": one.pods_peak,
                "nodes": one.nodes_peak,
                "dollars a month": round(one.dollars_per_month),
                "forced reconnects per user and deploy": round(one.forced_per_user_deploy, 4),
                "logins": one.storm.verdict,
                "deploys a day at most": round(one.max_deploys_per_day, 2),
                "fits and keeps up": one.fits and one.keeps_up,
            }
            for one in plan.estimates
        ]
    )


def old_release_may_go(plan: Plan) -> pl.DataFrame:
    """A row for each number of connections that may be left."""
    return pl.DataFrame(
        [
            {
                "connections left": left.m,
                "half of the time by": time_text(left.median_s),
                "90 % between": time_text(left.low_s),
                "and": time_text(left.high_s),
            }
            for left in plan.left
        ]
    )


def assumptions(plan: Plan) -> pl.DataFrame:
    """A row for each assumption, what moves most first."""
    return pl.DataFrame(
        [
            {
                "assumption": moved.assumption,
                "dollars at half": None if moved.low is None else round(moved.low.dollars_per_month),
                "dollars at twice": None if moved.high is None else round(moved.high.dollars_per_month),
                "peak at half": None if moved.low is None else moved.low.pods_peak,
                "peak at twice": None if moved.high is None else moved.high.pods_peak,
                "moves most": moved.moves,
                "by the factor": round(moved.size, 2),
            }
            for moved in plan.moved
        ]
    )
