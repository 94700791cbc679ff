from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from resonaut.errors import ConfigError, InputError
from resonaut.stats import DIJET_FAMILY, BackgroundFunction, available_functions, background_function, register_function
from resonaut.stats.engine.design import Design
from resonaut.stats.functions import NonLinearFunction, dijet, diphoton, exponentials, sums, ua2

LOG = np.log
# Every formula written out again, from the papers, in plain numpy: (density, parameters after p0)
BY_HAND = {
    "dijet2": (lambda x, p: x ** -p[0], (5.0,)),
    "dijet3": (lambda x, p: (1 - x) ** p[0] / x ** p[1], (9.0, 5.0)),
    "dijet4": (lambda x, p: (1 - x) ** p[0] / x ** (p[1] + p[2] * LOG(x)), (9.0, 5.0, 0.2)),
    "dijet5": (
        lambda x, p: (1 - x) ** p[0] / x ** (p[1] + p[2] * LOG(x) + p[3] * LOG(x) ** 2),
        (9.0, 5.0, 0.2, 0.03),
    ),
    "dijet6": (
        lambda x, p: (1 - x) ** p[0] / x ** (p[1] + p[2] * LOG(x) + p[3] * LOG(x) ** 2 + p[4] * LOG(x) ** 3),
        (9.0, 5.0, 0.2, 0.03, -0.01),
    ),
    "ua2": (lambda x, p: x ** -p[0] * np.exp(-p[1] * x - p[2] * x**2), (4.0, 6.0, 3.0)),
    "powexp3": (lambda x, p: np.exp(-p[0] * x) / x ** p[1], (12.0, 4.0)),
    "exponential": (lambda x, p: np.exp(-p[0] * x), (30.0,)),
    "modified-exponential": (lambda x, p: np.exp(-p[0] * x - p[1] * x**2 - p[2] * x**3), (40.0, -20.0, 5.0)),
    "modexp3": (lambda x, p: np.exp(-p[0] * x ** p[1]), (25.0, 0.6)),
    "modexp4": (lambda x, p: np.exp(-p[0] * (x ** p[1] + (1 - x) ** p[2])), (25.0, 0.6, 0.9)),
    "diphoton3": (lambda x, p: (1 - x ** (1 / 3)) ** p[0] / x ** p[1], (9.0, 1.5)),
    "diphoton4": (lambda x, p: (1 - x ** (1 / 3)) ** p[0] / x ** (p[1] + p[2] * LOG(x)), (9.0, 1.5, 0.1)),
    "moddijet3": (lambda x, p: (1 - x ** (1 / 3)) ** p[0] / x ** p[1], (9.0, 1.5)),
    "powlog3": (lambda x, p: x ** (-p[0] - p[1] * LOG(x)), (5.0, 0.4)),
    "invpow3": (lambda x, p: (1 + p[0] * x) ** -p[1], (12.0, 9.0)),
    "invpowlin4": (lambda x, p: (1 + p[0] * x) ** -(p[1] + p[2] * x), (12.0, 9.0, 2.0)),
    "two-powers": (lambda x, p: x ** -p[0] + np.exp(p[1]) * x ** -p[2], (5.0, -3.0, 6.5)),
    "linear": (lambda x, p: np.cos(p[0]) + x * np.sin(p[0]), (0.7,)),
}


def own_functions():
    """What the package itself registers; tests, guides and users add more."""
    return {f.name for module in (dijet, ua2, exponentials, diphoton, sums) for f in module.FUNCTIONS}


def test_every_function_is_written_out_again():
    assert own_functions() == set(BY_HAND) <= set(available_functions())


@pytest.mark.parametrize("name", sorted(BY_HAND))
@settings(max_examples=15, deadline=None)
@given(x=st.floats(0.05, 0.9), p0=st.floats(1e-3, 1e3), stretch=st.floats(0.5, 1.5))
def test_formula_by_hand(name, x, p0, stretch):
    formula, values = BY_HAND[name]
    f = background_function(name)
    shape = tuple(stretch * v for v in values)
    got = f.density(x * 13000.0, dict(zip(f.names, (p0, *shape), strict=True)))
    assert float(got) == pytest.approx(p0 * formula(x, shape), rel=1e-10)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_gradient_is_the_derivative(name):
    f = background_function(name)
    mass = np.geomspace(600.0, 11000.0, 9)
    for values in [BY_HAND[name][1], *getattr(f, "starts", ())]:
        natural = np.array([0.7, *values])
        step = 1e-6 * np.maximum(np.abs(natural), 1.0)
        numeric = [
            (f.log_density(mass, natural + d) - f.log_density(mass, natural - d)) / (2 * d.sum()) for d in np.diag(step)
        ]
        gradient = f.gradient(mass, natural)
        assert gradient.shape == (9, len(f.names))
        np.testing.assert_allclose(gradient, np.stack(numeric, axis=-1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_every_function_says_what_it_is(name):
    f = background_function(name)
    assert f.names[0] == "p0"
    assert f.formula.startswith("p0")
    assert all(parameter in f.formula for parameter in f.names)
    assert len(f.source) > 10
    assert "x" in f.domain
    assert f.log_linear == (name in available_functions(log_linear=True))


def test_the_table_of_the_guide_is_complete():
    guide = (Path(__file__).parents[2] / "docs/stats/fits.md").read_text()
    for name in BY_HAND:
        f = background_function(name)
        kind = "yes" if f.log_linear else "no"
        assert f"| `{name}` | `{f.formula}` | {kind} | {f.domain} | {f.source} |" in guide


def test_dijet_members_are_nested():
    for small, large in pairwise(("dijet2", "dijet3", "dijet4", "dijet5", "dijet6")):
        a, b = background_function(small), background_function(large)
        assert set(a.names) < set(b.names)
        p = {"p0": 2.0, "p1": 9.0, "p2": 5.0, "p3": 0.2, "p4": 0.03}
        extended = {**dict.fromkeys(b.names, 0.0), **{n: p[n] for n in a.names}}
        assert float(b.density(3000.0, extended)) == pytest.approx(float(a.density(3000.0, p)))
    assert DIJET_FAMILY == ("dijet3", "dijet4", "dijet5")


def test_unknown_names_and_domain():
    with pytest.raises(ConfigError, match="did you mean 'dijet4' or 'dijet"):
        background_function("dijets4")
    with pytest.raises(InputError, match="expected 0 < m < sqrts"):
        background_function("dijet4").basis([14000.0])
    with pytest.raises(InputError, match="expected 0 < m < sqrts"):
        background_function("modexp3").density(-1.0, {"p0": 1.0, "p1": 1.0, "p2": 1.0})
    with pytest.raises(ConfigError, match="taken"):
        register_function(BackgroundFunction("dijet4", "p0", ("p0",), ()))
    with pytest.raises(ConfigError, match="taken"):
        register_function(BackgroundFunction("auto", "p0", ("p0",), ()))
    with pytest.raises(ConfigError, match="one more than"):
        BackgroundFunction("x", "p0", ("p0", "p1"), ())
    with pytest.raises(InputError, match="expected \\['p0', 'p2'\\]"):
        background_function("dijet2").density(1000.0, {"p0": 1.0})


@pytest.mark.parametrize("name", ["modexp3", "modexp4", "invpow3", "invpowlin4", "two-powers", "linear"])
def test_batched_engine_refuses_what_it_cannot_fit(name, paper_edges):
    with pytest.raises(ConfigError, match=f"'{name}' is not log-linear.*one of.*dijet4.*fit_background takes it"):
        Design.build(name, paper_edges)


class Flat(NonLinearFunction):
    """A function of somebody else's: p0 (1 + p1 x)."""

    name = "test-line"
    formula = "p0 (1 + p1 x)"
    names = ("p0", "p1")
    starts = ((0.0,),)

    def log_shape(self, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
        return np.log1p(shape[0] * x)

    def shape_gradient(self, x: np.ndarray, shape: np.ndarray) -> Sequence[np.ndarray]:
        return (x / (1 + shape[0] * x),)


def test_own_functions_of_both_kinds():
    line = register_function(Flat())
    assert register_function(Flat()) == line  # the same again is no conflict
    assert "test-line" in available_functions(log_linear=False)
    assert float(background_function("test-line").density(6500.0, {"p0": 2.0, "p1": 3.0})) == pytest.approx(5.0)
    with pytest.raises(ConfigError, match="expected values of \\['p1'\\]"):
        type("Bad", (Flat,), {"starts": ((1.0, 2.0),)})()
    cosh = BackgroundFunction("test-cosh", "p0 exp(-p1 cosh x)", ("p0", "p1"), (lambda x: -np.cosh(x),))
    assert register_function(cosh) is background_function("test-cosh")
    assert "test-cosh: p0 exp" in repr(cosh)
    assert hash(cosh) == hash(background_function("test-cosh")) != hash(line)


def test_bin_integrals_against_quad(cms_137):
    """Gauss-Legendre nodes against adaptive quadrature, on the CMS binning, with a steep spectrum."""
    edges = cms_137.axes[0].edges
    formula, shape = BY_HAND["dijet4"][0], (8.0, 5.7, 0.1)
    design = Design.build("dijet4", edges)
    theta = np.linalg.solve(design.to_physical, np.array([np.log(0.5), *shape]))
    mu, jacobian = design.expected(theta[None])
    exact = [quad(lambda m: 0.5 * formula(m / 13000.0, shape), lo, hi, epsrel=1e-12)[0] for lo, hi in pairwise(edges)]
    np.testing.assert_allclose(mu[0], exact, rtol=1e-8)
    step = 1e-5
    for k in range(4):
        shifted = theta + step * np.eye(4)[k]
        numeric = (design.expected(shifted[None])[0] - design.expected(2 * theta[None] - shifted[None])[0]) / (2 * step)
        np.testing.assert_allclose(jacobian[0, :, k], numeric[0], rtol=1e-6, atol=1e-9 * mu.max())


def test_basis_is_orthonormal_in_the_fitted_region(cms_137):
    counts = cms_137.values()
    importance = np.where(np.arange(len(counts)) > 5, counts + 0.5, 0.0)
    design = Design.build("dijet5", cms_137.axes[0].edges, importance=importance)
    share = importance / importance.sum()
    quadrature = share[:, None] * design.weights / design.weights.sum(axis=1, keepdims=True)
    gram = np.einsum("bq,bqi,bqj->ij", quadrature, design.basis, design.basis)
    np.testing.assert_allclose(gram, np.eye(5), atol=1e-5)
