"""What theory says of every fit: scaling, splitting and leaving out bins, units, starting values, order in a batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.stats import (
    Design,
    choose_function,
    deviance,
    fit_background,
    fit_batch,
    gaussian_template,
    log_edges,
    sliding_fit,
)

EDGES = log_edges(2000.0, 6000.0, 24)
SIGNAL = gaussian_template(3400.0, 150.0, EDGES)
FUNCTIONS = st.sampled_from(["dijet2", "dijet3", "dijet4"])


@st.composite
def spectra(draw, fewest=200.0):
    """Poisson counts of falling spectra, steep and flat, of few events and of many."""
    slope, events = draw(st.floats(0.5, 3.5)), 10.0 ** draw(st.floats(np.log10(fewest), 6.0))
    shape = np.exp(-slope * np.linspace(-1.0, 1.0, 24) + draw(st.floats(-0.4, 0.4)) * np.linspace(-1.0, 1.0, 24) ** 2)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.poisson(events * shape / shape.sum()).astype(np.float64)


PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)


@PROPERTY
@given(spectra(), FUNCTIONS, st.floats(0.2, 50.0))
def test_scaling_all_counts_scales_the_fit(counts, function, factor):
    design = Design.build(function, EDGES)
    one, other = (fit_batch(n, design) for n in (counts, factor * counts))
    np.testing.assert_allclose(other.expected, factor * one.expected, rtol=1e-4, atol=1e-6 * factor * counts.sum())
    assert other.deviance[0] == pytest.approx(factor * one.deviance[0], rel=1e-5, abs=1e-5 * factor)
    signal, larger = (fit_batch(n, design, signal=SIGNAL) for n in (counts, factor * counts))
    assert larger.strength[0] == pytest.approx(
        factor * signal.strength[0], rel=1e-3, abs=2e-3 * larger.strength_error[0]
    )
    assert larger.strength_error[0] == pytest.approx(np.sqrt(factor) * signal.strength_error[0], rel=1e-3)


@PROPERTY
@given(spectra(), FUNCTIONS)
def test_a_fit_expects_as_many_events_as_it_sees_and_nested_functions_fit_better(counts, function):
    fit = fit_batch(counts, Design.build(function, EDGES))
    assert fit.expected.sum() == pytest.approx(counts.sum(), rel=1e-5)
    assert fit.deviance[0] == pytest.approx(deviance(counts, fit.expected[0]), rel=1e-6, abs=1e-6)
    if function != "dijet4":
        larger = fit_batch(counts, Design.build(f"dijet{int(function[-1]) + 1}", EDGES))
        assert larger.deviance[0] <= fit.deviance[0] + 1e-5
    with_signal = fit_batch(counts, Design.build(function, EDGES), signal=SIGNAL)
    assert with_signal.deviance[0] <= fit.deviance[0] + 1e-5
    assert with_signal.null_deviance[0] == pytest.approx(fit.deviance[0], rel=1e-5, abs=1e-4)


@PROPERTY
@given(spectra(), FUNCTIONS, st.lists(st.integers(1, 23), max_size=8, unique=True), st.floats(0.1, 0.9))
def test_bins_that_are_split_and_counted_together_are_one_bin(counts, function, split, where):
    cuts = np.array(sorted(split), dtype=int)
    fine_edges = np.sort(np.append(EDGES, EDGES[cuts] + where * np.diff(EDGES)[cuts])) if len(cuts) else EDGES
    first = np.searchsorted(fine_edges, EDGES[:-1])
    fine = np.zeros(len(fine_edges) - 1)
    fine[first] = counts
    coarse = fit_batch(counts, Design.build(function, EDGES))
    cells = fit_batch(fine, Design.build(function, fine_edges), starts=first)
    together = np.add.reduceat(cells.expected[0], first)
    np.testing.assert_allclose(together, coarse.expected[0], rtol=1e-4, atol=1e-6 * counts.sum())
    assert cells.deviance[0] == pytest.approx(coarse.deviance[0], rel=1e-5, abs=1e-4)


@PROPERTY
@given(spectra(), FUNCTIONS, st.integers(0, 23))
def test_an_asimov_spectrum_in_finer_bins_has_the_same_fit(counts, function, cut):
    """Counts that are split as the fit expects it add no information and move nothing."""
    coarse = fit_batch(counts, Design.build(function, EDGES))
    finer = Design.build(function, np.insert(EDGES, cut + 1, 0.5 * (EDGES[cut] + EDGES[cut + 1])))
    split = np.insert(counts, cut + 1, 0.0)
    halves = slice(cut, cut + 2)
    parts = fit_batch(split, finer, starts=np.delete(np.arange(25), cut + 1)).expected[0, halves]
    split[halves] = counts[cut] * parts / max(parts.sum(), 1e-300)
    found = fit_batch(split, finer)
    assert found.deviance[0] == pytest.approx(coarse.deviance[0], rel=1e-4, abs=1e-3)
    assert found.expected[0, halves].sum() == pytest.approx(coarse.expected[0, cut], rel=1e-3, abs=1e-5 * counts.sum())


@PROPERTY
@given(spectra(), FUNCTIONS, st.lists(st.floats(-0.7, 0.7), min_size=4, max_size=4))
def test_where_a_fit_starts_does_not_matter(counts, function, shift):
    design = Design.build(function, EDGES, importance=counts + 1.0)
    fit = fit_batch(counts, design)
    moved = fit_batch(counts, design, theta=fit.theta + np.array(shift)[: design.n_parameters])
    assert moved.n_failed == 0
    assert moved.deviance[0] == pytest.approx(fit.deviance[0], rel=1e-7, abs=1e-4)


@PROPERTY
@given(st.lists(spectra(), min_size=2, max_size=6), FUNCTIONS, st.randoms(use_true_random=False))
def test_a_spectrum_has_the_same_fit_alone_and_anywhere_in_a_batch(many, function, random):
    design = Design.build(function, EDGES)
    order = list(range(len(many)))
    random.shuffle(order)
    data = np.array(many)
    batch, shuffled = (
        fit_batch(data, design, signal=SIGNAL),
        fit_batch(np.tile(data[order], (4, 1)), design, signal=SIGNAL),
    )
    alone = [fit_batch(n, design, signal=SIGNAL) for n in data]
    for name in ("deviance", "null_deviance"):
        np.testing.assert_allclose(
            getattr(shuffled, name)[: len(data)], getattr(batch, name)[order], rtol=1e-7, atol=1e-4
        )
        np.testing.assert_allclose([getattr(a, name)[0] for a in alone], getattr(batch, name), rtol=1e-7, atol=1e-4)
    error = batch.strength_error
    np.testing.assert_allclose(shuffled.strength[: len(data)], batch.strength[order], atol=1e-2 * error.max())


@PROPERTY
@given(spectra(), FUNCTIONS, st.integers(0, 6), st.integers(0, 6), st.floats(0.0, 1e6))
def test_bins_that_are_masked_are_as_good_as_removed(counts, function, below, above, anything):
    inside = slice(below, 24 - above)
    mask = np.zeros(24, dtype=bool)
    mask[inside] = True
    kept = fit_batch(counts[inside], Design.build(function, EDGES[below : 25 - above]))
    other = np.where(mask, counts, anything)
    masked = fit_batch(other, Design.build(function, EDGES), mask)
    assert masked.deviance[0] == pytest.approx(kept.deviance[0], rel=1e-6, abs=1e-4)
    np.testing.assert_allclose(masked.expected[0, inside], kept.expected[0], rtol=1e-3, atol=1e-5 * counts.sum())


@PROPERTY
@given(spectra(), st.sampled_from(["dijet3", "dijet4", "dijet5", "ua2", "diphoton3", "powlog3"]), st.floats(1e-3, 10.0))
def test_units_of_mass_do_not_matter(counts, function, unit):
    giga = fit_background((counts, EDGES), function=function)
    tera = fit_background((counts, unit * EDGES), function=function, sqrts=unit * 13000.0)
    assert tera.status == giga.status
    assert tera.deviance == pytest.approx(giga.deviance, rel=1e-5, abs=1e-3)
    np.testing.assert_allclose(tera.expected, giga.expected, rtol=1e-2, atol=1e-4 * counts.sum())
    assert tera.ndf == giga.ndf


@PROPERTY
@given(spectra(), FUNCTIONS, st.floats(0.01, 100.0))
def test_a_template_of_another_yield_has_another_strength_and_the_same_fit(counts, function, factor):
    design = Design.build(function, EDGES)
    one, other = fit_batch(counts, design, signal=SIGNAL), fit_batch(counts, design, signal=factor * SIGNAL)
    assert other.deviance[0] == pytest.approx(one.deviance[0], rel=1e-6, abs=1e-4)
    error = one.strength_error[0]
    assert factor * other.strength[0] == pytest.approx(one.strength[0], abs=1e-2 * error)
    assert factor * other.strength_error[0] == pytest.approx(error, rel=1e-2)
    positive = fit_batch(counts, design, signal=factor * SIGNAL, positive=True)
    assert factor * positive.strength[0] == pytest.approx(max(one.strength[0], 0.0), abs=1e-2 * error)
    held = fit_batch(counts, design, signal=factor * SIGNAL, strength=other.strength[0])
    assert held.deviance[0] == pytest.approx(one.deviance[0], rel=1e-6, abs=1e-4)


@PROPERTY
@given(spectra(), FUNCTIONS, st.floats(0.05, 20.0))
def test_weights_that_are_all_alike_are_another_unit_of_events(counts, function, weight):
    design = Design.build(function, EDGES)
    plain = fit_batch(counts, design)
    weighted = fit_batch(weight * counts, design, scale=np.full(24, 1.0 / weight))
    np.testing.assert_allclose(weighted.expected, weight * plain.expected, rtol=1e-4, atol=1e-6 * weight * counts.sum())
    assert weighted.deviance[0] == pytest.approx(plain.deviance[0], rel=1e-5, abs=1e-4)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(spectra(fewest=3000.0), st.floats(1.5, 20.0))
def test_sliding_fits_scale_and_a_window_of_everything_is_the_one_fit(counts, factor):
    one = sliding_fit((counts, EDGES), function="dijet3", half_widths=[6])
    larger = sliding_fit((factor * counts, EDGES), function="dijet3", half_widths=[6])
    np.testing.assert_allclose(larger.expected, factor * one.expected, rtol=1e-3, atol=1e-5 * factor * counts.sum())
    tera = sliding_fit((counts, EDGES / 1000.0), function="dijet3", half_widths=[6], sqrts=13.0)
    np.testing.assert_allclose(tera.expected, one.expected, rtol=1e-3, atol=1e-5 * counts.sum())
    everything = sliding_fit((counts, EDGES), function="dijet3", half_widths=[24])
    whole = fit_background((counts, EDGES), function="dijet3")
    np.testing.assert_allclose(everything.expected, whole.expected, rtol=1e-3, atol=1e-5 * counts.sum())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(spectra(), st.sampled_from([0.01, 0.05, 0.3]))
def test_a_stricter_choice_never_takes_a_larger_function(counts, threshold):
    strict, loose = (choose_function((counts, EDGES), threshold=t) for t in (threshold, 2 * threshold))
    assert int(strict.function[-1]) <= int(loose.function[-1])
    assert all(b <= a + 1e-4 for a, b in zip(strict.deviances, strict.deviances[1:], strict=False))
