from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    Channel,
    fit_background,
    gaussian_template,
    global_p_value,
    make_spectrum,
    scan_windows,
    sliding_windows,
    toy_cls,
    toy_goodness,
    toy_upper_limit,
    upper_limit,
)
from resonaut.stats.functions import BackgroundFunction, register_function
from resonaut.stats.limits.channels import signal_model
from resonaut.stats.limits.toy_limits import ToyLimit, ToyTests

FLAT = register_function(BackgroundFunction("test-flat", "p0", ("p0",), ()))


def test_toy_goodness_agrees_with_chi2_for_many_events(paper_edges, falling):
    counts = np.random.default_rng(1).poisson(1e5 * falling)
    fit = fit_background((counts, paper_edges))
    toys = toy_goodness(fit, toys=2000, seed=2)
    assert toys.failed == 0
    assert toys.deviance_p_value == pytest.approx(stats.chi2.sf(fit.deviance, 26), abs=0.03)
    # parameters are fitted: the textbook KS p-value is too large, toys know it
    assert toys.ks_p_value < fit.ks_p_value


def test_toy_goodness_calibrates_every_chi2(paper_edges, falling):
    """Sparse bins: over toys of the truth all four p-values are uniform, where the chi2 law is wrong for three of them."""
    truth = fit_background((300 * falling, paper_edges), function="dijet3").expected
    rng = np.random.default_rng(9)
    found = [
        toy_goodness(fit_background((rng.poisson(truth), paper_edges), function="dijet3"), toys=100, seed=k)
        for k in range(40)
    ]
    for name in ("deviance_p_value", "ks_p_value", "chi2_p_value", "cms_chi2_p_value"):
        assert stats.kstest([getattr(entry, name) for entry in found], "uniform").pvalue > 0.01


def test_toy_goodness_of_other_fits(paper_edges, falling):
    """A function that is not log-linear, one toy at a time; and weights, in effective counts."""
    counts = np.random.default_rng(1).poisson(1e4 * falling)
    done = []
    single = toy_goodness(
        fit_background((counts, paper_edges), function="modexp3"), toys=30, progress=lambda k, n: done.append((k, n))
    )
    assert (single.toys, single.failed, done[-1]) == (30, 0, (30, 30))
    mass = np.repeat(0.5 * (paper_edges[1:] + paper_edges[:-1]), counts)
    plain = toy_goodness(fit_background(make_spectrum(mass, paper_edges)), toys=100)
    half = toy_goodness(
        fit_background(make_spectrum(mass, paper_edges, np.full(len(mass), 0.5)), weighted=True), toys=100
    )
    # the same toys, unless a rounding of the expectation moves one
    assert half.deviance_p_value == pytest.approx(plain.deviance_p_value, abs=0.03)


def test_toy_goodness_rejects_a_wrong_function(paper_edges, falling):
    counts = np.random.default_rng(3).poisson(1e5 * falling)
    assert toy_goodness(fit_background((counts, paper_edges), function="dijet2"), toys=300).deviance_p_value < 0.01


def test_global_p_value_of_independent_windows(paper_edges):
    """Known trials: with a background fixed by many sidebands, k disjoint windows give 1 - (1 - p)^k."""
    edges = np.linspace(1000.0, 2000.0, 101)
    fit = fit_background((np.full(100, 400.0), edges), function="test-flat")
    windows = sliding_windows(edges, sr_bins=4, sb_bins=3, step=9)
    z = 2.0
    found = global_p_value(fit, windows, z, toys=1500, seed=4)
    k = len(windows)
    assert found.global_p == pytest.approx(1 - (1 - stats.norm.sf(z)) ** k, abs=0.045)
    assert found.global_significance == pytest.approx(stats.norm.isf(found.global_p))


def test_global_p_value_is_the_scan_of_its_toys(paper_edges, falling):
    fit = fit_background((np.round(2e3 * falling), paper_edges), function="dijet3")
    windows = sliding_windows(paper_edges, step=6)
    found = global_p_value(fit, windows, 1.0, toys=5, seed=7)
    toys = np.random.default_rng(7).poisson(fit.expected, size=(5, 30))
    best = [scan_windows((toy, paper_edges), windows, function="dijet3").best.local_significance for toy in toys]
    assert found.maxima == pytest.approx(best, abs=1e-3)


def test_data_without_a_significance_have_no_global_p_value(paper_edges, falling):
    """A scan that failed came out as the most significant one of all toys."""
    fit = fit_background((np.round(2e3 * falling), paper_edges), function="dijet3")
    found = global_p_value(fit, sliding_windows(paper_edges, step=6), float("nan"), toys=5)
    assert np.isnan([found.global_p, found.global_significance, found.error]).all()


def test_toys_without_a_fit_are_no_toys_below(paper_edges, falling, monkeypatch):
    """One toy has no window at all: it is no toy. Another lacks one window: it keeps the largest of the others."""
    fit = fit_background((np.round(2e3 * falling), paper_edges), function="dijet3")
    windows = sliding_windows(paper_edges, step=9)
    columns = iter([[3.0, np.nan, np.nan, 0.0], *[[0.5, np.nan, 1.0, 0.0]] * (len(windows) - 1)])
    monkeypatch.setattr("resonaut.stats.excesses.toys.local_significances", lambda *_: np.array(next(columns)))
    found = global_p_value(fit, windows, 2.0, toys=4)
    assert found.global_p == pytest.approx(2 / 4)
    assert (found.failed, found.lost) == (2 + len(windows) - 1, 1)
    assert found.maxima[[0, 2, 3]].tolist() == [3.0, 1.0, 0.0]
    assert np.isnan(found.maxima[1])


def test_toy_limit_of_zero_events_is_three():
    """No event seen, none expected: CLs = exp(-s), so 2.996 events are excluded at 95 %."""
    edges = np.linspace(1000.0, 2000.0, 11)
    template = np.full(10, 0.1)
    fit = fit_background((np.zeros(10), edges), function="test-flat")
    assert toy_cls(fit, template, 2.996, toys=20000, seed=1)[0] == pytest.approx(0.05, abs=0.006)
    assert toy_cls(fit, template, 1.0, toys=20000, seed=1)[0] == pytest.approx(np.exp(-1), abs=0.01)


@pytest.mark.slow
def test_toy_limits_of_counting_experiments():
    """Zero events and no background: 2.996; a known background of 3 and 3 seen: between Poisson sums."""
    edges = np.linspace(1000.0, 2000.0, 11)
    limit = toy_upper_limit((np.zeros(10), edges), np.full(10, 0.1), function="test-flat", toys=4000, seed=2)
    assert limit.observed == pytest.approx(2.996, rel=0.06)
    assert limit.method == "toys"
    # many sideband bins fix the background under a one-bin signal
    edges = np.linspace(1000.0, 2000.0, 101)
    template = np.zeros(100)
    template[50] = 1.0
    limit = toy_upper_limit((np.full(100, 3.0), edges), template, function="test-flat", toys=2000, seed=3)

    def exact(n, b=3.0):
        return brentq(lambda s: stats.poisson.cdf(n, s + b) / stats.poisson.cdf(n, b) - 0.05, 1.0, 20.0)

    # the sidebands, fluctuating, decide between toys of equal count: a tie counts in part
    assert exact(2) < limit.observed < 1.03 * exact(3)


def test_toy_cls_agrees_with_the_asymptotic_formula_for_many_events(paper_edges, falling):
    counts = np.round(3e3 * falling)
    template = gaussian_template(3500.0, 100.0, paper_edges)
    limit = upper_limit((counts, paper_edges), template, function="dijet3", signal_uncertainty=0.1, check=False)
    fit = fit_background((counts, paper_edges), function="dijet3")
    scaled = template / template.sum()
    observed, expected = toy_cls(fit, scaled, limit.observed, signal_uncertainty=0.1, toys=3000, seed=8)
    assert observed == pytest.approx(0.05, abs=0.012)
    assert (np.diff(expected) > 0).all()


@pytest.mark.parametrize("events", [1, 8, 25, 80])
def test_expected_limits_from_toys_are_in_order(paper_edges, falling, events):
    """Few events, where CLs is not monotone in the test statistic; and no line of the band is far below three events."""
    counts = np.random.default_rng(events).multinomial(events, falling)
    template = gaussian_template(3500.0, 120.0, paper_edges)
    limit = toy_upper_limit((counts, paper_edges), template, function="dijet3", toys=1000, check=False)
    assert (np.diff(limit.expected) >= 0).all(), limit.expected
    assert limit.expected[0] > 2.2


def test_toys_without_a_fit_are_counted_and_a_band_without_a_line_is_an_error(
    paper_edges, falling, monkeypatch, caplog
):
    counts = np.random.default_rng(3).multinomial(20, falling)
    template = gaussian_template(3500.0, 120.0, paper_edges)
    channel = Channel.build("", fit_background((counts, paper_edges), function="dijet3"), template)
    tests = ToyTests(signal_model([channel]), channel.counts, toys=50, seed=1)
    tests.tails(4.0)
    before = tests.failed
    tests.without.best.converged[:7] = False
    tests.tails(4.0)
    assert (tests.failed, tests.thrown) == (2 * before + 7, 200)
    tests.warn()
    assert f"{tests.failed} of 200 toys were left out" in caplog.text
    broken = ToyLimit(np.array([np.nan, 3.0, 4.0, 5.0, 6.0, 4.0]), np.ones(6), 0, 100)
    monkeypatch.setattr("resonaut.stats.limits.upper_limits.toy_limits", lambda *_, **__: broken)
    with pytest.raises(FitError, match="no expected toy limit"):
        toy_upper_limit((counts, paper_edges), template, function="dijet3")


def test_bad_options_are_refused(paper_edges):
    fit = fit_background((np.ones(30), paper_edges))
    with pytest.raises(ConfigError, match="0 toys"):
        toy_goodness(fit, toys=0)
    with pytest.raises(InputError, match="no window"):
        global_p_value(fit, [], 1.0)
    with pytest.raises(InputError, match="positive"):
        toy_cls(fit, np.ones(30), 0.0)
