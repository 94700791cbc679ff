from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resonaut.errors import InputError
from resonaut.stats import (
    BackgroundFunction,
    ExcessResult,
    Window,
    fit_background,
    local_p_value,
    local_p_values,
    on_off_p_value,
    register_function,
)

FLAT = register_function(BackgroundFunction("test-flat", "p0", ("p0",), ()))
EDGES = np.linspace(1000.0, 2000.0, 11)
WINDOW = Window(1400.0, 1600.0, 1200.0, 1800.0)
TAU = 4.0  # eight sideband bins to two


def flat_spectrum(n_on, n_off):
    counts = np.zeros(10)
    counts[4], counts[0] = n_on, n_off
    return counts


@pytest.mark.parametrize(("n_on", "n_off"), [(300, 1000), (150, 400), (140, 480), (80, 400), (100, 400)])
def test_flat_background_is_the_on_off_problem_of_li_and_ma(n_on, n_off):
    """Profile likelihood of an on/off measurement, Li and Ma, ApJ 272 (1983) 317, equation 17."""
    alpha = 1.0 / TAU
    total = n_on + n_off
    li_ma = np.sqrt(
        2 * (n_on * np.log((1 + alpha) / alpha * n_on / total) + n_off * np.log((1 + alpha) * n_off / total))
    )
    found = local_p_values(flat_spectrum(n_on, n_off), EDGES, WINDOW, function="test-flat")
    assert found.local_significance[0] == pytest.approx(np.sign(n_on - n_off / TAU) * li_ma, abs=1e-5)
    assert found.expected[0] == pytest.approx(n_off / TAU)
    assert found.expected_error[0] == pytest.approx(np.sqrt(n_off) / TAU)
    assert found.local_p[0] == pytest.approx(stats.norm.sf(found.local_significance[0]))


@given(n_on=st.integers(0, 60), n_off=st.integers(0, 90))
def test_low_counts_are_the_exact_binomial_test(n_on, n_off):
    """Conditional on the sum, the signal-region count is binomial: the exact test of two Poisson rates."""
    found = local_p_values(flat_spectrum(n_on, n_off), EDGES, WINDOW, function="test-flat")
    p, total, rho = found.local_p[0], n_on + n_off, 1.0 / (1.0 + TAU)
    at_least, more = stats.binom.sf(n_on - 1, total, rho), stats.binom.sf(n_on, total, rho)
    exact = at_least if at_least < 0.5 else max(0.5, more)
    asymptotic = abs(found.local_significance[0]) < abs(stats.norm.isf(exact)) - 1e-3
    # the less significant of the exact and of the asymptotic answer
    assert asymptotic or p == pytest.approx(exact, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("n_on", "n_off", "tau", "z_bi"),
    [(4, 5, 5.0, 1.66), (6, 18.78, 14.44, 2.63), (9, 17.83, 4.69, 1.82), (17, 40.11, 10.56, 4.46), (50, 55, 2.0, 2.93),
     (140, 100, 1.2, 3.93), (523, 2327, 5.99, 5.93)],
)  # fmt: skip
def test_table_of_cousins_linnemann_tucker(n_on, n_off, tau, z_bi):
    """arXiv:physics/0702156, table 1: Z_Bi of published measurements."""
    assert on_off_p_value(n_on, n_off, tau)[1] == pytest.approx(z_bi, abs=0.006)


def test_nothing_seen_and_nothing_expected_is_no_evidence():
    found = local_p_values(np.zeros((1, 10)), EDGES, WINDOW, function="dijet3")
    assert (found.observed[0], found.expected[0], found.local_p[0], found.local_significance[0]) == (0, 0, 0.5, 0)
    few = local_p_values(flat_spectrum(0, 2), EDGES, WINDOW, function="test-flat")
    assert few.local_p[0] == 0.5


@pytest.mark.parametrize("function", ["dijet2", "dijet3", "dijet4", "auto"])
def test_events_where_none_are_expected_have_a_finite_excess(paper_edges, paper_window, function):
    counts = np.zeros((4, 30))
    counts[1:, :6] = [5, 3, 2, 1, 0, 1]
    counts[1:, 10] = [1, 4, 12]
    found = local_p_values(counts, paper_edges, paper_window, function=function)
    assert found.n_failed == 0
    z = found.local_significance
    assert np.isfinite(z).all()
    assert (np.diff(z[1:]) > 0).all()
    assert z[3] > 1.0


def test_p_values_increase_with_the_background(paper_edges, paper_window, falling):
    """More sideband events, same signal region: never a smaller p-value; more in the region: never a larger one."""
    base = np.round(400 * falling)
    counts = np.array([base + (np.arange(30) == 10) * extra for extra in range(0, 60, 3)])
    found = local_p_values(counts, paper_edges, paper_window, function="dijet3")
    assert (np.diff(found.local_p) <= 1e-12).all()
    assert (np.diff(found.local_significance) >= -1e-9).all()


def test_single_spectrum_agrees_with_batch_and_round_trips(paper_edges, paper_window, falling):
    rng = np.random.default_rng(2)
    counts = rng.poisson(2000 * falling, size=(5, 30))
    many = local_p_values(counts, paper_edges, paper_window)
    one = local_p_value((counts[3], paper_edges), paper_window)
    assert one.local_p == pytest.approx(many.local_p[3], rel=1e-5)
    assert one.expected == pytest.approx(many.expected[3], rel=1e-6)
    assert (one.expected, one.expected_error) == pytest.approx(one.fit.total(one.fit.blinded), rel=1e-6)
    back = ExcessResult.from_dict(json.loads(json.dumps(one.to_dict())))
    assert back.to_dict() == one.to_dict()


def test_profile_likelihood_against_minuit(paper_edges, paper_window, falling):
    """q0 of an excess from two Minuit fits of the physical problem, signal free and absent."""
    from iminuit import Minuit
    from scipy.special import kl_div

    rng = np.random.default_rng(9)
    counts = rng.poisson(4e4 * falling).astype(float)
    counts[9:13] += [60, 120, 120, 60]
    result = local_p_value((counts, paper_edges), paper_window)
    modes, mu, sr = result.fit.modes, result.fit.expected, result.fit.blinded

    def cost(p):
        expected = mu * np.exp(modes @ np.asarray(p)[:-1])
        inside = kl_div(counts[sr].sum(), expected[sr].sum() + p[-1])
        return 2 * (kl_div(counts[~sr], expected[~sr]).sum() + inside)

    values = []
    for fixed in (True, False):
        m = Minuit(cost, np.append(np.zeros(4), 0.0 if fixed else 100.0))
        m.errordef, m.strategy, m.tol = 1, 2, 1e-4
        m.fixed[4] = fixed
        m.migrad(ncall=20000)
        values.append(m.fval)
    assert result.local_significance == pytest.approx(np.sqrt(values[0] - values[1]), abs=2e-3)
    assert result.local_significance > 3


def test_bad_input_is_refused(paper_edges, paper_window):
    with pytest.raises(InputError, match="negative or non-finite"):
        local_p_values(np.full((2, 30), np.nan), paper_edges, paper_window)
    with pytest.raises(InputError, match="expected \\(bins,\\)"):
        local_p_values(np.ones((2, 29)), paper_edges, paper_window)


def test_runaway_extrapolation_is_a_failure_not_a_deficit(paper_edges, paper_window):
    """Two sideband events next to the region and a free curvature: the sidebands say nothing about the region."""
    counts = np.zeros(30)
    counts[8] = counts[13] = 1.0
    found = local_p_values(np.stack([counts, 100.0 * np.exp(-0.2 * np.arange(30))]), paper_edges, paper_window)
    assert np.isnan(found.local_p[0])
    assert found.status[0].startswith("failed")
    assert found.local_significance[1] == pytest.approx(0.0, abs=0.3)
    fit = fit_background((counts, paper_edges), paper_window)
    assert fit.status == "at limit"
