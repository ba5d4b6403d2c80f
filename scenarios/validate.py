"""The simulation held against reality: is a real run one that could have been simulated?

The real run's own scenario is simulated under many seeds, with pods that start as they did in that run: how
fast a machine starts processes is the machine's, and not what the simulation is to be judged by.

**What is held.** Each metric in `HELD` must lie in the prediction interval for one run, widened on both
sides by its tolerance. The intervals are so wide that a real run which obeys the simulation has all its
held metrics inside 99 times in 100 (Bonferroni). Every other metric is only shown: it counts rare events
(messages_lost, gave_up), hangs on a single pod or user (the p99s, storm_recovery_s), repeats a held one
(cost, forced_reconnects), or splits it by samples that real worlds take once a second (idle and draining pod-hours,
imbalance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.stats import norm

from deployer.clusters.controlplane.objects import Timing
from deployer.draining import DrainError
from deployer.strategies import StrategyError
from scenarios import build
from scenarios.batch import check_count, simulate_all
from scenarios.errors import Exit, UserMistake
from scenarios.plan.trial import trial
from scenarios.record import Record
from scenarios.replicate import Replications, Spread
from scenarios.spec import Spec, SpecError, require_built, spec_of
from scenarios.spec.fleet import NoEndpoints, Startup
from scenarios.spec.units import share_of
from scenarios.thresholds import METRICS

SURE = 0.99
"""How often a real run that obeys the simulation passes."""
MIN_SEEDS = 5
FEW_ENDS = 4
SLOW_END_S = 10.0
_SIGMAS = (0.05, 1.5)  # of a start's logarithm


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a metric may lie outside the interval: a share of the simulated mean, and an amount."""

    share: float
    amount: float
    why: str

    def of(self, mean: float) -> float:
        """In the metric's unit."""
        return self.share * abs(mean) + self.amount


HELD: Mapping[str, Tolerance] = {
    "forced_reconnects_per_client_deploy": Tolerance(0.05, 0.0, "who lands on which pod in what order"),
    "peak_reconnects_per_s": Tolerance(0.10, 0.0, "a real burst does not begin on a whole second"),
    "peak_reconnects_per_s_10s": Tolerance(0.05, 0.0, "the same, over ten of them"),
    "reconnect_s_p50": Tolerance(0.10, 0.25, "a real event loop's turns when many come at once"),
    "reconnect_s_p95": Tolerance(0.10, 0.25, "the same"),
    "pod_hours": Tolerance(0.05, 0.0, "a pod's object outlives its processes"),
    "peak_pods": Tolerance(0.0, 1.0, "the same: one may still be there"),
    "mean_live_deployments": Tolerance(0.05, 0.0, "the same, for Deployments"),
    "deploys_done": Tolerance(0.0, 0.0, "none: what becomes of a deploy is no matter of speed"),
    "deploys_blocked": Tolerance(0.0, 0.0, "none"),
    "deploys_superseded": Tolerance(0.0, 0.0, "none"),
    "deploys_refused": Tolerance(0.0, 0.0, "none"),
    "deploys_failed": Tolerance(0.0, 0.0, "none"),
    "deploy_s_p50": Tolerance(0.10, 1.0, "pods that start together slow each other down"),
    "drain_s_p50": Tolerance(0.05, 1.0, "real pods are asked once a second, and take a moment to exit"),
}
"""The metrics that are held, each with what it may be off and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: the real value, the simulated ones, and between which bounds it may lie.

    `inside` is None where the metric is only shown, or is null in the real run or in the simulated ones.
    """

    metric: str
    real: float | None
    simulated: Spread | None
    low: float | None
    high: float | None
    inside: bool | None


@dataclass(frozen=True, slots=True)
class Start:
    """Pods' time from created to listening: a lognormal law, fitted to `pods` of them; 0: as the scenario says."""

    median_s: float
    sigma: float
    pods: int


@dataclass(frozen=True)
class Validation:
    """A real run beside its simulated ones; `spec` is what these simulated."""

    folder: Path
    real: Record
    summary: Mapping[str, Any]
    twin: Record  # the simulated run of the same seed
    simulated: Replications
    start: Start
    rows: tuple[Row, ...]
    spec: Spec

    @property
    def name(self) -> str:
        """Such as "rolling (local)"."""
        return f"{self.real.run['strategy']} ({self.real.run['world']})"

    @property
    def held(self) -> tuple[Row, ...]:
        """Those that have a verdict."""
        return tuple(row for row in self.rows if row.inside is not None)

    @property
    def outside(self) -> tuple[Row, ...]:
        """Those that the simulation does not explain."""
        return tuple(row for row in self.held if not row.inside)

    @property
    def exit_code(self) -> Exit:
        """3 where a held metric lies outside."""
        return Exit.THRESHOLD_MISSED if self.outside else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Everything that the table shows, and each tolerance."""
        return {
            "run_dir": str(self.folder),
            "strategy": self.real.run["strategy"],
            "world": self.real.run["world"],
            "seeds": len(self.simulated.summaries),
            "startup": {name: getattr(self.start, name) for name in Start.__slots__},
            "no_endpoints": self.spec.network.model_dump(mode="json")["no_endpoints"],
            "outside": [row.metric for row in self.outside],
            "metrics": {row.metric: _row_json(row) for row in self.rows},
        }


def validate_record(
    folder: Path, real: Record, summary: Mapping[str, Any], seeds: int, jobs: int = 0, quiet: bool = True
) -> Validation:
    """Hold a finished real run against `seeds` simulated ones; the first has the real run's own seed.

    Raises UserMistake for a simulated or interrupted run, too few seeds, and what cannot be simulated.
    """
    run = real.run
    if run["world"] == "sim":
        raise UserMistake(f"{folder}: a simulated run; give one of a real world (local, kind, current)")
    if run.get("interrupted"):
        raise UserMistake(f"{folder}: the run was interrupted; only a whole one can be held against others")
    if seeds < MIN_SEEDS:
        raise UserMistake(f"--seeds {seeds}: an interval needs at least {MIN_SEEDS} runs")
    check_count(seeds)
    strategy = run["strategy"]
    try:
        spec, start = as_measured(as_in_world(spec_of(dict(run["spec"])), real), real)
        require_built(spec, strategy, "sim")
        build.setup_of(spec, strategy)
    except (SpecError, StrategyError, DrainError, ValueError) as error:
        raise UserMistake(f"{folder} cannot be simulated: {error}") from None
    runs = [(spec.model_copy(update={"seed": spec.seed + n}), strategy) for n in range(seeds)]
    title = f"{spec.name} · {strategy} · {seeds} simulated runs"
    found = Replications(tuple(simulate_all(runs, jobs, None, title, quiet)))
    return Validation(folder, real, summary, trial(spec, strategy), found, start, judge(summary, found), spec)


def as_in_world(spec: Spec, real: Record) -> Spec:
    """The spec with what Kubernetes does where `local` does as the spec says.

    New connections to a Service without endpoints are throttled, if the spec does not say otherwise, and pods
    are removed as fast as they were: the median time from their exit, where the server said when that is. The
    fast crowd, which the real run had no use for, is asked only for what it knows.
    """
    if share_of(spec.users.vanish) > 0:
        spec = spec.model_copy(update={"crowd": "auto"})
    if real.run["world"] == "local":
        return spec
    said = spec.network.no_endpoints or NoEndpoints.model_validate("throttled")
    network = spec.network.model_copy(update={"no_endpoints": said})
    removal_s = removal_of(real.pods, spec.server.linger) if _closes(spec, real.run["strategy"]) else None
    fleet = spec.fleet if removal_s is None else spec.fleet.model_copy(update={"removal": removal_s})
    crowd = spec.crowd if said.throttled is None else "auto"
    return spec.model_copy(update={"network": network, "fleet": fleet, "crowd": crowd})


def _closes(spec: Spec, strategy: str) -> bool:
    """Whether servers exit when `linger` is over, whoever is still connected."""
    mode = spec.server.on_sigterm
    return mode == "close" or (mode == "auto" and strategy != "graceful")


def removal_of(pods: pl.DataFrame, linger_s: float) -> float | None:
    """Median time from exit to gone of the pods that ended in the run, their exit `linger_s` after SIGTERM.

    None where fewer than `FEW_ENDS` did. Not above `SLOW_END_S`: what is slower had another reason to stay.
    """
    ended = pods.filter((pl.col("t_terminating_s") > 0) & pl.col("t_gone_s").is_not_null())
    took_s = ended["t_gone_s"] - ended["t_terminating_s"] - Timing().sigterm_after_s - linger_s
    known = took_s.filter((took_s > 0) & (took_s < SLOW_END_S))
    return float(np.median(known)) if len(known) >= FEW_ENDS else None


def as_measured(spec: Spec, real: Record) -> tuple[Spec, Start]:
    """The spec with pods that start as those of the run did, time zero's own pods left out."""
    pods = real.pods.filter((pl.col("t_created_s") > 0) & pl.col("t_ready_s").is_not_null())
    took_s = (pods["t_ready_s"] - pods["t_created_s"]).to_list()
    said = build.startup_of(spec)
    if len(took_s) < 2:
        return spec, Start(said.median_s, said.sigma, 0)
    median_s, sigma = fitted_start(took_s, spec.fleet.probe.period, (said.median_s, said.sigma))
    law = Startup.model_validate({"lognormal": {"median": f"{median_s:.6f}s", "sigma": sigma}})
    fleet = spec.fleet.model_copy(update={"startup": law})
    return spec.model_copy(update={"fleet": fleet}), Start(median_s, sigma, len(took_s))


def fitted_start(ready_s: Sequence[float], period_s: float, said: tuple[float, float]) -> tuple[float, float]:
    """Median and sigma of the lognormal law of listening, from the times after which pods were ready.

    A pod that is ready after r began to listen within the probe's period before r: interval-censored times
    (Turnbull 1976). The most probable law, given that before the run the scenario's median and sigma (`said`) were
    believed within a factor of e and of 1.6: a few pods and a slow probe tell little.
    """
    until = np.log(np.maximum(np.asarray(ready_s, dtype=float), 2e-3))
    since = np.log(np.maximum(np.asarray(ready_s, dtype=float) - period_s, 1e-3))
    before = math.log(said[0]), math.log(min(max(said[1], _SIGMAS[0]), _SIGMAS[1]))

    def unlikely(at: np.ndarray) -> float:
        mu, log_sigma = float(at[0]), float(at[1])
        sigma = math.exp(min(max(log_sigma, -5.0), 2.0))
        share = norm.cdf((until - mu) / sigma) - norm.cdf((since - mu) / sigma)
        belief = ((mu - before[0]) / 1.0) ** 2 / 2 + ((log_sigma - before[1]) / 0.5) ** 2 / 2
        return float(-np.log(np.maximum(share, 1e-300)).sum()) + belief

    best = minimize(unlikely, before, method="Nelder-Mead").x
    return math.exp(best[0]), min(max(math.exp(best[1]), _SIGMAS[0]), _SIGMAS[1])


def judge(real: Mapping[str, Any], simulated: Replications) -> tuple[Row, ...]:
    """Every metric of the real run against the simulated ones; the held ones with a verdict."""
    told = [key for key in HELD if real.get(key) is not None and simulated.spread(key) is not None]
    level = 1 - (1 - SURE) / max(1, len(told))
    return tuple(_row(key, real.get(key), simulated.spread(key, level), key in told) for key in METRICS)


def _row(key: str, real: float | None, spread: Spread | None, is_held: bool) -> Row:
    if spread is None:
        return Row(key, real, None, None, None, None)
    slack = HELD[key].of(spread.mean) if key in HELD else 0.0
    low, high = max(0.0, spread.one_low - slack), spread.one_high + slack  # no metric is negative
    rounding = 1e-9 * max(1.0, abs(high))
    inside = low - rounding <= real <= high + rounding if is_held and real is not None else None
    return Row(key, real, spread, low, high, inside)


def _row_json(row: Row) -> dict[str, Any]:
    spread, tolerance = row.simulated, HELD.get(row.metric)
    return {
        "real": row.real,
        "simulated_mean": None if spread is None else spread.mean,
        "one_low": None if spread is None else spread.one_low,
        "one_high": None if spread is None else spread.one_high,
        "tolerance": None if spread is None or tolerance is None else tolerance.of(spread.mean),
        "held": tolerance is not None,
        "inside": row.inside,
    }
