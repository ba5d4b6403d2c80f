"""Random numbers by name: each is a function of seed, stream, user and attempt, not of what was drawn before.

So a draw in one stream never shifts another, and the same user has the same session and the same waits under
every strategy. The generator is SplitMix64's finaliser over a keyed counter (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from loadgen.behaviour import sessions
from loadgen.behaviour.sessions import Session
from sim.fast.compiled import compiled
from sim.fast.layout import PART, Array
from sim.fast.store import W, lengths, parts, sums

_STEP_A = np.uint64(0x9E3779B97F4A7C15)
_STEP_B = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_11, _27, _30, _31 = (np.uint64(n) for n in (11, 27, 30, 31))
_TO_UNIT = 2.0**-53
CENTRAL = 0.425
"""So far from a half `normal_quantile` takes its middle part."""

EXPONENTIAL, WEIBULL, LOGNORMAL, EMPIRICAL, FOREVER = range(5)


def key_of(seed: int, stream: str) -> np.uint64:
    """The key of a named stream."""
    return np.uint64(int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:8], "little"))


@compiled
def uniform(key: np.uint64, a: int, b: int) -> float:
    """A number in (0, 1), the one of counters a and b in the stream of this key."""
    z = key + np.uint64(a) * _STEP_A + np.uint64(b) * _STEP_B
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    z = z ^ (z >> _31)
    return (float(z >> _11) + 0.5) * _TO_UNIT


@compiled
def normal(key: np.uint64, a: int, b: int) -> float:
    """A standard normal number."""
    return normal_quantile(uniform(key, a, b))


@compiled
def uniforms(found: Array, key: np.uint64, first: int, b: int) -> None:
    """As `uniform`, for so many counters a as there is room for."""
    for i in range(len(found)):
        found[i] = uniform(key, first + i, b)


@compiled
def normal_quantile(p: float) -> float:
    """Where the normal distribution function is p in (0, 1), to 16 digits (Wichura, algorithm AS 241, 1988)."""
    q = p - 0.5
    return _central(q) if abs(q) <= CENTRAL else _tail(p)


@compiled
def _central(q: float) -> float:
    """Its middle part, of p - 0.5."""
    r = 0.180625 - q * q
    above = (((((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r
            + 6.7265770927008700853e4) * r + 4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r
            + 1.9715909503065514427e3) * r + 1.3314166789178437745e2) * r + 3.3871328727963666080e0)  # fmt: skip
    below = (((((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r
            + 3.9307895800092710610e4) * r + 2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r
            + 6.8718700749205790830e2) * r + 4.2313330701600911252e1) * r + 1.0)  # fmt: skip
    return q * above / below


@compiled
def _tail(p: float) -> float:
    """The rest of it."""
    value = _outer(_distance(p))
    return -value if p < 0.5 else value


@compiled
def _distance(p: float) -> float:
    """The root of -log of the chance to be farther out on this side."""
    return math.sqrt(-math.log(p if p < 0.5 else 1.0 - p))


@compiled
def _outer(r: float) -> float:
    """The quantile's amount, by `_distance`."""
    if r <= 5.0:
        r -= 1.6
        above = (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r
            + 2.41780725177450611770e-1) * r + 1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r
            + 5.76949722146069140550e0) * r + 4.63033784615654529590e0) * r + 1.42343711074968357734e0)  # fmt: skip
        below = (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r
            + 1.51986665636164571966e-2) * r + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r
            + 1.67638483018380384940e0) * r + 2.05319162663775882187e0) * r + 1.0)  # fmt: skip
    else:
        r -= 5.0
        above = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r
            + 1.24266094738807843860e-3) * r + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r
            + 1.78482653991729133580e0) * r + 5.46378491116411436990e0) * r + 6.65790464350110377720e0)  # fmt: skip
        below = (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r
            + 1.84631831751005468180e-5) * r + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r
            + 1.36929880922735805310e-1) * r + 5.99832206555887937690e-1) * r + 1.0)  # fmt: skip
    return above / below


@compiled
def _normals(found: Array, chances: Array) -> None:
    """As `normal_quantile`, for many: nothing waits for what comes before, and no branch has to be foreseen."""
    for i in range(len(found)):
        found[i] = _central(chances[i] - 0.5)
    n, outer, far = 0, np.empty(len(found), np.int32), np.empty(len(found))
    for i in range(len(found)):
        outer[n] = i
        n += int(abs(chances[i] - 0.5) > CENTRAL)
    for i in range(n):
        far[i] = _distance(chances[outer[i]])
    for i in range(n):
        far[i] = _outer(far[i])
    for i in range(n):
        found[outer[i]] = -far[i] if chances[outer[i]] < 0.5 else far[i]


@compiled
def gamma(key: np.uint64, a: int, b: int, shape: float) -> float:
    """A gamma number of scale 1 and shape >= 1 (Marsaglia and Tsang, 2000)."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    turn = key
    while True:
        turn = turn + _STEP_A
        x = normal(turn, a, b)
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(uniform(turn ^ _MIX_2, a, b)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return d * v


def parts_of(session: Session) -> tuple[Array, Array, Array]:
    """A distribution as the compiled functions take it: its parts, and empirical lengths with running sums.

    The lengths are sorted within each part.
    """
    mixed = session.parts if isinstance(session, sessions.Mixture) else ((1.0, session),)
    found = np.zeros(len(mixed), PART)
    all_lengths: list[float] = []
    all_sums: list[float] = []
    for part, (weight, one) in zip(found, mixed, strict=True):
        part["fresh"] = weight
        part["met"] = weight * one.mean_s if len(mixed) > 1 else 1.0
        if isinstance(one, sessions.Exponential):
            part["kind"], part["p1"] = EXPONENTIAL, one.mean_s
        elif isinstance(one, sessions.Weibull):
            part["kind"], part["p1"], part["p2"] = WEIBULL, one.scale_s, one.shape
        elif isinstance(one, sessions.Lognormal):
            part["kind"], part["p1"], part["p2"] = LOGNORMAL, one.median_s, one.sigma
        elif isinstance(one, sessions.Empirical):
            part["kind"], part["first"], part["count"] = EMPIRICAL, len(all_lengths), len(one.lengths_s)
            all_lengths += sorted(one.lengths_s)
            all_sums += np.cumsum(sorted(one.lengths_s)).tolist()
        else:
            part["kind"] = FOREVER
    for column in ("fresh", "met"):
        found[column] = np.cumsum(found[column]) / found[column].sum()
    return found, np.array(all_lengths, float), np.array(all_sums, float)


@compiled
def session_s(w: W, place: int, occupant: int, residual: bool) -> float:
    """How long this user wishes to be online; `residual`: what is left of a session met at a random moment."""
    key = w.session_key
    parts_, lengths_ = parts(w), lengths(w)
    at = 0
    if len(parts_) > 1:
        chance = uniform(key ^ _STEP_B, place, occupant)
        while at < len(parts_) - 1 and chance >= (parts_[at].met if residual else parts_[at].fresh):
            at += 1
    part = parts_[at]
    if part.kind == FOREVER:
        return math.inf
    if part.kind == EXPONENTIAL:
        return float(-part.p1 * math.log(uniform(key, place, occupant)))
    if not residual:
        if part.kind == WEIBULL:
            return float(part.p1 * (-math.log(uniform(key, place, occupant))) ** (1.0 / part.p2))
        if part.kind == LOGNORMAL:
            return float(part.p1 * math.exp(part.p2 * normal(key, place, occupant)))
        found = int(uniform(key, place, occupant) * part.count)
        return float(lengths_[part.first + found])
    share = uniform(key ^ _STEP_A, place, occupant)
    if part.kind == WEIBULL:
        biased = gamma(key, place, occupant, 1.0 + 1.0 / part.p2) ** (1.0 / part.p2)
        return float(share * part.p1 * biased)
    if part.kind == LOGNORMAL:
        return float(share * part.p1 * math.exp(part.p2 * (part.p2 + normal(key, place, occupant))))
    of = sums(w)[part.first : part.first + part.count]
    found = min(np.searchsorted(of, uniform(key, place, occupant) * of[-1], side="right"), part.count - 1)
    return float(share * lengths_[part.first + found])


@compiled
def fresh_sessions_s(w: W, found: Array, shares: Array, first: int) -> None:
    """As `session_s`, of the first occupants of so many places as there is room for; `shares` is scratch.

    Step by step for all of them: one after the other would wait for the multiplications and divisions before.
    """
    part = parts(w)[0]
    if len(parts(w)) == 1 and part.kind == LOGNORMAL:
        uniforms(shares, w.session_key, first, 0)
        _normals(found, shares)
        for i in range(len(found)):
            found[i] = part.p1 * math.exp(part.p2 * found[i])
    elif len(parts(w)) == 1 and part.kind == EXPONENTIAL:
        uniforms(shares, w.session_key, first, 0)
        for i in range(len(found)):
            found[i] = -part.p1 * math.log(shares[i])
    else:
        for i in range(len(found)):
            found[i] = session_s(w, first + i, 0, False)
