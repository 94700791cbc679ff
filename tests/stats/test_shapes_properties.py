"""Properties that hold for every shape: normalisation, splitting of bins, scaling, translation, bad input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import InputError
from resonaut.stats import BreitWignerShape, CrystalBallShape, GaussianShape, MorphedShapes, Shape, TemplateShape

MASSES = st.floats(200.0, 8000.0)
RELATIVE = st.floats(0.005, 0.3)
ALPHAS = st.floats(0.1, 5.0)
POWERS = st.floats(1.05, 140.0)


@st.composite
def gaussians(draw):
    mass = draw(MASSES)
    return GaussianShape(mass, draw(RELATIVE) * mass)


@st.composite
def crystal_balls(draw):
    mass = draw(MASSES)
    return CrystalBallShape(mass, draw(RELATIVE) * mass, draw(ALPHAS), draw(POWERS), draw(ALPHAS), draw(POWERS))


@st.composite
def breit_wigners(draw):
    mass = draw(MASSES)
    return BreitWignerShape(mass, draw(RELATIVE) * mass, draw(st.sampled_from([0.0, 0.01, 0.1])) * mass)


@st.composite
def templates(draw):
    mass = draw(MASSES)
    steps = draw(st.lists(st.floats(0.01, 0.2), min_size=1, max_size=20))
    counts = draw(st.lists(st.integers(0, 50), min_size=len(steps), max_size=len(steps)).filter(any))
    return TemplateShape(mass, mass * (0.5 + np.cumsum([0.0, *steps])), np.array(counts, dtype=float))


SHAPES = st.one_of(gaussians(), crystal_balls(), breit_wigners(), templates())


@st.composite
def edges_near(draw, shape):
    """Edges from somewhere below to somewhere above the peak."""
    inner = draw(st.lists(st.floats(0.3, 2.5), min_size=2, max_size=12, unique_by=lambda x: round(x, 4)))
    return shape.mass * np.array(sorted(inner))


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_a_shape_is_normalised(shape):
    everything = shape.probability([-1e9, 0.0, shape.mass, 2 * shape.mass, 1e14])
    assert (everything >= 0).all()
    # the tail of a power near 1 holds much beyond any edge
    lost = 1.0 - float(shape.cdf(1e14))
    assert everything.sum() + lost == pytest.approx(1.0, abs=1e-6)
    if not isinstance(shape, CrystalBallShape):
        assert lost < 1e-6


@settings(max_examples=60, deadline=None)
@given(st.data(), SHAPES)
def test_splitting_bins_changes_no_sum(data, shape):
    edges = data.draw(edges_near(shape))
    cut = data.draw(st.floats(edges[0], edges[-1]))
    fine = np.union1d(edges, cut)
    pieces = shape.probability(fine)
    assert (pieces >= 0).all()
    coarse = np.add.reduceat(pieces, np.searchsorted(fine, edges[:-1]))
    np.testing.assert_allclose(coarse, shape.probability(edges), rtol=1e-8, atol=1e-12)
    assert shape.inside(edges) == pytest.approx(pieces.sum(), rel=1e-8, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data(), SHAPES, st.floats(0.1, 10.0))
def test_other_units_of_mass(data, shape, factor):
    edges = data.draw(edges_near(shape))
    moved = shape.scaled_to(factor * shape.mass)
    np.testing.assert_allclose(moved.probability(factor * edges), shape.probability(edges), rtol=1e-7, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.one_of(gaussians(), breit_wigners(), templates()), st.floats(0.0, 5000.0))
def test_translation(data, shape, shift):
    edges = data.draw(edges_near(shape))
    changes = {"mass": shape.mass + shift}
    if isinstance(shape, TemplateShape):
        changes["edges"] = shape.edges + shift
    moved = dataclasses.replace(shape, **changes)
    np.testing.assert_allclose(moved.probability(edges + shift), shape.probability(edges), rtol=1e-6, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.floats(0.0, 1e6))
def test_events_scale_with_the_yield(shape, events):
    edges = shape.mass * np.linspace(0.3, 4.6, 9)
    np.testing.assert_allclose(shape.template(edges, events), events * shape.template(edges), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_dictionaries_and_back(shape):
    assert Shape.from_dict(shape.to_dict()).to_dict() == shape.to_dict()


@settings(max_examples=40, deadline=None)
@given(templates(), templates(), st.floats(0.0, 1.0), st.sampled_from(["quantile", "moment", "scaled"]))
def test_any_two_histograms_can_be_morphed(first, second, fraction, method):
    low, high = TemplateShape(1000.0, first.edges, first.counts), TemplateShape(2000.0, second.edges, second.counts)
    shape = MorphedShapes({1000.0: low, 2000.0: high}, method=method)(1000.0 + 1000.0 * fraction)
    assert shape.cumulative[-1] == pytest.approx(1.0)
    assert (shape.counts >= 0).all()
    assert shape.mass == pytest.approx(1000.0 + 1000.0 * fraction)
    if method != "scaled":
        wanted = [(1 - fraction) * a + fraction * b for a, b in zip(low.moments(), high.moments(), strict=True)]
        assert shape.moments()[0] == pytest.approx(wanted[0], rel=1e-6)
        if method == "moment":
            assert shape.moments()[1] == pytest.approx(wanted[1], rel=1e-6)


BAD = st.sampled_from([0.0, -1.0, float("nan"), float("inf"), float("-inf")])


@settings(max_examples=40, deadline=None)
@given(BAD, st.integers(0, 3))
def test_parameters_out_of_range(bad, which):
    with pytest.raises(InputError, match="expected"):
        [
            lambda: GaussianShape(bad, 10.0),
            lambda: CrystalBallShape(1000.0, bad, 1.0, 2.0, 1.0, 2.0),
            lambda: CrystalBallShape(1000.0, 50.0, 1.0, bad, 1.0, 2.0),
            lambda: BreitWignerShape(1000.0, bad),
        ][which]()


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=6))
def test_edges_are_good_or_refused(shape, edges):
    values = np.array(edges, dtype=np.float64)
    good = len(values) > 1 and bool(np.isfinite(values).all()) and bool((np.diff(values) > 0).all())
    if good:
        assert np.isfinite(shape.probability(values)).all()
    else:
        with pytest.raises(InputError, match="strictly increasing"):
            shape.probability(values)
