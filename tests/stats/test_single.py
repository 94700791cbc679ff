"""Excesses over functions that are not log-linear: against other ways to the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize, stats

from resonaut.stats import (
    background_function,
    fit_background,
    local_p_value,
    local_p_values,
    register_function,
    scan_windows,
)
from resonaut.stats.functions import NonLinearFunction


class Copy(NonLinearFunction):
    """dijet3, hidden from the batched engine."""

    name, formula, names = "test-copy-of-dijet3", "p0 (1-x)^p1 / x^p2", ("p0", "p1", "p2")
    starts = ((9.0, 5.0),)

    def log_shape(self, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
        return shape[0] * np.log1p(-x) - shape[1] * np.log(x)

    def shape_gradient(self, x: np.ndarray, shape: np.ndarray) -> Sequence[np.ndarray]:  # noqa: ARG002
        return np.log1p(-x), -np.log(x)


COPY = register_function(Copy()).name


@pytest.mark.parametrize("events", [3e5, 3e3, 120.0])
def test_one_by_one_equals_the_batch(paper_edges, paper_window, events):
    """The same function both ways; 120 events leave a few in the signal region, where the exact test takes over."""
    shape = np.exp(-np.arange(30) / 5.0)
    spectra = np.random.default_rng(1).poisson(events * shape / shape.sum(), size=(12, 30)).astype(float)
    spectra[0, 9:13] += 3 * np.sqrt(events * shape[9:13] / shape.sum())
    spectra = np.round(spectra)
    ours = local_p_values(spectra, paper_edges, paper_window, function=COPY)
    batch = local_p_values(spectra, paper_edges, paper_window, function="dijet3")
    assert ours.n_failed == batch.n_failed == 0
    np.testing.assert_allclose(ours.expected, batch.expected, rtol=1e-4)
    np.testing.assert_allclose(ours.expected_error, batch.expected_error, rtol=2e-3)
    np.testing.assert_allclose(ours.local_significance, batch.local_significance, atol=3e-3)
    np.testing.assert_allclose(ours.local_p, batch.local_p, atol=1.5e-3)


def test_part_of_the_spectrum(paper_edges, paper_window):
    counts = np.random.default_rng(2).poisson(2e4 * np.exp(-np.arange(30) / 5.0))
    found = [
        local_p_value((counts, paper_edges), paper_window, function=name, fit_range=(3000.0, 4400.0))
        for name in (COPY, "dijet3")
    ]
    assert found[0].local_significance == pytest.approx(found[1].local_significance, abs=3e-3)
    assert found[0].fit.mask.sum() == found[1].fit.mask.sum() < 26


def line(edges, intercept, slope):
    return intercept * np.diff(edges) + 0.5 * slope * np.diff(edges**2)


@pytest.mark.parametrize(("intercept", "slope"), [(10.0, -0.0018), (2.0, 0.0), (-5.0, 0.0024), (0.0, 0.001)])
def test_any_straight_line_is_given_back(paper_edges, intercept, slope):
    """Falling, flat, rising through zero below the range, and through the origin."""
    counts = line(paper_edges, intercept, slope)
    fit = fit_background((counts, paper_edges), function="linear")
    assert (fit.status, fit.hesse) == ("converged", "accurate")
    np.testing.assert_allclose(fit.expected, counts, rtol=1e-4)
    p0, p1 = fit.parameters.values()
    assert p0 * np.cos(p1) == pytest.approx(intercept, abs=2e-3)
    assert p0 * np.sin(p1) / 13000.0 == pytest.approx(slope, abs=1e-6)


def test_line_against_a_fit_of_intercept_and_slope(paper_edges, paper_window):
    """Profile likelihood of intercept, slope and a free count in the signal region, by scipy."""
    use = np.r_[4:18]
    counts = np.random.default_rng(3).poisson(line(paper_edges, 6.0, -0.00115)).astype(float)
    counts[9:13] += [5, 20, 25, 8]
    outside = np.setdiff1d(use, np.arange(9, 13))

    def deviance(values, bins, cell):
        mu = line(paper_edges, values[0], values[1] / 1000)
        n, m = counts[bins], mu[bins]
        if cell:
            n, m = np.append(n, counts[9:13].sum()), np.append(m, mu[9:13].sum())
        return 1e9 if (m <= 0).any() else -2 * stats.poisson.logpmf(n, m).sum()

    def least(cell):
        options = {"xatol": 1e-10, "fatol": 1e-10, "maxiter": 5000}
        return optimize.minimize(deviance, [5.0, -1.0], (outside, cell), method="Nelder-Mead", options=options)

    free, null = least(cell=False), least(cell=True)
    n = counts[9:13].sum()
    saturated = -2 * stats.poisson.logpmf(n, n)
    z = np.sqrt(null.fun - free.fun - saturated)
    found = local_p_value(
        (counts, paper_edges), paper_window, function="linear", fit_range=(paper_edges[4], paper_edges[18])
    )
    assert found.local_significance == pytest.approx(z, abs=2e-3)
    assert found.expected == pytest.approx(line(paper_edges, free.x[0], free.x[1] / 1000)[9:13].sum(), rel=1e-4)


def test_a_line_that_ends_inside_the_range(paper_edges):
    """Empty bins beyond the zero are no contradiction, and nothing is negative."""
    counts = np.maximum(np.round(line(paper_edges, 9.0, -0.0021)), 0.0)
    assert (counts[-3:] == 0).all()
    fit = fit_background((counts, paper_edges), function="linear")
    assert fit.ok
    assert (fit.expected >= 0).all()
    np.testing.assert_allclose(fit.expected, counts, atol=3.0)
    far = background_function("linear").density([6500.0, 12000.0], {"p0": 1.0, "p1": -1.2})
    assert far[1] < 1e-6


def test_null_significances_of_the_line_are_normal(paper_edges, paper_window):
    mu = line(paper_edges, 4.5, -0.0008)
    toys = np.random.default_rng(5).poisson(mu, size=(250, 30))
    found = local_p_values(toys, paper_edges, paper_window, function="linear")
    assert found.n_failed == 0
    z = found.local_significance
    assert abs(z.mean()) < 0.2  # error 0.063
    assert z.std() == pytest.approx(1.0, abs=0.14)


def test_scans_take_it_and_failures_stay_entries(paper_edges):
    counts = np.round(line(paper_edges, 6.0, -0.00115))
    counts[9:13] += 40
    result = scan_windows((counts, paper_edges), [_window(paper_edges, k) for k in (3, 9, 15)], function="linear")
    assert result.n_failed == 0
    assert result.best is not None
    assert result.best.low == pytest.approx(paper_edges[9])


def _window(edges, first):
    from resonaut.stats import Window

    return Window(edges[first], edges[first + 4], edges[first - 3], edges[first + 7])
