from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from resonaut.errors import ConfigError, InputError
from resonaut.stats import DIJET_FAMILY, BackgroundFunction, available_functions, background_function, register_function
from resonaut.stats.design import Design


def textbook_dijet(m, p, sqrts=13000.0):
    """arXiv:2104.02092, equation 4.1, and its five-parameter extension, written out."""
    x = m / sqrts
    p4 = p.get("p4", 0.0)
    exponent = p.get("p2", 0.0) + p.get("p3", 0.0) * np.log(x) + p4 * np.log(x) ** 2
    return p["p0"] * (1 - x) ** p.get("p1", 0.0) / x**exponent


@given(
    mass=st.floats(500.0, 12000.0),
    p=st.fixed_dictionaries(
        {
            "p0": st.floats(1e-3, 1e3),
            "p1": st.floats(-5, 20),
            "p2": st.floats(-2, 8),
            "p3": st.floats(-1, 1),
            "p4": st.floats(-0.3, 0.3),
        }
    ),
)
def test_log_linear_form_is_the_published_one(mass, p):
    for name in (*DIJET_FAMILY, "dijet2"):
        f = background_function(name)
        used = {key: p[key] for key in f.names}
        assert float(f.density(mass, used)) == pytest.approx(float(textbook_dijet(mass, used)), rel=1e-10)


def test_other_functions_follow_their_formula():
    x = 0.3
    density = {
        "exponential": 2 * np.exp(-3 * x),
        "modified-exponential": 2 * np.exp(-3 * x - 4 * x**2 - 5 * x**3),
        "ua2": 2 * x**-3 * np.exp(-4 * x - 5 * x**2),
        "diphoton3": 2 * (1 - x ** (1 / 3)) ** 3 / x**4,
    }
    for name, value in density.items():
        f = background_function(name)
        values = dict(zip(f.names, (2.0, 3.0, 4.0, 5.0), strict=False))
        assert float(f.density(x * 13000.0, values)) == pytest.approx(value)
    assert set(density) | set(DIJET_FAMILY) <= set(available_functions())


def test_unknown_names_and_domain():
    with pytest.raises(ConfigError, match="did you mean 'dijet4' or 'dijet"):
        background_function("dijets4")
    with pytest.raises(InputError, match="expected 0 < m < sqrts"):
        background_function("dijet4").basis([14000.0])
    with pytest.raises(ConfigError, match="taken"):
        register_function(BackgroundFunction("dijet4", "p0", ("p0",), ()))
    with pytest.raises(ConfigError, match="one more than"):
        BackgroundFunction("x", "p0", ("p0", "p1"), ())
    with pytest.raises(InputError, match="expected \\['p0', 'p2'\\]"):
        background_function("dijet2").density(1000.0, {"p0": 1.0})


def test_bin_integrals_against_quad(cms_137):
    """Gauss-Legendre nodes against adaptive quadrature, on the CMS binning, with a steep spectrum."""
    edges = cms_137.axes[0].edges
    p = {"p0": 0.5, "p1": 8.0, "p2": 5.7, "p3": 0.1}
    design = Design.build("dijet4", edges)
    physical = np.array([np.log(p["p0"]), p["p1"], p["p2"], p["p3"]])
    theta = np.linalg.solve(design.to_physical, physical)
    mu, jacobian = design.expected(theta[None])
    exact = [quad(textbook_dijet, lo, hi, args=(p,), epsrel=1e-12)[0] for lo, hi in pairwise(edges)]
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
