from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resonaut.stats import (
    cms_chi2,
    deviance,
    deviance_chi2,
    kolmogorov_smirnov,
    neyman_chi2,
    pearson_chi2,
    poisson_interval,
    poisson_significance,
)


def test_pearson_against_scipy():
    n, mu = np.array([12, 20, 31, 9, 28]), np.array([15.0, 18.0, 30.0, 11.0, 26.0])
    ours, theirs = pearson_chi2(n, mu), stats.chisquare(n, mu)
    assert ours.chi2 == pytest.approx(theirs.statistic)
    assert stats.chi2.sf(ours.chi2, 4) == pytest.approx(theirs.pvalue)
    assert ours.p_value == pytest.approx(stats.chi2.sf(theirs.statistic, 5))


@given(st.lists(st.floats(1e-3, 30.0), min_size=1, max_size=40), st.integers(0, 10**6))
def test_merging_keeps_events_and_reaches_the_floor(expected, seed):
    mu = np.array(expected)
    n = np.random.default_rng(seed).poisson(mu)
    result = pearson_chi2(n, mu)
    assert 1 <= result.bins <= len(mu)
    if result.bins == 1:
        assert result.chi2 == pytest.approx((n.sum() - mu.sum()) ** 2 / mu.sum())
    assert result.bins <= max(1, mu.sum() / 5.0)


def test_pearson_is_calibrated_for_sparse_bins():
    """Mean of the merged statistic is its number of bins, also where single bins hold a tenth of an event."""
    rng = np.random.default_rng(2)
    mu = 40.0 * np.exp(-0.25 * np.arange(30))
    results = [pearson_chi2(rng.poisson(mu), mu) for _ in range(3000)]
    assert {r.bins for r in results} == {results[0].bins}
    assert np.mean([r.chi2 for r in results]) == pytest.approx(results[0].bins, rel=0.03)
    assert np.mean([r.p_value < 0.05 for r in results]) == pytest.approx(0.05, abs=0.015)


def test_deviance_against_log_likelihood_ratio():
    n, mu = np.array([3, 0, 7]), np.array([2.0, 0.5, 9.0])
    ratio = -2 * (stats.poisson.logpmf(n, mu) - stats.poisson.logpmf(n, np.maximum(n, 1e-300))).sum()
    assert deviance(n, mu) == pytest.approx(ratio)
    assert deviance([1], [0.0]) == np.inf


def test_kolmogorov_smirnov_against_scipy():
    """Fine bins make the binned test the unbinned one."""
    x = np.random.default_rng(3).exponential(size=400)
    edges = np.linspace(0, 20, 200001)
    ours = kolmogorov_smirnov(np.histogram(x, edges)[0], np.diff(stats.expon.cdf(edges)))
    theirs = stats.kstest(x, "expon", method="asymp")
    assert ours.distance == pytest.approx(theirs.statistic, abs=3e-3)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    assert kolmogorov_smirnov([0, 0], [1.0, 1.0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("n", "mu"), [(9, 3.0), (0, 4.0), (1, 0.1), (130, 100.0), (70, 100.0), (1_005_000, 1_000_000.0)]
)
def test_poisson_significance_is_the_poisson_tail(n, mu):
    tail = stats.poisson.sf(n - 1, mu) if n > mu else stats.poisson.cdf(n, mu)
    assert poisson_significance(n, mu) == pytest.approx(np.sign(n - mu) * stats.norm.isf(tail), rel=1e-9)


def test_poisson_significance_is_odd_and_gaussian_for_large_counts():
    assert poisson_significance([10_500, 9_500], 10_000.0) == pytest.approx([5.0, -5.0], abs=0.06)
    assert poisson_significance([0, 0, 5], [0.0, 0.3, 5.0]).tolist() == [0.0, 0.0, 0.0]


def test_without_merging_every_bin_counts():
    n, mu = np.array([0.0, 3.0, 1.0]), np.array([0.5, 2.0, 0.2])
    found = pearson_chi2(n, mu, min_expected=0.0)
    assert (found.chi2, found.bins) == (pytest.approx(((n - mu) ** 2 / mu).sum()), 3)


def test_poisson_interval_is_garwood():
    """Bounds against the chi2 quantiles of the textbook, and the tails that define them."""
    n = np.array([0, 1, 5, 200, 10_000])
    low, high = poisson_interval(n)
    tail = (1 - 0.6827) / 2
    np.testing.assert_allclose(low[1:], stats.chi2.ppf(tail, 2 * n[1:]) / 2)
    np.testing.assert_allclose(high, stats.chi2.ppf(1 - tail, 2 * (n + 1)) / 2)
    np.testing.assert_allclose(stats.poisson.cdf(n, high), tail)
    np.testing.assert_allclose(stats.poisson.sf(n[1:] - 1, low[1:]), tail)
    assert low[0] == 0.0


def test_conventions_meet_for_many_events():
    rng = np.random.default_rng(4)
    mu = np.full(200, 1e6)
    n = rng.poisson(mu)
    values = [f(n, mu, 3) for f in (pearson_chi2, neyman_chi2, cms_chi2, deviance_chi2)]
    assert {v.ndf for v in values} == {197}
    assert [v.chi2 for v in values] == pytest.approx([values[0].chi2] * 4, rel=5e-3)
    assert [v.p_value for v in values] == pytest.approx([stats.chi2.sf(values[0].chi2, 197)] * 4, abs=0.02)


def test_cms_chi2_takes_the_error_towards_the_fit():
    low, high = (float(bound) for bound in poisson_interval(7))
    assert cms_chi2([7, 0], [7.0 + (high - 7.0), 3.0])[:3] == (pytest.approx(1.0), 1, 1)
    assert cms_chi2([7], [low]).chi2 == pytest.approx(1.0)
    assert np.isnan(cms_chi2([7], [low], 1).p_value)
    assert neyman_chi2([4, 0], [8.0, 1.0]).chi2 == pytest.approx(4.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0.1, 40.0)), min_size=2, max_size=20))
def test_splitting_a_spectrum_splits_its_deviance(bins):
    n, mu = np.array(bins).T
    half = len(n) // 2
    assert deviance(n, mu) == pytest.approx(deviance(n[:half], mu[:half]) + deviance(n[half:], mu[half:]), abs=1e-9)
    assert deviance(3 * n, 3 * mu) == pytest.approx(3 * deviance(n, mu), abs=1e-9)
    assert deviance_chi2(n, mu).chi2 == pytest.approx(deviance(n, mu))
