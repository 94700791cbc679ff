"""Signal injection: unbiased fits give a line of slope 1 and unit pulls; a wrong function shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.stats import SignalInjection, fit_background, gaussian_template, read_spectrum, signal_injection
from resonaut.stats.studies.linearity import _line


@pytest.fixture(scope="module")
def background(published_data):
    fit = fit_background(read_spectrum(published_data / "atlas_37ifb_mjj.csv"), function="dijet4")
    return fit.expected, fit.edges


def signals(edges, *masses):
    return {m: gaussian_template(m, 0.05 * m, edges) for m in masses}


def test_right_function_is_linear_with_unit_pulls(background):
    masses = (1800.0, 3000.0, 4500.0)
    calls = []
    test = signal_injection(
        background, signals(background[1], *masses), strengths=(0, 2, 5), toys=1000, seed=5,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert test.failed.sum() == 0
    assert test.mass.tolist() == list(masses)
    assert abs(test.slope - 1).max() < 0.03
    assert (abs(test.slope - 1) < 4 * test.slope_error).all()
    assert abs(test.offset / test.error).max() < 0.15
    assert abs(test.pull_mean.mean()) < 0.05
    assert test.pull_width == pytest.approx(np.ones((3, 3)), abs=0.09)
    assert test.pull_width.mean() == pytest.approx(1.0, abs=0.03)
    assert test.spread[:, 0] == pytest.approx(test.error, rel=0.09)


def test_wrong_function_has_an_offset_and_slope_one(background):
    """A bias of the background adds to any signal: offset, not slope."""
    test = signal_injection(
        background, signals(background[1], 1500.0, 2500.0), function="exponential", strengths=(0, 5), toys=100
    )
    assert abs(test.offset / test.error).max() > 5
    assert test.slope == pytest.approx(np.ones(2), abs=0.2)


def test_offset_is_the_spurious_signal(background):
    """The two tests measure one bias: dijet3 on a dijet4 spectrum, with toys and with the template itself."""
    from resonaut.stats import spurious_signal

    grid = signals(background[1], 2000.0)
    test = signal_injection(background, grid, function="dijet3", strengths=(0, 1), toys=1500, seed=2)
    spurious = spurious_signal(background, grid, function="dijet3")
    assert test.offset[0] == pytest.approx(spurious.strength[0], abs=4 * test.offset_error[0])
    assert abs(spurious.ratio[0]) > 0.3
    assert test.error == pytest.approx(spurious.error)


def test_few_events_are_counted_not_fatal(background):
    counts, edges = background
    test = signal_injection((1e-6 * counts, edges), signals(edges, 2000.0), function="dijet4", toys=50)
    assert (test.toys + test.failed == 50).all()
    assert test.failed.sum() > 0


def test_line_against_numpy():
    x, y, error = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.1, 1.3, 1.8, 4.2]), np.array([0.1, 0.2, 0.1, 0.3])
    slope, slope_error, offset, offset_error = _line(x, y, error)
    best, covariance = np.polyfit(x, y, 1, w=1 / error, cov="unscaled")
    assert [slope, offset] == pytest.approx(best)
    assert [slope_error, offset_error] == pytest.approx(np.sqrt(np.diag(covariance)))
    assert np.isnan(_line(x, np.full(4, np.nan), error)).all()


def test_round_trip_and_errors(background):
    test = signal_injection(background, signals(background[1], 2000.0), strengths=(0, 1), toys=5)
    again = SignalInjection.from_dict(json.loads(json.dumps(test.to_dict())))
    assert again.to_dict() == test.to_dict()
    assert again.pull_mean_error.shape == again.pull_width_error.shape == (1, 2)
    with pytest.raises(ConfigError, match="at least 2 toys"):
        signal_injection(background, signals(background[1], 2000.0), toys=1)
    with pytest.raises(ConfigError, match="strengths >= 0"):
        signal_injection(background, signals(background[1], 2000.0), strengths=(-1.0,))
    with pytest.raises(InputError, match="no signal"):
        signal_injection(background, {})
