"""Polynomial backgrounds: against scipy's Bernstein polynomials, a likelihood written out again, and published Upsilons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special
from scipy.interpolate import BPoly

from resonaut.errors import ConfigError, InputError
from resonaut.stats import Polynomial, Window, background_function, fit_background, local_p_value, register_function

WIDTH = 1.6 / 11
EDGES = 9.0 + WIDTH * np.arange(
    -27, 49
)  # arXiv:2502.14036: 11 bins between 9.0 and 10.6 GeV, the same width beside them
UPSILON = Window(9.0, 10.6, float(EDGES[0]), float(EDGES[-1]))
CUTS = ("1", "0.25", "0.1", "0.05", "0.01", "0.005")  # fractions of the background that pass
STORED = (1.356, 2.929, 5.162, 4.710, 4.586, 1.791)


@pytest.fixture(scope="module")
def quintic() -> str:
    return register_function(Polynomial(5, EDGES[0], EDGES[-1], name="test-quintic")).name


def masses(reference_data: Path, name: str) -> Any:
    path = reference_data / "opendata_upsilon" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return np.load(path)


@pytest.mark.parametrize("degree", [1, 3, 5, 8])
def test_the_density_is_scipys_bernstein_polynomial(degree: int) -> None:
    rng = np.random.default_rng(degree)
    coefficients = rng.uniform(0.1, 2.0, degree + 1)
    f = Polynomial(degree, 5.0, 16.0)
    m = np.linspace(5.0, 16.0, 40)
    parameters = {f"p{k}": c / coefficients[0] for k, c in enumerate(coefficients)} | {"p0": coefficients[0]}
    np.testing.assert_allclose(f.density(m, parameters), BPoly(coefficients[:, None], [5.0, 16.0])(m), rtol=1e-12)
    natural = np.array([0.3, *coefficients[1:]])
    steps = 1e-6 * np.eye(degree + 1)
    numeric = [(f.log_density(m, natural + d) - f.log_density(m, natural - d)) / 2e-6 for d in steps]
    np.testing.assert_allclose(f.gradient(m, natural), np.stack(numeric, axis=-1), atol=1e-7)


def test_a_fit_finds_the_polynomial_that_it_was_given(quintic: str) -> None:
    f = background_function(quintic)
    truth = {"p0": 2000.0, "p1": 0.9, "p2": 0.4, "p3": 0.5, "p4": 0.2, "p5": 0.3}
    fine = np.linspace(EDGES[:-1], EDGES[1:], 2001)
    expected = np.trapezoid(f.density(fine, truth), fine, axis=0)
    fit = fit_background((expected, EDGES), UPSILON, function=quintic)
    assert (fit.status, fit.hesse) == ("converged", "accurate")
    assert fit.parameters == pytest.approx(truth, rel=1e-4)
    np.testing.assert_allclose(fit.expected, expected, rtol=1e-5)


def test_errors_of_the_fit_cover(quintic: str) -> None:
    f = background_function(quintic)
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    truth = f.density(centres, {"p0": 2300.0, "p1": 0.9, "p2": 0.4, "p3": 0.5, "p4": 0.2, "p5": 0.3}) * WIDTH
    rng = np.random.default_rng(3)
    middle = len(EDGES) // 2
    pulls = []
    for _ in range(60):
        fit = fit_background((rng.poisson(truth).astype(float), EDGES), function=quintic, errors="fisher")
        pulls.append((fit.expected[middle] - truth[middle]) / fit.expected_error[middle])
    assert abs(np.mean(pulls)) < 4 / np.sqrt(60)
    assert 0.7 < np.std(pulls) < 1.35  # 3.5 standard deviations of the spread of 60


def profiled_significance(counts: np.ndarray[Any, Any]) -> float:
    """The same test written out again: powers of the mass, scipy's minimiser, the signal region as one cell."""
    cell = slice(27, 38)
    keep = np.r_[0:27, 38:75]
    u = (EDGES - 10.5) / 5.5
    integrals = np.stack([(u[1:] ** (k + 1) - u[:-1] ** (k + 1)) / (k + 1) for k in range(6)], axis=1)
    whole = np.vstack([integrals[keep], integrals[cell].sum(axis=0)])
    seen = np.append(counts[keep], counts[cell].sum())

    def best(rows: int) -> Any:
        def deviance(theta: Any) -> float:
            mu = whole[:rows] @ theta
            return 1e30 if (mu <= 0).any() else float(2 * special.kl_div(seen[:rows], mu).sum())

        start = np.array([seen[:rows].sum() / whole[:rows, 0].sum(), *np.zeros(5)])
        found = optimize.minimize(
            deviance, start, method="Powell", options={"maxiter": 100_000, "xtol": 1e-10, "ftol": 1e-14}
        )
        return optimize.minimize(
            deviance, found.x, method="Nelder-Mead", options={"maxiter": 40_000, "fatol": 1e-9, "xatol": 1e-6}
        )

    free, fixed = best(len(seen) - 1), best(len(seen))
    background = whole[-1] @ free.x
    return float(np.sign(seen[-1] - background) * np.sqrt(max(fixed.fun - free.fun, 0.0)))


def test_published_upsilons(reference_data: Path, quintic: str) -> None:
    """arXiv:2502.14036: dimuons of opposite sign after cuts on the score of a flow and boosted trees, quintic background.

    The significances that are stored with the masses differ from the minimum of the likelihood that they come from by up to 0.24:
    that minimum is found here twice, and gives 1.6 without a cut, as the abstract says. Where 75 events are left the
    polynomial touches zero, minimisers disagree, and the stored 1.79 is of a worse fit than either.
    """
    stored = masses(reference_data, "upsilon_OS_histogram_data_quintic_12")
    for cut, significance in zip(CUTS, STORED, strict=True):
        counts = np.histogram(stored[f"masses_fpr_{cut}"], EDGES)[0].astype(float)
        np.testing.assert_array_equal(np.delete(counts, slice(27, 38)), stored[f"y_vals_fpr_{cut}"])  # the same bins
        assert float(stored[f"significances_fpr_{cut}"]) == pytest.approx(significance, abs=1e-3)
        found = local_p_value((counts, EDGES), UPSILON, function=quintic)
        assert found.fit.status == "converged"
        assert found.fit.p_value > 0.05
        again = profiled_significance(counts)
        if cut == "0.005":
            assert found.local_significance == pytest.approx(again, abs=0.2)
            assert 2.5 < found.local_significance < 3.7
            continue
        assert found.local_significance == pytest.approx(again, abs=0.02)
        assert found.local_significance == pytest.approx(significance, abs=0.25)
    inclusive = np.histogram(stored["masses_fpr_1"], EDGES)[0].astype(float)
    assert round(local_p_value((inclusive, EDGES), UPSILON, function=quintic).local_significance, 1) == 1.6


def test_published_same_sign_pairs_have_no_excess(reference_data: Path, quintic: str) -> None:
    """The paper's own null test: same-sign pairs after the same cuts."""
    stored = masses(reference_data, "upsilon_OS_histogram_data_alt_quintic_12")
    for cut in CUTS:
        counts = np.histogram(stored[f"masses_fpr_{cut}"], EDGES)[0].astype(float)
        found = local_p_value((counts, EDGES), UPSILON, function=quintic).local_significance
        assert max(found, 0.0) == pytest.approx(float(stored[f"significances_fpr_{cut}"]), abs=0.35)
        assert found < 1.5


def test_what_makes_no_sense_is_refused(quintic: str) -> None:
    for degree, low, high in ((0, 5, 16), (3, 16, 5)):
        with pytest.raises(ConfigError, match="expected at least 1 and low < high"):
            Polynomial(degree, low, high)
    with pytest.raises(InputError, match=r"outside of its range 5.07273..15.9818 GeV"):
        background_function(quintic).density(4.0, dict.fromkeys(("p0", "p1", "p2", "p3", "p4", "p5"), 1.0))
    with pytest.raises(ConfigError, match="taken"):
        register_function(Polynomial(5, 5.0, 16.0, name=quintic))
    assert register_function(Polynomial(5, EDGES[0], EDGES[-1], name=quintic)).name == quintic
