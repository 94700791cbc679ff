from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from scipy.special import kl_div

from resonaut.errors import InputError
from resonaut.stats import Design, fit_batch, log_edges
from resonaut.stats.engine.batched import AT_LIMIT, CONVERGED

EDGES = log_edges(2800.0, 5200.0, 30)


def minuit_deviance(counts, design, mask, start):
    """Independent minimiser: Minuit with numerical gradients in the orthonormal basis."""

    def cost(theta):
        return 2.0 * kl_div(counts[mask], design.expected(np.asarray(theta)[None])[0][0][mask]).sum()

    cost.errordef = Minuit.LEAST_SQUARES
    m = Minuit(cost, start)
    m.strategy = 2
    m.tol = 1e-4
    m.migrad(ncall=20000)
    m.hesse()
    return m


@pytest.mark.parametrize("function", ["dijet3", "dijet4", "dijet5"])
@pytest.mark.parametrize("events", [200.0, 5000.0, 1e6])
def test_minimum_and_errors_are_those_of_minuit(falling, function, events):
    rng = np.random.default_rng(int(events))
    counts = rng.poisson(events * falling).astype(float)
    mask = np.ones(30, dtype=bool)
    mask[9:13] = False
    design = Design.build(function, EDGES, importance=np.where(mask, counts + 0.5, 0.0))
    fit = fit_batch(counts, design, mask)
    m = minuit_deviance(
        counts, design, mask, fit.theta[0] + 0.3 * rng.normal(size=design.n_parameters) / np.sqrt(events)
    )
    assert fit.status[0] == CONVERGED
    assert fit.deviance[0] <= m.fval + 1e-6
    assert fit.deviance[0] == pytest.approx(m.fval, abs=1e-4)
    # expected (Fisher) against observed information: they differ by fluctuations, O(1 / sqrt(events))
    np.testing.assert_allclose(
        np.sqrt(np.diag(fit.covariance[0])), list(m.errors), rtol=max(0.02, 3.0 / np.sqrt(events))
    )


def test_asimov_spectrum_is_fitted_exactly(falling):
    design = Design.build("dijet4", EDGES)
    truth = fit_batch(1e4 * falling, design).expected[0]
    again = fit_batch(truth, design)
    np.testing.assert_allclose(again.expected[0], truth, rtol=1e-8)
    assert again.deviance[0] < 1e-9


def test_merged_cell_equals_its_sum(falling):
    """A cell of four bins constrains their sum only: moving events inside the cell changes nothing."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(2000 * falling).astype(float)
    moved = counts.copy()
    moved[9:13] = [counts[9:13].sum(), 0, 0, 0]
    starts = np.r_[0:10, 13:30]
    design = Design.build("dijet4", EDGES, importance=counts + 0.5)
    first, second = fit_batch(counts, design, starts=starts), fit_batch(moved, design, starts=starts)
    np.testing.assert_allclose(first.expected, second.expected, rtol=1e-9)
    assert abs(first.expected[0] - fit_batch(counts, design).expected[0]).max() > 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-2, 1e4))
def test_scaling_counts_scales_the_expectation(seed, scale):
    """The shape of a maximum-likelihood fit does not depend on the units of the counts."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(300 * np.exp(-0.2 * np.arange(30))).astype(float)
    design = Design.build("dijet3", EDGES, importance=counts + 0.5)
    one, many = fit_batch(counts, design), fit_batch(scale * counts, design)
    np.testing.assert_allclose(many.expected, scale * one.expected, rtol=1e-4, atol=1e-6 * scale)
    np.testing.assert_allclose(many.covariance * scale, one.covariance, rtol=1e-3, atol=1e-8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_splitting_bins_keeps_the_expectation(seed):
    """Bin integrals are additive: fine bins filled with the expectation of coarse ones give the same fit."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(500 * np.exp(-0.2 * np.arange(30))).astype(float)
    coarse = fit_batch(counts, Design.build("dijet3", EDGES)).expected[0]
    fine_edges = np.sort(np.append(EDGES, np.sqrt(EDGES[1:] * EDGES[:-1])))
    design = Design.build("dijet3", fine_edges)
    starts = np.arange(0, 60, 2)
    fine = fit_batch(np.repeat(counts, 2) * np.tile([1.0, 0.0], 30), design, starts=starts).expected[0]
    np.testing.assert_allclose(np.add.reduceat(fine, starts), coarse, rtol=1e-6, atol=1e-6)


def test_sum_of_expected_equals_events_fitted(falling):
    """Score of the normalisation: at the maximum the fitted cells hold as many events as were seen."""
    rng = np.random.default_rng(7)
    counts = rng.poisson(100 * falling, size=(200, 30)).astype(float)
    mask = np.ones(30, dtype=bool)
    mask[9:13] = False
    fit = fit_batch(counts, Design.build("dijet4", EDGES, importance=mask * (counts.sum(0) + 1)), mask)
    np.testing.assert_allclose(fit.expected[:, mask].sum(axis=1), counts[:, mask].sum(axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", ["dijet2", "dijet3", "dijet4", "dijet5"])
@pytest.mark.parametrize("events", [0.3, 3.0, 30.0])
def test_sparse_spectra_never_fail(falling, function, events):
    rng = np.random.default_rng(11)
    counts = rng.poisson(events * falling, size=(300, 30)).astype(float)
    fit = fit_batch(counts, Design.build(function, EDGES))
    assert fit.n_failed == 0
    assert np.isfinite(fit.expected).all()
    assert np.isfinite(fit.expected_error()).all()
    empty = counts.sum(axis=1) == 0
    assert (fit.expected[empty] == 0).all()
    assert (fit.status[empty] == AT_LIMIT).all()


def test_one_full_cell_is_at_the_limit():
    """All events in one bin: the likelihood rises for ever steeper shapes, and the expectation is the count."""
    counts = np.zeros(30)
    counts[0] = 12.0
    fit = fit_batch(counts, Design.build("dijet2", EDGES, importance=counts + 0.5))
    assert fit.status[0] == AT_LIMIT
    assert fit.expected[0, 0] == pytest.approx(12.0, abs=0.1)
    assert fit.expected[0, 1:].sum() < 0.1


def test_masks_of_each_spectrum_and_bad_neighbours(falling):
    """A batch gives what single fits give, whatever else is in it."""
    rng = np.random.default_rng(13)
    counts = rng.poisson(1000 * falling, size=(3, 30)).astype(float)
    counts[1] = 0.0
    masks = np.ones((3, 30), dtype=bool)
    masks[0, 9:13] = masks[2, 20:24] = False
    design = Design.build("dijet3", EDGES)
    batch = fit_batch(counts, design, masks)
    for k in (0, 2):
        single = fit_batch(counts[k], design, masks[k])
        np.testing.assert_allclose(batch.expected[k], single.expected[0], rtol=1e-8)
    assert batch.status.tolist() == [CONVERGED, AT_LIMIT, CONVERGED]


def test_wrong_shapes_are_refused():
    design = Design.build("dijet3", EDGES)
    with pytest.raises(InputError, match="29 bins, expected the 30"):
        fit_batch(np.ones((2, 29)), design)
    with pytest.raises(InputError, match="no spectrum"):
        fit_batch(np.ones((0, 30)), design)
    with pytest.raises(InputError, match="expected at least 4"):
        Design.build("dijet4", EDGES, importance=np.arange(30) < 3)
    with pytest.raises(InputError, match="expected 0 < edges <= sqrts"):
        Design.build("dijet4", EDGES, sqrts=5000.0)
