"""What every p-value and every search must obey: order, scaling, units, and that more events are more significant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from resonaut.stats import (
    bump_hunter,
    combine_folds,
    combine_p_values,
    fit_background,
    gaussian_template,
    global_p_value,
    local_p_values,
    log_edges,
    on_off_p_value,
    poisson_significance,
    scan_windows,
    significance_scan,
    sliding_fit,
    sliding_scan,
    sliding_windows,
    upcrossings,
)

EDGES = log_edges(2000.0, 6000.0, 24)
WINDOWS = sliding_windows(EDGES)
SIGNAL = gaussian_template(3400.0, 150.0, EDGES)
PROPERTY = settings(max_examples=15, deadline=None, derandomize=True)
FEW = settings(max_examples=6, deadline=None, derandomize=True)
WINDOW = st.sampled_from(WINDOWS)


@st.composite
def spectra(draw, fewest=20.0, most=1e6):
    """Poisson counts of falling spectra."""
    slope = draw(st.floats(0.5, 3.0))
    events = 10.0 ** draw(st.floats(np.log10(fewest), np.log10(most)))
    shape = np.exp(-slope * np.linspace(-1.0, 1.0, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.poisson(events * shape / shape.sum()).astype(np.float64)


def p_values(counts, window, function="dijet3", edges=EDGES, **options):
    return local_p_values(np.atleast_2d(counts), edges, window, function=function, **options)


def blinded(window):
    return (EDGES[:-1] >= window.low * (1 - 1e-9)) & (EDGES[1:] <= window.high * (1 + 1e-9))


@PROPERTY
@given(spectra(), WINDOW, st.integers(1, 40))
def test_more_events_in_the_signal_region_have_a_smaller_p_value(counts, window, step):
    few = counts.sum() < 500.0
    many = np.tile(counts, (12, 1))
    many[:, blinded(window)] = 0.0
    many[:, int(np.flatnonzero(blinded(window))[0])] = np.arange(12) * (min(step, 3) if few else step)
    found = p_values(many, window)
    good = np.isfinite(found.local_p)
    steps = np.diff(found.local_significance[good])
    # with few events, an excess that is large in the fit without signal says that the sidebands know little: the
    # significance levels off, and may come down by a hair
    assert (steps >= (-0.05 if few else -1e-5)).all()
    assert found.local_significance[good][-1] > found.local_significance[good][0]
    # the sidebands alone say what is expected
    np.testing.assert_allclose(found.expected[good], found.expected[good][:1].repeat(good.sum()), rtol=1e-3, atol=1e-6)


@PROPERTY
@given(spectra(), WINDOW, st.randoms(use_true_random=False))
def test_where_in_the_signal_region_an_event_lies_does_not_matter(counts, window, random):
    inside = list(np.flatnonzero(blinded(window)))
    order = inside.copy()
    random.shuffle(order)
    moved = counts.copy()
    moved[inside] = counts[order]
    one, other = (p_values(n, window) for n in (counts, moved))
    np.testing.assert_allclose(other.local_significance, one.local_significance, atol=1e-4)


@PROPERTY
@given(spectra(fewest=5e3), WINDOW, st.floats(1.0, 30.0))
def test_significance_grows_with_the_root_of_all_counts(counts, window, factor):
    one, other = (p_values(n, window) for n in (counts, factor * counts))
    assume(one.expected[0] > 30.0)
    assert other.local_significance[0] == pytest.approx(np.sqrt(factor) * one.local_significance[0], abs=2e-3)


@PROPERTY
@given(spectra(), WINDOW, st.floats(1e-3, 10.0))
def test_units_of_mass_do_not_matter(counts, window, unit):
    scaled = type(window)(*(unit * x for x in (window.low, window.high, window.sb_low, window.sb_high)))
    one = p_values(counts, window)
    other = p_values(counts, scaled, edges=unit * EDGES, sqrts=unit * 13000.0)
    np.testing.assert_allclose(other.local_significance, one.local_significance, atol=1e-3)


@PROPERTY
@given(st.lists(spectra(), min_size=2, max_size=6), WINDOW, st.randoms(use_true_random=False))
def test_order_of_spectra_and_of_windows_does_not_matter(many, window, random):
    order = list(range(len(many)))
    random.shuffle(order)
    data = np.array(many)
    one, other = p_values(data, window), p_values(data[order], window)
    np.testing.assert_allclose(other.local_significance, one.local_significance[order], atol=2e-3)
    some = [WINDOWS[k] for k in random.sample(range(len(WINDOWS)), 3)]
    scan = scan_windows((many[0], EDGES), some, function="dijet3")
    for entry, asked in zip(scan.entries, some, strict=True):
        np.testing.assert_allclose(entry.local_p, p_values(many[0], asked).local_p[0], rtol=1e-6)


@PROPERTY
@given(st.integers(0, 200), st.floats(0.0, 200.0), st.floats(0.1, 50.0))
def test_on_and_off_counts_pull_in_opposite_directions(on, off, tau):
    p, z = on_off_p_value(on, off, tau)
    assert 0.0 <= p <= 1.0
    more_on, less_background = on_off_p_value(on + 1, off, tau)[0], on_off_p_value(on, off, 1.5 * tau)[0]
    assert more_on <= p + 1e-12
    assert on_off_p_value(on, off + 1.0, tau)[0] >= p - 1e-12
    assert less_background <= p + 1e-12
    if 1e-12 < p < 1 - 1e-12 and abs(z) < 30 and p < 0.5:
        assert z == pytest.approx(stats.norm.isf(p), abs=1e-6)


@PROPERTY
@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6), st.sampled_from(["stouffer", "fisher"]), st.floats(0.1, 1)
)
def test_combined_p_values(values, method, factor):
    p = np.minimum(values, 1 - 1e-9)
    combined = combine_p_values(p, method=method)
    assert 0.0 <= combined <= 1.0
    assert combine_p_values(p[::-1], method=method) == pytest.approx(combined, rel=1e-9)
    assert combine_p_values(factor * p, method=method) <= combined + 1e-12
    assert combine_p_values(p[:1], method=method) == pytest.approx(p[0], rel=1e-6)


@PROPERTY
@given(st.integers(0, 1000), st.floats(0.01, 1000.0))
def test_poisson_significance_rises_with_counts_and_falls_with_the_expectation(n, mu):
    z, more, expected_more = (float(poisson_significance(a, b)) for a, b in ((n, mu), (n + 1, mu), (n, 1.1 * mu)))
    assert more >= z >= expected_more


@PROPERTY
@given(spectra(fewest=100.0), st.integers(1, 5))
def test_an_event_more_in_the_interval_of_bumphunter_lowers_p(counts, events):
    background = np.exp(-0.1 * np.arange(24))
    background *= counts.sum() / background.sum()
    one = bump_hunter((counts, EDGES), background, toys=50)
    assume(np.isfinite(one.low))
    inside = (EDGES[:-1] >= one.low) & (EDGES[1:] <= one.high)
    assert one.local_p == pytest.approx(stats.poisson.sf(counts[inside].sum() - 1, background[inside].sum()), rel=1e-6)
    more = counts.copy()
    more[np.flatnonzero(inside)[0]] += events
    other = bump_hunter((more, EDGES), background, toys=50)
    assert other.statistic >= one.statistic
    assert other.local_p <= one.local_p
    assert other.global_p <= one.global_p


@PROPERTY
@given(spectra(fewest=100.0), st.booleans(), st.booleans(), st.floats(0.01, 10.0))
def test_bumphunter_finds_more_in_more_intervals_and_the_same_in_other_units(counts, sidebands, deficits, unit):
    options = {"toys": 20, "sidebands": sidebands, "deficits": deficits}
    background = np.full(24, counts.mean())
    narrow, wide = (bump_hunter((counts, EDGES), background, max_bins=n, **options) for n in (4, 24))
    assert wide.statistic >= narrow.statistic - 1e-12
    other = bump_hunter((counts, unit * EDGES), background, max_bins=4, **options)
    assert other.statistic == pytest.approx(narrow.statistic, rel=1e-9)
    np.testing.assert_allclose([other.low, other.high], [unit * narrow.low, unit * narrow.high])
    if not sidebands:
        mirror = bump_hunter((counts[::-1], EDGES), background, max_bins=4, **options)
        assert mirror.statistic == pytest.approx(narrow.statistic, rel=1e-9)


@FEW
@given(spectra(fewest=1e3), st.integers(0, 1000))
def test_global_p_values_are_never_below_local_ones(counts, seed):
    fit = fit_background((counts, EDGES), function="dijet3")
    levels = [global_p_value(fit, WINDOWS[::5], z, toys=200, seed=seed) for z in (0.5, 1.5, 2.5)]
    assert levels[0].global_p >= levels[1].global_p >= levels[2].global_p >= 1 / 201
    fewer = global_p_value(fit, WINDOWS[::10], 1.5, toys=200, seed=seed)
    assert fewer.global_p <= levels[1].global_p
    for found, z in zip(levels, (0.5, 1.5, 2.5), strict=True):
        assert found.global_p >= stats.norm.sf(z) - 4 * np.sqrt(stats.norm.sf(z) / 200)


@FEW
@given(spectra(fewest=500.0), st.floats(1.5, 20.0), st.floats(0.1, 10.0))
def test_scans_of_masses_scale(counts, factor, unit):
    masses = np.array([2600.0, 3400.0, 4500.0])
    one = significance_scan((counts, EDGES), masses, [0.03, 0.08], function="dijet3")
    larger = significance_scan((factor * counts, EDGES), masses, [0.03, 0.08], function="dijet3")
    np.testing.assert_allclose(larger.significance, np.sqrt(factor) * one.significance, atol=5e-3)
    np.testing.assert_allclose(larger.strength, factor * one.strength, atol=2e-2 * larger.strength_error.max())
    other = significance_scan(
        (counts, unit * EDGES), unit * masses[::-1], [0.08, 0.03], function="dijet3", sqrts=unit * 13000.0
    )
    np.testing.assert_allclose(other.significance[::-1, ::-1], one.significance, atol=5e-3)


@FEW
@given(spectra(fewest=500.0), st.integers(5, 200))
def test_injected_events_raise_the_significance_and_folds_add_up(counts, events):
    more = counts + events * SIGNAL
    scans = [significance_scan((n, EDGES), [3400.0], [150.0 / 3400.0], function="dijet3") for n in (counts, more)]
    assert scans[1].significance[0, 0] > scans[0].significance[0, 0]
    assert scans[1].strength[0, 0] > scans[0].strength[0, 0]
    one = combine_folds([(more, EDGES)], SIGNAL, function="dijet3")
    four = combine_folds([(more, EDGES)] * 4, SIGNAL, function="dijet3")
    assert one.local_significance == pytest.approx(scans[1].significance[0, 0], abs=1e-2)
    assert four.local_significance == pytest.approx(2 * one.local_significance, abs=1e-2)
    assert four.strength == pytest.approx(4 * one.strength, rel=1e-2, abs=1e-2 * four.strength_error)


@FEW
@given(spectra(fewest=2e3), st.integers(20, 200))
def test_sliding_scans_see_an_injected_signal(counts, events):
    signals = {3400.0: SIGNAL}
    before, after = (
        sliding_scan(sliding_fit((n, EDGES), function="dijet3", half_widths=[7]), signals)
        for n in (counts, counts + events * SIGNAL)
    )
    assert after.significance[0] > before.significance[0]
    assert after.p_value[0] < before.p_value[0]


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.floats(-2.0, 2.0))
def test_upcrossings_of_a_line_read_backwards_are_its_downcrossings(seed, level):
    z = np.random.default_rng(seed).normal(size=(5, 40))
    up, down = upcrossings(z, level), upcrossings(-z, -level)
    starts = (z[:, 0] > level).astype(float) - (z[:, -1] > level)
    np.testing.assert_allclose(upcrossings(z[:, ::-1], level), down)
    np.testing.assert_allclose(up - down, -starts)
