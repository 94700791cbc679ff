from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit, cost
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import kl_div

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    Design,
    FitResult,
    Window,
    available_functions,
    background_function,
    build_workspace,
    fit_background,
    fit_batch,
    make_spectrum,
)
from resonaut.stats.fits.fit import require_fit
from resonaut.stats.fits.minuit import Likelihood, minimise, starting_points
from resonaut.stats.functions import NonLinearFunction, register_function


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
    assert error == pytest.approx(np.sqrt(everything), rel=1e-3)  # Minuit's numerical second derivatives
    everything, error = fit_background(cms_137, errors="fisher").total(fit.mask)
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
    with pytest.raises(ConfigError, match="errors 'minuit', expected one of hesse, minos, fisher"):
        fit_background((counts, paper_edges), errors="minuit")
    with pytest.raises(InputError, match="got 2 bins to fit, expected at least 3"):
        fit_background((counts[:2], paper_edges[:3]), function="modexp3")
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


# Minuit against the batched engine, another cost function and a likelihood scan


@pytest.mark.parametrize("function", ["dijet3", "dijet4", "dijet5", "dijet6", "ua2", "diphoton4"])
def test_minuit_agrees_with_the_batched_engine(cms_137, function):
    """Where the function describes the spectrum, observed and expected information are the same within a percent."""
    fast, slow = (fit_background(cms_137, function=function, errors=kind) for kind in ("fisher", "hesse"))
    assert (fast.status, fast.hesse, fast.errors) == ("converged", "not run", "fisher")
    assert (slow.status, slow.hesse, slow.errors) == ("converged", "accurate", "hesse")
    assert slow.deviance == pytest.approx(fast.deviance, abs=1e-6)
    np.testing.assert_allclose(slow.expected, fast.expected, rtol=1e-5)
    np.testing.assert_allclose(slow.expected_error, fast.expected_error, rtol=0.01)
    for k, name in enumerate(fast.parameters):
        error = np.sqrt(fast.covariance[k, k])
        assert slow.parameters[name] == pytest.approx(fast.parameters[name], abs=2e-3 * error)
        assert slow.parameter_errors()[name] == pytest.approx(error, rel=0.01)


def iminuit_fit(fit, data):
    """ExtendedBinnedNLL with an integral of its own, in units of our errors: in raw parameters its HESSE is 10 % off."""
    point, weight = np.polynomial.legendre.leggauss(8)
    size = len(fit.parameters)
    scale = np.array([fit.parameters["p0"], *np.ones(size - 1)])
    centre = np.array([np.log(fit.parameters["p0"]), *list(fit.parameters.values())[1:]])
    values, vectors = np.linalg.eigh(fit.covariance / np.outer(scale, scale))
    unit = vectors * np.sqrt(values)

    def integral(edges, *u):
        log_p0, p1, p2, *p3 = centre + unit @ np.array(u)
        mass = 0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * point
        x = mass / 13000.0
        inside = (np.exp(log_p0) * (1 - x) ** p1 / x ** (p2 + sum(p3) * np.log(x))) @ weight * 0.5 * np.diff(edges)
        return np.concatenate([[0.0], np.cumsum(inside)])

    nll = cost.ExtendedBinnedNLL(data, fit.edges, integral, name=[f"u{k}" for k in range(size)])
    m = Minuit(nll, *np.full(size, 0.3))
    m.errors = np.ones(size)
    m.migrad()
    m.hesse()
    assert m.valid
    return m


def curvature(cost, size):
    """Second derivatives of -2 ln L over two, from steps of one standard deviation: rounding of the cost does not matter."""
    unit = np.eye(size)
    corners = [[(a, b), (-a, -b), (a, -b), (-a, b)] for a in unit for b in unit]
    values = np.array([[cost(a + b) for a, b in four] for four in corners])
    return (values @ np.array([1.0, 1.0, -1.0, -1.0]) / 8.0).reshape(size, size)


@pytest.mark.parametrize("function", ["dijet3", "dijet4"])
def test_against_the_cost_function_of_iminuit(cms_137, function):
    fit = fit_background(cms_137, function=function)
    m = iminuit_fit(fit, cms_137.values())
    assert m.fval == pytest.approx(fit.deviance, abs=1e-4)
    assert np.abs(m.values).max() < 0.02
    np.testing.assert_allclose(curvature(m.fcn, len(fit.parameters)), np.eye(len(fit.parameters)), atol=0.01)
    np.testing.assert_allclose(m.covariance, np.eye(len(fit.parameters)), atol=0.05)  # the precision of its HESSE


def test_weights_against_the_cost_function_of_iminuit(paper_edges, falling):
    """It has the scaled Poisson distribution too; the bins are full enough to stand for themselves."""
    rng = np.random.default_rng(3)
    mass = np.repeat(0.5 * (paper_edges[1:] + paper_edges[:-1]), rng.poisson(2e5 * falling))
    h = make_spectrum(mass, paper_edges, rng.choice([0.5, 1.5], size=len(mass)))
    fit = fit_background(h, function="dijet3", weighted=True)
    m = iminuit_fit(fit, np.stack([h.values(), h.variances()], axis=1))
    assert m.fval == pytest.approx(fit.deviance, abs=1e-4)
    assert np.abs(m.values).max() < 0.02
    np.testing.assert_allclose(curvature(m.fcn, 3), np.eye(3), atol=0.01)


@pytest.mark.parametrize("function", ["dijet4", "dijet6", "modexp3"])
def test_hesse_is_the_second_derivative(paper_edges, falling, function):
    """Against central differences of the analytic gradient; the gradient against those of the deviance."""
    counts = np.random.default_rng(1).poisson(1e5 * falling).astype(float)
    chosen, mask = background_function(function), np.ones(30, dtype=bool)
    design = Design.build(function, paper_edges, importance=counts) if chosen.log_linear else None
    likelihood = Likelihood(chosen, counts, paper_edges, mask, sqrts=13000.0, design=design)
    theta = starting_points(likelihood, chosen)[0][0] if design is None else fit_batch(counts[None], design).theta[0]
    found = minimise(likelihood, theta)
    assert found.hesse == "accurate"
    root = np.linalg.cholesky(found.covariance)
    size, h = len(theta), 1e-3
    for z in (np.zeros(size), np.full(size, 0.4)):
        at = found.theta + root @ z
        slope = likelihood.slope(at) @ root
        numeric = [(likelihood.deviance(at + h * c) - likelihood.deviance(at - h * c)) / (2 * h) for c in root.T]
        np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-4)
    second = [
        (likelihood.slope(found.theta + h * c) - likelihood.slope(found.theta - h * c)) @ root / (4 * h) for c in root.T
    ]
    np.testing.assert_allclose(second, np.eye(size), atol=0.01)  # the precision of HESSE


def test_minos_against_a_likelihood_scan(paper_edges, falling):
    """A few hundred events, where errors are asymmetric: the deviance profiled by another minimiser, one parameter at a time."""
    counts = np.random.default_rng(5).poisson(150.0 * falling)
    fit = fit_background((counts, paper_edges), function="dijet3", errors="minos")
    point, weight = np.polynomial.legendre.leggauss(6)
    half = 0.5 * np.diff(paper_edges)[:, None]
    x = (0.5 * (paper_edges[1:] + paper_edges[:-1])[:, None] + half * point) / 13000.0
    best = np.array([np.log(fit.parameters["p0"]), fit.parameters["p1"], fit.parameters["p2"]])
    scale = np.array([fit.parameters["p0"], 1.0, 1.0])
    covariance = fit.covariance / np.outer(scale, scale)

    def deviance(p):
        return (
            2
            * kl_div(counts, (np.exp(p[0] + p[1] * np.log1p(-x) - p[2] * np.log(x)) * weight * half).sum(axis=1)).sum()
        )

    def profiled(value, k):
        rest = [i for i in range(3) if i != k]
        shift = covariance[rest, k] / covariance[k, k] * (value - best[k])
        conditional = (
            covariance[np.ix_(rest, rest)] - np.outer(covariance[rest, k], covariance[rest, k]) / covariance[k, k]
        )
        root = np.linalg.cholesky(conditional)

        def at(z):
            p = np.empty(3)
            p[k], p[rest] = value, best[rest] + shift + root @ z
            return deviance(p)

        return minimize(at, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).fun

    assert deviance(best) == pytest.approx(fit.deviance, abs=1e-6)
    for k, name in enumerate(fit.parameters):
        sigma = np.sqrt(covariance[k, k])
        down = brentq(lambda v, k=k: profiled(v, k) - fit.deviance - 1, best[k] - 3 * sigma, best[k], xtol=1e-4 * sigma)
        up = brentq(lambda v, k=k: profiled(v, k) - fit.deviance - 1, best[k], best[k] + 3 * sigma, xtol=1e-4 * sigma)
        wanted = (
            (np.exp(down) - np.exp(best[0]), np.exp(up) - np.exp(best[0])) if k == 0 else (down - best[k], up - best[k])
        )
        assert fit.asymmetric[name] == pytest.approx(wanted, rel=2e-3)
    low, high = fit.asymmetric["p1"]
    assert abs(-low / high - 1) > 0.005  # the statement is about asymmetric errors


def test_band_is_lognormal_and_carries_correlations(paper_edges, falling):
    fit = fit_background((np.round(2e3 * falling), paper_edges))
    band = fit.band((1.0, 2.0))
    assert list(band) == [1.0, 2.0]
    for k, (low, high) in band.items():
        assert (low > 0).all()
        np.testing.assert_allclose(low * high, fit.expected**2)
        np.testing.assert_allclose(np.log(high / low), 2 * k * fit.expected_error / fit.expected)
    assert np.diagonal(fit.correlation()) == pytest.approx(1.0)
    assert abs(fit.correlation()[1, 2]) > 0.9


# functions that are not log-linear

SHAPES = {
    "modexp3": (25.0, 0.6),
    "modexp4": (25.0, 0.6, 0.9),
    "invpow3": (12.0, 9.0),
    "invpowlin4": (12.0, 9.0, 2.0),
    "two-powers": (1.0, -11.0, 9.0),
}


def shape_of(name, edges, events=1e6):
    """Exact bin integrals of a function."""
    f = background_function(name)
    parameters = dict(zip(f.names, (1.0, *SHAPES[name]), strict=True))
    mu = np.array([quad(lambda m: float(f.density(m, parameters)), lo, hi)[0] for lo, hi in pairwise(edges)])
    return mu * events / mu.sum(), {**parameters, "p0": events / mu.sum()}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_exact_spectra_give_back_their_parameters(name):
    edges = np.geomspace(1000.0, 8000.0, 41)
    counts, truth = shape_of(name, edges, events=1e8)
    fit = fit_background((counts, edges), function=name)
    assert (fit.status, fit.hesse) == ("converged", "accurate")
    assert fit.deviance < 1e-2
    np.testing.assert_allclose(fit.expected, counts, rtol=2e-3)
    error = fit.parameter_errors()
    for parameter, value in truth.items():
        assert fit.parameters[parameter] == pytest.approx(value, abs=0.1 * error[parameter])
    assert set(SHAPES) <= set(available_functions(log_linear=False))


def test_errors_of_a_function_that_is_not_log_linear(paper_edges):
    """Toys: parameters and expectation spread as their quoted errors say."""
    counts, truth = shape_of("modexp3", paper_edges, events=3e4)
    rng = np.random.default_rng(2)
    fits = [fit_background((rng.poisson(counts), paper_edges), function="modexp3") for _ in range(80)]
    assert {fit.status for fit in fits} == {"converged"}
    pulls = np.array([(fit.expected[25] - counts[25]) / fit.expected_error[25] for fit in fits])
    assert abs(pulls.mean()) < 0.25
    assert pulls.std() == pytest.approx(1.0, abs=0.17)
    pulls = np.array([(fit.parameters["p2"] - truth["p2"]) / fit.parameter_errors()["p2"] for fit in fits])
    assert pulls.std() == pytest.approx(1.0, abs=0.2)
    assert np.mean([fit.deviance for fit in fits]) == pytest.approx(27.0, abs=2.0)


def test_a_spectrum_that_the_function_cannot_reach_is_at_its_limit(cms_137):
    """Sums of powers only flatten; a steepening spectrum makes one of them superfluous."""
    fit = fit_background(cms_137, function="two-powers", errors="minos")
    power = fit_background(cms_137, function="dijet2")
    assert fit.status == "at limit"
    assert fit.deviance == pytest.approx(power.deviance, abs=0.01)
    json.dumps(fit.to_dict())


def test_fit_of_an_own_function_fails_with_its_reason(paper_edges):
    class Nowhere(NonLinearFunction):
        name, formula, names, starts = "test-nowhere", "p0 ln(-p1)", ("p0", "p1"), ((1.0,),)

        def log_shape(self, x, shape):
            return np.full_like(x, np.nan) * shape[0]

        def shape_gradient(self, x, shape):
            return (x / shape[0],)

    register_function(Nowhere())
    fit = fit_background((np.ones(30), paper_edges), function="test-nowhere")
    assert fit.status == "failed: test-nowhere is not finite at any of its starts"
    assert not fit.ok
    empty = fit_background((np.zeros(30), paper_edges), function="modexp3")
    assert (empty.status, empty.expected.sum(), empty.deviance) == ("at limit", 0.0, 0.0)


# weighted spectra


def test_weights_of_one_change_nothing(paper_edges, falling):
    mass = np.repeat(0.5 * (paper_edges[1:] + paper_edges[:-1]), np.round(2e3 * falling).astype(int))
    plain = fit_background(make_spectrum(mass, paper_edges))
    unit = fit_background(make_spectrum(mass, paper_edges, np.ones(len(mass))), weighted=True)
    np.testing.assert_allclose(unit.expected, plain.expected, rtol=1e-6)
    assert unit.deviance == pytest.approx(plain.deviance, abs=1e-6)
    half = fit_background(make_spectrum(mass, paper_edges, np.full(len(mass), 0.5)), weighted=True)
    np.testing.assert_allclose(half.expected, 0.5 * plain.expected, rtol=1e-4)
    np.testing.assert_allclose(half.expected_error, 0.5 * plain.expected_error, rtol=1e-2)
    assert (half.chi2, half.deviance) == pytest.approx((plain.chi2, plain.deviance), abs=1e-4)
    assert FitResult.from_dict(json.loads(json.dumps(half.to_dict()))).to_dict() == half.to_dict()


@pytest.mark.parametrize("function", ["dijet3", "modexp3"])
def test_errors_of_weighted_spectra_are_their_spread(paper_edges, falling, function):
    """Weights that differ from event to event: pulls of the fitted total have width one, unweighted errors would not."""
    import hist

    rng = np.random.default_rng(6)
    truth = 4e3 * falling
    pulls, goodness = [], []
    for _ in range(100):
        n = rng.poisson(truth)
        weights = [rng.choice([0.2, 2.0], size=k) for k in n]  # mean 1.1, mean square 2.02
        h = hist.Hist(hist.axis.Variable(paper_edges, name="mass"), storage=hist.storage.Weight())
        h.view().value, h.view().variance = [w.sum() for w in weights], [(w**2).sum() for w in weights]
        fit = fit_background(h, function=function, weighted=True, errors="fisher")
        total, error = fit.total(fit.mask)
        pulls.append((total - 1.1 * truth.sum()) / error)
        goodness.append(fit.chi2 / fit.ndf)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)
    assert abs(np.mean(pulls)) < 0.25
    assert np.mean(goodness) == pytest.approx(1.0, abs=0.1)


def test_weights_are_never_taken_silently(paper_edges, falling):
    h = make_spectrum([3000.0, 3100.0], paper_edges, [2.0, 3.0])
    with pytest.raises(InputError, match="weighted entries"):
        fit_background(h)
    with pytest.raises(InputError, match="without variances"):
        fit_background((falling, paper_edges), weighted=True)
    with pytest.raises(ConfigError, match="'auto' with weights"):
        fit_background(h, function="auto", weighted=True)
    with pytest.raises(InputError, match="expected positive ones"):
        fit_background(make_spectrum([3000.0], paper_edges, [0.0]), weighted=True)


def test_chi_squares_by_hand(paper_edges, falling):
    fit = fit_background((np.random.default_rng(3).poisson(400.0 * falling), paper_edges), function="dijet3")
    found = fit.chi_squares()
    n, mu = fit.counts, fit.expected
    assert found["pearson"] == (fit.chi2, fit.ndf + 3, fit.ndf, fit.p_value)
    assert found["pearson, all bins"].chi2 == pytest.approx(((n - mu) ** 2 / mu).sum())
    assert found["neyman"].chi2 == pytest.approx((((n - mu) ** 2)[n > 0] / n[n > 0]).sum())
    assert found["deviance"].chi2 == pytest.approx(fit.deviance)
    assert found["cms"].ndf == (n > 0).sum() - 3


# any spectrum at all


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 30) | st.just(0), min_size=12, max_size=12),
    function=st.sampled_from(["dijet2", "dijet4", "dijet6", "ua2", "modexp3", "invpow3"]),
    errors=st.sampled_from(["hesse", "minos", "fisher"]),
)
def test_every_spectrum_of_counts_has_a_result(counts, function, errors):
    """Zero events, one bin, holes: a state, finite expectations where it is not a failure, and JSON; never an exception."""
    fit = fit_background((counts, np.geomspace(2800.0, 5200.0, 13)), function=function, errors=errors)
    assert fit.status.startswith(("converged", "at limit", "failed: "))
    if fit.ok:
        assert np.isfinite(fit.expected).all()
        assert np.isfinite(fit.expected_error).all()
        assert set(fit.asymmetric) == (set(fit.parameters) if errors == "minos" else set())
    assert FitResult.from_dict(json.loads(json.dumps(fit.to_dict()))).status == fit.status


@pytest.mark.parametrize("function", ["dijet4", "modexp3"])
def test_scaling_counts_scales_the_fit(paper_edges, falling, function):
    """Theory: k times the counts give k times the expectation and the deviance, errors relative to it smaller by root k."""
    counts = np.random.default_rng(7).poisson(2e4 * falling)
    one, nine = (fit_background((k * counts, paper_edges), function=function) for k in (1, 9))
    np.testing.assert_allclose(nine.expected, 9 * one.expected, rtol=1e-4)
    np.testing.assert_allclose(nine.expected_error, 3 * one.expected_error, rtol=0.02)
    assert nine.deviance == pytest.approx(9 * one.deviance, rel=1e-6)
    p = one.parameters
    assert nine.parameters["p0"] == pytest.approx(9 * p["p0"], abs=0.02 * nine.parameter_errors()["p0"])


@pytest.mark.parametrize("function", ["dijet4", "modexp3"])
def test_splitting_bins_hardly_changes_the_fit(paper_edges, falling, function):
    """Each bin in two, its events divided as the fit says: the same expectation, and the same deviance."""
    counts = np.random.default_rng(7).poisson(2e4 * falling)
    coarse = fit_background((counts, paper_edges), function=function)
    fine_edges = np.sort(np.append(paper_edges, 0.5 * (paper_edges[1:] + paper_edges[:-1])))
    f = background_function(function)
    mu = np.array(
        [quad(lambda m: float(f.density(m, coarse.parameters)), lo, hi)[0] for lo, hi in pairwise(fine_edges)]
    )
    share = mu.reshape(-1, 2) / mu.reshape(-1, 2).sum(axis=1, keepdims=True)
    fine = fit_background(((counts[:, None] * share).ravel(), fine_edges), function=function)
    np.testing.assert_allclose(fine.expected.reshape(-1, 2).sum(axis=1), coarse.expected, rtol=2e-3)
    assert fine.deviance == pytest.approx(coarse.deviance, rel=1e-2)


def test_spectra_that_cannot_be_fitted_are_refused(paper_edges):
    for spoiled, message in ((-1.0, "negative or non-finite"), (np.nan, "negative or non-finite")):
        counts = np.full(30, 5.0)
        counts[3] = spoiled
        with pytest.raises(InputError, match=message):
            fit_background((counts, paper_edges))
    with pytest.raises(InputError, match="do not increase strictly"):
        fit_background((np.ones(3), [1000.0, 1200.0, 1100.0, 1300.0]))
    with pytest.raises(InputError, match="expected 0 < edges <= sqrts"):
        fit_background((np.ones(14), np.arange(15) * 1000.0))
    inside = fit_background((np.ones(15), np.arange(16) * 1000.0), fit_range=(2000.0, 12000.0), function="dijet2")
    assert (inside.edges[0], inside.edges[-1]) == (1000.0, 13000.0)
    assert inside.mask.sum() == 10
