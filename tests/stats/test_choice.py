from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import FTestToys, choose_function, f_test, f_test_toys, fit_background, read_spectrum
from resonaut.stats.engine.batched import FAILED, fit_batch
from resonaut.stats.fits.choice import choose_functions


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


def test_cms_low_mass_needs_five_parameters_with_toys(reference_data):
    """507 million events: 8.37 units of deviance for the fifth parameter (published chi2: 20.3 for 20 with five)."""
    spectrum = read_spectrum(reference_data / "reference/stats/cmsdijet/cms_27ifb_lowmass_calo.csv")
    choice = choose_function(spectrum, toys=400, seed=1)
    assert choice.function == "dijet5"
    test = f_test_toys(spectrum, "dijet4", "dijet5", toys=400, seed=1)
    assert test.failed == 0
    # without overdispersion in the toys, the statistic is nearly a chi2 of one degree of freedom
    assert test.p_value == pytest.approx(stats.chi2.sf(8.37, 1), abs=0.008)


@pytest.mark.parametrize(
    ("table", "function"), [("cms_36ifb_highmass", "dijet4"), ("cms_12p9ifb_lowmass_calo", "dijet4")]
)
def test_cms_published_orders(reference_data, table, function):
    """arXiv:1806.00843 (high mass) and arXiv:1611.03568 (low mass) were fitted with four parameters."""
    spectrum = read_spectrum(reference_data / f"reference/stats/cmsdijet/{table}.csv")
    assert choose_function(spectrum).function == function
    assert choose_function(spectrum, toys=300).function == function


def test_atlas_37_needs_three(published_data):
    """Three parameters are enough for 7.5 million events (arXiv:1703.09127)."""
    spectrum = read_spectrum(published_data / "atlas_37ifb_mjj.csv")
    assert choose_function(spectrum, toys=300).function == "dijet3"
    assert f_test_toys(spectrum, "dijet3", "dijet4", toys=300).asymptotic_p_value == pytest.approx(0.1035, abs=2e-3)


def test_toys_of_an_exact_f_test_follow_f(cms_137):
    """Millions of events: F is nearly distributed as chi2 per added parameter, which bounds the F distribution."""
    test = f_test_toys(cms_137, "dijet3", "dijet4", toys=500, seed=4)
    p = stats.kstest(test.statistics, lambda f: stats.f.cdf(f, 1, 38)).pvalue
    assert p > 0.01
    again = FTestToys.from_dict(test.to_dict())
    assert again.to_dict() == test.to_dict()
    choice = choose_function(cms_137, toys=20)
    assert type(choice).from_dict(choice.to_dict()) == choice
    assert choice.toys == 20


def test_toys_calibrate_sparse_spectra(paper_edges, falling):
    """Toys through `f_test_toys`: superfluous parameters are found significant at the rate of the threshold."""
    rng = np.random.default_rng(8)
    truth = fit_background((300 * falling, paper_edges), function="dijet3").expected
    p = [
        f_test_toys((rng.poisson(truth), paper_edges), "dijet3", "dijet4", toys=99, seed=k).p_value for k in range(150)
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.075)
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("failing", ["dijet3", "dijet4"])
def test_a_failed_fit_of_the_data_is_no_f_test(cms_137, monkeypatch, failing):
    """Two fits that fail have no F, and a p-value of nothing was 1 / (n + 1); in batches they are not fatal."""

    def failed(counts, design, mask=None):
        fit = fit_batch(counts, design, mask)
        return replace(fit, status=np.full_like(fit.status, FAILED)) if design.function.name == failing else fit

    monkeypatch.setattr("resonaut.stats.fits.choice.fit_batch", failed)
    with pytest.raises(FitError, match=f"fit of {failing} to the data failed"):
        f_test_toys(cms_137, "dijet3", "dijet4", toys=5)
    choice = choose_function(cms_137, candidates=("dijet3", "dijet4"), toys=5)
    assert choice.function == {"dijet3": "dijet4", "dijet4": "dijet3"}[failing]


def test_bad_f_tests_are_refused(cms_137):
    with pytest.raises(ConfigError, match="smaller function first"):
        f_test_toys(cms_137, "dijet4", "dijet3")
    with pytest.raises(ConfigError, match="at least one toy"):
        f_test_toys(cms_137, "dijet3", "dijet4", toys=0)
    with pytest.raises(InputError, match="keys that differ"):
        FTestToys.from_dict({"small": "dijet3"})
