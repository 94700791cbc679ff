"""What every upper limit must obey: more background, more events, other units, other confidence levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.stats import (
    Channel,
    Signal,
    abcd_estimate,
    abcd_limit,
    asymptotic_cls,
    background_under,
    combined_limit,
    fit_background,
    gaussian_template,
    limit_scan,
    log_edges,
    poisson_interval,
    upper_limit,
)

EDGES = log_edges(2000.0, 6000.0, 24)
SHAPE = np.exp(-2.0 * np.linspace(-1.0, 1.0, 24)) / np.exp(-2.0 * np.linspace(-1.0, 1.0, 24)).sum()
TEMPLATE = gaussian_template(3400.0, 150.0, EDGES)
PROPERTY = settings(max_examples=8, deadline=None, derandomize=True)
SEEDS, EVENTS = st.integers(0, 2**32 - 1), st.floats(300.0, 1e5)


def limit(counts, template=TEMPLATE, **options):
    return upper_limit((counts, EDGES), template, function="dijet3", check=False, method="asymptotic", **options)


def toy(seed, events):
    return np.random.default_rng(seed).poisson(events * SHAPE).astype(np.float64)


def numbers(result):
    return np.array([result.observed, *result.expected])


@PROPERTY
@given(EVENTS, st.floats(1.2, 10.0))
def test_more_background_has_a_larger_expected_limit(events, factor):
    one, other = limit(events * SHAPE), limit(factor * events * SHAPE)
    assert (np.array(other.expected) > np.array(one.expected)).all()
    # with the root of the background, where counts are large
    ratio = other.expected[2] / one.expected[2]
    assert ratio == pytest.approx(np.sqrt(factor), rel=0.25 if events < 3000 else 0.1)


@PROPERTY
@given(SEEDS, EVENTS, st.integers(1, 60))
def test_more_events_where_the_signal_is_have_a_larger_observed_limit(seed, events, added):
    counts = toy(seed, events)
    more = counts.copy()
    more[TEMPLATE.argmax()] += added
    assert limit(more).observed > limit(counts).observed


@PROPERTY
@given(SEEDS, EVENTS, st.floats(0.01, 100.0))
def test_a_template_of_another_yield_has_the_same_limit_in_events(seed, events, factor):
    counts = toy(seed, events)
    one = limit(counts, unit="strength")
    other = limit(counts, factor * TEMPLATE, unit="strength")
    np.testing.assert_allclose(numbers(other) * factor, numbers(one), rtol=1e-3)
    np.testing.assert_allclose(numbers(limit(counts, factor * TEMPLATE)), numbers(limit(counts)), rtol=1e-3)


@PROPERTY
@given(SEEDS, EVENTS)
def test_bands_are_in_order_and_stricter_levels_have_larger_limits(seed, events):
    counts = toy(seed, events)
    results = [limit(counts, cl=cl) for cl in (0.9, 0.95, 0.99)]
    values = np.array([numbers(r) for r in results])
    assert (np.diff(values, axis=0) > 0).all()
    assert (np.diff(values[:, 1:], axis=1) > 0).all()
    assert all(r.strength <= r.observed for r in results)


@PROPERTY
@given(SEEDS, EVENTS, st.floats(1.0, 300.0), st.floats(0.05, 1.0))
def test_cross_sections_follow_luminosity_and_efficiency(seed, events, luminosity, efficiency):
    counts = toy(seed, events)
    one = numbers(limit(counts, luminosity=luminosity, unit="fb"))
    np.testing.assert_allclose(numbers(limit(counts, luminosity=luminosity, unit="pb")), one / 1000.0, rtol=1e-6)
    np.testing.assert_allclose(numbers(limit(counts, luminosity=2 * luminosity, unit="fb")), one / 2, rtol=1e-4)
    with_efficiency = numbers(limit(counts, luminosity=luminosity, efficiency=efficiency, unit="fb"))
    np.testing.assert_allclose(with_efficiency * efficiency, one, rtol=1e-4)


@PROPERTY
@given(SEEDS, EVENTS, st.floats(0.02, 0.3))
def test_an_uncertain_signal_has_a_larger_limit(seed, events, uncertainty):
    counts = toy(seed, events)
    sure = limit(counts)
    unsure, worse = (limit(counts, Signal(TEMPLATE, {"yield": u})) for u in (uncertainty, 1.5 * uncertainty))
    assert sure.observed * (1 - 1e-3) < unsure.observed < worse.observed * (1 + 1e-3)
    assert sure.expected[2] * (1 - 1e-3) < unsure.expected[2] < worse.expected[2] * (1 + 1e-3)


@PROPERTY
@given(SEEDS, EVENTS, st.floats(0.01, 10.0))
def test_units_of_mass_and_empty_channels_do_not_matter(seed, events, unit):
    counts = toy(seed, events)
    one = limit(counts)
    options = {"function": "dijet3", "check": False, "method": "asymptotic"}
    other = upper_limit((counts, unit * EDGES), TEMPLATE, sqrts=unit * 13000.0, **options)
    np.testing.assert_allclose(numbers(other), numbers(one), rtol=2e-3)
    fit = fit_background((counts, EDGES), function="dijet3")
    two = [Channel.build(name, fit, TEMPLATE) for name in ("a", "b")]
    combined = combined_limit(two, unit="strength", check=False, method="asymptotic")
    swapped = combined_limit(two[::-1], unit="strength", check=False, method="asymptotic")
    np.testing.assert_allclose(numbers(swapped), numbers(combined), rtol=1e-4)
    assert combined.expected[2] < limit(counts, unit="strength").expected[2]


def test_a_scan_of_masses_is_each_of_them():
    counts = toy(1, 1e4)

    def template(mass, edges):
        return gaussian_template(mass, 0.04 * mass, edges)

    masses = [4000.0, 2800.0, 3400.0]
    scanned = limit_scan((counts, EDGES), masses, template, function="dijet3", check=False, method="asymptotic")
    for found in scanned:
        alone = limit(counts, template(found.mass, EDGES))
        np.testing.assert_allclose(numbers(found), numbers(alone), rtol=1e-4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0.0, 30.0), st.floats(0.01, 30.0), st.floats(0.0, 5.0))
def test_cls_is_a_probability_that_falls_with_the_test_statistic(q, q_asimov, more):
    values = asymptotic_cls(q, q_asimov), asymptotic_cls(q + more, q_asimov)
    assert all(0.0 <= float(v) <= 1.0 + 1e-12 for v in values)
    assert values[1] <= values[0] + 1e-9


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 5000), st.floats(0.1, 0.99))
def test_poisson_intervals_hold_the_count_and_widen(n, level):
    (low,), (high,) = poisson_interval([n], level)
    assert 0.0 <= low <= n <= high
    (lower,), (higher,) = poisson_interval([n], 0.5 * (1 + level))
    assert lower <= low
    assert higher >= high


@PROPERTY
@given(st.lists(st.integers(20, 2000), min_size=4, max_size=4), st.floats(0.5, 20.0))
def test_four_regions(counts, factor):
    regions = dict(zip("ABCD", counts, strict=True))
    found = abcd_estimate(regions)
    assert found.expected == pytest.approx(counts[1] * counts[2] / counts[3], rel=1e-6)
    swapped = abcd_estimate({**regions, "B": counts[2], "C": counts[1]})
    assert (swapped.expected, swapped.error_high) == pytest.approx((found.expected, found.error_high), rel=1e-4)
    assert abcd_estimate(regions, closure=0.2).error_high > found.error_high
    options = {"check": False, "method": "asymptotic"}
    one, other = (abcd_limit(regions, {"A": k}, **options) for k in (10.0, 10.0 * factor))
    assert other.observed * factor == pytest.approx(one.observed, rel=1e-3)
    more = abcd_limit({**regions, "A": counts[0] + 30}, {"A": 10.0}, **options)
    assert more.observed > one.observed


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0.01, 100.0), st.floats(0.1, 100.0), st.floats(0.1, 50.0))
def test_background_under_a_signal_of_one_bin_is_that_of_the_bin(background, signal, factor):
    assert background_under([background], [signal]) == pytest.approx(background, rel=1e-9)
    one = background_under(background * SHAPE, signal * TEMPLATE)
    assert background_under(factor * background * SHAPE, factor * signal * TEMPLATE) == pytest.approx(factor * one)
