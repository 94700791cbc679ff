"""Figures of merit against scikit-learn, the analytic Gaussian shift, and toys for the statistical error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as reference_curve

from resonaut.errors import ConfigError, InputError
from resonaut.models import auc, efficiency_at, max_sic, roc_curve, si_at, sic_band, sic_curve


def _gaussians(shift: float, background: int, signal: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(size=background), rng.normal(shift, 1.0, signal)])
    return np.repeat([0, 1], [background, signal]), scores


def test_auc_and_roc_equal_scikit_learn_with_weights_and_ties() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 3000)
    scores = np.round(rng.normal(labels * 0.7, 1.0), 1)
    weight = rng.uniform(0.1, 3.0, 3000)
    assert auc(labels, scores, weight) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12)
    curve = roc_curve(labels, scores, weight)
    fpr, tpr, cut = reference_curve(labels, scores, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.eb, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.es, tpr, atol=1e-12)
    np.testing.assert_array_equal(curve.threshold, cut)


def test_gaussian_shift_is_analytic() -> None:
    labels, scores = _gaussians(1.5, 100_000, 100_000)
    assert auc(labels, scores) == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.002)
    for eb in (0.1, 0.01):
        es = norm.sf(norm.isf(eb) - 1.5)
        error = np.sqrt(es * (1 - es) / 100_000) + norm.pdf(norm.isf(eb) - 1.5) / norm.pdf(norm.isf(eb)) * np.sqrt(
            eb / 100_000
        )
        assert efficiency_at(labels, scores, eb) == pytest.approx(es, abs=4 * error)
        assert si_at(labels, scores, eb) == pytest.approx(es / np.sqrt(eb), abs=4 * error / np.sqrt(eb))


def test_sic_error_is_the_spread_of_toys() -> None:
    cut = 2.0
    values, errors = [], []
    for seed in range(300):
        labels, scores = _gaussians(2.0, 4000, 400, seed)
        curve = roc_curve(labels, scores)
        place = np.searchsorted(-curve.threshold, -cut, side="right") - 1
        sic = sic_curve(labels, scores, min_background=1)
        here = np.argmin(abs(sic.eb - curve.eb[place]) + abs(sic.es - curve.es[place]))
        values.append(sic.sic[here])
        errors.append(sic.error[here])
    assert np.mean(values) == pytest.approx(norm.sf(0.0) / np.sqrt(norm.sf(2.0)), rel=0.02)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)  # 300 toys know their spread to 4 %


def test_integer_weights_are_repeated_events() -> None:
    rng = np.random.default_rng(5)
    labels, scores, counts = rng.integers(0, 2, 400), rng.normal(size=400), rng.integers(1, 4, 400)
    weighted = sic_curve(labels, scores, counts, min_background=0, min_signal=0)
    repeated = sic_curve(np.repeat(labels, counts), np.repeat(scores, counts), min_background=0, min_signal=0)
    np.testing.assert_allclose(weighted.sic, repeated.sic)
    assert weighted.error[-2] > repeated.error[-2]  # repeated events only look like more statistics


def test_floor_on_background_removes_fluctuations() -> None:
    """With few background events the largest SIC is a fluctuation; a floor brings the analytic one of the cuts that remain."""
    cuts = np.linspace(0.0, norm.isf(0.03), 301)
    true = np.max(norm.sf(cuts - 2.0) / np.sqrt(norm.sf(cuts)))
    samples = [_gaussians(2.0, 1000, 5000, seed) for seed in range(20)]
    free = np.mean([max_sic(labels, scores, min_background=1)[0] for labels, scores in samples])
    floored = np.mean([max_sic(labels, scores, min_background=30)[0] for labels, scores in samples])
    assert free > 1.3 * true
    assert floored == pytest.approx(true, rel=0.08)


def test_sic_curve_needs_enough_events() -> None:
    labels, scores = _gaussians(1.0, 20, 20)
    with pytest.raises(InputError, match="no cut leaves 50 background"):
        sic_curve(labels, scores, min_background=50)


def test_band_is_the_median_over_seeds() -> None:
    curves = [sic_curve(*_gaussians(1.0, 20_000, 20_000, seed)) for seed in range(15)]
    band = sic_band(curves, np.array([0.3, 0.5, 0.8]))
    expected = band.es / np.sqrt(norm.sf(norm.isf(band.es) + 1.0))
    np.testing.assert_allclose(band.median, expected, rtol=0.02)
    assert np.all(band.low < band.median)
    assert np.all(band.median < band.high)
    out_of_reach = sic_band(curves, np.array([1e-7]))
    assert np.isnan(out_of_reach.median).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="need signal and background events, got 0 and 3"):
        auc([0, 0, 0], [1, 2, 3])
    with pytest.raises(InputError, match="flat and alike"):
        auc([0, 1], [1, 2, 3])
    with pytest.raises(InputError, match=r"NaN \(1 are\)"):
        auc([0, 1], [np.nan, 1.0])
    with pytest.raises(ConfigError, match="background efficiency"):
        si_at([0, 1], [0.0, 1.0], 0.0)
    with pytest.raises(InputError, match="at least one SIC curve"):
        sic_band([])
