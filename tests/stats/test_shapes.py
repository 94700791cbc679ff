"""Bin integrals of shapes against quadrature, scipy's distributions and analytic limits."""

from __future__ import annotations

import dataclasses
import itertools
import json

import hist
import numpy as np
import pytest
from scipy import integrate, stats

from resonaut.errors import InputError
from resonaut.stats import (
    BreitWignerShape,
    CrystalBallShape,
    FittableShape,
    GaussianShape,
    Shape,
    TemplateShape,
    gaussian_template,
    make_spectrum,
)

EDGES = np.linspace(1500.0, 4500.0, 41)
CRYSTAL_BALLS = [
    CrystalBallShape(3000.0, 90.0, 1.2, 3.0, 1.8, 8.0),
    CrystalBallShape(3010.0, 40.0, 0.2, 1.3, 2.5, 140.0),
    CrystalBallShape(2700.0, 400.0, 0.7, 2.0, 0.9, 1.1),
    CrystalBallShape(3000.0, 150.0, 5.0, 1e4, 0.5, 1e6),
]
SHAPES = [
    *CRYSTAL_BALLS,
    GaussianShape(3000.0, 120.0),
    BreitWignerShape(3000.0, 60.0),
    BreitWignerShape(3000.0, 60.0, resolution=110.0),
    BreitWignerShape(2925.0, 300.0, resolution=4.0),
    TemplateShape(3000.0, np.linspace(2000.0, 3900.0, 20), np.arange(1.0, 20.0) % 7, below=3.0, above=1.5),
]


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=repr)
def test_bins_are_integrals_of_the_density(shape):
    kinks = [shape.mass]
    if isinstance(shape, CrystalBallShape):
        kinks += [shape.mass - shape.alpha_low * shape.width, shape.mass + shape.alpha_high * shape.width]

    def integral(low, high):
        inside = [x for x in kinks if low < x < high]
        return integrate.quad(shape.density, low, high, points=inside or None, epsabs=0.0, epsrel=1e-11)[0]

    wanted = [integral(*pair) for pair in itertools.pairwise(EDGES)]
    np.testing.assert_allclose(shape.probability(EDGES), wanted, rtol=1e-9, atol=1e-280)
    np.testing.assert_allclose(np.diff(shape.cdf(EDGES)), wanted, atol=1e-11)


@pytest.mark.parametrize("shape", CRYSTAL_BALLS[:1])
def test_crystal_ball_is_normalised_over_positive_masses(shape):
    low = integrate.quad(shape.density, 0.0, shape.mass, points=[2892.0], epsrel=1e-12)[0]
    high = integrate.quad(shape.density, shape.mass, np.inf, epsrel=1e-12)[0]
    assert low + high == pytest.approx(1.0, abs=1e-10)
    assert shape.density([-5.0]) == 0.0
    assert shape.probability([-100.0, 0.0, 1e9]).tolist() == pytest.approx([0.0, 1.0], abs=1e-12)


def test_crystal_ball_against_scipy_which_has_one_tail():
    ours = CrystalBallShape(3000.0, 30.0, 1.3, 5.0, alpha_high=40.0, n_high=10.0)
    theirs = stats.crystalball(beta=1.3, m=5.0, loc=3000.0, scale=30.0)
    below_zero = theirs.cdf(0.0)  # scipy normalises over all real numbers
    wanted = np.diff(theirs.cdf(EDGES)) / (1.0 - below_zero)
    np.testing.assert_allclose(ours.probability(EDGES), wanted, rtol=1e-9, atol=1e-14)


def test_crystal_ball_becomes_a_gaussian():
    ours = CrystalBallShape(3000.0, 90.0, 9.0, 3.0, 9.0, 3.0).probability(EDGES)
    np.testing.assert_allclose(ours, GaussianShape(3000.0, 90.0).probability(EDGES), atol=1e-15)


def test_crystal_ball_of_large_power_has_exponential_tails():
    shape = CrystalBallShape(3000.0, 90.0, 1.5, 1e12, 1.5, 1e12)
    distance = np.array([2.0, 3.0, 6.0])
    ratio = shape.density(3000.0 + 90.0 * distance) / shape.density(3000.0)
    np.testing.assert_allclose(ratio, np.exp(1.5**2 / 2 - 1.5 * distance), rtol=1e-9)


@pytest.mark.parametrize("shape", CRYSTAL_BALLS[:3])
def test_crystal_ball_is_smooth_where_the_tails_begin(shape):
    for sign, alpha in ((-1, shape.alpha_low), (1, shape.alpha_high)):
        join = shape.mass + sign * alpha * shape.width
        before, at, after = shape.density(join + 1e-4 * shape.width * np.array([-1.0, 0.0, 1.0]))
        assert before + after == pytest.approx(2.0 * at, rel=1e-6)


@pytest.mark.parametrize("shape", [*CRYSTAL_BALLS[:3], GaussianShape(3000.0, 120.0)], ids=repr)
@pytest.mark.parametrize("edges", [EDGES, np.array([-10.0, 0.0, 2600.0, 3000.0, 3010.0, 9000.0])])
def test_gradient_against_differences(shape, edges):
    gradient = shape.probability_gradient(edges)
    for column, name in enumerate(shape.names):
        value = getattr(shape, name)
        step = 1e-5 * value
        up, down = (dataclasses.replace(shape, **{name: value + sign * step}).probability(edges) for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, column], (up - down) / (2 * step), rtol=1e-5, atol=1e-9 / value)


def test_voigt_profile_against_a_convolution():
    shape = BreitWignerShape(3000.0, 80.0, resolution=50.0)
    smeared = BreitWignerShape(3000.0, 80.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    for low, high in ((2900.0, 2980.0), (2980.0, 3050.0), (3300.0, 4000.0)):
        moved = [smeared.probability([low - 50.0 * z, high - 50.0 * z])[0] for z in nodes]
        assert shape.probability([low, high])[0] == pytest.approx(np.dot(weights, moved) / weights.sum(), rel=1e-4)
    assert shape.inside([-1e7, 1e7]) == pytest.approx(1.0, abs=1e-5)
    assert shape.cdf(3000.0) == pytest.approx(0.5, abs=1e-9)


def test_far_tails_keep_their_digits():
    far = GaussianShape(3000.0, 50.0).template([2000.0, 3900.0, 4000.0])
    assert far[1] == pytest.approx(stats.norm.sf(18.0) - stats.norm.sf(20.0), rel=1e-10)
    near = GaussianShape(3000.0, 50.0).template([2000.0, 2100.0, 4000.0])
    assert near[0] == pytest.approx(far[1], rel=1e-12)


def test_the_function_and_the_class_are_one():
    ours = gaussian_template(3000.0, 90.0, EDGES, 7.0)
    assert ours.tolist() == GaussianShape(3000.0, 90.0).template(EDGES, 7.0).tolist()
    np.testing.assert_allclose(ours, 7.0 * np.diff(stats.norm.cdf(EDGES, 3000.0, 90.0)), atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.kind)
def test_what_lies_outside_is_told(shape):
    edges = [2500.0, 2900.0, 3100.0]
    template = shape.template(edges, 250.0)
    assert template.sum() == pytest.approx(250.0 * shape.inside(edges), rel=1e-12)
    assert 0.0 < shape.inside(edges) < 1.0
    assert shape.inside(edges) == pytest.approx(float(shape.cdf(3100.0) - shape.cdf(2500.0)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.kind)
def test_dictionaries_and_back(shape):
    content = json.loads(json.dumps(shape.to_dict()))
    again = Shape.from_dict(content)
    assert type(again) is type(shape)
    assert again.to_dict() == shape.to_dict()
    assert again.probability([2500.0, 3000.0]) == shape.probability([2500.0, 3000.0])
    assert type(type(shape).from_dict(content)) is type(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.kind)
def test_the_same_shape_at_another_mass(shape):
    moved = shape.scaled_to(0.7 * shape.mass)
    edges = np.array([2300.0, 2900.0, 3060.0, 3800.0])
    assert moved.mass == pytest.approx(0.7 * shape.mass)
    np.testing.assert_allclose(moved.probability(0.7 * edges), shape.probability(edges), rtol=1e-9, atol=1e-13)


def test_template_is_exact_where_edges_coincide():
    counts = np.random.default_rng(3).poisson(20.0, 100).astype(float)
    fine = np.linspace(1000.0, 2000.0, 101)
    shape = TemplateShape(1500.0, fine, counts)
    wanted = counts.reshape(20, 5).sum(1) / counts.sum()
    np.testing.assert_allclose(shape.probability(fine[::5]), wanted, rtol=1e-12)
    assert shape.template([1003.0, 1008.0], counts.sum()) == pytest.approx(0.5 * counts[0])
    assert shape.density([999.0, 1001.0, 1000.0]).tolist() == [
        0.0,
        counts[0] / counts.sum() / 10,
        counts[0] / counts.sum() / 10,
    ]


def test_underflow_and_overflow_count_in_the_normalisation():
    filled = make_spectrum([80.0, 95.0, 99.0, 104.0, 120.0, 130.0, 140.0, 150.0], [90.0, 100.0, 110.0])
    shape = TemplateShape.from_spectrum(100.0, filled)
    assert (shape.below, shape.above) == (1.0, 4.0)
    assert shape.template([90.0, 100.0, 110.0], 8.0).tolist() == pytest.approx([2.0, 1.0])
    assert TemplateShape.from_spectrum(100.0, ([2.0, 1.0], [90.0, 100.0, 110.0])).inside([90.0, 110.0]) == 1.0
    with pytest.raises(InputError, match="wider histogram"):
        shape.template([90.0, 120.0])
    with pytest.raises(InputError, match="wider histogram"):
        shape.template([80.0, 100.0])


@pytest.mark.parametrize(("underflow", "overflow"), [(False, False), (True, False), (False, True)])
def test_histograms_without_flow_bins(underflow, overflow):
    axis = hist.axis.Regular(4, 90.0, 110.0, underflow=underflow, overflow=overflow)
    shape = TemplateShape.from_spectrum(100.0, hist.Hist(axis).fill([80.0, 91.0, 101.0, 120.0, 120.0]))
    assert (shape.below, shape.above) == (1.0 * underflow, 2.0 * overflow)


def test_moments_of_a_template():
    edges = np.linspace(0.0, 6000.0, 2001)
    shape = TemplateShape(3000.0, edges, GaussianShape(3100.0, 150.0).template(edges))
    assert shape.moments() == pytest.approx((3100.0, 150.0), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianShape(3000.0, 0.0), "positive width"),
        (lambda: GaussianShape(-1.0, 10.0), "positive mass"),
        (lambda: GaussianShape(np.nan, 10.0), "positive mass"),
        (lambda: CrystalBallShape(3000.0, 90.0, 0.0, 3.0, 1.0, 3.0), "positive alpha_low"),
        (lambda: CrystalBallShape(3000.0, 90.0, 1.0, 1.0, 1.0, 3.0), "powers above 1"),
        (lambda: CrystalBallShape(3000.0, 90.0, 1.0, 2.0, 1.0, np.inf), "powers above 1"),
        (lambda: BreitWignerShape(3000.0, 0.0), "positive width"),
        (lambda: BreitWignerShape(3000.0, 10.0, -1.0), "resolution"),
        (lambda: TemplateShape(100.0, [90.0, 110.0], [-1.0]), "counts >= 0"),
        (lambda: TemplateShape(100.0, [90.0, 110.0], [0.0]), "some inside"),
        (lambda: TemplateShape(100.0, [90.0, 110.0], [1.0], below=-1.0), "some inside"),
        (lambda: TemplateShape(100.0, [110.0, 90.0], [1.0]), "increase"),
        (lambda: GaussianShape(3000.0, 90.0).template([3000.0]), "edges of shape"),
        (lambda: GaussianShape(3000.0, 90.0).template([3000.0, 2900.0]), "strictly increasing"),
        (lambda: GaussianShape(3000.0, 90.0).template([2900.0, 3100.0], -2.0), "number of events"),
        (lambda: GaussianShape(30000.0, 90.0).template(EDGES), "outside the edges"),
        (lambda: TemplateShape(100.0, [90.0, 110.0], [1.0]).template([200.0, 300.0]), "outside the edges"),
        (lambda: Shape.from_dict({"kind": "gausian", "mass": 1.0}), "did you mean 'gaussian'"),
        (lambda: Shape.from_dict({"mass": 1.0}), "kind of shape"),
        (lambda: Shape.from_dict({"kind": "gaussian", "mass": 1.0}), "could not be read"),
        (lambda: FittableShape.from_dict(SHAPES[-1].to_dict()), "use Shape.from_dict"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(InputError, match=message):
        make()
