"""The compiled engine and its twin in torch: signal fits, weights, vector functions, agreement."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from scipy.special import kl_div

from resonaut.errors import ConfigError, InputError
from resonaut.stats import Design, fit_batch, gaussian_template, log_edges
from resonaut.stats.engine.batched import AT_LIMIT, CONVERGED
from resonaut.stats.engine.vectors import exponentials, logarithms

EDGES = log_edges(2800.0, 5200.0, 30)
SIGNAL = gaussian_template(3500.0, 100.0, EDGES)
MASK = np.ones(30, dtype=bool)
MASK[20:24] = False
MODES = {
    "background": {},
    "mask": {"mask": MASK},
    "cells": {"starts": np.r_[0:10, 13:30]},
    "free": {"signal": SIGNAL},
    "positive": {"signal": SIGNAL, "positive": True},
    "held": {"signal": SIGNAL, "strength": 3.0},
}


def test_vector_functions_are_those_of_numpy():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-690, 690, 3001), rng.normal(size=3001) * 1e-3, [0.0, -0.0, 1.0]])
    value, scratch = x.copy(), np.empty_like(x)
    exponentials(value, scratch, scratch.view(np.int64))
    np.testing.assert_allclose(value, np.exp(x), rtol=1e-15)
    y = np.exp(x)
    value = y.copy()
    logarithms(value, value.view(np.int64), scratch, scratch.view(np.int64))
    np.testing.assert_allclose(value, np.log(y), rtol=5e-16, atol=1e-300)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("events", [20.0, 2000.0, 1e6])
def test_backends_agree(falling, mode, events):
    toys = np.random.default_rng(3).poisson(events * falling, size=(200, 30)).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    one, two = (fit_batch(toys, design, backend=backend, **MODES[mode]) for backend in ("numpy", "torch:cpu"))
    same = (one.status == CONVERGED) & (two.status == CONVERGED)
    assert (one.status == two.status).mean() > 0.95
    assert same.mean() > 0.7  # with 20 events, a quarter of the signals stop where they cancel the background
    np.testing.assert_allclose(one.deviance[same], two.deviance[same], atol=1e-7)
    np.testing.assert_allclose(one.null_deviance[same], two.null_deviance[same], atol=1e-7)
    np.testing.assert_allclose(one.strength[same], two.strength[same], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.expected[same], two.expected[same], rtol=1e-4, atol=1e-4)
    # the likelihoods of runaways are compared where they stand
    np.testing.assert_allclose(one.deviance, two.deviance, atol=0.05)


@pytest.mark.parametrize("events", [300.0, 2e4, 1e6])
def test_signal_and_its_error_are_those_of_minuit(falling, events):
    rng = np.random.default_rng(int(events))
    counts = rng.poisson(events * falling + 2.0 * np.sqrt(events * falling[10]) * SIGNAL).astype(float)
    design = Design.build("dijet3", EDGES, importance=counts)
    fit = fit_batch(counts, design, signal=SIGNAL)

    def cost(x):
        mu = design.counts(np.asarray(x[:-1])[None])[0] + x[-1] * SIGNAL
        return 2.0 * kl_div(counts, mu).sum() if (mu > 0).all() else 1e9

    m = Minuit(cost, [*fit_batch(counts, design).theta[0], 1.0])
    m.errordef, m.strategy, m.tol = Minuit.LEAST_SQUARES, 2, 1e-4
    m.errors = [*np.full(3, 1.0 / np.sqrt(events)), np.sqrt(events * falling[10])]
    m.migrad(ncall=20000)
    m.hesse()
    assert fit.deviance[0] == pytest.approx(m.fval, abs=1e-4)
    assert fit.deviance[0] <= m.fval + 1e-6
    assert fit.strength[0] == pytest.approx(m.values[3], abs=0.01 * m.errors[3])
    assert fit.strength_error[0] == pytest.approx(m.errors[3], rel=max(0.02, 3.0 / np.sqrt(events)))
    assert np.sqrt(fit.covariance[0, 3, 3]) == pytest.approx(fit.strength_error[0], rel=1e-6)


def test_positive_signal_is_the_free_one_or_none(falling):
    toys = np.random.default_rng(5).poisson(3e4 * falling, size=(500, 30)).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    free, positive = fit_batch(toys, design, signal=SIGNAL), fit_batch(toys, design, signal=SIGNAL, positive=True)
    up = free.strength > 0
    assert 0.4 < up.mean() < 0.6
    np.testing.assert_allclose(positive.strength[up], free.strength[up], rtol=1e-4, atol=1e-3)
    assert (positive.strength[~up] == 0).all()
    np.testing.assert_allclose(positive.deviance[~up], positive.null_deviance[~up])
    assert np.isfinite(positive.strength_error).all()


def test_held_strength_scans_the_likelihood_of_the_free_fit(falling):
    counts = np.random.default_rng(6).poisson(3e4 * falling).astype(float)
    design = Design.build("dijet4", EDGES, importance=falling)
    free = fit_batch(counts, design, signal=SIGNAL)
    values = free.strength[0] + free.strength_error[0] * np.array([-1.0, 0.0, 1.0])
    held = fit_batch(np.tile(counts, (3, 1)), design, signal=SIGNAL, strength=values)
    assert held.deviance[1] == pytest.approx(free.deviance[0], abs=1e-8)
    np.testing.assert_allclose(held.deviance[[0, 2]] - held.deviance[1], 1.0, atol=0.02)


@pytest.mark.parametrize("backend", ["numpy", "torch:cpu"])
def test_no_events_and_a_held_signal(backend):
    """Nothing seen where three are expected: -2 ln L is 6, and the background is none."""
    design = Design.build("dijet3", EDGES)
    fit = fit_batch(np.zeros(30), design, signal=SIGNAL, strength=3.0, backend=backend)
    assert fit.deviance[0] == pytest.approx(6.0 * SIGNAL.sum())
    assert fit.expected.sum() == 0
    for positive in (True, False):
        free = fit_batch(np.zeros(30), design, signal=SIGNAL, positive=positive, backend=backend)
        assert (free.strength[0], free.deviance[0], free.status[0]) == (0.0, 0.0, AT_LIMIT)


@pytest.mark.parametrize(("events", "allowed"), [(19.0, 0.01), (60.0, 0.0), (1000.0, 0.0)])
def test_free_signal_is_the_best_of_held_ones(falling, events, allowed):
    """Few events can be a signal on a steep background or no signal on a flat one: both maxima are looked for."""
    toys = np.random.default_rng(3).poisson(events * falling, size=(1000, 30)).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    free = fit_batch(toys, design, signal=SIGNAL, positive=True)
    under = (toys * (0.05 * SIGNAL.max() < SIGNAL)).sum(axis=1)
    held = [fit_batch(toys, design, signal=SIGNAL, strength=part * under) for part in (0.3, 0.7, 1.0, 1.5)]
    lowest = np.min([np.where(fit.ok, fit.deviance, np.inf) for fit in held], axis=0)
    assert (lowest < free.deviance - 0.01).mean() <= allowed


def test_one_spectrum_and_many_templates(falling):
    counts = np.random.default_rng(7).poisson(3e4 * falling).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    templates = np.stack([gaussian_template(mass, 100.0, EDGES) for mass in (3200.0, 3500.0, 4000.0)])
    together = fit_batch(counts, design, signal=templates)
    alone = [fit_batch(counts, design, signal=template).strength[0] for template in templates]
    np.testing.assert_allclose(together.strength, alone, rtol=1e-6)


@pytest.mark.parametrize("events", [3e3, 3e4, 1e6])
def test_pulls_of_the_signal_are_standard(falling, events):
    """Mean below 0.05 and width within 0.97 to 1.03, with and without an injected signal.

    By the likelihood ratio, since the symmetric error of a few hundred events follows the fluctuation of the counts; the
    simple pull is as good from 10^4 events on.
    """
    rng = np.random.default_rng(11)
    design = Design.build("dijet3", EDGES, importance=falling)
    truth = fit_batch(events * falling, design).expected[0]
    for injected in (0.0, 5.0 * np.sqrt(truth[10])):
        toys = rng.poisson(truth + injected * SIGNAL, size=(8000, 30)).astype(float)
        fit, held = fit_batch(toys, design, signal=SIGNAL), fit_batch(toys, design, signal=SIGNAL, strength=injected)
        assert fit.n_failed == 0
        difference = fit.strength - injected
        root = np.sign(difference) * np.sqrt(np.maximum(held.deviance - fit.deviance, 0.0))
        pulls = [root] if events < 1e4 else [root, difference / fit.strength_error]
        for pull in pulls:
            assert abs(pull.mean()) < 0.05
            assert 0.97 < pull.std() < 1.03


def test_weighted_counts_are_effective_counts(falling):
    """Scaled Poisson of arXiv:1309.1287: weights all alike change the normalisation, not shape, errors or deviance."""
    counts = np.random.default_rng(13).poisson(3e3 * falling).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    plain, weighted = fit_batch(counts, design), fit_batch(0.2 * counts, design, scale=np.full(30, 5.0))
    np.testing.assert_allclose(weighted.expected, 0.2 * plain.expected, rtol=1e-6)
    np.testing.assert_allclose(weighted.expected_error(), 0.2 * plain.expected_error(), rtol=1e-4)
    assert weighted.deviance[0] == pytest.approx(plain.deviance[0], abs=1e-8)
    starts = np.r_[0:10, 13:30]
    merged = fit_batch(0.2 * counts, design, scale=np.full(30, 5.0), starts=starts)
    np.testing.assert_allclose(merged.expected, 0.2 * fit_batch(counts, design, starts=starts).expected, rtol=1e-6)


def test_result_does_not_depend_on_threads_or_neighbours(falling):
    toys = np.random.default_rng(17).poisson(100 * falling, size=(5000, 30)).astype(float)
    design = Design.build("dijet3", EDGES, importance=falling)
    one, two = fit_batch(toys, design, threads=1), fit_batch(toys, design, threads=2)
    assert (one.theta == two.theta).all()
    alone = fit_batch(toys[:5], design)
    np.testing.assert_allclose(alone.deviance, one.deviance[:5], atol=1e-9)


def test_signal_that_would_make_the_expectation_negative_stops_at_the_limit(falling):
    counts = np.floor(300 * falling)
    counts[8:14] = 0.0
    fit = fit_batch(counts, Design.build("dijet3", EDGES, importance=falling), signal=SIGNAL)
    assert fit.status[0] in (CONVERGED, AT_LIMIT)
    assert fit.strength[0] < 0
    assert np.isfinite(fit.deviance[0])
    assert (fit.expected[0] + fit.strength[0] * SIGNAL >= 0).all()


@pytest.mark.parametrize("backend", ["numpy", "torch:cpu"])
def test_error_of_a_signal_that_cancels_the_background_is_not_nought(falling, backend):
    """With an empty bin under it a negative signal stops where nothing is expected; the information there is infinite."""
    toys = np.random.default_rng(23).poisson(8.0 * falling, size=(500, 30)).astype(float)
    fit = fit_batch(toys, Design.build("dijet2", EDGES, importance=falling), signal=SIGNAL, backend=backend)
    some = fit.ok & (fit.events > 0)
    expected = (fit.expected[some] * SIGNAL).sum(axis=1) / SIGNAL.sum()  # events in a bin under the signal
    assert (fit.strength_error[some] > 0.3 * np.sqrt(expected)).all()


def test_bad_input_is_named():
    design = Design.build("dijet3", EDGES)
    with pytest.raises(InputError, match="negative or non-finite"):
        fit_batch(-np.ones(30), design)
    with pytest.raises(InputError, match="2 signals, expected 1 or 3"):
        fit_batch(np.ones((3, 30)), design, signal=np.ones((2, 30)))
    with pytest.raises(InputError, match="strength without a signal"):
        fit_batch(np.ones(30), design, strength=1.0)
    with pytest.raises(ConfigError, match="numpy"):
        fit_batch(np.ones(30), design, backend="nunpy")
    with pytest.raises(ConfigError, match="cannot be used here"):
        fit_batch(np.ones(30), design, backend="torch:nonsense")
