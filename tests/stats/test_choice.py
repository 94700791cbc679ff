from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resonaut.errors import ConfigError, InputError
from resonaut.stats import choose_function, f_test, fit_background, read_spectrum
from resonaut.stats.choice import choose_functions


def test_cms_low_mass_needs_five_parameters(reference_data):
    """CMS 27/fb scouting (arXiv:1806.00843) was published with five parameters: 20.3 for 20 degrees of freedom."""
    choice = choose_function(read_spectrum(reference_data / "reference/stats/cmsdijet/cms_27ifb_lowmass_calo.csv"))
    assert choice.function == "dijet5"
    assert choice.deviances == pytest.approx((3581.3, 27.97, 19.60), abs=0.02)


def test_cms_137_needs_three(cms_137):
    """A fourth parameter gains 0.002 in 2 ln L (41.302 against 41.300): independent prototype 34.1 / 37, 34.1 / 38."""
    choice = choose_function(cms_137)
    assert choice.function == "dijet3"
    assert choice.p_values[0] > 0.3


def test_atlas_139_needs_more_than_three(published_data):
    """Deviances of an independent prototype on ATLAS 139/fb: 144.5, 123.8, 118.5 for 3, 4, 5 parameters.

    By hand, five against four: F = (123.77 - 118.48) / (118.48 / 86) = 3.84, p = 0.053, just above the threshold.
    """
    choice = choose_function(read_spectrum(published_data / "atlas_139ifb_inclusive_mjj.csv"))
    assert choice.deviances == pytest.approx((144.5, 123.8, 118.5), abs=0.06)
    assert choice.function == "dijet4"
    assert choice.p_values[1] == pytest.approx(0.053, abs=0.001)


def test_f_test_is_calibrated(paper_edges, falling):
    """A superfluous parameter is asked for at the rate of the threshold."""
    fit = fit_background((3e4 * falling, paper_edges), function="dijet3")
    toys = np.random.default_rng(6).poisson(fit.expected, size=(2000, 30))
    chosen = choose_functions(toys, paper_edges, np.ones(30, bool), candidates=("dijet3", "dijet4"))
    rate = np.mean([c.function == "dijet4" for c in chosen])
    assert rate == pytest.approx(0.05, abs=0.02)


def test_f_statistic_against_scipy():
    assert f_test(40.0, 30.0, 2, 15) == pytest.approx(stats.f.sf((10.0 / 2) / (30.0 / 15), 2, 15))
    assert f_test(4.0, 3.0, 1, 15) == pytest.approx(stats.f.sf(1.0, 1, 15))  # dispersion not below 1
    assert f_test(40.0, 30.0, 1, 0) == 1.0


def test_few_events_get_few_parameters(paper_edges, falling):
    toys = np.random.default_rng(7).poisson(15 * falling, size=(100, 30))
    chosen = choose_functions(toys, paper_edges, np.ones(30, bool))
    assert {c.function for c in chosen} == {"dijet3"}


def test_excess_in_the_window_does_not_change_the_choice(paper_edges, paper_window, falling):
    counts = np.round(5e4 * falling)
    spiked = counts.copy()
    spiked[9:13] += 2000
    first, second = (choose_function((n, paper_edges), paper_window) for n in (counts, spiked))
    assert first.function == second.function
    assert first.deviances == pytest.approx(second.deviances, abs=1e-4)
    assert fit_background((counts, paper_edges), paper_window, function="auto").function == first.function


def test_bad_candidates_are_refused(paper_edges):
    counts = np.ones(30)
    with pytest.raises(ConfigError, match="increasing order"):
        choose_function((counts, paper_edges), candidates=("dijet4", "dijet3"))
    with pytest.raises(ConfigError, match="0 < threshold < 1"):
        choose_function((counts, paper_edges), threshold=0.0)
    with pytest.raises(InputError, match="2 bins to fit, expected at least 3"):
        choose_function((counts[:2], paper_edges[:3]))
