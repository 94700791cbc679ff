"""Slow closures: p-values of background alone are uniform where counts are large, conservative where they are small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resonaut.stats import local_p_values

TOYS = 4000

pytestmark = pytest.mark.slow


def fraction_error(p):
    return 3.5 * np.sqrt(p * (1 - p) / TOYS)


@pytest.mark.parametrize("function", ["dijet3", "dijet4"])
@pytest.mark.parametrize("events", [600.0, 1e4, 1e6])
def test_uniform_for_many_events(paper_edges, paper_window, falling, function, events):
    from resonaut.stats import fit_background

    truth = fit_background((events * falling, paper_edges), function="dijet3").expected
    toys = np.random.default_rng(int(events)).poisson(truth, size=(TOYS, 30))
    found = local_p_values(toys, paper_edges, paper_window, function=function)
    assert found.n_failed == 0
    for level in (0.9, 0.5, 0.3, 0.1, 0.01):
        assert (found.local_p < level).mean() == pytest.approx(level, abs=fraction_error(level) + 0.06 * level)
    if events > 1e3:
        assert stats.kstest(found.local_p, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("function", ["dijet3", "dijet4", "auto"])
@pytest.mark.parametrize("curvature", [0.0, -2.0])
@pytest.mark.parametrize("events", [5.0, 20.0, 60.0, 150.0])
def test_conservative_for_few_events(paper_edges, paper_window, function, curvature, events):
    """Steep, bent and turned-over spectra: small p-values are never more frequent than they say."""
    c = np.linspace(-1.0, 1.0, 30)
    shape = np.exp(-2.8 * c + curvature * c**2)
    toys = np.random.default_rng(17).poisson(events * shape / shape.sum(), size=(TOYS, 30))
    found = local_p_values(toys, paper_edges, paper_window, function=function)
    p = found.local_p[np.isfinite(found.local_p)]
    assert len(p) > 0.95 * TOYS
    for level in (0.3, 0.1, 0.01):
        assert (p < level).mean() < level + fraction_error(level)


def test_power_is_that_of_counting(paper_edges, paper_window, falling):
    """Median significance of an injected signal: the Asimov formula with a background uncertainty, arXiv:1007.1727."""
    from resonaut.stats import fit_background

    truth = fit_background((2e4 * falling, paper_edges), paper_window, function="dijet3")
    b, sigma = truth.total(truth.blinded)
    s = 200.0
    counts = truth.expected.copy()
    counts[9:13] += s / 4
    toys = np.random.default_rng(19).poisson(counts, size=(2000, 30))
    found = local_p_values(toys, paper_edges, paper_window, function="dijet3")
    n, v = b + s, sigma**2
    asimov = np.sqrt(2 * (n * np.log(n * (b + v) / (b**2 + n * v)) - b**2 / v * np.log(1 + v * s / (b * (b + v)))))
    assert np.median(found.local_significance) == pytest.approx(asimov, abs=0.08)
