"""Discrete profiling: limits in which the answer is known, and coverage on toys."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    Design,
    Envelope,
    EnvelopeToys,
    envelope_toys,
    fit_background,
    fit_batch,
    gaussian_template,
    log_edges,
    profile_envelope,
    read_spectrum,
)

SET = ("dijet3", "dijet4", "dijet5", "ua2", "diphoton4")


@pytest.fixture(scope="module")
def atlas(published_data):
    spectrum = read_spectrum(published_data / "atlas_139ifb_inclusive_mjj.csv")
    edges = spectrum.axes[0].edges
    return spectrum, gaussian_template(4000.0, 200.0, edges)


def test_one_function_is_its_profile_likelihood(cms_137):
    signal = gaussian_template(3000.0, 150.0, cms_137.axes[0].edges)
    result = profile_envelope(cms_137, signal, ["dijet4"])
    design = Design.build("dijet4", cms_137.axes[0].edges, importance=cms_137.values())
    fit = fit_batch(cms_137.values(), design, signal=signal)
    assert result.best_strength == pytest.approx(fit.strength[0], rel=1e-4)
    assert result.minima[0] == pytest.approx(fit.deviance[0] + 4.0)
    q0 = fit.null_deviance[0] - fit.deviance[0]
    assert abs(result.significance) == pytest.approx(np.sqrt(q0), rel=1e-4)
    assert result.p_value == pytest.approx(stats.norm.sf(result.significance))
    # millions of events: a parabola, with the error of the fit
    low, high = result.interval68
    assert 0.5 * (high - low) == pytest.approx(fit.strength_error[0], rel=0.05)
    low, high = result.interval95
    assert 0.5 * (high - low) == pytest.approx(1.96 * fit.strength_error[0], rel=0.05)


def test_ends_of_the_interval_against_root_finding(atlas):
    spectrum, signal = atlas
    counts, edges = spectrum.values(), spectrum.axes[0].edges
    result = profile_envelope(spectrum, signal, SET)
    designs = [Design.build(name, edges, importance=counts) for name in SET]

    def rise(strength):
        curves = [fit_batch(counts, d, signal=signal, strength=strength).deviance[0] + d.n_parameters for d in designs]
        return min(curves) - result.minima.min() - 1.0

    assert result.best_function == "dijet5"
    assert result.minima.argmin() == 2
    for end in result.interval68:
        root = optimize.brentq(rise, end - 20.0, end + 20.0, xtol=1e-4)
        assert end == pytest.approx(root, abs=0.01)
    # the curves of the scan are the same likelihoods, and the envelope is their minimum
    k = 30
    assert result.envelope[k] - result.minima.min() - 1.0 == pytest.approx(rise(result.strength[k]), abs=1e-4)
    assert (result.envelope >= result.minima.min() - 1e-6).all()


def test_envelope_is_wider_than_its_best_function(atlas):
    """Functions that describe the data as well but want another signal widen the interval."""
    spectrum, signal = atlas
    both = profile_envelope(spectrum, signal, SET, penalty=0.0)
    single = profile_envelope(spectrum, signal, [both.best_function], penalty=0.0)
    assert both.interval95[0] <= single.interval95[0] + 1e-3
    assert both.interval95[1] >= single.interval95[1] - 1e-3
    assert both.significance <= single.significance + 1e-6


def test_penalty_prefers_small_functions(cms_137):
    signal = gaussian_template(3000.0, 150.0, cms_137.axes[0].edges)
    family = ("dijet3", "dijet4", "dijet5")
    assert profile_envelope(cms_137, signal, family).best_function == "dijet3"
    assert profile_envelope(cms_137, signal, family, penalty=0.0).best_function == "dijet5"


def test_coverage_of_a_set_where_a_single_function_fails(atlas):
    """Toys of the ua2 function: the four-parameter dijet function covers too seldom, the set that holds both covers."""
    spectrum, signal = atlas
    truth = fit_background(spectrum, function="ua2")
    background = (truth.expected, truth.edges)
    options = {"toys": 400, "seed": 1}
    for strength in (0.0, 400.0):
        envelope = envelope_toys(background, signal, SET, strength=strength, **options)
        assert envelope.failed == 0
        covered, error = envelope.coverage(0.95)
        assert covered > 0.95 - 3 * error
        assert envelope.coverage(0.6827)[0] > 0.6827 - 3 * envelope.coverage(0.6827)[1]
        assert abs(envelope.pull()[0]) < 0.3
    wrong = envelope_toys(background, signal, ["dijet3"], **options)
    assert wrong.coverage(0.95)[0] < 0.91
    assert abs(wrong.pull()[0]) > 0.5
    assert sum(envelope.shares().values()) == pytest.approx(1.0)


def test_right_function_alone_has_nominal_coverage(cms_137):
    truth = fit_background(cms_137, function="dijet3")
    signal = gaussian_template(3000.0, 150.0, truth.edges)
    toys = envelope_toys((truth.expected, truth.edges), signal, ["dijet3"], strength=100.0, toys=800, seed=2)
    covered, error = toys.coverage()
    assert covered == pytest.approx(0.6827, abs=3.5 * error)
    mean, width = toys.pull()
    assert mean == pytest.approx(0.0, abs=0.12)
    assert width == pytest.approx(1.0, abs=0.08)


def test_sparse_spectrum_has_an_upper_end():
    edges = log_edges(3000.0, 6000.0, 20)
    counts = np.zeros(20)
    counts[:6] = [9, 4, 3, 1, 0, 1]
    result = profile_envelope((counts, edges), gaussian_template(5000.0, 150.0, edges), ("dijet2", "dijet3"))
    assert result.best_strength <= 0.5
    assert np.isfinite(result.interval95[1])
    assert 0.5 < result.interval95[1] < 6.0


@pytest.mark.parametrize("seen", [0, 1])
def test_nearly_empty_spectrum(seen):
    """Nothing seen under the signal: -2 ln L rises by 2 for each event, so by 1 at 0.5 and by 3.84 at 1.92 events."""
    edges = log_edges(1000.0, 5000.0, 30)
    counts = np.zeros(30)
    counts[3] = seen
    result = profile_envelope((counts, edges), gaussian_template(3000.0, 80.0, edges), ("dijet2",))
    assert result.interval68[1] == pytest.approx(0.5, abs=0.01)
    assert result.interval95[1] == pytest.approx(1.92, abs=0.01)
    assert result.significance == pytest.approx(0.0, abs=0.1)
    toys = envelope_toys(
        (1e-9 * counts, edges), gaussian_template(3000.0, 80.0, edges), ["dijet2"], strength=0.1, toys=20
    )
    empty = toys.strength == 0  # of toys without any event, the rise is that of the signal alone
    assert empty.sum() > 10
    assert toys.rise[empty] == pytest.approx(0.2, abs=1e-3)


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.1, 50.0))
def test_unit_of_the_template_does_not_matter(factor):
    edges = log_edges(2000.0, 6000.0, 30)
    counts = np.random.default_rng(4).poisson(1e4 * np.exp(-0.25 * np.arange(30)))
    signal = gaussian_template(3000.0, 150.0, edges)
    one = profile_envelope((counts, edges), signal, ("dijet2", "dijet3"))
    other = profile_envelope((counts, edges), factor * signal, ("dijet2", "dijet3"))
    assert other.significance == pytest.approx(one.significance, abs=1e-4)
    assert factor * np.array(other.interval68) == pytest.approx(np.array(one.interval68), rel=1e-3, abs=1e-2)
    assert factor * other.best_strength == pytest.approx(one.best_strength, rel=1e-3, abs=1e-2)


def test_round_trips_and_errors(atlas):
    spectrum, signal = atlas
    result = profile_envelope(spectrum, signal, ["dijet4"], strengths=[0.0, 100.0])
    again = Envelope.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.to_dict() == result.to_dict()
    truth = fit_background(spectrum)
    toys = envelope_toys((truth.expected, truth.edges), signal, ["dijet4"], toys=3)
    assert EnvelopeToys.from_dict(toys.to_dict()).to_dict() == toys.to_dict()
    with pytest.raises(ConfigError, match="different names"):
        profile_envelope(spectrum, signal, ["dijet4", "dijet4"])
    with pytest.raises(ConfigError, match="penalty"):
        profile_envelope(spectrum, signal, ["dijet4"], penalty=-1.0)
    with pytest.raises(ConfigError, match="2 toys or more"):
        envelope_toys((truth.expected, truth.edges), signal, ["dijet4"], toys=1)
    with pytest.raises(InputError, match="signal template got shape"):
        profile_envelope(spectrum, signal[:3], ["dijet4"])
    assert issubclass(FitError, Exception)
