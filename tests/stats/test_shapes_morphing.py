"""Shapes between simulated masses: what must be exact, and what CMS's resonance shapes say about the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
import uproot

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats import (
    CrystalBallShape,
    GaussianShape,
    InterpolatedShapes,
    LeaveOneOut,
    MorphedShapes,
    TemplateShape,
    fit_shape,
    leave_one_out,
)
from resonaut.stats.shapes.morphing import METHODS

MASSES = (1000.0, 1400.0, 2000.0, 2500.0, 3000.0)
Z = np.linspace(-6.0, 5.0, 221)
SKEWED = np.diff(CrystalBallShape(100.0, 1.0, 0.8, 3.0, 1.5, 5.0).cdf(100.0 + Z))


def mean(mass):
    return 0.97 * mass + 15.0


def width(mass):
    return 0.04 * mass + 30.0


def linear_family(mass, counts):
    """Mean and width linear in the mass, one distribution otherwise: its histograms have moving edges."""
    return TemplateShape(mass, mean(mass) + width(mass) * Z, counts, below=0.02, above=0.01)


@pytest.mark.parametrize("method", ["moment", "quantile"])
@pytest.mark.parametrize(
    "counts", [np.diff(GaussianShape(100.0, 1.0).cdf(100.0 + Z)), SKEWED], ids=["gaussian", "skewed"]
)
@pytest.mark.parametrize("mass", [1001.0, 1200.0, 1999.0, 2260.0, 2750.0])
def test_exact_where_mean_and_width_are_linear(method, counts, mass):
    shapes = MorphedShapes({m: linear_family(m, counts) for m in MASSES}, method=method)
    points = np.linspace(600.0, 4000.0, 300)
    wanted = linear_family(mass, counts).cdf(points)
    np.testing.assert_allclose(shapes(mass).cdf(points), wanted, atol=1e-10)
    edges = mean(mass) + width(mass) * Z[[0, -1]]
    assert shapes(mass).inside(edges) == pytest.approx(counts.sum() / (counts.sum() + 0.03))


def test_gaussians_in_fixed_bins_are_exact_up_to_the_bins():
    edges = np.linspace(500.0, 4500.0, 1601)
    shapes = MorphedShapes(
        {m: (GaussianShape(mean(m), width(m)).template(edges), edges) for m in (1000.0, 2000.0, 3000.0)}
    )
    data = np.linspace(1000.0, 2500.0, 31)
    wanted = GaussianShape(mean(1700.0), width(1700.0)).template(data)
    np.testing.assert_allclose(shapes(1700.0).template(data), wanted, atol=3e-5)


@pytest.mark.parametrize("mass", [1130.0, 2100.0])
def test_scaled_is_exact_where_the_shape_depends_on_the_ratio(mass):
    base = TemplateShape(1.0, 1.0 + 0.05 * Z, SKEWED)
    shapes = MorphedShapes({m: base.scaled_to(m) for m in MASSES}, method="scaled")
    points = np.linspace(600.0, 4000.0, 300)
    np.testing.assert_allclose(shapes(mass).cdf(points), base.scaled_to(mass).cdf(points), atol=1e-12)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nodes_come_back_and_are_approached(method):
    edges = np.linspace(0.0, 6000.0, 301)
    rng = np.random.default_rng(4)
    templates = {m: (rng.poisson(GaussianShape(m, 0.1 * m).template(edges, 800.0)), edges) for m in MASSES}
    shapes = MorphedShapes(templates, method=method)
    for mass in MASSES:
        assert shapes(mass).counts.tolist() == templates[mass][0].tolist()
        near = mass * (1.0 + 1e-9) if mass < 3000.0 else mass * (1.0 - 1e-9)
        np.testing.assert_allclose(shapes(near).cdf(edges), shapes(mass).cdf(edges), atol=1e-5)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("mass", [1050.0, 1700.0, 2999.0])
def test_sparse_simulation_stays_a_distribution(method, mass):
    """Empty bins, gaps, different edges, events outside."""
    rng = np.random.default_rng(8)
    templates = {}
    for m in MASSES:
        edges = np.linspace(0.3 * m, 1.5 * m, 60 + int(m) % 7)
        templates[m] = TemplateShape(m, edges, np.histogram(rng.normal(m, 0.1 * m, 40), edges)[0], below=0.1, above=0.4)
    shape = MorphedShapes(templates, method=method)(mass)
    assert (shape.counts >= 0).all()
    assert (np.diff(shape.edges) > 0).all()
    assert shape.cumulative[-1] == pytest.approx(1.0 - 0.4 / 40.5)
    assert shape.cumulative[0] == pytest.approx(0.1 / 40.5)
    assert shape.moments()[0] == pytest.approx(mass, rel=0.1)


def test_a_gap_moves_with_its_shape():
    """Two lines at 0.8 and 1.1 of the mass: the quantiles keep them apart, an average in bins would make four."""
    counts = np.array([1.0, 0.0, 3.0])
    templates = {m: TemplateShape(m, m * np.array([0.79, 0.81, 1.09, 1.11]), counts) for m in (1000.0, 2000.0)}
    shape = MorphedShapes(templates)(1500.0)
    np.testing.assert_allclose(shape.probability(1500.0 * np.array([0.79, 0.81, 1.09, 1.11])), counts / 4, atol=1e-9)


def test_no_extrapolation():
    shapes = MorphedShapes({m: linear_family(m, SKEWED) for m in MASSES})
    fitted = InterpolatedShapes({m: GaussianShape(m, 0.1 * m) for m in MASSES})
    for interpolation in (shapes, fitted):
        assert interpolation.masses == MASSES
        for mass in (999.0, 3000.1, float("nan")):
            with pytest.raises(InputError, match=r"outside the masses 1000\.\.3000 GeV"):
                interpolation(mass)


def test_edges_are_no_mass():
    shapes = MorphedShapes({m: linear_family(m, SKEWED) for m in MASSES})
    with pytest.raises(InputError, match=r"shapes\(mass\)\.template\(edges\)"):
        shapes(np.array([1000.0, 1100.0]))


def test_dictionaries_and_back():
    shapes = MorphedShapes({m: linear_family(m, SKEWED) for m in MASSES}, method="moment")
    again = MorphedShapes.from_dict(json.loads(json.dumps(shapes.to_dict())))
    assert again.to_dict() == shapes.to_dict()
    assert again(1234.0).counts.tolist() == shapes(1234.0).counts.tolist()
    fitted = InterpolatedShapes({m: CrystalBallShape(m, 0.1 * m, 1.0, 2.0, 1.0, 2.0) for m in MASSES})
    assert InterpolatedShapes.from_dict(json.loads(json.dumps(fitted.to_dict())))(1111.0) == fitted(1111.0)
    result = LeaveOneOut(1000.0, 0.1, 0.2, 0.0, -0.1)
    assert LeaveOneOut.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_parameters_between_fits():
    fits = {m: fit_shape(_binned(m), np.linspace(0.4 * m, 1.5 * m, 111)) for m in MASSES}
    shapes = InterpolatedShapes(fits)
    assert shapes(2000.0) is fits[2000.0].shape
    between = shapes(1700.0)
    np.testing.assert_allclose(between.parameters, _truth(1700.0).parameters, rtol=5e-3)
    distance = np.abs(between.cdf(np.linspace(800.0, 2400.0, 50)) - _truth(1700.0).cdf(np.linspace(800.0, 2400.0, 50)))
    assert distance.max() < 2e-4


def _truth(mass):
    """Resolution with a constant and a stochastic term, tails that change slowly."""
    relative = np.hypot(0.03, 1.2 / np.sqrt(mass))
    return CrystalBallShape(0.99 * mass, relative * mass, 1.0 + 1e-4 * mass, 3.0, 1.6, 6.0)


def _binned(mass):
    return _truth(mass).template(np.linspace(0.4 * mass, 1.5 * mass, 111), 1e6)


def test_methods_on_a_known_truth():
    """A resolution that changes from 4.8 to 3.7 %, without statistical noise: the default must be best."""
    edges = np.linspace(0.0, 6000.0, 3001)
    templates = {m: TemplateShape(m, edges, _truth(m).template(edges)) for m in MASSES}
    worst = {}
    for method in METHODS:
        results = leave_one_out(templates, lambda t, method=method: MorphedShapes(t, method=method))
        worst[method] = max(result.total_variation for result in results)
    assert min(worst, key=worst.get) == "quantile"
    assert worst["quantile"] < 0.005
    assert worst["scaled"] > 2 * worst["quantile"]


@pytest.fixture(scope="module")
def cms_shapes(reference_data):
    """Dijet resonances of CMS, qq, qg, gg; 500 to 3000 GeV in steps of 50 GeV."""
    folder = reference_data / "reference/stats/cms_signal_shapes"
    shapes = {}
    for channel in ("qq", "qg", "gg"):
        with uproot.open(folder / f"ResonanceShapes_{channel}_13TeV_CaloScouting_RunIIFall17.root") as file:
            shapes[channel] = {
                float(m): TemplateShape.from_spectrum(float(m), file[f"h_{channel}_{m}"]) for m in range(500, 3001, 50)
            }
    return shapes


SIMULATED = (500.0, 750.0, 1000.0, 2000.0, 3000.0)


@pytest.mark.parametrize("channel", ["qq", "qg", "gg"])
def test_only_five_masses_of_cms_were_simulated(cms_shapes, channel):
    """The others are what "scaled" makes of these five, so they cannot judge methods."""
    shapes = cms_shapes[channel]
    rebuilt = MorphedShapes({m: shapes[m] for m in SIMULATED}, method="scaled")
    for mass in (550.0, 850.0, 1250.0, 1900.0, 2450.0):
        edges = np.linspace(0.0, 1.4 * mass, 60)
        np.testing.assert_allclose(rebuilt(mass).cdf(edges), shapes[mass].cdf(edges), atol=2e-3)


def _fitted(templates):
    """Double-sided Crystal Balls in bins of 1 % of the mass, as if from 20,000 events."""
    fits = {}
    for mass, template in templates.items():
        edges = mass * np.linspace(0.1, 1.45, 136)
        fits[mass] = fit_shape(template.template(edges), edges, events=20000.0)
    return InterpolatedShapes(fits)


def test_leaving_out_simulated_masses_of_cms(cms_shapes):
    """The table of docs/stats/signals.md."""
    table = {}
    ways = {name: lambda t, name=name: MorphedShapes(t, method=name) for name in METHODS} | {"dscb": _fitted}
    for name, way in ways.items():
        nodes = [{m: shapes[m] for m in SIMULATED} for shapes in cms_shapes.values()]
        results = [result for templates in nodes for result in leave_one_out(templates, way)]
        assert len(results) == 9
        table[name] = [
            np.mean([r.total_variation for r in results]),
            np.mean([r.ks for r in results]),
            max(abs(r.mean) for r in results),
            max(abs(r.width) for r in results),
        ]
    assert min(table, key=lambda name: table[name][0]) == "quantile"
    for name, wanted in {
        "quantile": (0.0135, 0.0047, 0.0027, 0.010),
        "moment": (0.0175, 0.0077, 0.0027, 0.028),
        "scaled": (0.0182, 0.0095, 0.0048, 0.021),
        "dscb": (0.0320, 0.0181, 0.0379, 0.107),
    }.items():
        np.testing.assert_allclose(table[name], wanted, rtol=0.1, err_msg=name)


def test_every_other_mass_of_cms(cms_shapes):
    shapes = cms_shapes["qq"]
    drop = sorted(shapes)[1:-1:2]
    for method in METHODS:
        results = leave_one_out(
            shapes, lambda t, method=method: MorphedShapes(t, method=method), drop=drop, together=True
        )
        assert len(results) == 25
        assert max(result.ks for result in results) < 2e-3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MorphedShapes({1000.0: linear_family(1000.0, SKEWED)}), InputError, "at least 2"),
        (lambda: MorphedShapes({}), InputError, "at least 2"),
        (lambda: MorphedShapes({1.0: ([1.0], [0.0, 1.0])}, method="quantiles"), ConfigError, "did you mean 'quantile'"),
        (lambda: MorphedShapes({900.0: linear_family(1000.0, SKEWED)}), InputError, "use its own mass"),
        (lambda: MorphedShapes.from_dict({"method": "moment"}), InputError, "could not be read"),
        (lambda: InterpolatedShapes({1000.0: GaussianShape(1e3, 50.0)}), InputError, "at least 2"),
        (lambda: InterpolatedShapes({1e3: linear_family(1e3, SKEWED), 2e3: 3}), InputError, "use MorphedShapes"),
        (
            lambda: InterpolatedShapes({1e3: GaussianShape(1e3, 50.0), 2e3: CrystalBallShape(2e3, 90.0, 1.0, 2.0, 1.0, 2.0)}),
            InputError,
            "expected one",
        ),
        (
            lambda: InterpolatedShapes({m: fit_shape(np.ones(40), np.linspace(900.0, 1100.0, 41), kind="gaussian") for m in (1e3, 2e3)}),
            FitError,
            "leave this mass out",
        ),
        (lambda: leave_one_out({m: linear_family(m, SKEWED) for m in MASSES}, MorphedShapes, drop=[1000.0]), InputError, "drop"),
        (lambda: LeaveOneOut.from_dict({"mass": 1.0}), InputError, "could not be read"),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(make, error, message):
    with pytest.raises(error, match=message):
        make()
