"""Toys of a background: calibrated where the truth is known, repeatable, and honest about what fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    ToyStudy,
    draw_toys,
    fit_background,
    global_p_value,
    log_edges,
    make_spectrum,
    sliding_windows,
    toy_study,
)
from resonaut.stats.excesses.toys import PreparedScan

EDGES = log_edges(2000.0, 6000.0, 30)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A spectrum that dijet3 describes, without fluctuations beyond rounding."""
    centres = np.sqrt(EDGES[1:] * EDGES[:-1]) / 13000.0
    return np.rint(2.0 * (1 - centres) ** 9 / centres**5 * np.diff(EDGES))


@pytest.fixture(scope="module")
def study(smooth: np.ndarray) -> ToyStudy:
    return toy_study((smooth, EDGES), sliding_windows(EDGES, sr_bins=4, step=4), function="dijet3", toys=1200, seed=2)


def test_the_deviance_follows_the_chi2_of_its_degrees_of_freedom(study: ToyStudy) -> None:
    """30 bins of many events less 3 parameters: Wilks' theorem is the independent truth."""
    assert study.failed == 0
    assert stats.kstest(study.toy_deviance, stats.chi2(27).cdf).pvalue > 0.01
    assert abs(study.toy_chi2.mean() - 27) < 5 * np.sqrt(2 * 27 / study.toys)


def test_a_spectrum_without_fluctuations_is_an_extreme_one(study: ToyStudy) -> None:
    assert study.deviance_p > 0.99
    assert study.ks_p > 0.9


def test_the_fit_is_unbiased_and_its_errors_are_right(study: ToyStudy) -> None:
    error = 1 / np.sqrt(study.toys)
    assert np.abs(study.pull_mean).max() < 4.5 * error + 0.02
    np.testing.assert_allclose(study.pull_width, 1.0, atol=4.5 * error / np.sqrt(2) + 0.02)


def test_the_scan_is_that_of_the_global_p_value(smooth: np.ndarray, study: ToyStudy) -> None:
    windows = sliding_windows(EDGES, sr_bins=4, step=4)
    fit = fit_background((smooth, EDGES), function="dijet3")
    other = global_p_value(fit, windows, 1.5, toys=1200, seed=5)
    ours = (study.toy_significance >= 1.5).mean()
    assert abs(ours - other.global_p) < 4.5 * np.hypot(other.error, np.sqrt(ours * (1 - ours) / study.toys))


def test_a_signal_is_globally_significant(smooth: np.ndarray) -> None:
    bump = 6.0 * np.sqrt(smooth) * np.exp(-0.5 * ((np.arange(30) - 13.5) / 1.2) ** 2)
    windows = sliding_windows(EDGES, sr_bins=4, step=2)
    found = toy_study((np.rint(smooth + bump), EDGES), windows, function="dijet3", toys=60)
    assert found.low < EDGES[14] < found.high
    assert found.global_p == pytest.approx(1 / 61)
    assert found.deviance_p == pytest.approx(1 / 61)


def test_the_same_seed_gives_the_same_toys_whatever_their_number(smooth: np.ndarray) -> None:
    fit = fit_background((smooth, EDGES), function="dijet3")
    few, many = (np.concatenate(list(draw_toys(fit, n, seed=3))) for n in (7, 1100))
    assert few.tolist() == many[:7].tolist()
    assert many[0].tolist() != next(draw_toys(fit, 1, seed=4))[0].tolist()
    assert many[0].tolist() != many[1000].tolist()


def test_no_windows_no_scan(smooth: np.ndarray) -> None:
    seen = []
    found = toy_study(
        (smooth, EDGES), function="dijet3", toys=5, progress=lambda done, total: seen.append((done, total))
    )
    assert len(found.toy_significance) == 0
    assert np.isnan([found.global_p, found.significance, found.low]).all()
    assert seen == [(5, 5)]


def test_a_scan_that_failed_is_not_the_most_significant_one(
    smooth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No window of the data, and one of two in half of the toys, has a p-value: no global one, and all are counted."""
    windows = sliding_windows(EDGES, sr_bins=4, step=4)[:2]
    monkeypatch.setattr(PreparedScan, "best", lambda *_: (float("nan"),) * 3)
    monkeypatch.setattr(PreparedScan, "significances", lambda _, n: iter([np.zeros(len(n)), np.full(len(n), np.nan)]))
    found = toy_study((smooth, EDGES), windows, function="dijet3", toys=20)
    assert np.isnan([found.significance, found.global_p, found.global_p_error, found.global_significance]).all()
    assert (found.toys, found.failed_windows) == (20, 20)
    assert ToyStudy.from_dict(found.to_dict()).failed_windows == 20


def test_windows_that_fail_in_toys_are_counted() -> None:
    """Six events in one bin: dijet5 cannot be fitted beside some windows."""
    found = toy_study(
        (np.bincount([5] * 6, minlength=30), EDGES), sliding_windows(EDGES, step=4), function="dijet5", toys=9
    )
    assert found.failed_windows > 0


def test_bins_where_no_function_is_defined_are_left_out(smooth: np.ndarray) -> None:
    """A histogram that starts at 0 gives the study of the one that starts at the fit range."""
    counts, edges = np.append(5.0, smooth), np.append(0.0, EDGES)
    windows = sliding_windows(EDGES, sr_bins=4, step=8)
    one = toy_study((counts, edges), windows, function="dijet3", fit_range=(2000.0, 6000.0), toys=10)
    assert (
        one.toy_significance.tolist()
        == toy_study((smooth, EDGES), windows, function="dijet3", toys=10).toy_significance.tolist()
    )


def test_fits_of_weights_have_no_poisson_toys() -> None:
    mass = np.random.default_rng(1).exponential(500.0, 4000) + 2000.0
    fit = fit_background(make_spectrum(mass, EDGES, np.full(4000, 0.1)), function="dijet3", weighted=True)
    with pytest.raises(InputError, match="weighted"):
        next(draw_toys(fit, 5))
    with pytest.raises(InputError, match="weighted"):
        global_p_value(fit, sliding_windows(EDGES, step=9), 2.0, toys=5)


def test_what_cannot_be_studied_is_named(smooth: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="got 0 toys"):
        toy_study((smooth, EDGES), toys=0)
    with pytest.raises((FitError, ConfigError), match="dijet"):
        toy_study((smooth, EDGES), function="dijet99")
