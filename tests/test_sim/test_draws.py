"""The fast crowd's random numbers: the right laws, each by its name."""

import numba
import numpy as np
import pytest
from scipy.stats import kstest

from loadgen.behaviour.arrivals import Diurnal, Poisson, Trace
from loadgen.behaviour.sessions import Empirical, Exponential, Lognormal, Mixture, Weibull
from sim.fast.coming import coming
from sim.fast.draws import key_of, parts_of, session_s, uniform
from sim.fast.memory import Store
from sim.fast.store import at

LAWS = {
    "exponential": Exponential(20.0),
    "weibull, typical": Weibull(22.0, 4.0),
    "weibull, heavy": Weibull(22.0, 0.6),
    "lognormal": Lognormal(30.0, 1.5),
    "empirical": Empirical((1.0, 5.0, 5.0, 40.0)),
    "mixture": Mixture(((1.0, Exponential(2.0)), (3.0, Lognormal(30.0, 0.5)), (1.0, Weibull(9.0, 2.0)))),
}


@numba.njit
def _lengths(address, n, residual):
    found = np.empty(n)
    for place in range(n):
        found[place] = session_s(at(address), place, 0, residual)
    return found


@numba.njit
def _uniforms(key, places, counters):
    found = np.empty((places, counters))
    for place in range(places):
        for counter in range(counters):
            found[place, counter] = uniform(key, place, counter)
    return found


def lengths(law, n, residual):
    store = Store()
    store.all["session_key"] = key_of(7, "session")
    for name, array in zip(("parts", "lengths", "sums"), parts_of(law), strict=True):
        store[name] = array
    return _lengths(store.address, n, residual)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("residual", [False, True])
def test_sessions_and_what_is_left_of_them_follow_their_laws(law, residual):
    found = lengths(LAWS[law], 20_000, residual)
    survival = LAWS[law].residual_survival if residual else LAWS[law].survival
    if law == "empirical" and not residual:
        assert [np.mean(found == x) for x in (1.0, 5.0, 40.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.012)
    else:
        assert kstest(found, lambda t: 1 - np.vectorize(survival)(t)).pvalue > 0.01


def test_numbers_of_neighbouring_names_are_independent_and_uniform():
    found = _uniforms(key_of(7, "route"), 400, 100)
    assert kstest(found.ravel(), "uniform").pvalue > 0.01
    for one in (found[1:] - found[:-1], found[:, 1:] - found[:, :-1]):
        # differences of independent uniform numbers are triangular
        assert kstest(one.ravel()[::2], "triang", args=(0.5, -1, 2)).pvalue > 0.01
    other = _uniforms(key_of(7, "backoff"), 400, 100)
    assert abs(np.corrcoef(found.ravel(), other.ravel())[0, 1]) < 0.02


def until(arrivals, seed, end_s):
    chunks = []
    for times in coming(arrivals, seed):
        chunks.append(times)
        if len(times) and times[-1] > end_s:
            break
    every = np.concatenate(chunks)
    return every[every < end_s]


def test_poisson_arrivals_have_exponential_gaps():
    times = until(Poisson(5.0), 7, 5000.0)
    assert kstest(np.diff(times), "expon", args=(0, 0.2)).pvalue > 0.01


def test_diurnal_arrivals_follow_their_rate():
    law = Diurnal(2.0, 0.9, 1000.0, 300.0)
    times = until(law, 7, 20_000.0)
    counts, _ = np.histogram(times % 1000.0, 20, (0.0, 1000.0))
    expected = np.array([law.rate_per_s(t_s) for t_s in np.arange(25.0, 1000.0, 50.0)]) * 50 * 20
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 5)


def test_a_trace_is_played_as_it_is():
    assert until(Trace((1.0, 1.0, 4.5)), 7, 10.0).tolist() == [1.0, 1.0, 4.5]
