"""Uncertainties of a simulated signal in its limit, against pyhf with modifiers that are written down by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.analysis.config import SignalConfig, parse_config
from resonaut.analysis.limits import limit_jobs, limit_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import search_windows
from resonaut.analysis.signal_limits import signal_of
from resonaut.analysis.systematics import SignalSpectra
from resonaut.stats import (
    ScanInput,
    Signal,
    build_workspace,
    fit_background,
    gaussian_template,
    log_edges,
    pyhf_cls,
    read_workspace,
    upper_limit,
)

Array = np.ndarray[Any, Any]
EDGES = log_edges(2800.0, 5200.0, 30)
COUNTS = np.round(2000 * np.exp(-0.15 * np.arange(30)))
SHAPE = gaussian_template(3500.0, 120.0, EDGES)
BARE = SignalConfig(name="Z", files=("signal.h5",), mass=3500.0)


@pytest.mark.parametrize("size", [0.1, 0.8])
def test_a_weight_that_scales_the_yield_is_a_lognormal(size: float) -> None:
    """Against the limit that knows the uncertainty of the yield alone. Taken as templates, 80 % would let the signal vanish at -1.25."""
    scaled = {"nominal": SHAPE, "w_up": (1 + size) * SHAPE, "w_down": SHAPE / (1 + size)}
    found = upper_limit((COUNTS, EDGES), signal_of(SignalSpectra(EDGES, scaled, np.zeros(30)), BARE))
    truth = upper_limit((COUNTS, EDGES), Signal(SHAPE), signal_uncertainty=size)
    without = upper_limit((COUNTS, EDGES), Signal(SHAPE))
    assert found.observed == pytest.approx(truth.observed, rel=1e-6)
    assert found.expected == pytest.approx(truth.expected, rel=1e-6)
    assert without.expected[2] < 0.995 * truth.expected[2]  # it would be seen


def by_hand(signal: Array, modifiers: Any, observed: float) -> dict[str, Any]:
    """A pyhf workspace whose background is ours and whose signal, at the observed limit, has modifiers written down here."""
    workspace = build_workspace(fit_background((COUNTS, EDGES), errors="fisher"), SHAPE)
    factor = observed / signal.sum()
    for place, channel in enumerate(workspace["channels"]):
        free = {"name": "mu", "type": "normfactor", "data": None}
        own = {"name": "signal", "data": [factor * signal[place]], "modifiers": [free, *modifiers(place, factor)]}
        channel["samples"] = [channel["samples"][0], own]
    return workspace


def test_few_simulated_events_are_the_staterror_of_pyhf() -> None:
    """Thirty simulated events with weights: each bin of the template is uncertain by itself, and the limit is that of pyhf."""
    rng = np.random.default_rng(3)
    mass, weight = rng.normal(3500, 150, 30), rng.uniform(0.5, 1.5, 30)
    nominal = np.histogram(mass, EDGES, weights=weight)[0] / 100
    variance = np.histogram(mass, EDGES, weights=weight**2)[0] / 100**2
    found = upper_limit((COUNTS, EDGES), signal_of(SignalSpectra(EDGES, {"nominal": nominal}, variance), BARE))

    def staterror(place: int, factor: float) -> list[dict[str, Any]]:
        error = factor * float(np.sqrt(variance[place]))
        return [{"name": f"gamma_{place}", "type": "staterror", "data": [error]}] if error else []

    workspace = by_hand(nominal, staterror, found.observed)
    assert pyhf_cls(workspace, 1.0)[0] == pytest.approx(0.05, abs=2e-4)
    expected = pyhf_cls(workspace, found.expected[2] / found.observed)[1]
    assert expected[2] == pytest.approx(0.05, abs=2e-4)
    without = upper_limit((COUNTS, EDGES), Signal(nominal))
    assert without.expected[2] < 0.98 * found.expected[2]


def test_a_variation_of_yield_and_shape_is_both_of_its_spectra() -> None:
    """An energy scale that moves the peak and the yield: pyhf with factor and templates written down by hand."""
    up, down = 1.3 * gaussian_template(3600.0, 130.0, EDGES), 0.8 * gaussian_template(3400.0, 110.0, EDGES)
    moved = {"nominal": SHAPE, "jes_up": up, "jes_down": down}
    signal = signal_of(SignalSpectra(EDGES, moved, np.zeros(30)), BARE)
    factor = 1 + signal.yields["jes"]
    low, high = signal.shapes["jes"]
    np.testing.assert_allclose(high * factor, up, atol=1e-5)
    np.testing.assert_allclose(low / factor, down, atol=1e-5)
    assert high.sum() == pytest.approx(low.sum(), rel=1e-5)  # what is left moves the peak, not the yield
    found = upper_limit((COUNTS, EDGES), signal)
    ratio = float(np.sqrt(up.sum() / down.sum()))

    def both(place: int, scale: float) -> list[dict[str, Any]]:
        templates = {"hi_data": [scale * up[place] / ratio], "lo_data": [scale * down[place] * ratio]}
        return [
            {"name": "jes", "type": "normsys", "data": {"hi": ratio, "lo": 1 / ratio}},
            {"name": "jes", "type": "histosys", "data": templates},
        ]

    assert pyhf_cls(by_hand(SHAPE, both, found.observed), 1.0)[0] == pytest.approx(0.05, abs=2e-4)


def test_a_variation_that_leaves_nothing_still_has_a_limit() -> None:
    gone = {"nominal": SHAPE, "w_up": 1.1 * SHAPE, "w_down": 0.0 * SHAPE}
    signal = signal_of(SignalSpectra(EDGES, gone, np.zeros(30)), BARE)
    assert not signal.yields
    assert signal.shapes["w"][0].sum() < 1e-5
    falling_yield = {
        "nominal": SHAPE,
        "w_up": 0.9 * SHAPE,
        "w_down": 1.1 * SHAPE,
    }  # a factor cannot fall with its parameter
    signal = signal_of(SignalSpectra(EDGES, falling_yield, np.zeros(30)), BARE)
    np.testing.assert_allclose(signal.shapes["w"], [1.1 * SHAPE, 0.9 * SHAPE])


def test_every_workspace_is_scaled_to_its_limit(tmp_path: Path) -> None:
    """Of a wide Gaussian, of which the fitted bins hold a part."""
    config = parse_config(
        {
            "input": {"files": ["data.h5"]},
            "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3550]},
            "fit": {"function": "dijet3", "sideband_bins": 3},
            "limits": {"cuts": [1.0], "width": 0.1, "uncertainty": 0.1},
        }
    )
    (window,) = search_windows(config)
    jobs = limit_jobs(config, RunDirectory(tmp_path), [ScanInput(window, "inclusive", 1.0, (COUNTS, EDGES))])
    (limit,) = limit_stage(jobs, workers=1)
    assert limit.method == "asymptotic"
    assert (
        jobs[0].template.template.sum()
        > 1.2 * jobs[0].template.template[(EDGES[:-1] > 3000) & (EDGES[1:] < 4100)].sum()
    )
    assert pyhf_cls(read_workspace(jobs[0].folder / "workspace.json"), 1.0)[0] == pytest.approx(0.05, abs=5e-4)
