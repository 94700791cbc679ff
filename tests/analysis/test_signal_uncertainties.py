"""Uncertainties of a simulated signal in its limit, against pyhf with modifiers that are written down by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.analysis.config import SignalConfig, parse_config
from resonaut.analysis.limits import LimitJob, limit_jobs, limit_stage, limit_warnings
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import search_windows
from resonaut.analysis.signal_limits import SignalResult, signal_of
from resonaut.analysis.signals import SignalSample
from resonaut.analysis.spectra import FitOptions
from resonaut.analysis.systematics import SignalSpectra, TemplateJob
from resonaut.files import write_json
from resonaut.stats import (
    ScanInput,
    Signal,
    Window,
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


@pytest.mark.parametrize("digits", [0.0, 1.6e-10, -1.6e-10])
def test_a_scale_that_keeps_the_yield_is_a_shape_alone(digits: float) -> None:
    """The last digits of two sums are no uncertainty of the yield: a factor of 1.00000000008 is nothing that pyhf can fit."""
    low, high = (gaussian_template(3500.0 * scale, 120.0, EDGES) for scale in (0.98, 1.02))
    high *= SHAPE.sum() / high.sum() * (1.0 + digits)
    low *= SHAPE.sum() / low.sum()
    spectra = SignalSpectra(EDGES, {"nominal": SHAPE, "jes_up": high, "jes_down": low}, np.zeros(30))
    signal = signal_of(spectra, BARE)
    assert not signal.yields
    np.testing.assert_allclose(signal.shapes["jes"], [low, high], rtol=1e-6, atol=1e-6 * SHAPE.max())


def result(spectra: dict[str, Array], limit: LimitJob | None = None) -> SignalResult:
    """Of a signal without a cut."""
    job = TemplateJob(
        SignalSample(BARE, Path("events.parquet"), "", 0.0, {}), None, Path("data.parquet"),
        Window(3300.0, 3700.0, 2800.0, 5200.0), Path(), "", "mjj", (2800.0, 5200.0, 30), (1.0,),
    )  # fmt: skip
    return SignalResult(BARE, job, 1.0, SignalSpectra(EDGES, spectra, np.zeros(30)), 0, limit)


def test_what_a_variation_does_to_the_shape_is_told() -> None:
    """A scale moves the mean by as much; a resolution moves events out of the peak alone; a weight does neither."""
    from scipy.stats import norm

    wide = gaussian_template(3500.0, 150.0, EDGES)
    found = result(
        {
            "nominal": SHAPE,
            "jes_down": gaussian_template(3500.0 * 0.98, 120.0, EDGES), "jes_up": gaussian_template(3500.0 * 1.02, 120.0, EDGES),
            "jer_down": SHAPE, "jer_up": wide, "tag_down": 0.9 * SHAPE, "tag_up": 1.1 * SHAPE,
        }
    ).shape_changes()  # fmt: skip
    assert found["jes"]["mean"] == pytest.approx([-0.02, 0.02], abs=2e-4)
    # two Gaussians that are d apart share 2 Phi(-d / 2 sigma)
    assert found["jes"]["moved"] == pytest.approx(2 * [1 - 2 * norm.cdf(-70.0 / 240.0)], abs=0.01)
    assert found["jer"]["mean"] == pytest.approx([0.0, 0.0], abs=1e-3)
    assert found["jer"]["moved"][0] == 0.0
    assert 0.08 < found["jer"]["moved"][1] < 0.12
    assert np.allclose([*found["tag"]["mean"], *found["tag"]["moved"]], 0.0)


def test_a_limit_that_pyhf_does_not_confirm_is_a_warning_of_the_run(tmp_path: Path) -> None:
    limit = upper_limit((COUNTS, EDGES), SHAPE, check=False, mass=3500.0, name="Z")
    job = LimitJob(tmp_path / "unit", "Z", 3500.0, Signal(SHAPE), FitOptions("dijet3", 13000.0, None), COUNTS, EDGES)
    for check, number in (("", 0), ("pyhf finds CLs = 0.0472 at the limit, expected 0.0500", 1)):
        write_json(job.folder / "limit.json", replace(limit, check=check).to_dict())
        told = [*limit_warnings([job]), *result({"nominal": SHAPE}, job).warnings]
        assert len(told) == 2 * number
        assert all("not confirmed by pyhf" in text and check in text for text in told)


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
