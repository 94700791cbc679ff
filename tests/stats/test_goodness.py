from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resonaut.stats import deviance, kolmogorov_smirnov, pearson_chi2, poisson_significance


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
