"""Signal systematics, channels and units: our solver against pyhf's JSON, and against what must be so."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.stats import (
    Channel,
    LimitResult,
    Signal,
    combined_limit,
    combined_workspace,
    fit_background,
    gaussian_template,
    log_edges,
    mass_limit,
    pyhf_cls,
    shape_variations,
    upper_limit,
)
from resonaut.stats.limits.channels import channel_counts, signal_model
from resonaut.stats.limits.hypotests import Hypotests


def systematic_signal(edges, events=800.0, mass=3000.0):
    def shape(e):
        return gaussian_template(mass, 0.05 * mass, e, events)

    shapes = shape_variations(shape, edges, mass, scale=0.02, resolution=0.1)
    return Signal(shape(edges), {"luminosity": 0.025, "efficiency": 0.1}, shapes)


@pytest.fixture(scope="module")
def two_channels(cms_137):
    """A fitted spectrum with systematics, and a second one of other bins that shares one nuisance of each kind."""
    first = fit_background(cms_137)
    edges = log_edges(2000.0, 5000.0, 12)
    counts = np.random.default_rng(3).poisson(3e4 * np.exp(-0.6 * np.arange(12)))
    second = fit_background((counts, edges), function="dijet3")

    def shape(e):
        return gaussian_template(3000.0, 200.0, e, 300.0)

    shapes = shape_variations(shape, edges, 3000.0, scale=0.03)
    signal = Signal(shape(edges), {"luminosity": 0.025, "trigger": 0.2}, shapes)
    return [
        Channel.build("dijet", first, systematic_signal(first.edges)),
        Channel.build("second", second, signal),
    ]


def test_likelihood_with_systematics_and_channels_is_pyhfs(two_channels):
    """Differences of -2 ln L agree at arbitrary parameters, far ones too: the same model, interpolations included."""
    workspace = pyhf.Workspace(combined_workspace(two_channels))
    model = workspace.model()
    data = workspace.data(model)
    start = dict(zip(model.config.par_order, model.config.suggested_init(), strict=True))
    ours, counts = signal_model(two_channels), channel_counts(two_channels)
    assert ours.names == ("efficiency", "energy_resolution", "energy_scale", "luminosity", "trigger")
    directions = [f"background_dijet_{k}" for k in range(4)] + [f"background_second_{k}" for k in range(3)]
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(5):
        beta, nu, mu = rng.normal(size=7), rng.normal(size=5) * 1.3, rng.uniform(0, 2)
        point = {
            "mu": mu,
            **dict(zip(ours.names, nu, strict=True)),
            **dict(zip(directions, start["background_dijet_0"] + beta / 30.0, strict=True)),
        }
        theirs = float(pyhf.infer.mle.twice_nll([point[name] for name in model.config.par_order], data, model)[0])
        differences.append(theirs - ours.twice_nll(counts, mu, np.append(beta, nu)))
    assert np.ptp(differences) < 1e-5


def test_cls_of_a_combination_is_pyhfs(two_channels):
    tests = Hypotests(signal_model(two_channels), channel_counts(two_channels))
    limits = tests.solve(0.05)
    # a template scaled to the median limit: pyhf then works around 1
    scaled = [channel.scaled(limits[2]) for channel in two_channels]
    observed, expected = pyhf_cls(combined_workspace(scaled), 1.0)
    ours = tests(limits[2:3])[:, 0]
    assert expected[2] == pytest.approx(0.05, rel=1e-3)
    np.testing.assert_allclose([*expected, observed], ours, rtol=3e-3)


def test_fit_with_systematics_is_where_the_gradient_vanishes(two_channels):
    """The maximum against scipy's derivative-free minimiser on the same function."""
    from scipy.optimize import minimize

    model = signal_model(two_channels)
    counts = channel_counts(two_channels) + np.round(0.7 * model.signal)
    found = model.maximum(counts)
    start = np.append(found.nuisance[0], found.strength[0])
    polished = minimize(lambda p: model.twice_nll(counts, p[-1], p[:-1]), start, method="Powell")
    assert found.converged[0]
    assert model.twice_nll(counts, found.strength[0], found.nuisance[0]) < polished.fun + 1e-6
    assert found.strength[0] == pytest.approx(0.7, abs=0.3)


def test_systematics_weaken_limits_and_a_combination_strengthens_them(two_channels):
    first, second = two_channels
    plain = combined_limit([Channel.build("a", first.fit, first.signal.template)], check=False, unit="strength")
    alone = [combined_limit([channel], check=False, unit="strength") for channel in two_channels]
    both = combined_limit([first, second], check=False, unit="strength")
    assert plain.expected[2] < alone[0].expected[2]
    assert both.expected[2] < min(limit.expected[2] for limit in alone)
    assert both.function == "dijet4, dijet3"


def test_copies_of_a_channel_gain_as_the_root_of_their_number(cms_137):
    """Analytic: N equal spectra with the background of each free are one with N times the events."""
    fit = fit_background(cms_137)
    template = gaussian_template(3000.0, 150.0, fit.edges, 800.0)
    asimov = fit_background((fit.expected, fit.edges))
    one = combined_limit([Channel.build("0", asimov, template)], unit="strength", check=False)
    four = combined_limit([Channel.build(str(k), asimov, template) for k in range(4)], unit="strength", check=False)
    assert four.expected[2] == pytest.approx(one.expected[2] / 2.0, rel=0.01)


def test_units_of_a_limit(cms_137):
    """Events / (luminosity x efficiency), with what the shape loses outside the range counted as signal."""
    edges = cms_137.axes[0].edges
    template = gaussian_template(8500.0, 400.0, edges)
    inside = template.sum()
    assert 0.5 < inside < 0.9
    events = upper_limit(cms_137, template, method="asymptotic", check=False)
    visible = upper_limit(cms_137, template, method="asymptotic", luminosity=137.0, check=False)
    total = upper_limit(
        cms_137, template, method="asymptotic", luminosity=137.0, efficiency=0.4, unit="pb", check=False
    )
    one_pb = upper_limit(cms_137, template * 137.0 * 1000.0 * 0.4, method="asymptotic", unit="pb", check=False)
    assert (events.unit, visible.unit, total.unit) == ("events", "fb", "pb")
    assert visible.observed == pytest.approx(events.observed / inside / 137.0)
    assert total.expected == pytest.approx(np.array(visible.expected) / 0.4 / 1000.0)
    assert one_pb.observed == pytest.approx(total.observed)
    assert events.cross_section(137.0, efficiency=inside).observed == pytest.approx(visible.observed)


def test_luminosity_uncertainty_moves_a_limit_little(cms_137):
    """A 2 % yield uncertainty changes a limit by far less than 2 %: it adds to the statistical error in quadrature."""
    template = gaussian_template(3000.0, 150.0, cms_137.axes[0].edges)
    plain = upper_limit(cms_137, template, luminosity=137.0, check=False)
    both = upper_limit(cms_137, Signal(template, {"luminosity": 0.02}), luminosity=137.0)
    assert 1.0 < both.expected[2] / plain.expected[2] < 1.005
    assert both.cls_pyhf == pytest.approx(0.05, rel=1e-3)


def test_a_signal_is_read_back(cms_137):
    signal = systematic_signal(cms_137.axes[0].edges)
    back = Signal.from_dict(signal.to_dict())
    first, second = (upper_limit(cms_137, s, check=False) for s in (signal, back))
    assert first == second or np.isnan(first.mass)
    assert first.to_dict()["observed"] == second.to_dict()["observed"]


def test_mass_limits_of_a_falling_theory():
    """Straight lines in the logarithm cross where they must; a gap in the exclusion is told."""
    mass = np.arange(1000.0, 6000.0, 500.0)

    def limit(m, value):
        return LimitResult(
            "s", m, value, tuple(k * value for k in (0.5, 0.7, 1.0, 1.4, 2.0)), "pb", 0.0, 0.95, 0.05, "converged", ""
        )

    limits = [limit(m, 10.0 ** (-m / 2000.0)) for m in mass]
    found = mass_limit(limits, (mass, 10.0 ** (1.0 - mass / 1000.0)))
    assert found.observed == pytest.approx(2000.0)
    assert found.expected[0] == pytest.approx(2000.0 - 2000.0 * np.log10(0.5))
    assert found.excluded == ((1000.0, pytest.approx(2000.0)),)
    assert np.isnan(mass_limit(limits, lambda m: 1e-9 * m).observed)
    always = mass_limit(limits, lambda m: 1e9 * m)
    assert always.observed == mass[-1]
    broken = [*limits[:5], LimitResult.failed("why", signal="s", mass=3500.0, unit="pb", cl=0.95, function="")]
    assert mass_limit(broken, lambda m: 10.0 ** (1.0 - m / 1000.0)).observed == pytest.approx(2000.0)
    weak = [limit(m, 100.0 if m == 1500.0 else 1e-3) for m in mass[:4]]
    assert len(mass_limit(weak, lambda m: np.full(len(m), 1.0)).excluded) == 2


def test_what_cannot_be_combined_is_refused(two_channels, cms_137):
    template = gaussian_template(3000.0, 150.0, cms_137.axes[0].edges)
    with pytest.raises(InputError, match="unique names"):
        combined_limit([two_channels[0], two_channels[0]])
    with pytest.raises(InputError, match="reserved name"):
        upper_limit(cms_137, Signal(template, {"mu": 0.1}))
    with pytest.raises(InputError, match=r"'scale'.*expected \(down, up\)"):
        upper_limit(cms_137, Signal(template, {}, {"scale": (template[:-1], template)}))
    with pytest.raises(ConfigError, match="sum of 5"):
        upper_limit(cms_137, 5.0 * template / template.sum(), luminosity=137.0)
    with pytest.raises(ConfigError, match="expected 'fb' or 'pb'"):
        upper_limit(cms_137, template, luminosity=137.0, unit="events")
    with pytest.raises(ConfigError, match="one of auto"):
        upper_limit(cms_137, template, method="bayes")
    with pytest.raises(ConfigError, match="expected one in events"):
        upper_limit(cms_137, template, luminosity=137.0, check=False).cross_section(137.0)


def test_a_bin_that_a_shape_nuisance_makes_negative_does_not_stop_the_fit():
    """histosys can take a template below 0; where that and no background is all of a bin, the bin says nothing."""
    from resonaut.stats.limits.profiling import SignalModel

    background = np.array([50.0, 20.0, 8.0, 3.0, 1e-9])
    signal = np.array([0.0, 2.0, 6.0, 2.0, 1e-6])
    up, down = np.array([[0.0, -1.0, 0.0, 1.0, 1e-4]]).T, np.array([[0.0, -1.0, 0.0, 1.0, 1e-9]]).T
    model = SignalModel(background, np.zeros((5, 0)), signal, ("scale",), np.zeros((5, 1)), up, down)
    counts = np.array([[50.0, 24.0, 20.0, 7.0, 0.0]])
    start = np.array([[-0.4]])  # the last bin is negative there
    cut = SignalModel(background[:4], np.zeros((4, 0)), signal[:4], ("scale",), np.zeros((4, 1)), up[:4], down[:4])
    whole, without = model.maximum(counts, start=start, guess=1.5), cut.maximum(counts[:, :4])
    assert whole.strength == pytest.approx(without.strength, rel=1e-3)
