"""The survival of connections: Kaplan and Meier's estimate, a Pareto tail, and what is uncertain of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deployer.forecast.lives import Floats, Lives

DRAWS = 32  # for each size of the tail
_SEED = 1958
_KNOTS = 40
TAILS = ((0.05, 30), (0.02, 12))  # share of the ends seen, and at least so many of them
_POINTS = 96  # that stand for the tail's censored values
_SHAPES = (-0.6, 1.9)
_SHAPE_PRIOR = (-0.1, 0.4)  # normal: mean, standard deviation


def kaplan_meier(lives: Lives) -> tuple[Floats, Floats]:
    """Ages at which connections ended, and the share that lives longer than each.

    The product-limit estimate (E. L. Kaplan, P. Meier, Nonparametric estimation from incomplete observations,
    1958) with late entries: at risk at an age are those that are watched then.
    """
    ages, ends, at_risk = _risk_table(lives)
    return ages, np.asarray(np.cumprod(1.0 - ends / at_risk), dtype=np.float64)


def _risk_table(lives: Lives) -> tuple[Floats, Floats, Floats]:
    ages, ends = np.unique(lives.until_s[lives.ended], return_counts=True)
    entered = np.searchsorted(np.sort(lives.watched_from_s), ages, side="left")
    left = np.searchsorted(np.sort(lives.until_s), ages, side="left")
    # Who ends at the very age at which watching began was watched for no time, yet it did end.
    return ages, ends.astype(np.float64), np.maximum(entered - left, ends).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Survival:
    """Possible cumulative hazards, equally likely: straight between knots, generalised Pareto beyond."""

    knots_s: Floats  # (K,), the first is 0, the last is where the tail begins
    hazards: Floats  # (G, K)
    shapes: Floats  # (G,)
    scales_s: Floats  # (G,)
    tail_ends: int  # ends seen in the tail

    def cumulative_hazard(self, ages_s: Floats) -> Floats:
        """-ln S at these ages, (G, *ages_s.shape); inf beyond a life's upper end."""
        knots, last = self.knots_s, self.knots_s[-1]
        index = np.clip(np.searchsorted(knots, ages_s, side="right") - 1, 0, len(knots) - 2)
        over = np.maximum(ages_s - last, 0.0)
        shape_of = (-1,) + (1,) * ages_s.ndim
        shapes, scales = self.shapes.reshape(shape_of), self.scales_s.reshape(shape_of)
        with np.errstate(divide="ignore"):
            tail = np.log(np.maximum(1.0 + shapes * over / scales, 0.0)) / shapes
        width = np.maximum(np.diff(knots), 1e-12)
        part = np.clip((np.minimum(ages_s, last) - knots[index]) / width[index], 0.0, 1.0)
        steps = np.diff(self.hazards, axis=1)
        return np.asarray(self.hazards[:, index] + steps[:, index] * part + tail)


def possible_survivals(lives: Lives, tail_share: float, least_ends: int) -> Survival:
    """Survivals that these lives leave possible; at least one must have ended.

    Up to the tail: Kaplan–Meier at up to 40 knots, each step of its cumulative hazard drawn from a gamma
    with that mean and as many degrees as ends were seen in it (the gamma process posterior of J. D.
    Kalbfleisch, Non-parametric Bayesian analysis of survival time data, 1978). In the tail, where that share
    of the ends lies: what is left of a life is generalised Pareto, which is exponential, heavier or bounded
    (J. Pickands, Statistical inference using extreme order statistics, 1975), drawn from its posterior.
    """
    rng = np.random.default_rng(_SEED)
    ages, ends, at_risk = _risk_table(lives)
    total = ends.sum()
    in_tail = min(total, max(least_ends, np.ceil(tail_share * total)))
    body = np.cumsum(ends) <= total - in_tail
    tail_ends = int(ends[~body].sum())
    if body.any():
        knots, hazards = _body(ages[body], ends[body], at_risk[body], rng)
    else:
        # Nobody was seen to end before the first end: fixed durations must not look like short ones.
        knots, hazards = np.array([0.0, ages[0] * (1.0 - 1.0 / tail_ends)]), np.zeros((DRAWS, 2))
    shapes, scales = _tails(lives, float(knots[-1]))
    order = rng.permutation(DRAWS)
    return Survival(knots, hazards, shapes[order], scales[order], tail_ends)


def _body(ages: Floats, ends: Floats, at_risk: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Knots and drawn cumulative hazards, (K,) and (DRAWS, K)."""
    sure = ends >= at_risk  # by chance all that were watched at this age ended: a zero that later ages refute
    steps = np.where(sure, 1.0, -np.log1p(-np.where(sure, 0.0, ends / at_risk)))
    marks = np.unique(np.linspace(0, len(steps), min(_KNOTS, len(steps)) + 1).astype(int))
    per_knot, ends_per_knot = (np.add.reduceat(values, marks[:-1]) for values in (steps, ends))
    drawn = rng.gamma(ends_per_knot, size=(DRAWS, len(per_knot))) * per_knot / ends_per_knot
    hazards = np.concatenate([np.zeros((DRAWS, 1)), np.cumsum(drawn, axis=1)], axis=1)
    return np.concatenate([[0.0], ages[marks[1:] - 1]]), hazards


def _tails(lives: Lives, from_s: float) -> tuple[Floats, Floats]:
    """DRAWS shapes and scales from the posterior of the excesses over an age, spread evenly over it."""
    over = lives.until_s > from_s
    excess = lives.until_s[over] - from_s
    ended = lives.ended[over]
    entry = np.maximum(lives.watched_from_s[over] - from_s, 0.0)
    exposure = float((excess - entry).sum())
    mean = exposure / max(int(ended.sum()), 1)
    ends, ends_n = _thin(excess[ended], 4 * _POINTS)
    lost, lost_n = _thin(excess[~ended], _POINTS)
    late, late_n = _thin(entry[entry > 0], _POINTS)
    points = np.concatenate([ends, lost, late])
    # The log density of an end is the log hazard less the cumulative one; entries give theirs back.
    hazard_n = np.concatenate([ends_n, np.zeros(len(lost) + len(late))])
    survive_n = np.concatenate([ends_n, lost_n, -late_n])

    low_shape, high_shape = _SHAPES
    low_scale, high_scale = np.log(mean) - 3.0, np.log(mean) + 3.0
    for size in (24, 32):
        shape_grid, log_grid = np.meshgrid(
            np.linspace(low_shape, high_shape, size) + 1e-7,
            np.linspace(low_scale, high_scale, size),
            indexing="ij",
        )
        shapes, logs = shape_grid.ravel(), log_grid.ravel()
        inner = 1.0 + np.outer(shapes / np.exp(logs), points)
        grown = np.log(np.maximum(inner, 1e-300))
        fit = -(grown @ hazard_n) - logs * ends_n.sum() - (grown @ survive_n) / shapes
        fit = np.where((inner <= 0).any(axis=1), -np.inf, fit)
        prior_mean, prior_sd = _SHAPE_PRIOR
        fit -= 0.5 * ((shapes - prior_mean) / prior_sd) ** 2
        weights = np.exp(fit - fit.max())
        near = weights > 1e-4
        pad = 0.5 / size
        low_shape, high_shape = _padded(shapes[near], pad, _SHAPES)
        low_scale, high_scale = _padded(logs[near], pad * 6, (-np.inf, np.inf))
    # Systematic draws along the direction that matters, how far the tail reaches, leave no luck in them.
    far = np.expm1(shapes * 5.0) / shapes * np.exp(logs)
    order = np.argsort(far)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    picks = order[np.searchsorted(cumulative, (np.arange(DRAWS) + 0.5) / DRAWS)]
    return shapes[picks], np.exp(logs[picks])


def _padded(values: Floats, pad: float, bounds: tuple[float, float]) -> tuple[float, float]:
    return max(float(values.min()) - pad, bounds[0]), min(float(values.max()) + pad, bounds[1])


def _thin(values: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many values, the largest among them, each with the number it stands for."""
    if len(values) <= most:
        return values, np.ones(len(values))
    ordered = np.sort(values)
    groups = np.array_split(ordered[:-1], most - 1)
    return (
        np.array([*(float(g.mean()) for g in groups), ordered[-1]]),
        np.array([*(float(len(g)) for g in groups), 1.0]),
    )
