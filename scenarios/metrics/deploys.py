"""How the deploys went."""

from __future__ import annotations

import polars as pl

from scenarios.metrics.run import Run
from scenarios.metrics.survival import quantile

Value = float | int | None
_OUTCOMES = ("done", "blocked", "superseded", "refused", "failed")


def counts(run: Run) -> dict[str, Value]:
    """Deploys and rollbacks requested in the window, without the initial one; in all and by outcome."""
    found: dict[str, Value] = {"deploys_requested": run.deploys.height}
    for outcome in _OUTCOMES:
        found[f"deploys_{outcome}"] = run.deploys.filter(pl.col("outcome") == outcome).height
    return found


def deploy_s_p50(run: Run) -> Value:
    """Median of t_selected_s − t_requested_s over deploys done; censored at the end: those under way."""
    return _took_s(run, run.deploys)


def rollback_s(run: Run) -> Value:
    """The same over rollbacks alone."""
    return _took_s(run, run.deploys.filter(pl.col("kind") == "rollback"))


def drain_s_p50(run: Run) -> Value:
    """Median over deploys done of t_drained_s − t_selected_s (of the release replaced), by Kaplan-Meier.

    Censored where that release was deleted undrained, selected again, or still drained at the end. A deploy
    that replaced no other release does not count.
    """
    ended, censored = [], []
    order = [deploy for _, _, deploy in run.selections]
    for row in run.deploys.filter(pl.col("outcome") == "done").iter_rows(named=True):
        selected_s = row["t_selected_s"]
        if selected_s is None or selected_s >= run.window.to_s or row["deploy"] not in order:
            continue
        at = order.index(row["deploy"])
        if at == 0 or run.selections[at - 1][1] == row["release"]:
            continue
        old = run.selections[at - 1][1]
        again = [t for t, release, _ in run.selections[at + 1 :] if release == old]
        stops = [t for t in (row["t_deleted_s"], *again[:1], run.window.to_s) if t is not None]
        drained_s = row["t_drained_s"]
        if drained_s is not None and drained_s < run.window.to_s:
            ended.append(drained_s - selected_s)
        else:
            censored.append(max(0.0, min(stops) - selected_s))
    return quantile(ended, censored, 0.5)


def _took_s(run: Run, deploys: pl.DataFrame) -> Value:
    ended, censored = [], []
    for requested_s, selected_s, outcome in deploys.select(
        "t_requested_s", "t_selected_s", "outcome"
    ).iter_rows():
        if outcome == "done" and selected_s is not None:
            ended.append(selected_s - requested_s)
        elif outcome is None:
            censored.append(run.window.to_s - requested_s)
    return quantile(ended, censored, 0.5)
