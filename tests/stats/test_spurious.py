"""Spurious signals: closure, errors of the template, the choice of a function."""

from __future__ import annotations

import json

import hist
import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.stats import (
    SpuriousRanking,
    SpuriousSignal,
    choose_by_spurious_signal,
    fit_background,
    gaussian_template,
    log_edges,
    read_spectrum,
    spurious_signal,
)

EDGES = log_edges(1500.0, 7000.0, 45)
SIGNALS = {m: gaussian_template(m, 0.04 * m, EDGES) for m in (2000.0, 3000.0, 4500.0)}


@pytest.fixture(scope="module")
def truth(cms_137):
    """The four-parameter fit of CMS 137/fb on other bins: an exact member of dijet4."""
    fit = fit_background(cms_137, function="dijet4")
    from resonaut.stats import background_function

    fine = np.linspace(EDGES[:-1], EDGES[1:], 201).T
    density = background_function("dijet4").density(fine, fit.parameters)
    return np.trapezoid(density, fine, axis=1)


def test_the_true_function_has_no_spurious_signal(truth):
    result = spurious_signal((truth, EDGES), SIGNALS, function="dijet4")
    assert result.ratio == pytest.approx(np.zeros(3), abs=1e-3)
    assert spurious_signal((truth, EDGES), SIGNALS, function="dijet5").worst < 1e-3
    assert result.passes()
    assert result.deviance < 1e-5


def test_a_signal_in_the_template_is_found_as_spurious(truth):
    """Injected 1.5 statistical errors come back as 1.5: the test measures what it says."""
    clean = spurious_signal((truth, EDGES), SIGNALS, function="dijet4")
    bumped = truth + 1.5 * clean.error[1] * SIGNALS[3000.0]
    result = spurious_signal((bumped, EDGES), SIGNALS, function="dijet4")
    assert result.ratio[1] == pytest.approx(1.5, abs=0.03)
    assert not result.passes(0.5)
    assert result.passes(1.6)


def test_error_is_that_of_a_fit_to_data(truth):
    """iminuit on the same likelihood: error of the strength with the four parameters profiled."""
    from iminuit import Minuit

    from resonaut.stats import Design

    result = spurious_signal((truth, EDGES), SIGNALS, function="dijet4")
    design, shape = Design.build("dijet4", EDGES, importance=truth), SIGNALS[3000.0]

    def twice_nll(theta):
        mu = np.maximum(design.counts(theta[None, :4])[0] + theta[4] * 100.0 * shape, 1e-9)
        return 2.0 * (mu - truth * np.log(mu / truth)).sum() - 2.0 * truth.sum()

    start = np.linalg.lstsq(design.basis.mean(axis=1), np.log(truth / np.diff(EDGES)), rcond=None)[0]
    minuit = Minuit(twice_nll, np.append(start, 0.0))
    minuit.strategy = 2
    minuit.migrad()
    minuit.hesse()
    assert 100.0 * minuit.errors[4] == pytest.approx(result.error[1], rel=0.02)


def test_template_error_is_that_of_bootstrap_templates(truth):
    """Ten times the luminosity: the template's error is the statistical one over the root of ten, in and beside toys."""
    variances = truth / 10.0
    result = spurious_signal((truth, EDGES), SIGNALS, function="dijet4", variances=variances)
    assert result.template_error / result.error == pytest.approx(np.full(3, 10**-0.5), rel=0.02)
    toys = np.random.default_rng(1).poisson(10.0 * truth, size=(150, len(truth))) / 10.0
    found = [spurious_signal((toy, EDGES), SIGNALS, function="dijet4").strength for toy in toys]
    assert np.std(found, axis=0) / result.template_error == pytest.approx(np.ones(3), abs=0.2)


def test_weighted_histograms_bring_their_variances(truth):
    histogram = hist.Hist(hist.axis.Variable(EDGES), storage=hist.storage.Weight())
    histogram.view().value, histogram.view().variance = truth, 0.25 * truth
    result = spurious_signal(histogram, SIGNALS, function="dijet4", tolerance=1.0)
    assert result.template_error / result.error == pytest.approx(np.full(3, 0.5), rel=0.02)
    assert (result.relaxed == 0).all()


def test_tolerance_only_forgives_what_the_template_cannot_tell(truth):
    result = SpuriousSignal(
        "dijet4", 4, np.array([1.0, 2.0]), np.array([-30.0, 10.0]), np.array([20.0, 20.0]), np.array([12.0, 12.0]),
        np.array([600.0, 100.0]), 1.0, 0.0,
    )  # fmt: skip
    assert result.ratio.tolist() == [-1.5, 0.5]
    assert result.relaxed.tolist() == [-0.9, 0.0]
    assert result.relative.tolist() == [-0.03, 0.0]
    assert not result.passes(0.5)
    assert result.passes(0.5, 0.05)
    assert np.isinf(SpuriousSignal.from_dict({**result.to_dict(), "strength": [np.nan, 0.0]}).worst)


def test_cms_low_mass_five_parameters_pass_and_four_do_not(reference_data):
    """Template: the published order, five parameters, of CMS 27/fb (507M events, arXiv:1806.00843)."""
    spectrum = read_spectrum(reference_data / "reference/stats/cmsdijet/cms_27ifb_lowmass_calo.csv")
    template = fit_background(spectrum, function="dijet5")
    signals = {m: gaussian_template(m, 0.08 * m, template.edges) for m in np.arange(600.0, 1800.0, 100.0)}
    names = ("dijet3", "dijet4", "dijet5", "dijet6")
    ranking = choose_by_spurious_signal((template.expected, template.edges), signals, functions=names)
    assert ranking.chosen == "dijet5"
    assert [r.function for r in ranking.results] == ["dijet5", "dijet6", "dijet4", "dijet3"]
    by_name = {r.function: r.worst for r in ranking.results}
    assert by_name["dijet3"] > by_name["dijet4"] > 0.5 > by_name["dijet5"]


def test_fewest_parameters_are_chosen(truth):
    ranking = choose_by_spurious_signal((truth, EDGES), SIGNALS)
    assert ranking.chosen in ("dijet3", "dijet4", "diphoton4")
    assert ranking.results[0].function == ranking.chosen
    assert ranking.table().splitlines()[1].split()[-1] == "yes"
    again = SpuriousRanking.from_dict(json.loads(json.dumps(ranking.to_dict())))
    assert json.dumps(again.to_dict()) == json.dumps(ranking.to_dict())  # NaN is not equal to itself
    narrow = choose_by_spurious_signal((truth[:4], EDGES[:5]), {1700.0: gaussian_template(1700.0, 60.0, EDGES[:5])})
    assert "dijet6" in narrow.failed


def test_bad_input_is_refused(truth):
    with pytest.raises(InputError, match="no signal"):
        spurious_signal((truth, EDGES), {})
    with pytest.raises(InputError, match="variances of shape"):
        spurious_signal((truth, EDGES), SIGNALS, variances=[1.0])
    with pytest.raises(ConfigError, match="log-linear"):
        spurious_signal((truth, EDGES), SIGNALS, function="modexp3")
    with pytest.raises(ConfigError, match="max_relative"):
        choose_by_spurious_signal((truth, EDGES), SIGNALS, max_relative=0.1)
    with pytest.raises(InputError, match="differ"):
        SpuriousSignal.from_dict({})
