"""Scans over mass and width, trials factors, combination of samples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from iminuit import Minuit
from scipy import special, stats

from resonaut.errors import ConfigError, InputError
from resonaut.stats import (
    Design,
    Window,
    fit_background,
    gaussian_template,
    global_p_value,
    local_p_values,
    read_spectrum,
)
from resonaut.stats.excesses.combination import CombinedExcess, combine_folds, combine_p_values
from resonaut.stats.excesses.mass_scan import SignificanceScan, significance_scan, toy_significances
from resonaut.stats.excesses.trials import TrialsResult, asimov_trials, euler_characteristic, gross_vitells, upcrossings


@pytest.fixture(scope="module")
def atlas_scan(published_data):
    spectrum = read_spectrum(published_data / "atlas_37ifb_mjj.csv")
    return significance_scan(spectrum, np.geomspace(1500.0, 6500.0, 70), [0.04])


@pytest.fixture(scope="module")
def atlas_toys(atlas_scan):
    return toy_significances(atlas_scan, toys=500, seed=1)


def twice_nll(counts, design, template):
    flat, weights, p = design.basis.reshape(-1, design.n_parameters), design.weights, design.n_parameters

    def function(x):
        mu = (np.exp(flat @ x[:p]).reshape(weights.shape) * weights).sum(axis=1) + x[p] * template
        return 2.0 * special.kl_div(counts, np.maximum(mu, 1e-300)).sum()

    return function


def test_scan_agrees_with_minuit(atlas_scan):
    """Significance and strength of three hypotheses by iminuit, background and signal free."""
    design = atlas_scan.design()
    fit = fit_background((atlas_scan.counts, atlas_scan.edges))
    start = np.linalg.solve(
        design.to_physical, np.log(fit.parameters["p0"]) * np.eye(4)[0] + [0, *list(fit.parameters.values())[1:]]
    )
    for k in (3, 22, 55):
        cost = twice_nll(atlas_scan.counts, design, atlas_scan.templates[k, 0])
        results = []
        for fixed in (True, False):
            m = Minuit(cost, [*start, 0.0])
            m.errordef, m.errors, m.strategy, m.tol = 1.0, [1e-3] * 4 + [10.0], 2, 1e-4
            m.fixed["x4"] = fixed
            m.migrad()
            m.migrad()
            results.append(m)
        z = np.sign(results[1].values[4]) * np.sqrt(max(results[0].fval - results[1].fval, 0.0))
        assert atlas_scan.significance[k, 0] == pytest.approx(z, abs=2e-3)
        assert atlas_scan.strength[k, 0] == pytest.approx(
            results[1].values[4], abs=0.01 * atlas_scan.strength_error[k, 0]
        )


def test_scan_finds_a_signal_and_survives_failures(falling, paper_edges):
    counts = 10_000 * falling + gaussian_template(3700.0, 110.0, paper_edges, 300.0)
    scan = significance_scan((counts, paper_edges), np.arange(3000.0, 5001.0, 50.0), [0.03, 0.06], function="dijet3")
    mass, width, z = scan.best
    assert (mass, width) == (3700.0, 0.03)
    assert z > 4
    i = scan.masses.tolist().index(3700.0)
    assert scan.strength[i, 0] == pytest.approx(300.0, rel=0.1)
    assert scan.local_p[i, 0] == pytest.approx(stats.norm.sf(z))
    assert scan.n_failed == 0
    again = SignificanceScan.from_dict(json.loads(json.dumps(scan.to_dict())))
    assert again.to_dict() == scan.to_dict()


def test_scan_takes_other_shapes(falling, paper_edges):
    def box(mass, width, edges):
        inside = np.clip(edges, mass * (1 - width), mass * (1 + width))
        return np.diff(inside) / (2 * width * mass)

    counts = np.round(10_000 * falling)
    scan = significance_scan((counts, paper_edges), [3500.0], [0.05], shape=box)
    assert scan.templates[0, 0].sum() == pytest.approx(1.0)
    with pytest.raises(InputError, match="not all 0"):
        significance_scan((counts, paper_edges), [3500.0], shape=lambda *_: np.zeros(30))
    with pytest.raises(InputError, match="widths > 0"):
        significance_scan((counts, paper_edges), [3500.0], [0.0])


def test_local_significance_of_toys_is_normal(atlas_toys):
    assert not np.isnan(atlas_toys).any()
    for k in (5, 25, 45):
        assert stats.kstest(atlas_toys[:, k, 0], "norm").pvalue > 1e-3


def test_upcrossings_of_toys_are_those_of_the_geometry(atlas_scan, atlas_toys):
    """Rice's formula for the curve of templates against counts in toys of the full fits."""
    geometry = asimov_trials(atlas_scan, 2.0)
    for level in (0.0, 0.5, 1.0):
        counted = upcrossings(atlas_toys[:, :, 0], level)
        expected = geometry.n1 * np.exp(-0.5 * level**2)
        assert counted.mean() == pytest.approx(expected, abs=4 * counted.std() / len(counted) ** 0.5 + 0.02 * expected)


def test_gross_vitells_agrees_with_brute_force(atlas_scan, atlas_toys):
    """Upcrossings of 60 toys predict how often the largest significance of the others exceeds a level."""
    maxima = atlas_toys[60:].max(axis=(1, 2))
    for z in (2.2, 2.6, 3.0):
        bound = gross_vitells(atlas_toys[:60], z)
        share = (maxima >= z).mean()
        error = np.sqrt(share * (1 - share) / len(maxima))
        # the bound counts every crossing: it is above by about half of the square where it is not small
        assert (
            share - 3.5 * error < bound.global_p < share + 3.5 * np.hypot(error, bound.global_p_error) + 0.7 * share**2
        )
        assert asimov_trials(atlas_scan, z).global_p == pytest.approx(bound.global_p, rel=0.1)
        assert bound.at(z) == pytest.approx(bound.global_p)
    assert (bound.method, bound.toys, bound.failed, bound.levels) == ("upcrossings", 60, 0, (0.5,))


def test_two_dimensions_agree_with_brute_force():
    """Gaussian field over a plane with known covariance: Euler characteristic from toys and from Rice's constants."""
    rng = np.random.default_rng(4)
    n, scale = 24, 3.0
    place = np.arange(n) / scale
    root = np.linalg.cholesky(np.exp(-0.5 * (place[:, None] - place) ** 2) + 1e-9 * np.eye(n))
    field = root @ rng.normal(size=(4000, n, n)) @ root.T
    side = (n - 1) / scale
    n1, n2 = 2 * side / (2 * np.pi), side**2 / (2 * np.pi) ** 1.5  # half the boundary; area, in correlation lengths
    few = gross_vitells(field[:300], 3.0)
    assert few.method == "euler characteristic"
    assert few.at(2.5) == pytest.approx(special.ndtr(-2.5) + np.exp(-3.125) * (n1 + 2.5 * n2), rel=0.15)
    maxima = field[300:].max(axis=(1, 2))
    for z in (2.5, 3.0, 3.5):
        share = (maxima >= z).mean()
        assert few.at(z) == pytest.approx(share, abs=4 * np.sqrt(share / len(maxima)) + 0.15 * share + 0.6 * share**2)


def test_geometry_of_mass_and_width(atlas_scan):
    """The surface of templates against brute-force toys of the fits."""
    scan = significance_scan(
        (atlas_scan.counts, atlas_scan.edges), np.geomspace(2500.0, 5500.0, 28), np.geomspace(0.03, 0.1, 5)
    )
    toys = toy_significances(scan, toys=300, seed=2)
    maxima = np.nanmax(toys, axis=(1, 2))
    geometry = asimov_trials(scan, 2.5)
    assert geometry.n2 > 0
    share = (maxima >= 2.5).mean()
    assert geometry.global_p == pytest.approx(share, abs=4 * np.sqrt(share / 300) + share**2)
    counted = euler_characteristic(toys, 1.0)
    expected = special.ndtr(-1.0) + np.exp(-0.5) * (geometry.n1 + geometry.n2)
    assert counted.mean() == pytest.approx(expected, abs=4 * counted.std() / 300**0.5 + 0.05 * expected)


def test_gross_vitells_takes_any_scan(published_data):
    """Window scans too: local significances of the toys of `global_p_value`, window by window."""
    edges = np.geomspace(2800.0, 5200.0, 31)
    fit = fit_background((np.round(20_000 * np.exp(-0.2 * np.arange(30))), edges), function="dijet3")
    windows = [Window(edges[k], edges[k + 3], edges[k - 3], edges[k + 6]) for k in range(3, 25)]
    data = np.random.default_rng(7).poisson(fit.expected, size=(300, 30))
    z = np.stack(
        [local_p_values(data, edges, window, function="dijet3").local_significance for window in windows], axis=1
    )
    brute = global_p_value(fit, windows, 2.2, toys=300, seed=7)
    bound = gross_vitells(z, 2.2)
    assert bound.global_p == pytest.approx(brute.global_p, abs=4 * brute.error + 0.25 * brute.global_p)


def test_trials_result(atlas_scan):
    found = asimov_trials(atlas_scan)
    assert found.local_significance == atlas_scan.best[2]
    assert found.trials_factor > 1
    assert found.global_significance < found.local_significance
    assert TrialsResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.at(-3.0) == 1.0


def test_failed_toys_are_left_out():
    field = np.random.default_rng(0).normal(size=(50, 10))
    field[3, 4] = np.nan
    found = gross_vitells(field, 2.0)
    assert (found.toys, found.failed) == (49, 1)


@pytest.mark.parametrize(
    ("shape", "levels", "message"),
    [
        ((10, 1), None, "at least 2"),
        ((1, 10), None, "at least 2"),
        ((10, 5), (0.5, 1.5), "expected one"),
        ((10, 5, 5), (0.5,), "two different"),
        ((10, 5, 5), (1.0, 1.0), "two different"),
    ],
)
def test_wrong_fields(shape, levels, message):
    with pytest.raises(InputError, match=message):
        gross_vitells(np.zeros(shape), 2.0, levels=levels)


def test_wrong_scans(atlas_scan):
    with pytest.raises(ConfigError, match="0 toys"):
        toy_significances(atlas_scan, toys=0)
    single = significance_scan((atlas_scan.counts, atlas_scan.edges), [3000.0])
    with pytest.raises(InputError, match="1 hypotheses"):
        asimov_trials(single)
    with pytest.raises(InputError, match="without a failed fit"):
        gross_vitells(np.full((5, 5), np.nan), 2.0)


def test_combined_p_values_are_those_of_scipy():
    p = np.random.default_rng(1).uniform(size=6)
    weights = np.arange(1.0, 7.0)
    assert combine_p_values(p) == pytest.approx(stats.combine_pvalues(p, "stouffer").pvalue)
    assert combine_p_values(p, weights=weights) == pytest.approx(
        stats.combine_pvalues(p, "stouffer", weights=weights).pvalue
    )
    assert combine_p_values(p, method="fisher") == pytest.approx(stats.combine_pvalues(p, "fisher").pvalue)
    assert combine_p_values([0.0, 0.5]) == combine_p_values([0.0, 0.5], method="fisher") == 0.0
    for wrong in ([], [1.5], [np.nan], [[0.1, 0.2]], [0.0, 1.0]):
        with pytest.raises(InputError):
            combine_p_values(wrong)
    with pytest.raises(InputError, match="weights"):
        combine_p_values([0.1, 0.2], weights=[1.0])
    with pytest.raises(ConfigError, match="stouffer"):
        combine_p_values([0.1], method="stoufer")


def test_equal_folds_are_one_spectrum(falling, paper_edges):
    """Analytic: K equal Asimov folds have K times the q0 of one, and the error of the sum."""
    template = gaussian_template(3700.0, 110.0, paper_edges)
    fold = fit_background((3000 * falling, paper_edges), function="dijet3").expected + 20 * template
    one = significance_scan((fold, paper_edges), [3700.0], [110 / 3700], function="dijet3")
    found = combine_folds([(fold, paper_edges)] * 5, template, function="dijet3")
    assert found.local_significance == pytest.approx(5**0.5 * one.significance[0, 0], rel=1e-5)
    assert found.strength == pytest.approx(100.0, rel=0.01)
    assert found.strength_error == pytest.approx(5**0.5 * one.strength_error[0, 0], rel=1e-4)
    np.testing.assert_allclose(found.fold_strength, found.strength, rtol=1e-4)
    assert found.compatibility == pytest.approx(1.0, abs=1e-4)


def test_folds_agree_with_minuit(falling, paper_edges):
    template = gaussian_template(3700.0, 110.0, paper_edges)
    rng = np.random.default_rng(3)
    shares = np.array([0.3, 0.7])
    folds = [rng.poisson(2000 * falling + share * 120 * template).astype(float) for share in shares]
    found = combine_folds([(fold, paper_edges) for fold in folds], template, shares=shares, function="dijet3")
    design = Design.build("dijet3", paper_edges, importance=falling)
    costs = [twice_nll(fold, design, share * template) for fold, share in zip(folds, shares, strict=True)]
    start = [
        np.linalg.lstsq(design.basis.mean(axis=1), np.log((2000 * falling) / np.diff(paper_edges)), rcond=None)[0]
        for _ in folds
    ]

    def cost(x):
        return costs[0]([*x[:3], x[6]]) + costs[1]([*x[3:6], x[6]])

    results = []
    for fixed in (True, False):
        m = Minuit(cost, [*start[0], *start[1], 0.0])
        m.errordef, m.errors, m.strategy, m.tol = 1.0, [1e-2] * 6 + [10.0], 2, 1e-3
        m.fixed["x6"] = fixed
        m.migrad()
        results.append(m)
    assert found.strength == pytest.approx(results[1].values[6], rel=1e-3)
    assert found.strength_error == pytest.approx(results[1].errors[6], rel=0.1)
    assert found.local_significance == pytest.approx(np.sqrt(results[0].fval - results[1].fval), abs=2e-3)
    # against Stouffer with the weights of the expected significance, its large-sample limit
    weights = shares / found.fold_error / shares
    z = -special.ndtri(combine_p_values(special.ndtr(-found.fold_significance), weights=weights))
    assert found.local_significance == pytest.approx(z, abs=0.15)


def test_a_signal_in_one_fold_only_is_not_compatible(falling, paper_edges):
    template = gaussian_template(3700.0, 110.0, paper_edges)
    folds = [(3000 * falling + (200 * template if k == 2 else 0), paper_edges) for k in range(4)]
    found = combine_folds(folds, template, function="dijet3")
    assert found.fold_significance[2] > 1.5 * found.local_significance
    assert found.compatibility < 1e-3
    again = CombinedExcess.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


def test_wrong_folds(falling, paper_edges):
    fold = (np.round(3000 * falling), paper_edges)
    template = gaussian_template(3700.0, 110.0, paper_edges)
    with pytest.raises(InputError, match="no spectrum"):
        combine_folds([], template)
    with pytest.raises(InputError, match="spectrum 1 with other bin edges"):
        combine_folds([fold, (fold[0], paper_edges * 1.01)], template)
    with pytest.raises(InputError, match="shares"):
        combine_folds([fold, fold], template, shares=[0.5])
