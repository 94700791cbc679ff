"""Signals in sliding windows: injected ones are found, toys are calibrated."""

from __future__ import annotations

import json

import numpy as np
import pytest

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    SlidingFit,
    SlidingScan,
    Window,
    bump_hunter,
    gaussian_template,
    read_spectrum,
    sliding_bump_hunter,
    sliding_fit,
    sliding_scan,
)
from resonaut.stats.engine.batched import FAILED, fit_batch


@pytest.fixture(scope="module")
def atlas_fit(published_data):
    return sliding_fit(read_spectrum(published_data / "atlas_37ifb_mjj.csv"), function="dijet3", half_widths=[22])


def grid(edges, masses):
    return {m: gaussian_template(m, 0.04 * m, edges) for m in masses}


def test_atlas_37_has_no_signal(atlas_fit):
    """Published: no significant excess (BumpHunter p = 0.63)."""
    scan = sliding_scan(atlas_fit, grid(atlas_fit.edges, np.arange(1500.0, 6500.0, 250.0)), toys=200, seed=1)
    assert np.isfinite(scan.significance).all()
    assert scan.significance[scan.best] < 3.0
    assert scan.global_p > 0.05
    assert len(scan.maxima) == 200
    assert (scan.low < scan.mass).all()
    assert (scan.mass < scan.high).all()


def test_injected_signal_is_found_and_measured(atlas_fit):
    signals = grid(atlas_fit.edges, (2000.0, 3000.0, 4000.0))
    counts = atlas_fit.expected + 900.0 * signals[3000.0]
    scan = sliding_scan(sliding_fit((counts, atlas_fit.edges), function="dijet3", half_widths=[22]), signals)
    clean = sliding_fit((atlas_fit.expected, atlas_fit.edges), function="dijet3", half_widths=[22])
    bias = sliding_scan(clean, signals).strength[1]
    assert scan.mass[scan.best] == 3000.0
    assert scan.strength[1] - bias == pytest.approx(900.0, rel=0.02)
    assert scan.significance[1] == pytest.approx(scan.strength[1] / scan.error[1], rel=0.1)
    assert np.isnan(scan.global_p)


def test_bump_hunter_of_atlas_37(atlas_fit):
    """arXiv:1703.09127: 4326 to 4595 GeV, p = 0.63. The background is fitted again in each toy: 0.51 with 1000 toys."""
    found = sliding_bump_hunter(atlas_fit, toys=300, seed=1)
    assert (found.low, found.high) == (4326.0, 4595.0)
    assert found.global_p == pytest.approx(0.51, abs=0.1)
    assert found.failed == 0
    assert found.refit
    fixed = bump_hunter((atlas_fit.counts, atlas_fit.edges), atlas_fit.expected, toys=1000)
    assert fixed.global_p == pytest.approx(0.63, abs=0.06)


def test_bump_hunter_of_atlas_139(published_data):
    """arXiv:1910.08447: p = 0.89 with the published background held fixed, t = 3.9; 0.84 with ours, 0.65 refitted."""
    fit = sliding_fit(read_spectrum(published_data / "atlas_139ifb_inclusive_mjj.csv"), half_widths=[22], edge="clip")
    fixed = bump_hunter((fit.counts, fit.edges), fit.expected, toys=1000)
    assert fixed.statistic == pytest.approx(3.9, abs=0.3)
    assert fixed.global_p == pytest.approx(0.89, abs=0.08)
    assert sliding_bump_hunter(fit, toys=200, seed=1).global_p == pytest.approx(0.65, abs=0.12)


def test_bump_hunter_finds_an_injected_bump(atlas_fit):
    signal = grid(atlas_fit.edges, (3000.0,))[3000.0]
    fit = sliding_fit((atlas_fit.expected + 1200.0 * signal, atlas_fit.edges), function="dijet3", half_widths=[22])
    calls = []
    found = sliding_bump_hunter(fit, toys=60, progress=lambda *seen: calls.append(seen))
    assert found.low < 3000.0 < found.high
    assert found.global_p == pytest.approx(1 / 61)
    assert calls == [(60, 60)]
    assert np.isnan(sliding_bump_hunter(fit, toys=0).global_p)


def test_fits_of_toys_that_fail_are_counted(atlas_fit, monkeypatch):
    """All fits of one toy, and one of two of another: the first is no toy below the data."""
    lost = iter([[1, 2], [1]])

    def fit(counts, design, **options):
        found = fit_batch(counts, design, **options)
        found.status[next(lost)] = FAILED
        return found

    monkeypatch.setattr("resonaut.stats.studies.sliding_signals.fit_batch", fit)
    scan = sliding_scan(atlas_fit, grid(atlas_fit.edges, (2000.0, 3000.0)), toys=4)
    assert np.isnan(scan.maxima).tolist() == [True, False, False, False]
    assert scan.failed == 3
    above = (scan.maxima[1:] >= scan.significance[scan.best]).sum()
    assert scan.global_p == pytest.approx((above + 1) / 4)


def test_a_scan_without_a_fit_has_no_global_p_value(atlas_fit, monkeypatch):
    def fit(counts, design, **options):
        found = fit_batch(counts, design, **options)
        found.status[0] = FAILED
        return found

    monkeypatch.setattr("resonaut.stats.studies.sliding_signals.fit_batch", fit)
    assert np.isnan(sliding_scan(atlas_fit, grid(atlas_fit.edges, (2000.0, 3000.0)), toys=4).global_p)


def test_round_trip_and_errors(atlas_fit):
    signals = grid(atlas_fit.edges, (2000.0,))
    calls = []
    scan = sliding_scan(atlas_fit, signals, toys=3, progress=lambda *seen: calls.append(seen))
    assert calls == [(1, 1)]
    assert SlidingScan.from_dict(json.loads(json.dumps(scan.to_dict()))).to_dict() == scan.to_dict()
    with pytest.raises(InputError, match="expected 1100"):
        sliding_scan(atlas_fit, {900.0: gaussian_template(1100.0, 50.0, atlas_fit.edges)})
    with pytest.raises(ConfigError, match="at least 0"):
        sliding_scan(atlas_fit, signals, toys=-1)
    broken = SlidingFit.from_dict({**atlas_fit.to_dict(), "status": "failed: test"})
    with pytest.raises(FitError, match="failed: test"):
        sliding_scan(broken, signals)
    blinded = sliding_fit(
        (atlas_fit.counts, atlas_fit.edges),
        Window(*atlas_fit.edges[[40, 44, 37, 47]]),
        function="dijet3",
        half_widths=[22],
    )
    with pytest.raises(InputError, match="4 blinded bins"):
        sliding_scan(blinded, signals)
    lost = SlidingScan.from_dict({**scan.to_dict(), "significance": [np.nan]})
    with pytest.raises(FitError, match="all 1 masses failed"):
        print(lost.best)
