"""Fits of shapes to simulation: closure on toys, another minimiser, weights, clear failures."""

from __future__ import annotations

import json

import hist
import numpy as np
import pytest
from scipy import optimize, special

from resonaut.errors import ConfigError, InputError
from resonaut.stats import CrystalBallShape, GaussianShape, ShapeFit, fit_shape

EDGES = np.linspace(2000.0, 4000.0, 81)
TRUTH = CrystalBallShape(3000.0, 90.0, 1.2, 3.0, 1.8, 8.0)


def test_pulls_of_the_crystal_ball():
    edges = EDGES[::2]
    toys = np.random.default_rng(11).poisson(TRUTH.template(edges, 30000.0), size=(50, 40))
    fits = [fit_shape(toy, edges) for toy in toys]
    good = [fit for fit in fits if fit.status == "converged"]
    assert len(good) >= 48
    pulls = np.array([(fit.values - TRUTH.parameters) / np.sqrt(np.diag(fit.covariance)) for fit in good])
    # 50 toys: standard error of the mean 0.14, of the width 0.10; powers have a skew likelihood and are left out
    core = pulls[:, [0, 1, 2, 4]]
    assert (np.abs(core.mean(axis=0)) < 0.4).all()
    assert (np.abs(core.std(axis=0) - 1.0) < 0.3).all()
    p_values = np.array([fit.p_value for fit in good])
    assert 0.38 < p_values.mean() < 0.62


def test_pulls_of_the_gaussian():
    truth = GaussianShape(3000.0, 150.0)
    toys = np.random.default_rng(5).poisson(truth.template(EDGES, 400.0), size=(150, 80))
    fits = [fit_shape(toy, EDGES, kind="gaussian") for toy in toys]
    assert {fit.status for fit in fits} == {"converged"}
    pulls = np.array([(fit.values - truth.parameters) / np.sqrt(np.diag(fit.covariance)) for fit in fits])
    assert (np.abs(pulls.mean(axis=0)) < 0.25).all()
    assert (np.abs(pulls.std(axis=0) - 1.0) < 0.18).all()


def test_errors_of_the_gaussian_are_those_of_the_textbook():
    fit = fit_shape(GaussianShape(3000.0, 150.0).template(EDGES, 400.0), EDGES, kind="gaussian")
    assert fit.errors["mass"] == pytest.approx(150.0 / np.sqrt(400.0), rel=0.01)
    assert fit.errors["width"] == pytest.approx(150.0 / np.sqrt(800.0), rel=0.01)
    assert fit.events == pytest.approx(400.0)
    assert fit.inside == pytest.approx(1.0, abs=1e-9)


def test_another_minimiser_finds_the_same():
    counts = np.random.default_rng(2).poisson(TRUTH.template(EDGES, 20000.0)).astype(float)
    fine = np.linspace(EDGES[0], EDGES[-1], 80 * 20 + 1)

    def density(m, p):
        t = (m - p[0]) / p[1]
        low, high = (np.exp(-0.5 * a**2) * (n / a) ** n for a, n in ((p[2], p[3]), (p[4], p[5])))
        left = low * np.maximum(p[3] / p[2] - p[2] - t, 1e-9) ** -p[3]
        right = high * np.maximum(p[5] / p[4] - p[4] + t, 1e-9) ** -p[5]
        return np.where(t < -p[2], left, np.where(t > p[4], right, np.exp(-0.5 * t**2)))

    def deviance(scaled):
        y = density(fine, scaled * TRUTH.parameters)
        pieces = y[:-2:2] + 4 * y[1:-1:2] + y[2::2]  # Simpson
        p = pieces.reshape(80, 10).sum(axis=1)
        return 2.0 * special.kl_div(counts, counts.sum() * p / p.sum()).sum()

    options = {"xatol": 1e-7, "fatol": 1e-8, "maxiter": 4000, "maxfev": 4000, "adaptive": True}
    theirs = optimize.minimize(deviance, np.ones(6), method="Nelder-Mead", options=options)
    ours = fit_shape(counts, EDGES)
    assert theirs.success
    assert ours.deviance == pytest.approx(theirs.fun, abs=2e-3)
    distance = (ours.values - theirs.x * TRUTH.parameters) / np.sqrt(np.diag(ours.covariance))
    assert (np.abs(distance) < 0.03).all()


def test_weights_of_one_size_change_nothing():
    counts = np.random.default_rng(3).poisson(TRUTH.template(EDGES, 5000.0))
    plain = fit_shape(counts, EDGES)
    axis = hist.axis.Variable(EDGES)
    weighted = hist.Hist(axis, storage=hist.storage.Weight())
    weighted[...] = np.stack([0.02 * counts, 0.02**2 * counts], axis=-1)
    fit = fit_shape(weighted)
    np.testing.assert_allclose(fit.values, plain.values, rtol=1e-5)
    np.testing.assert_allclose(fit.covariance, plain.covariance, rtol=2e-3)
    assert fit.events == pytest.approx(counts.sum())
    assert fit.chi2 == pytest.approx(plain.chi2, rel=1e-4)
    normalised = fit_shape(counts / counts.sum(), EDGES, events=counts.sum())
    np.testing.assert_allclose(normalised.covariance, plain.covariance, rtol=2e-3)


def test_errors_of_weighted_events_are_their_spread():
    truth, rng = GaussianShape(3000.0, 150.0), np.random.default_rng(9)
    values = []
    for _ in range(120):
        mass = rng.normal(3000.0, 150.0, rng.poisson(1500))
        filled = hist.Hist(hist.axis.Variable(EDGES), storage=hist.storage.Weight())
        filled.fill(mass, weight=rng.exponential(1.0, len(mass)))
        fit = fit_shape(filled, kind="gaussian")
        values.append((fit.values - truth.parameters) / np.sqrt(np.diag(fit.covariance)))
    # ignoring the weights would give pulls of width sqrt(2)
    assert (np.abs(np.std(values, axis=0) - 1.0) < 0.2).all()
    assert (np.abs(np.mean(values, axis=0)) < 0.35).all()


def test_a_tail_that_is_not_there_is_at_its_limit():
    counts = GaussianShape(3000.0, 100.0).template(EDGES, 20000.0).round()
    fit = fit_shape(counts, EDGES)
    assert fit.ok or "do not determine" in fit.status
    np.testing.assert_allclose(fit.expected, counts, atol=2.0)
    one_sided = CrystalBallShape(3000.0, 100.0, 1.0, 2.0, 1.5, 1e5).template(EDGES, 50000.0)
    fit = fit_shape(one_sided, EDGES)
    assert fit.status == "at limit: n_high"
    assert fit.errors["n_high"] == 0.0
    assert fit.errors["mass"] > 0.0


def test_part_of_the_shape():
    counts = TRUTH.template(EDGES, 40000.0)
    fit = fit_shape(counts, EDGES, kind="gaussian", fit_range=(2950.0, 3100.0))
    assert (fit.edges[0], fit.edges[-1]) == (2950.0, 3100.0)
    assert fit.values[0] == pytest.approx(3000.0, abs=2.0)
    assert fit.values[1] == pytest.approx(90.0, rel=0.05)
    assert fit.inside == pytest.approx(GaussianShape(*fit.values).inside([2950.0, 3100.0]))
    assert fit.expected.sum() == pytest.approx(fit.counts.sum())


def test_a_fit_that_fails_says_why():
    flat = fit_shape(np.full(80, 100.0), EDGES, kind="gaussian")
    assert flat.status.startswith("failed: no peak in the range")
    assert not flat.ok
    assert np.isnan(flat.covariance).all()


def test_a_fit_comes_back_from_json():
    fit = fit_shape(TRUTH.template(EDGES, 20000.0), EDGES)
    again = ShapeFit.from_dict(json.loads(json.dumps(fit.to_dict())))
    assert again.to_dict() == fit.to_dict()
    assert again.shape == fit.shape
    with pytest.raises(InputError, match="keys that differ"):
        ShapeFit.from_dict({"shape": {}})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros(80), EDGES), {}, "empty histogram"),
        ((np.eye(1, 80).ravel(), EDGES), {}, "bins with events"),
        ((np.full(80, -1.0), EDGES), {}, "counts >= 0"),
        ((np.ones(80), EDGES), {"fit_range": (100.0, 200.0)}, "no events in whole bins"),
        ((np.ones(80), EDGES), {"events": 0.0}, "number of simulated events"),
    ],
)
def test_what_cannot_be_fitted(arguments, options, message):
    with pytest.raises(InputError, match=message):
        fit_shape(*arguments, **options)


def test_unknown_kinds_and_missing_errors():
    with pytest.raises(ConfigError, match="did you mean 'dscb'"):
        fit_shape(np.ones(80), EDGES, kind="dcsb")
    without = hist.Hist(hist.axis.Variable(EDGES), storage=hist.storage.Weight())
    without[...] = np.stack([np.ones(80), np.zeros(80)], axis=-1)
    with pytest.raises(InputError, match="pass events=N"):
        fit_shape(without)
