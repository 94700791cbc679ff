from __future__ import annotations

import json

import numpy as np
import pytest
from iminuit import Minuit
from scipy.integrate import quad
from scipy.special import kl_div

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import FitResult, Window, background_function, build_workspace, fit_background
from resonaut.stats.fit import require_fit


def test_parameters_are_those_of_the_published_prototype(reference_data):
    """CMS 36/fb: an independent 4-parameter fit gives ln p0 = -1.753 (counts / GeV), 8.077, 5.706, 0.1067."""
    from resonaut.stats import read_spectrum

    fit = fit_background(read_spectrum(reference_data / "reference/stats/cmsdijet/cms_36ifb_highmass.csv"))
    assert np.log(fit.parameters["p0"]) == pytest.approx(-1.753, abs=6e-4)
    assert fit.parameters["p1"] == pytest.approx(8.077, abs=6e-4)
    assert fit.parameters["p2"] == pytest.approx(5.706, abs=6e-4)
    assert fit.parameters["p3"] == pytest.approx(0.1067, abs=6e-5)


def test_physical_parameters_reproduce_the_expectation(cms_137):
    fit = fit_background(cms_137, Window(3416, 3854, 2659, 5058))
    f = background_function("dijet4")
    mu = [
        quad(lambda m: float(f.density(m, fit.parameters)), lo, hi)[0]
        for lo, hi in zip(fit.edges, fit.edges[1:], strict=False)
    ]
    np.testing.assert_allclose(fit.expected, mu, rtol=1e-7)


def test_errors_against_minuit_hesse(cms_137):
    """One standard deviation along each mode is one for Minuit too, and the modes are independent."""
    fit = fit_background(cms_137)

    def cost(z):
        return 2 * kl_div(fit.counts, fit.expected * np.exp(fit.modes @ z)).sum()

    m = Minuit(cost, np.zeros(4))
    m.errordef, m.strategy = 1, 2
    m.hesse()
    assert list(m.errors) == pytest.approx([1.0] * 4, rel=0.01)
    np.testing.assert_allclose(m.covariance.correlation(), np.eye(4), atol=0.01)
    m.minos()
    assert [error.upper for error in m.merrors.values()] == pytest.approx([1.0] * 4, rel=0.03)


def test_physical_covariance_from_the_modes(cms_137):
    """The change of ln(expected) along each mode, solved for (ln p0, p1, p2, p3) with bin averages of ln-derivatives."""
    fit = fit_background(cms_137)
    f = background_function("dijet4")
    mass = np.linspace(fit.edges[:-1], fit.edges[1:], 201)[1:-1:2].T
    density = f.density(mass, fit.parameters)[..., None]
    basis = (density * f.basis(mass)).sum(axis=1) / density.sum(axis=1)
    shifts = np.linalg.lstsq(basis, fit.modes, rcond=1e-15)[0]
    scale = np.array([fit.parameters["p0"], 1, 1, 1])
    np.testing.assert_allclose(fit.covariance, (shifts @ shifts.T) * np.outer(scale, scale), rtol=1e-3)


def test_signal_region_is_blinded_by_whole_bins(paper_edges, falling):
    counts = np.round(5e4 * falling)
    window = Window(paper_edges[9] + 1.0, paper_edges[13] - 1.0, paper_edges[6], paper_edges[16])
    fit = fit_background((counts, paper_edges), window)
    assert np.flatnonzero(~fit.mask).tolist() == [9, 10, 11, 12]
    spiked = counts.copy()
    spiked[9:13] += 1e4
    np.testing.assert_allclose(fit_background((spiked, paper_edges), window).expected, fit.expected, rtol=1e-6)


def test_fit_range_keeps_whole_bins(paper_edges, falling):
    counts = np.round(5e4 * falling)
    fit = fit_background((counts, paper_edges), fit_range=(paper_edges[3] - 1.0, paper_edges[25] + 1.0))
    assert np.flatnonzero(fit.mask).tolist() == list(range(3, 25))
    changed = counts.copy()
    changed[:3] = changed[25:] = 0.0
    again = fit_background((changed, paper_edges), fit_range=(paper_edges[3], paper_edges[25]))
    np.testing.assert_allclose(again.expected, fit.expected, rtol=1e-7)


@pytest.mark.parametrize("events", [60.0, 5e3, 5e5])
def test_band_covers_toys(paper_edges, paper_window, falling, events):
    """The quoted error of each bin and of the signal region equals the spread of refitted toys."""
    from resonaut.stats import Design, fit_batch

    fit = fit_background((events * falling, paper_edges), paper_window, function="dijet3")
    toys = np.random.default_rng(4).poisson(fit.expected, size=(1500, 30))
    design = Design.build("dijet3", paper_edges, importance=np.where(fit.mask, fit.expected, 0.0))
    refits = fit_batch(toys, design, fit.mask)
    low, high = (5e-2, 0.2) if events < 100 else (0.0, 0.08)
    ratio = refits.expected[:, :20].std(axis=0) / fit.expected_error[:20]
    assert abs(ratio.mean() - 1) < 0.05 + low
    assert abs(ratio - 1).max() < 0.05 + high
    total, error = fit.total(fit.blinded)
    assert total == pytest.approx(fit.expected[9:13].sum())
    assert refits.expected[:, 9:13].sum(axis=1).std() == pytest.approx(error, rel=0.08 + low)


def test_modes_carry_the_covariance(cms_137):
    fit = fit_background(cms_137)
    np.testing.assert_allclose(fit.expected * np.sqrt((fit.modes**2).sum(axis=1)), fit.expected_error, rtol=1e-9)
    everything, error = fit.total(fit.mask)
    # the normalisation is free: the sum is known as well as a count is
    assert error == pytest.approx(np.sqrt(everything), rel=1e-6)


def test_json_round_trip(cms_137):
    fit = fit_background(cms_137, Window(3416, 3854, 2659, 5058))
    back = FitResult.from_dict(json.loads(json.dumps(fit.to_dict())))
    assert back.to_dict() == fit.to_dict()
    assert back.mask.dtype == bool
    with pytest.raises(InputError, match="chi2"):
        FitResult.from_dict({k: v for k, v in fit.to_dict().items() if k != "chi2"})


def test_pulls_are_standard_normal_for_a_true_model(paper_edges, falling):
    rng = np.random.default_rng(8)
    pulls = np.concatenate(
        [fit_background((rng.poisson(3e4 * falling), paper_edges), function="dijet3").pulls() for _ in range(60)]
    )
    # 30 bins share 3 parameters: variance 27 / 30
    assert pulls.std() == pytest.approx(np.sqrt(0.9), abs=0.05)
    assert abs(pulls.mean()) < 0.06


def test_errors_say_what_to_do(paper_edges, paper_window):
    counts = np.ones(30)
    with pytest.raises(ConfigError, match="did you mean 'dijet4'"):
        fit_background((counts, paper_edges), function="dijet4p")
    with pytest.raises(InputError, match="not inside the fitted spectrum"):
        fit_background((counts, paper_edges), Window(8000, 8100, 7000, 9000))
    with pytest.raises(InputError, match="not inside the fitted spectrum"):
        fit_background((counts, paper_edges), paper_window, fit_range=(3500, 5200))
    with pytest.raises(InputError, match="expected at least 4: widen"):
        fit_background((counts[:6], paper_edges[:7]), Window(paper_edges[1], paper_edges[5], 2800, paper_edges[6]))
    with pytest.raises(InputError, match="expected whole bins"):
        fit_background((counts, paper_edges), fit_range=(3000, 3001))
    failed = FitResult.from_dict({**fit_background((counts, paper_edges)).to_dict(), "status": "failed: no reason"})
    assert not failed.ok
    with pytest.raises(FitError, match="try fewer parameters"):
        require_fit(failed)
    with pytest.raises(FitError, match="failed"):
        build_workspace(failed, counts)


def test_empty_spectrum_has_a_sane_result(paper_edges, paper_window):
    fit = fit_background((np.zeros(30), paper_edges), paper_window)
    assert fit.status == "at limit"
    assert fit.expected.sum() == fit.deviance == fit.chi2 == 0.0
    assert fit.parameters["p0"] == 0.0
    assert (fit.pulls() == 0).all()
