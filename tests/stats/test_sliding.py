"""Sliding-window fits: published backgrounds, errors from toys, options, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    SlidingFit,
    Window,
    background_function,
    compare_with_one_fit,
    fit_background,
    log_edges,
    read_spectrum,
    sliding_fit,
    sliding_toys,
)
from resonaut.stats.studies.stitching import Stitching, default_half_widths


def table(path):
    return np.genfromtxt(path, delimiter=",", comments="#", skip_header=3)


@pytest.fixture(scope="module")
def atlas_139(published_data):
    path = published_data / "atlas_139ifb_inclusive_mjj.csv"
    return read_spectrum(path), table(path)


def test_atlas_139_published_background_is_reproduced(atlas_139):
    """Windows of half of the bins, cut at the ends, with four parameters: the published fit, deviance 113.1."""
    spectrum, columns = atlas_139
    fit = sliding_fit(spectrum, half_widths=[22], edge="clip")
    assert fit.status == "converged"
    assert fit.deviance == pytest.approx(113.1, abs=1.5)
    pulls = (fit.expected - columns[:, 3]) / columns[:, 4]
    assert abs(pulls).max() < 0.3
    assert np.sqrt((pulls**2).mean()) < 0.1
    # one function over the whole range is not as close to it, and ten units of deviance worse
    whole = fit_background(spectrum)
    far = (whole.expected - columns[:, 3]) / columns[:, 4]
    assert np.sqrt((far**2).mean()) > 0.25
    assert whole.deviance - fit.deviance > 11


def test_atlas_37_published_background_is_reproduced(published_data):
    path = published_data / "atlas_37ifb_mjj.csv"
    columns = table(path)
    fit = sliding_fit(read_spectrum(path), function="dijet3")
    error = 0.5 * (columns[:, 4] + columns[:, 5])
    pulls = (fit.expected - columns[:, 3]) / error
    assert fit.deviance == pytest.approx(69.1, abs=1.5)
    assert abs(pulls).max() < 1.0
    # the published error is statistical: ours agrees with it
    assert np.median(fit.expected_error / error) == pytest.approx(1.09, abs=0.05)


def test_one_window_is_the_global_fit(cms_137):
    fit = sliding_fit(cms_137, half_widths=[60], edge="clip")
    whole = fit_background(cms_137)
    assert fit.expected == pytest.approx(whole.expected, rel=1e-6)
    assert fit.expected_error == pytest.approx(whole.expected_error, rel=1e-3)
    assert fit.effective_parameters == pytest.approx(4.0, abs=1e-6)
    assert fit.deviance == pytest.approx(whole.deviance, abs=1e-6)


def test_errors_are_those_of_toys(atlas_139):
    spectrum, _ = atlas_139
    fit = sliding_fit(spectrum, function="dijet3", half_widths=[20])
    toys = sliding_toys(fit, toys=150, seed=3)
    assert toys.failed == 0
    ratio = toys.spread / fit.expected_error
    assert np.median(ratio) == pytest.approx(1.0, abs=0.08)
    assert abs(ratio - 1).max() < 0.35
    # deviance of toys: bins less effective parameters (and a little more where few events are expected)
    assert toys.deviances.mean() == pytest.approx(91 - fit.effective_parameters, abs=4)


def test_one_function_is_not_enough_for_atlas_139(atlas_139):
    """Sliding windows take 12.0 off the deviance of one four-parameter fit where toys of it expect 4: p = 0.02."""
    spectrum, _ = atlas_139
    fit = sliding_fit(spectrum, half_widths=[22], edge="clip")
    four = compare_with_one_fit(fit, toys=300, seed=3)
    assert four.function == "dijet4"
    assert four.deviance == pytest.approx(123.77, abs=0.02)
    assert four.drops.mean() == pytest.approx(fit.effective_parameters - 4.0, abs=0.6)
    assert four.p_value < 0.05
    three = compare_with_one_fit(fit, "dijet3", toys=300, seed=3)
    assert three.p_value == pytest.approx(1 / 301)
    assert type(four).from_dict(four.to_dict()).to_dict() == four.to_dict()


def test_one_function_is_enough_for_atlas_37(published_data):
    fit = sliding_fit(read_spectrum(published_data / "atlas_37ifb_mjj.csv"), function="dijet3", half_widths=[22])
    assert compare_with_one_fit(fit, "dijet3", toys=200, seed=3).p_value > 0.1
    assert compare_with_one_fit(fit, "dijet4", toys=200, seed=3).p_value > 0.3


def test_influence_is_the_derivative(atlas_139):
    spectrum, _ = atlas_139
    counts, edges = spectrum.values(), spectrum.axes[0].edges
    options = {"function": "dijet3", "half_widths": [15]}
    smooth = sliding_fit((counts, edges), **options).expected
    fit = sliding_fit((smooth, edges), **options)  # where data equal the fit, observed and expected information agree
    moved = smooth.copy()
    moved[30] += 5.0
    change = (sliding_fit((moved, edges), **options).expected - fit.expected) / 5.0
    assert change[16:45] == pytest.approx(fit.influence[16:45, 30], rel=0.02, abs=1e-4)
    assert (fit.influence[46:, 30] == 0).all()


def test_windows_shrink_until_the_fit_is_good():
    """A kink that no window across it can follow: windows become narrower near it, and only there."""
    edges = log_edges(1000.0, 5000.0, 90)
    counts = 1e7 * np.exp(-0.1 * np.arange(90))
    counts[45:] *= np.exp(-0.05 * np.arange(45))
    fit = sliding_fit((counts, edges), half_widths=[20, 12, 6], function="dijet3")
    assert set(fit.half_width[:20]) == {20}
    assert set(fit.half_width[70:]) == {20}
    assert fit.half_width[35] == 6
    best = sliding_fit((counts, edges), half_widths=[20, 12, 6], function="dijet3", choose="best")
    assert (best.p_value >= fit.p_value - 1e-12).all()


def test_a_blinded_resonance_does_not_pull(cms_137):
    counts, edges = cms_137.values().copy(), cms_137.axes[0].edges
    window = Window(edges[15], edges[19], edges[12], edges[22])
    first = sliding_fit((counts, edges), window, half_widths=[14])
    counts[15:19] *= 3
    second = sliding_fit((counts, edges), window, half_widths=[14])
    assert second.expected == pytest.approx(first.expected, rel=1e-7)
    assert not second.mask[15:19].any()
    assert second.total(~second.mask)[1] > 0


def test_batch_is_the_single_fit(cms_137):
    fit = sliding_fit(cms_137, half_widths=[15, 10])
    toys = np.random.default_rng(0).poisson(fit.expected, size=(3, len(fit.expected)))
    batch = fit.stitching().apply(toys)
    for row in range(3):
        single = sliding_fit((toys[row], fit.edges), half_widths=[15, 10])
        same = batch.half_width[row] == single.half_width  # a p-value next to the threshold may depend on the grouping
        assert same.mean() > 0.9
        assert batch.expected[row][same] == pytest.approx(single.expected[same], rel=1e-4, abs=1e-3)


def test_power_law_needs_no_window():
    """Closure: an exact member of the family is returned as it is, at any size of window."""
    edges = log_edges(1000.0, 5000.0, 40)
    centres = np.sqrt(edges[1:] * edges[:-1])
    power = background_function("dijet2").density(centres, {"p0": 1.0, "p2": 4.0})
    exact = 1e3 * (edges[1:] ** -3 - edges[:-1] ** -3) / (edges[-1] ** -3 - edges[-2] ** -3)
    assert exact / (power * np.diff(edges)) == pytest.approx(exact[0] / (power * np.diff(edges))[0], rel=0.01)
    assert sliding_fit((exact, edges), half_widths=[8]).expected == pytest.approx(exact, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.01, 100.0))
def test_scaling_all_counts_scales_the_background(factor):
    edges = log_edges(1000.0, 6000.0, 30)
    counts = np.random.default_rng(3).poisson(1e5 * np.exp(-0.2 * np.arange(30))).astype(float)
    one = sliding_fit((counts, edges), half_widths=[8], function="dijet3")
    other = sliding_fit((factor * counts, edges), half_widths=[8], function="dijet3")
    assert other.expected == pytest.approx(factor * one.expected, rel=1e-5)
    assert other.expected_error == pytest.approx(np.sqrt(factor) * one.expected_error, rel=1e-4)
    assert other.deviance == pytest.approx(factor * one.deviance, rel=1e-4)


@pytest.mark.parametrize(
    ("counts", "edges", "message"),
    [
        ([5.0], [1000.0, 1100.0], "1 bins to fit"),
        ([5.0, np.nan, 3.0], [1000.0, 1100.0, 1200.0, 1300.0], "non-finite"),
        ([5.0, -1.0, 3.0], [1000.0, 1100.0, 1200.0, 1300.0], "negative"),
        ([5.0, 4.0], [1000.0, 1300.0, 1200.0], "increase strictly"),
    ],
)
def test_bad_spectra_are_refused(counts, edges, message):
    with pytest.raises(InputError, match=message):
        sliding_fit((counts, edges), function="dijet2")


def test_round_trip(cms_137):
    fit = sliding_fit(cms_137, half_widths=[15])
    again = SlidingFit.from_dict(json.loads(json.dumps(fit.to_dict())))
    assert again.to_dict() == fit.to_dict()
    assert again.stitching().half_widths == (15,)
    with pytest.raises(InputError, match="keys that differ"):
        SlidingFit.from_dict({"function": "dijet4"})


def test_empty_and_sparse_spectra_do_not_stop(cms_137):
    counts, edges = cms_137.values(), cms_137.axes[0].edges
    empty = sliding_fit((np.zeros_like(counts), edges))
    assert empty.status == "converged"
    assert (empty.expected == 0).all()
    sparse = sliding_fit((np.round(counts / counts.sum() * 40), edges), function="dijet3")
    assert sparse.ok
    assert sparse.expected.sum() == pytest.approx(40, rel=0.3)


def test_bad_options_are_refused(cms_137):
    with pytest.raises(ConfigError, match="edge='wrap'"):
        sliding_fit(cms_137, edge="wrap")
    with pytest.raises(ConfigError, match="widest first"):
        sliding_fit(cms_137, half_widths=[5, 10])
    with pytest.raises(ConfigError, match="min_p_value"):
        sliding_fit(cms_137, min_p_value=1.5)
    with pytest.raises(InputError, match="3 bins to fit, expected more than the 4"):
        sliding_fit(cms_137, half_widths=[10, 2], edge="clip")
    fit = sliding_fit(cms_137, half_widths=[15])
    with pytest.raises(ConfigError, match="at least 1"):
        sliding_toys(fit, toys=0)
    broken = SlidingFit.from_dict({**fit.to_dict(), "status": "failed: test"})
    with pytest.raises(FitError, match="wider windows"):
        sliding_toys(broken)
    with pytest.raises(InputError, match="spectra of 3 bins"):
        fit.stitching().apply(np.ones(3))


def test_default_windows_hold_enough_bins():
    assert default_half_widths(91, 4) == (22, 18, 13, 9)
    assert default_half_widths(12, 4) == (4,)
    plan = Stitching(np.arange(1000.0, 1013.0), np.ones(12, bool), "dijet4", 13000.0, (4,), "widest", 0.05, "shift")
    assert plan.bounds(0, 4) == (0, 9)
    assert plan.bounds(11, 4) == (3, 12)


def test_the_windows_of_a_toy_do_not_depend_on_other_toys(published_data):
    """Bins are grouped for chi2 by the fit of the data; the mean over the toys tied them to each other."""
    fit = sliding_fit(
        read_spectrum(published_data / "atlas_37ifb_mjj.csv"), function="dijet3", half_widths=[30, 20, 10]
    )
    toys = np.random.default_rng(3).poisson(fit.expected, size=(40, len(fit.expected)))
    plan = fit.stitching()
    together = plan.apply(toys, reference=fit.expected)
    for k in (0, 17, 39):
        alone = plan.apply(toys[k], reference=fit.expected)
        assert alone.half_width[0].tolist() == together.half_width[k].tolist()
        assert alone.p_value[0] == pytest.approx(together.p_value[k], abs=1e-5)
