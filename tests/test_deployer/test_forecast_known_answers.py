"""Forecasts against closed forms: what renewal theory and order statistics say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.forecast import (
    ForecastError,
    Histogram,
    Lives,
    forecast,
    from_counts,
    from_histograms,
    outlook,
    outlook_from_counts,
)
from deployer.forecast.outlook import Outlook
from deployer.forecast.survival import kaplan_meier, possible_survivals

pytestmark = pytest.mark.known_answer


def exponential_ages(n, mean_s):
    """Ages in the steady state, evenly over their distribution: no luck in them."""
    return -mean_s * np.log1p(-(np.arange(n) + 0.5) / n)


def certain(chances_at):
    """An outlook without doubt: `chances_at(t)` gives each connection's chance to be open still."""

    def sums(times_s):
        p = np.array([chances_at(t) for t in times_s])
        return p.sum(axis=1)[None, :], (p**2).sum(axis=1)[None, :]

    return Outlook(len(chances_at(0.0)), sums, np.ones(1), 1e-6, 1e6, "certain", ends=1000)


class TestKaplanMeier:
    def test_the_product_limit_with_a_censored_life(self):
        lives = Lives.of([1, 2, 2, 3, 4], [True, True, False, True, False])
        ages, survival = kaplan_meier(lives)
        assert ages.tolist() == [1, 2, 3]
        assert survival == pytest.approx([4 / 5, 4 / 5 * 3 / 4, 4 / 5 * 3 / 4 * 1 / 2])

    def test_who_is_watched_from_an_age_on_is_not_at_risk_before(self):
        ages, survival = kaplan_meier(Lives.of([1, 2, 5], True, [0, 0, 1.5]))
        assert ages.tolist() == [1, 2, 5]
        assert survival == pytest.approx([1 / 2, 1 / 4, 0])

    def test_late_entries_undo_the_inspection_paradox(self):
        """Those found open at a moment live longer than those that are born: twice as long if exponential."""
        rng = np.random.default_rng(1)
        born = rng.uniform(-3000, 300, 30_000)
        gone = born + rng.exponential(100, born.size)
        lives = Lives.watched(born, gone, 0.0, 300.0)
        found_open = lives.watched_from_s > 0
        assert (gone - born)[(born < 0) & (gone > 0)].mean() == pytest.approx(200, rel=0.1)
        assert found_open.any()
        ages, survival = kaplan_meier(lives)
        at_mean = survival[np.searchsorted(ages, 100)]
        naive_ages, naive = kaplan_meier(Lives.of(lives.until_s, lives.ended))
        assert at_mean == pytest.approx(math.exp(-1), abs=0.02)
        assert naive[np.searchsorted(naive_ages, 100)] > math.exp(-1) + 0.05


class TestResidualLife:
    @pytest.mark.parametrize(
        ("draw", "mean_square_over_twice_the_mean"),
        [
            (lambda rng, n: rng.exponential(100, n), 100.0),
            (lambda rng, n: rng.uniform(80, 120, n), (100**2 + 40**2 / 12) / 200),
            (lambda rng, n: 100 * rng.weibull(4, n), 100 * math.gamma(1.5) / (2 * math.gamma(1.25))),
        ],
        ids=["exponential", "uniform", "weibull"],
    )
    def test_the_mean_residual_life_is_the_mean_square_over_twice_the_mean(
        self, draw, mean_square_over_twice_the_mean
    ):
        """Open connections seen at a moment leave after E[X²]/2E[X] on average (Cox, Renewal Theory)."""
        rng = np.random.default_rng(2)
        ended = draw(rng, 4000)
        # Length-biased lives, each cut at a uniform point: the ages that a moment finds.
        open_lives = rng.choice(ended, 2000, p=ended / ended.sum())
        ages = open_lives * rng.random(2000)
        found = outlook(ages, ended, watched_from_s=ages)
        times = np.linspace(0, 2000, 4001)
        mean = np.trapezoid(found.expected_open(times), times) / 2000
        assert mean == pytest.approx(mean_square_over_twice_the_mean, rel=0.06)


class TestFullDrain:
    @pytest.mark.parametrize("n", [10, 1000])
    def test_the_last_of_n_exponential_lives_leaves_after_the_mean_times_the_harmonic_number(self, n):
        """E[T] = ∫ P(T > t) dt = μ·H_n."""
        found = certain(lambda t: np.full(n, math.exp(-t / 100)))
        times = np.linspace(0, 3000, 6001)
        mean = np.trapezoid(1.0 - found.chance_at_most(0, times), times)
        assert mean == pytest.approx(100 * sum(1 / k for k in range(1, n + 1)), rel=0.002)

    def test_from_data_it_is_near_that_and_the_interval_holds_it(self):
        ages, ended = exponential_ages(1000, 100.0), exponential_ages(5000, 100.0)
        found = forecast(ages, ended, 0, watched_from_s=ages)
        assert found.low_s < 100 * 7.485 < found.high_s
        assert found.median_s == pytest.approx(100 * (math.log(1000) - math.log(math.log(2))), rel=0.12)

    def test_a_tenth_is_left_after_the_mean_times_ln_10(self):
        ages, ended = exponential_ages(1000, 100.0), exponential_ages(5000, 100.0)
        found = forecast(ages, ended, 100, watched_from_s=ages)
        assert found.median_s == pytest.approx(100 * math.log(10), rel=0.05)
        assert found.high_s / found.low_s < 1.4


class TestPoissonBinomial:
    @pytest.mark.parametrize(("least", "error"), [(1, 0.25), (30, 0.05)])
    @given(data=st.data(), m=st.integers(0, 10))
    def test_the_matched_binomial_is_close_to_the_exact_one(self, least, error, data, m):
        # not of those who are certain to stay or to have left: two numbers cannot tell them from the others
        chances = data.draw(st.lists(st.floats(0.05, 0.95), min_size=least, max_size=50))
        exact = np.ones(1)
        for p in chances:
            exact = np.convolve(exact, [1 - p, p])
        found = certain(lambda _: np.array(chances)).chance_at_most(m, np.ones(1))[0]
        assert found == pytest.approx(exact[: m + 1].sum(), abs=error)

    @given(n=st.integers(1, 200), p=st.floats(0.01, 0.99), m=st.integers(0, 20))
    def test_it_is_exact_for_equal_chances(self, n, p, m):
        exact = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(min(m, n) + 1))
        assert certain(lambda _: np.full(n, p)).chance_at_most(m, np.ones(1))[0] == pytest.approx(
            exact, abs=1e-9
        )


class TestWhatDataCannotTell:
    def test_with_no_end_seen_there_is_only_a_lower_bound(self):
        found = forecast([100.0] * 50, [], 0)
        assert (found.median_s, found.high_s) == (math.inf, math.inf)
        assert 0 < found.low_s < math.inf
        assert "only a lower bound" in found.method

    def test_with_few_ends_there_is_no_upper_bound(self):
        found = forecast([100.0] * 50, [80.0, 90.0, 100.0], 0)
        assert found.high_s == math.inf
        assert found.low_s < found.median_s < math.inf

    def test_it_is_said_where_the_data_end_and_the_tail_begins(self):
        method = forecast([10.0], exponential_ages(500, 50.0), 0).method
        assert "501 connections, 500 of them ended" in method
        assert "generalised Pareto tail" in method

    def test_fewer_open_than_asked_for_is_now(self):
        found = forecast([5.0, 6.0], [1.0], 2)
        assert (found.low_s, found.median_s, found.high_s) == (0.0, 0.0, 0.0)

    def test_fixed_durations_are_told_from_short_ones(self):
        """All live exactly 100 s, so whoever is 40 s old has 60 s to go."""
        found = forecast([40.0] * 20, [100.0] * 200, 10)
        assert (found.low_s, found.high_s) == (pytest.approx(60, abs=3), pytest.approx(60, abs=3))


@given(
    ages=st.lists(st.floats(0, 1e4), min_size=1, max_size=20),
    ended=st.lists(st.floats(0, 1e4), max_size=40),
    m=st.integers(0, 5),
)
def test_an_interval_is_in_order_and_fewer_left_takes_longer(ages, ended, m):
    found, fewer = outlook(ages, ended).until(m + 1), outlook(ages, ended).until(m)
    assert found.low_s <= found.median_s <= found.high_s
    assert found.low_s <= fewer.low_s
    assert found.median_s <= fewer.median_s * 1.001


def test_a_survival_never_rises():
    lives = Lives.of(np.random.default_rng(3).lognormal(3, 1.5, 300))
    hazard = possible_survivals(lives, 0.05, 30).cumulative_hazard(np.geomspace(0.01, 1e5, 500))
    assert (np.diff(np.where(np.isfinite(hazard), hazard, 1e300), axis=1) >= 0).all()


class TestHistograms:
    EDGES = (*(10.0 * 1.5**k for k in range(12)), math.inf)

    def histogram(self, values):
        return Histogram.of_cumulative(
            {edge: float((np.asarray(values) <= edge).sum()) for edge in self.EDGES}
        )

    def test_they_say_nearly_what_the_values_say(self):
        rng = np.random.default_rng(4)
        ages, ended = rng.exponential(100, 300), rng.exponential(100, 3000)
        exact = forecast(ages, ended, 10)
        binned = from_histograms(self.histogram(ages), self.histogram(ended), 10)
        assert binned.median_s == pytest.approx(exact.median_s, rel=0.1)

    def test_what_lies_beyond_the_last_edge_is_kept_as_censored(self):
        ages, ended = [5.0] * 50, [5.0] * 100 + [1e6] * 100
        found = from_histograms(self.histogram(ages), self.histogram(ended), 10)
        assert found.median_s > 500

    def test_pods_are_merged(self):
        one = Histogram((1.0, math.inf), (2.0, 3.0))
        assert Histogram.merged([one, one]) == Histogram((1.0, math.inf), (4.0, 6.0))

    @pytest.mark.parametrize(
        "buckets", [{}, {1.0: 3.0}, {1.0: 3.0, math.inf: 2.0}, {-1.0: 0.0, math.inf: 1.0}]
    )
    def test_what_is_no_histogram_is_refused(self, buckets):
        with pytest.raises(ForecastError, match="histogram"):
            Histogram.of_cumulative(buckets)

    def test_other_edges_cannot_be_merged(self):
        parts = [Histogram((1.0, math.inf), (0.0, 0.0)), Histogram((2.0, math.inf), (0.0, 0.0))]
        with pytest.raises(ForecastError, match="same edges"):
            Histogram.merged(parts)


class TestCounts:
    def test_an_exponential_burn_down_goes_on(self):
        samples = [(float(t), round(1000 * math.exp(-t / 100))) for t in range(0, 231, 5)]
        found = from_counts(samples, 50)
        assert found.median_s == pytest.approx(100 * math.log(samples[-1][1] / 50), rel=0.35)
        assert found.low_s < found.median_s < found.high_s

    def test_from_one_sample_there_is_only_a_lower_bound(self):
        assert from_counts([(0.0, 100)], 5).median_s == math.inf

    def test_who_comes_late_does_not_pass_for_never_leaving(self):
        steady = [(0.0, 100), (10.0, 80), (20.0, 60)]
        late = [(0.0, 100), (10.0, 79), (11.0, 80), (20.0, 60)]
        assert from_counts(late, 5).median_s == pytest.approx(from_counts(steady, 5).median_s, rel=0.2)

    def test_expected_counts_begin_at_what_is_open_now(self):
        found = outlook_from_counts([(0.0, 100), (10.0, 80), (20.0, 60)])
        assert found.expected_open(np.array([0.0]))[0] == pytest.approx(60)

    @pytest.mark.parametrize("samples", [[], [(1.0, 5), (0.0, 4)], [(0.0, -1)], [(math.nan, 1)]])
    def test_what_are_no_samples_is_refused(self, samples):
        with pytest.raises(ForecastError, match="samples"):
            from_counts(samples, 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: forecast([-1.0], [1.0], 0), "open_ages_s"),
        (lambda: forecast([1.0], [math.nan], 0), "until_s"),
        (lambda: forecast([1.0], [1.0], -1), "m=-1"),
        (lambda: forecast([1.0], [1.0], 0, level=1.0), "level=1.0"),
        (lambda: Lives.of([1.0], True, [2.0]), "watched_from_s must not exceed"),
    ],
)
def test_data_that_cannot_be_are_refused_in_one_line(call, words):
    with pytest.raises(ForecastError, match=words):
        call()
