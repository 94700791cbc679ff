"""BumpHunter: exact tails, the scan against brute force, toys, options."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import gaussian_template
from resonaut.stats.excesses.bump_power import BumpPower, bump_power
from resonaut.stats.excesses.bump_result import BumpHunterResult
from resonaut.stats.excesses.bumphunter import Model, bump_hunter
from resonaut.stats.excesses.bumpscan import all_intervals, intervals, most_significant
from resonaut.stats.excesses.tails import half_deviance, minus_log_tail, squared_significance


@pytest.fixture(scope="module")
def atlas(published_data):
    table = np.genfromtxt(published_data / "atlas_37ifb_mjj.csv", delimiter=",", comments="#", skip_header=3)
    return table[:, 2], np.append(table[:, 0], table[-1, 1]), table[:, 3]


@pytest.fixture(scope="module")
def example(published_data):
    """Histogram of pyBumpHunter's documented example."""
    table = np.genfromtxt(published_data / "pybumphunter_example.csv", delimiter=",", comments="#", skip_header=3)
    return table[:, 2], np.append(table[:, 0], table[-1, 1]), table[:, 3]


@pytest.mark.parametrize("expected", [0.003, 0.7, 4.2, 60.0, 99.0, 480.0, 2e4, 3e6])
def test_tails_are_those_of_scipy(expected):
    rng = np.random.default_rng(1)
    for shift in np.abs(rng.normal(size=20)) * 3.0:
        above = np.floor(expected + shift * np.sqrt(expected)) + 1.0
        below = np.floor(max(expected - shift * np.sqrt(expected), 0.0))
        # scipy's own error: 1e-14 in the argument of a steep function
        assert minus_log_tail(above, expected, False) == pytest.approx(
            -np.log(special.gammainc(above, expected)), rel=1e-9, abs=1e-11
        )
        if below < expected:
            assert minus_log_tail(below, expected, True) == pytest.approx(
                -np.log(special.gammaincc(below + 1.0, expected)), rel=1e-9, abs=1e-11
            )


def test_a_tail_does_not_underflow():
    # ln P(X >= n) = n ln b - b - ln n! + ln(1 + b/(n+1) + ...)
    n, b = 3000.0, 10.0
    value = -(n * np.log(b) - b - special.gammaln(n + 1.0) - np.log1p(-b / (n + 1.0)))
    assert minus_log_tail(n, b, False) == pytest.approx(value, rel=1e-9)
    assert squared_significance(20.0) == pytest.approx(stats.norm.isf(np.exp(-20.0)) ** 2, rel=1e-10)
    assert -special.log_ndtr(-np.sqrt(squared_significance(5000.0))) == pytest.approx(5000.0, rel=1e-10)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3000), st.floats(1e-3, 3000.0))
def test_the_deviance_bounds_the_tail(n, b):
    """What the pruning rests on: no significance is above the root of the deviance, which is below its simple bound."""
    z2 = squared_significance(minus_log_tail(float(n), b, n < b))
    twice = 2.0 * half_deviance(float(n), b)
    distance = abs(n - b)
    simple = distance**2 / b * (1.0 + distance / b if n < b else 1.0)
    assert z2 <= twice * (1 + 1e-11) + 1e-12
    assert twice <= simple * (1 + 1e-11) + 1e-12


@pytest.mark.parametrize("deficits", [False, True])
@pytest.mark.parametrize("sidebands", [False, True])
def test_pruned_scan_equals_brute_force(atlas, deficits, sidebands):
    _, _, background = atlas
    windows = intervals(0, len(background), 2, 46)
    toys = np.random.default_rng(3).poisson(background, size=(150, len(background))).astype(float)
    toys[::10, 40:44] *= 1.2
    options = {"deficits": deficits, "sidebands": sidebands}
    statistic, index = most_significant(toys, background[None], windows, **options)
    every = np.array([all_intervals(toy, background, windows, **options) for toy in toys])
    np.testing.assert_array_equal(statistic, every.max(axis=1))
    np.testing.assert_array_equal(index, every.argmax(axis=1))


def test_pruned_scan_equals_scipy_in_sparse_spectra():
    rng = np.random.default_rng(5)
    for total in (3.0, 40.0, 3000.0):
        background = total * np.exp(-0.2 * np.arange(20)) * 0.2
        toys = rng.poisson(background, size=(100, 20)).astype(float)
        for step in (1, 2):
            windows = intervals(0, 20, 1, 20, step)
            n = np.stack([toys[:, i:j].sum(axis=1) for i, j in windows], axis=1)
            b = np.array([background[i:j].sum() for i, j in windows])
            p = np.where(n > b, special.gammainc(np.maximum(n, 1e-300), b), 1.0)
            statistic, index = most_significant(toys, background[None], windows)
            np.testing.assert_allclose(statistic, -np.log(p.min(axis=1)), rtol=1e-9, atol=1e-12)
            some = index >= 0
            np.testing.assert_allclose(p[some, index[some]], p[some].min(axis=1), rtol=1e-9)


def test_an_interval_without_expectation_is_not_tested():
    statistic, index = most_significant(np.array([[0.0, 3.0, 1.0]]), np.array([[1.0, 0.0, 2.0]]), intervals(0, 3, 1, 1))
    assert (statistic[0], index[0]) == (0.0, -1)


def test_example_of_pybumphunter(example):
    """results_1D.txt of pyBumpHunter, which its authors have checked against the C++ BumpHunter of ATLAS."""
    counts, edges, background = example
    found = bump_hunter((counts, edges), background, min_bins=2, max_bins=6, toys=4000)
    assert len(found.intervals) == 285
    assert (found.low, found.high) == pytest.approx((16 / 3, 20 / 3))
    assert found.observed - found.expected == 208
    assert found.local_p == pytest.approx(1.7341e-4, rel=1e-4)
    assert found.statistic == pytest.approx(8.6598, abs=1e-4)
    assert found.local_significance == pytest.approx(3.5776, abs=1e-4)
    assert found.global_p == pytest.approx(0.0177, abs=3.5 * np.hypot(0.0177**0.5 / 100, found.global_p_error))


def test_threads_and_blocks_do_not_change_the_result(example):
    counts, edges, background = example
    results = [bump_hunter((counts, edges), background, toys=600, seed=4, threads=k).toy_statistics for k in (1, 2)]
    np.testing.assert_array_equal(*results)
    more = bump_hunter((counts, edges), background, toys=1500, seed=4).toy_statistics
    np.testing.assert_array_equal(more[:500], results[0][:500])
    assert not np.array_equal(more, bump_hunter((counts, edges), background, toys=1500, seed=5).toy_statistics)


def test_precision_stops_early(example):
    counts, edges, background = example
    counts = counts.copy()
    counts[16:20] = background[16:20] + 60  # an excess that background often has
    calls = []
    found = bump_hunter(
        (counts, edges),
        background,
        toys=50_000,
        precision=0.2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert found.toys < 50_000
    assert found.global_p_error / found.global_p <= 0.2
    assert calls[-1] == (found.toys, 50_000)


def test_global_p_is_uniform_with_refit(falling, paper_edges):
    """Closure: the global p-value of background spectra, each with its own toys."""
    rng = np.random.default_rng(8)
    data = rng.poisson(2000 * falling, size=(120, 30))
    p = [bump_hunter((n, paper_edges), function="dijet3", toys=150, seed=k).global_p for k, n in enumerate(data)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_refit_matters(falling, paper_edges):
    """A fit absorbs excesses: toys scanned against the true background have the larger statistics."""
    counts = np.random.default_rng(2).poisson(2000 * falling)
    with_fit = bump_hunter((counts, paper_edges), function="dijet4", toys=500)
    without = bump_hunter((counts, paper_edges), function="dijet4", toys=500, refit=False)
    assert with_fit.failed == 0
    assert without.toy_statistics.mean() > 1.2 * with_fit.toy_statistics.mean()
    assert (with_fit.refit, without.refit) == (True, False)


def test_signal_is_found_and_kept_out_of_the_fit(falling, paper_edges):
    counts = np.round(20_000 * falling)
    counts[14:16] += 350
    first = bump_hunter((counts, paper_edges), toys=500)
    second = bump_hunter((counts, paper_edges), toys=500, exclude_below=0.01)
    assert first.global_p == second.global_p == pytest.approx(1 / 501)
    assert (second.low, second.high) == (paper_edges[14], paper_edges[16])
    assert second.excluded == (first.low, first.high)
    assert first.excluded is None
    assert second.expected < first.expected
    assert second.expected == pytest.approx(20_000 * falling[14:16].sum(), rel=0.02)
    assert second.statistic > first.statistic


def test_a_failed_second_fit_is_told(falling, paper_edges, monkeypatch):
    """The first fit, with the signal in it, was taken in its place."""
    refit = Model.refit

    def fails_without_bins(self, counts, mask=None):
        expected, ok = refit(self, counts, mask)
        return expected, ok & (mask is None)

    monkeypatch.setattr(Model, "refit", fails_without_bins)
    counts = np.round(20_000 * falling)
    counts[14:16] += 350
    with pytest.raises(FitError, match=r"without .* GeV failed"):
        bump_hunter((counts, paper_edges), toys=150, exclude_below=0.01)
    assert bump_hunter((counts, paper_edges), toys=150).global_p == pytest.approx(1 / 151)


def test_exclusion_does_not_inflate_small_p_values(falling, paper_edges):
    """A fluctuation below the threshold gets larger when left out of the fit; so do those of the toys."""
    rng = np.random.default_rng(11)
    options = {"function": "dijet3", "toys": 200}
    p = []
    for k, n in enumerate(rng.poisson(3000 * falling, size=(60, 30))):
        p.append(bump_hunter((n, paper_edges), seed=k, exclude_below=0.3, **options).global_p)
    assert 2 <= np.sum(np.array(p) < 0.15) <= 18  # 9 expected
    assert np.sum(np.array(p) < 0.3) <= 28  # 18 expected


def test_sidebands_make_the_normalisation_irrelevant(example):
    counts, edges, background = example
    one = bump_hunter((counts, edges), background, sidebands=True, toys=0)
    other = bump_hunter((counts, edges), 3.0 * background, sidebands=True, toys=0)
    assert (one.low, one.high) == (other.low, other.high)
    assert one.statistic == pytest.approx(other.statistic, rel=1e-9)
    assert one.expected == pytest.approx(other.expected)
    assert np.isnan(one.global_p)


def test_deficits(example):
    counts, edges, background = example
    counts = counts.copy()
    counts[20:22] = np.round(0.8 * background[20:22])
    found = bump_hunter((counts, edges), background, deficits=True, toys=300)
    assert found.low <= edges[20]
    assert found.high >= edges[22]
    assert found.observed < found.expected
    assert found.global_p < 0.02


def test_fit_range_and_wide_intervals(falling, paper_edges):
    counts = np.random.default_rng(3).poisson(2000 * falling)
    found = bump_hunter(
        (counts, paper_edges), function="dijet3", fit_range=(paper_edges[5], paper_edges[25]), toys=0, max_bins=20
    )
    assert found.edges[[0, -1]].tolist() == paper_edges[[5, 25]].tolist()
    assert len(found.intervals) == sum(20 - width + 1 for width in range(2, 21))
    whole = bump_hunter((counts, paper_edges), function="dijet3", toys=0)
    assert (whole.intervals[:, 1] - whole.intervals[:, 0]).max() == 15


def test_empty_and_exact_spectra(paper_edges, falling):
    found = bump_hunter((np.zeros(30), paper_edges), np.full(30, 0.1), toys=50)
    assert np.isnan(found.low)
    assert (found.local_p, found.global_p) == (1.0, 1.0)
    assert found.local_significance == 0.0
    with pytest.raises(InputError, match="nothing is expected"):
        bump_hunter((np.zeros(30), paper_edges), np.zeros(30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_bins": 0}, "min_bins=0"),
        ({"step": 0}, "step=0"),
        ({"toys": -1}, "toys=-1"),
        ({"precision": 1.5}, "precision"),
        ({"exclude_below": 2.0}, "exclude_below"),
        ({"exclude_below": 0.01, "refit": False}, "refit=True"),
        ({"min_bins": 5, "max_bins": 3}, "5 to 3 bins"),
        ({"min_bins": 31}, "at most 30 bins"),
    ],
)
def test_wrong_options(falling, paper_edges, options, message):
    with pytest.raises(ConfigError, match=message):
        bump_hunter((np.round(1000 * falling), paper_edges), **options)


def test_wrong_background(falling, paper_edges):
    for wrong in (np.ones(29), np.full(30, -1.0), np.full(30, np.nan)):
        with pytest.raises(InputError, match="expected 30 finite counts"):
            bump_hunter((np.round(1000 * falling), paper_edges), wrong)


def test_result_round_trip(example):
    counts, edges, background = example
    found = bump_hunter((counts, edges), background, toys=20, max_bins=4)
    content = json.loads(json.dumps(found.to_dict()))
    assert {"low", "high", "local_p", "global_p", "toys"} <= set(content)
    again = BumpHunterResult.from_dict(content)
    assert again.to_dict() == found.to_dict()
    assert again.interval_p.shape == (len(found.intervals),)
    with pytest.raises(InputError, match="extra"):
        BumpHunterResult.from_dict({**content, "extra": 1})


def test_injection_of_pybumphunter(example, published_data):
    """pyBumpHunter 0.5.1's injection test of its own example, with 1000 experiments: 150 events have the global p-value 0.147
    in the median, 0.528 and 0.012 at one standard deviation; 300 events have 1e-4."""
    counts, edges, background = example
    table = np.genfromtxt(published_data / "pybumphunter_example.csv", delimiter=",", comments="#", skip_header=3)
    signal = table[:, 4] / 5000.0
    found = bump_power((counts, edges), signal, [0, 150, 300], background, max_bins=6, toys=3000, experiments=500)
    assert found.significance[0] == pytest.approx([-1.0, 0.0, 1.0], abs=0.2)
    assert found.significance[1] == pytest.approx(stats.norm.isf([0.5277, 0.1469, 0.0120]), abs=0.25)
    assert found.significance[2, 1] >= 3.0
    assert 250 < found.needed <= 300
    assert found.found[2] > 0.9 > found.found[1] > found.found[0]
    assert found.resolved == pytest.approx(stats.norm.isf(1 / 3001))
    again = BumpPower.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


def test_a_refit_costs_power(falling, paper_edges):
    """What the fit absorbs of a wide signal is lost."""
    spectrum, signal = (3000 * falling, paper_edges), gaussian_template(3600.0, 250.0, paper_edges)
    options = {"toys": 500, "experiments": 100, "function": "dijet4", "target": 2.5}
    fixed = bump_power(spectrum, signal, [250.0], background=3000 * falling, **options)
    fitted = bump_power(spectrum, signal, [250.0], **options)
    assert fitted.significance[0, 1] < fixed.significance[0, 1] - 0.3
    assert np.isnan(fitted.needed)


def test_wrong_injections(falling, paper_edges):
    spectrum, signal = (3000 * falling, paper_edges), falling
    with pytest.raises(InputError, match="increasing"):
        bump_power(spectrum, signal, [2.0, 1.0])
    with pytest.raises(ConfigError, match="741 toys"):
        bump_power(spectrum, signal, [1.0], toys=100)
