from __future__ import annotations

import json
import math

import numpy as np
import pyhf
import pytest
from scipy import stats

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.files import read_json
from resonaut.stats import (
    MODIFIER_SETTINGS,
    TOYS_BELOW,
    CrystalBallShape,
    LimitResult,
    Signal,
    asymptotic_cls,
    build_workspace,
    fit_background,
    gaussian_template,
    limit_scan,
    make_spectrum,
    pyhf_cls,
    shape_variations,
    toy_cls,
    upper_limit,
    write_workspace,
)
from resonaut.stats.limits.channels import Channel, signal_model
from resonaut.stats.limits.hypotests import Hypotests


def single_model(fit, template, uncertainty=0.0):
    return signal_model([Channel.build("", fit, template, signal_uncertainty=uncertainty)])


def test_asymptotic_cls_is_pyhfs_documented_number():
    """README of pyhf: two bins, CLs = 0.05251497423736956 observed, 0.06445320535890459 expected."""
    model = pyhf.simplemodels.uncorrelated_background([12.0, 11.0], [50.0, 52.0], [3.0, 7.0])
    data = [51, 48, *model.config.auxdata]
    arguments = (model, model.config.suggested_init(), model.config.suggested_bounds(), model.config.suggested_fixed())
    q = pyhf.infer.test_statistics.qmu_tilde(1.0, data, *arguments)
    asimov = pyhf.infer.calculators.generate_asimov_data(0.0, data, *arguments)
    q_asimov = pyhf.infer.test_statistics.qmu_tilde(1.0, asimov, *arguments)
    assert asymptotic_cls(q, q_asimov) == pytest.approx(0.05251497423736956, rel=1e-4)
    assert asymptotic_cls(q_asimov, q_asimov) == pytest.approx(0.06445320535890459, rel=1e-4)


@pytest.mark.parametrize("uncertainty", [0.0, 0.2])
@pytest.mark.parametrize("strength", [0.4, 1.3])
def test_profiles_against_pyhf(cms_137, uncertainty, strength):
    """CLs, observed and all five expected, from the plain JSON workspace run by pyhf with Minuit."""
    fit = fit_background(cms_137)
    template = gaussian_template(3000.0, 150.0, fit.edges, 800.0)
    observed, expected = pyhf_cls(build_workspace(fit, template, signal_uncertainty=uncertainty), strength)
    ours = Hypotests(single_model(fit, template, uncertainty), fit.counts)(np.array([strength]))
    np.testing.assert_allclose(ours[:5, 0], expected, rtol=2e-3, atol=1e-5)
    assert ours[5, 0] == pytest.approx(observed, rel=2e-3)


@pytest.mark.parametrize("settings", [None, MODIFIER_SETTINGS])
def test_workspace_likelihood_is_pyhfs(cms_137, settings):
    """Differences of -2 ln L agree at arbitrary parameters, whatever the interpolation, so it is the same model."""
    fit = fit_background(cms_137)
    template = gaussian_template(3000.0, 150.0, fit.edges, 800.0)
    workspace = pyhf.Workspace(build_workspace(fit, template, signal_uncertainty=0.1))
    model = workspace.model() if settings is None else workspace.model(modifier_settings=settings)
    data = workspace.data(model)
    ours = single_model(fit, template, 0.1)
    start = dict(zip(model.config.par_order, model.config.suggested_init(), strict=True))
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(4):
        beta, nu, mu = rng.normal(size=4), rng.normal(), rng.uniform(0, 2)
        point = {
            "mu": mu,
            "signal_yield": nu,
            **{f"background_{k}": start["background_0"] + beta[k] / 30.0 for k in range(4)},
        }
        parameters = [point[name] for name in model.config.par_order]
        theirs = float(pyhf.infer.mle.twice_nll(parameters, data, model)[0])
        differences.append(theirs - ours.twice_nll(fit.counts, mu, np.append(beta, nu)))
    assert np.ptp(differences) < 1e-5


def test_q0_of_cms_137(cms_137):
    """Discovery test statistic of a signal on the full spectrum, pyhf against the profile of the exact bin integrals."""
    from scipy.optimize import minimize_scalar
    from scipy.special import kl_div

    from resonaut.stats.engine.batched import fit_batch
    from resonaut.stats.engine.design import Design

    fit = fit_background(cms_137)
    template = gaussian_template(3000.0, 150.0, fit.edges, 1.0)
    model = single_model(fit, template)
    linear = float((model.profile(fit.counts, 0.0).twice_nll - model.maximum(fit.counts).twice_nll)[0])
    design = Design.build("dijet4", fit.edges, importance=fit.counts + 0.5)

    def cost(p):
        return 2 * kl_div(fit.counts, design.expected(np.asarray(p)[None, :4])[0][0] + p[4] * template).sum()

    from iminuit import Minuit

    start = fit_batch(fit.counts, design).theta[0]
    m = Minuit(cost, np.append(start, 200.0))
    m.errordef, m.strategy, m.tol = 1, 2, 1e-4
    m.migrad(ncall=20000)
    assert linear == pytest.approx(fit.deviance - m.fval, abs=1e-3)
    assert minimize_scalar(lambda s: float(model.profile(fit.counts, s).twice_nll[0]), (0, 400)).x == pytest.approx(
        m.values[4], rel=2e-3
    )


def test_limit_closes_on_pyhf(cms_137):
    limit = upper_limit(cms_137, gaussian_template(4000.0, 200.0, cms_137.axes[0].edges), signal_uncertainty=0.1)
    assert limit.cls_pyhf == pytest.approx(0.05, rel=1e-3)
    assert limit.status == "converged"
    assert np.all(np.diff(limit.expected) > 0)


def test_counting_experiment_limit(paper_edges):
    """Background known perfectly far from a one-bin signal: the asymptotic limit of a counting experiment, from pyhf."""
    shape = 4e6 * np.exp(-0.01 * np.arange(30))
    shape[15] = shape[15].round()
    template = np.zeros(30)
    template[15] = 1.0
    limit = upper_limit((np.round(shape), paper_edges), template, function="dijet3", check=False)
    # known background: sigma = sqrt(b), median CLs limit = sigma * Phi^-1(1 - 0.05 / 2)
    fit = fit_background((np.round(shape), paper_edges), function="dijet3")
    sigma = np.sqrt(shape[15]) / np.sqrt(1 - fit.expected_error[15] ** 2 / fit.expected[15])
    assert limit.expected[2] == pytest.approx(sigma * stats.norm.isf(0.025), rel=2e-3)
    assert limit.expected[4] == pytest.approx(sigma * (stats.norm.isf(0.05 * stats.norm.cdf(2)) + 2), rel=3e-3)


def test_limit_covers_an_injected_signal(paper_edges, falling):
    """A limit at 95 % lies above the true signal in about 95 % of toys or more, and does not depend on the units."""
    rng = np.random.default_rng(3)
    template = gaussian_template(3500.0, 100.0, paper_edges)
    truth = 5e3 * falling + 90.0 * template
    limits = [
        upper_limit((rng.poisson(truth), paper_edges), template, function="dijet3", check=False).observed
        for _ in range(30)
    ]
    assert np.mean(np.array(limits) > 90.0 * template.sum()) > 0.88
    counts = rng.poisson(truth)
    first, second = (upper_limit((counts, paper_edges), k * template, check=False) for k in (1.0, 1e-3))
    assert first.observed == pytest.approx(second.observed, rel=1e-6)
    assert first.strength == pytest.approx(second.strength, rel=1e-6)


def cms_ratios(cms_137, published_data, shape_of, masses):
    """Our limits over those of CMS (arXiv:1911.03947), with its systematics: (expected, observed) at each mass."""
    table = np.genfromtxt(
        published_data / "cms_137ifb_limits_narrow_qq.csv", delimiter=",", comments="#", skip_header=3
    )
    published = {row[0]: (row[4], row[1]) for row in table}

    def signal(mass, edges):
        shape = shape_of(mass)
        shapes = shape_variations(shape, edges, mass, scale=0.02, resolution=0.1)
        return Signal(np.asarray(shape(edges)), {"luminosity": 0.025}, shapes)

    limits = limit_scan(cms_137, masses, signal, luminosity=137.0, unit="pb", method="asymptotic", check=False)
    return np.array([(x.expected[2] / published[x.mass][0], x.observed / published[x.mass][1]) for x in limits])


def test_expected_limits_against_cms(reference_data, published_data, cms_137):
    """With CMS's own qq shape: 0.75 to 1.02 of the published expected limits from 1.8 to 7.5 TeV."""
    import uproot

    folder = reference_data / "reference/stats/cms_signal_shapes"
    with uproot.open(folder / "ResonanceShapes_qq_13TeV_CaloScouting_RunIIFall17.root") as file:
        name = next(key for key in file.keys(cycle=False) if key.endswith("_3000"))
        shape, fine = file[name].to_numpy()
    cumulative = np.append(0.0, np.cumsum(shape)) / shape.sum()

    def shape_of(mass):
        return lambda edges: np.diff(np.interp(edges * 3000.0 / mass, fine, cumulative))

    masses = (1800.0, 2400.0, 2900.0, 4000.0, 5000.0, 6000.0, 6900.0, 7500.0)
    expected, observed = cms_ratios(cms_137, published_data, shape_of, masses).T
    assert (expected > 0.75).all(), expected
    assert (expected < 1.03).all(), expected
    assert np.median(observed) == pytest.approx(
        0.9, abs=0.15
    )  # seven limits fluctuate with the ratio method's own error


def test_expected_limits_against_cms_with_a_crystal_ball(published_data, cms_137):
    """Where the shape files are not at hand: a resonance with 5 % width and a low tail gives about the same."""

    def shape_of(mass):
        shape = CrystalBallShape(1.006 * mass, 0.05 * mass, alpha_low=0.69, n_low=2.42, alpha_high=1.34, n_high=6.1)
        return shape.template

    expected, _ = cms_ratios(cms_137, published_data, shape_of, (2400.0, 3900.0, 5000.0, 6000.0, 7500.0)).T
    assert (expected > 0.75).all(), expected
    assert (expected < 1.05).all(), expected


@pytest.mark.slow
@pytest.mark.parametrize("events", [0.3, 4.0])
def test_toy_limits_cover_where_few_events_are_expected(paper_edges, events):
    """CLs at the true signal is above 0.05 in 95 % of experiments or more, at twice the expected limit."""
    c = np.linspace(-1.0, 1.0, 30)
    template = gaussian_template(3500.0, 120.0, paper_edges)
    template /= template.sum()
    shape = np.exp(-2.8 * c - 0.4 * c**2)
    shape *= events / ((shape * template).sum() / template.max())
    truth = 7.0 if events < 1 else 14.0
    rng = np.random.default_rng(int(10 * events))
    covered = []
    for k in range(40):
        fit = fit_background((rng.poisson(shape + truth * template), paper_edges), function="dijet3")
        covered.append(toy_cls(fit, template, truth, toys=150, seed=k)[0] > 0.05)
    assert np.mean(covered) >= 0.9  # two standard deviations of 40 experiments below 0.95


def test_the_method_is_chosen_by_the_events_under_the_signal(paper_edges, falling, caplog):
    template = gaussian_template(3500.0, 120.0, paper_edges)
    many, few = np.round(2e3 * falling), np.round(12.0 * falling)
    options = {"function": "dijet3", "check": False, "toys": 300}
    assert upper_limit((many, paper_edges), template, **options).method == "asymptotic"
    thrown = upper_limit((few, paper_edges), template, **options)
    assert thrown.method == "toys"
    assert thrown.background < TOYS_BELOW
    assert thrown.observed > 2.8  # no limit is below -ln(0.05) events
    assert not caplog.records
    formula = upper_limit((few, paper_edges), template, method="asymptotic", **options)
    assert formula.method == "asymptotic"
    assert "take toys" in caplog.text


@pytest.mark.parametrize("events", [0, 3, 40])
def test_few_events_have_a_limit(paper_edges, falling, events):
    counts = np.random.default_rng(4).multinomial(events, falling)
    template = gaussian_template(3500.0, 120.0, paper_edges)
    limit = upper_limit((counts, paper_edges), template, function="auto", check=False, toys=500)
    assert limit.function == "dijet3"
    assert 1.0 < limit.observed < 30.0


def test_scan_survives_bad_points(cms_137, caplog):
    calls = []
    results = limit_scan(
        cms_137,
        [3000.0, 30000.0, 5000.0],
        lambda mass, edges: gaussian_template(mass, 0.03 * mass, edges),
        check=False,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [result.ok for result in results] == [True, False, True]
    assert math.isnan(results[1].observed)
    assert "outside the edges" in results[1].status
    assert calls == [(1, 3), (2, 3), (3, 3)]
    back = [LimitResult.from_dict(json.loads(json.dumps(r.to_dict()))) for r in results]
    assert [repr(b) for b in back] == [repr(r) for r in results]


def test_workspace_is_plain_json_in_pyhfs_schema(tmp_path, paper_edges, paper_window, falling):
    fit = fit_background(
        (np.round(1e3 * falling), paper_edges), paper_window, fit_range=(paper_edges[2], paper_edges[28])
    )
    template = make_spectrum(np.random.default_rng(5).normal(3500, 100, 500), paper_edges)
    path = tmp_path / "workspace.json"
    write_workspace(path, build_workspace(fit, template, signal_uncertainty=0.1, counts=fit.counts + 1))
    content = read_json(path)
    pyhf.schema.validate(content, "workspace.json")
    assert len(content["channels"]) == 26
    assert content["observations"][0]["data"] == [fit.counts[2] + 1]
    model = pyhf.Workspace(content).model()
    expected = model.expected_actualdata(model.config.suggested_init())
    np.testing.assert_allclose(expected, (fit.expected + template.values())[2:28])


def test_the_backend_of_the_user_is_put_back(cms_137):
    before = pyhf.get_backend()
    fit = fit_background(cms_137)
    pyhf_cls(build_workspace(fit, gaussian_template(3000.0, 150.0, fit.edges, 800.0)), 1.0)
    assert pyhf.get_backend() == before


def test_gaussian_template_against_scipy():
    edges = np.linspace(2000.0, 5000.0, 40)
    ours = gaussian_template(3500.0, 70.0, edges, 12.0)
    np.testing.assert_allclose(ours, 12.0 * np.diff(stats.norm.cdf(edges, 3500.0, 70.0)), atol=1e-15)
    far = gaussian_template(3000.0, 50.0, [2000.0, 3900.0, 4000.0])
    assert far[1] == pytest.approx(stats.norm.sf(18.0) - stats.norm.sf(20.0), rel=1e-10)


def test_errors_say_what_to_do(paper_edges, falling):
    counts = np.round(1e3 * falling)
    template = gaussian_template(3500.0, 100.0, paper_edges)
    with pytest.raises(InputError, match="positive width"):
        gaussian_template(3500.0, 0.0, paper_edges)
    with pytest.raises(InputError, match="got shape \\(29,\\)"):
        upper_limit((counts, paper_edges), template[:-1])
    with pytest.raises(InputError, match="differ from the 30 bins"):
        upper_limit((counts, paper_edges), make_spectrum([3500.0], paper_edges + 1.0))
    with pytest.raises(InputError, match="relative uncertainty"):
        upper_limit((counts, paper_edges), template, signal_uncertainty=-0.1)
    with pytest.raises(ConfigError, match="cl < 1"):
        upper_limit((counts, paper_edges), template, cl=95.0)
    with pytest.raises(ConfigError, match=r"modexp3.*log-linear"):
        upper_limit((counts, paper_edges), template, function="modexp3")
    with pytest.raises(ConfigError, match=r"efficiency=0\.5 without a luminosity"):
        upper_limit((counts, paper_edges), template, efficiency=0.5)
    with pytest.raises(ConfigError, match=r"efficiency=0\.5 without a luminosity"):
        limit_scan((counts, paper_edges), [3500.0], lambda _m, _e: template, efficiency=0.5)
    masses = np.repeat(0.5 * (paper_edges[1:] + paper_edges[:-1]), counts.astype(int))
    half = make_spectrum(masses, paper_edges, np.full(len(masses), 0.5))
    weighted = fit_background(half, function="dijet3", weighted=True)
    with pytest.raises(InputError, match="weighted spectrum"):
        build_workspace(weighted, template)
    with pytest.raises(InputError, match="weighted spectrum"):
        toy_cls(weighted, template, 1.0)
    with pytest.raises(InputError, match="no events inside the fit range"):
        upper_limit((counts, paper_edges), np.arange(30) == 29, fit_range=(2800.0, paper_edges[20]))
    with pytest.raises(FitError, match="pyhf could not test"):
        pyhf_cls(build_workspace(fit_background((counts, paper_edges)), template), math.nan)
