"""Comparisons of templates and scores, against scipy, integrals and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from resonaut.errors import InputError
from resonaut.models import Band
from resonaut.models.compare import (
    effective_size,
    flatness,
    ks_distance,
    ks_floor,
    overlap_excess,
    score_correlation,
    shared_top,
    top_mask,
    uniformly_better,
)
from resonaut.models.posterior import WeightedRows, log_posteriors


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_ks_distance_is_that_of_scipy_with_ties_too(first: list[int], second: list[int]) -> None:
    assert ks_distance(first, second) == pytest.approx(
        stats.ks_2samp(first, second, method="asymp").statistic, abs=1e-12
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=20))
def test_a_weight_counts_as_repeated_events(events: list[tuple[int, int]]) -> None:
    values, weight = np.array(events, dtype=float).T
    other = np.arange(10.0)
    repeated = np.repeat(values, weight.astype(int))
    expected = stats.ks_2samp(repeated, other, method="asymp").statistic
    assert ks_distance(values, other, weight) == pytest.approx(expected, abs=1e-12)
    assert ks_distance(other, values, None, weight) == pytest.approx(expected, abs=1e-12)


def test_a_sample_without_weight_has_no_distance() -> None:
    with pytest.raises(InputError, match="samples with weight"):
        ks_distance([1.0, 2.0], [1.0], [0.0, 0.0])


def test_the_floor_follows_the_kolmogorov_distribution() -> None:
    values = np.random.default_rng(1).normal(size=20_000)
    floor = ks_floor(values, 3000, 1500, toys=400, seed=2)
    scale = np.sqrt(1 / 3000 + 1 / 1500)
    assert floor.mean == pytest.approx(stats.kstwobign.mean() * scale, rel=0.05)
    assert floor.upper == pytest.approx(stats.kstwobign.ppf(0.95) * scale, rel=0.06)
    assert floor.low < floor.mean < floor.high < floor.upper


def test_the_floor_of_few_values_is_below_that_of_a_continuum() -> None:
    coarse = ks_floor(np.tile([0.0, 1.0], 500), 500, 500, toys=200, seed=3)
    assert coarse.mean < 0.7 * ks_floor(np.arange(1000.0), 500, 500, toys=200, seed=3).mean


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=30))
def test_effective_size_is_at_most_the_number_of_events(weight: list[float]) -> None:
    assert 1 - 1e-9 <= effective_size(np.array(weight)) <= len(weight) * (1 + 1e-9)
    assert effective_size(np.full(len(weight), weight[0])) == pytest.approx(len(weight))


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(3, 500)) @ np.eye(500) + rng.normal(size=500)
    found = score_correlation(list(scores))
    for i in range(3):
        for j in range(3):
            assert found[i, j] == pytest.approx(stats.pearsonr(scores[i], scores[j]).statistic, abs=1e-12)


def test_a_constant_score_has_no_correlation() -> None:
    assert np.isnan(score_correlation([np.ones(10), np.arange(10.0)])[0, 1])


def test_independent_scores_share_what_chance_gives() -> None:
    scores = np.random.default_rng(5).random((3, 400_000))
    for fraction in (0.05, 0.3):
        error = 4 * np.sqrt(fraction / 400_000 / fraction)  # shared / selected, binomial, four standard deviations
        assert abs(overlap_excess(scores[:2], fraction)) < error
        assert abs(overlap_excess(scores, fraction)) < error


def test_equal_scores_share_everything_and_opposite_ones_nothing() -> None:
    scores = np.random.default_rng(6).random(1000)
    assert shared_top([scores, 2 * scores + 1], 0.1) == 1.0
    assert overlap_excess([scores, scores, scores], 0.1) == pytest.approx(1 - 0.01)
    assert shared_top([scores, -scores], 0.1) == 0.0


def test_the_overlap_of_correlated_normal_scores_is_the_orthant_probability() -> None:
    rho, fraction, n = 0.6, 0.1, 500_000
    rng = np.random.default_rng(7)
    common = rng.normal(size=n)
    scores = [np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(size=n) for _ in range(2)]
    cut = stats.norm.isf(fraction)
    both = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([-cut, -cut])
    assert overlap_excess(scores, fraction) == pytest.approx(both / fraction - fraction, abs=0.006)


def test_ties_are_broken_by_chance_and_not_by_position() -> None:
    constant = [np.zeros(100_000), np.zeros(100_000)]
    assert abs(overlap_excess(constant, 0.1, seed=8)) < 0.02
    assert top_mask(np.array([1.0, 1.0, 1.0, 2.0]), 0.5).sum() == 2


def test_too_small_a_fraction_is_told() -> None:
    with pytest.raises(InputError, match="is no event"):
        shared_top([np.arange(10.0)], 0.01)


def _linear(slopes: dict[str, float], events: int, seed: int) -> dict[str, WeightedRows]:
    """Samples of the densities 1 + a (2x - 1) on [0, 1]."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, a in slopes.items():
        x = rng.random(8 * events)
        kept = x[rng.random(8 * events) * 2 < 1 + a * (2 * x - 1)][:events]
        found[name] = WeightedRows(kept[:, None], np.ones(events))
    return found


def test_log_posteriors_are_those_of_the_known_densities() -> None:
    slopes = {"down": -0.8, "flat": 0.0, "up": 0.7}
    found = log_posteriors(_linear(slopes, 60_000, 9), _linear({"truth": 0.3}, 20_000, 10), seed=11, max_iter=60)
    for sample, a in {**slopes, "truth": 0.3}.items():
        for model, b in slopes.items():

            def integrand(x: float, a: float = a, b: float = b) -> float:
                ratio = (1 + b * (2 * x - 1)) / sum(1 + c * (2 * x - 1) for c in slopes.values())
                return float((1 + a * (2 * x - 1)) * np.log(ratio))

            assert found[sample][model] == pytest.approx(integrate.quad(integrand, 0, 1)[0], abs=0.015)


def test_weights_of_a_model_make_its_posterior() -> None:
    """A flat sample weighted to a rising one is that rising one."""
    flat = np.random.default_rng(12).random((60_000, 1))
    models = {"weighted": WeightedRows(flat, 7.0 * (0.2 + 1.6 * flat[:, 0])), **_linear({"rising": 0.8}, 60_000, 13)}
    found = log_posteriors(models, {}, seed=14, max_iter=60)
    for row in found.values():
        for value in row.values():
            assert value == pytest.approx(-np.log(2), abs=0.02)


def test_one_model_cannot_be_told_apart() -> None:
    with pytest.raises(InputError, match="at least two"):
        log_posteriors(_linear({"a": 0.0}, 10, 1), {}, seed=1)


def test_the_p_value_of_flatness_is_uniform_for_flat_efficiencies_and_small_for_others() -> None:
    rng = np.random.default_rng(15)
    edges = np.linspace(3000.0, 4000.0, 11)
    p_values = []
    for _ in range(300):
        mass = rng.uniform(3000.0, 4000.0, 4000)
        p_values.append(flatness(mass, rng.random(4000) < 0.1, edges).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    mass = rng.uniform(3000.0, 4000.0, 4000)
    bent = flatness(mass, rng.random(4000) < 0.1 * (mass / 3500.0) ** 4, edges)
    assert bent.p_value < 1e-6
    assert bent.ndf == 9


def test_the_chi2_of_flatness_is_that_of_the_contingency_table() -> None:
    rng = np.random.default_rng(16)
    mass, passing = rng.uniform(0, 3, 900), rng.random(900) < 0.3
    found = flatness(mass, passing, [0.0, 1.0, 2.0, 3.0])
    table = np.stack([np.histogram(mass[passing], 3, (0, 3))[0], np.histogram(mass[~passing], 3, (0, 3))[0]])
    expected = stats.chi2_contingency(table, correction=False)
    assert (found.chi2, found.p_value) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


def test_a_cut_that_keeps_nothing_has_no_shape() -> None:
    with pytest.raises(InputError, match="no shape"):
        flatness([3100.0], [False], [3000.0, 4000.0])


def _band(es: np.ndarray, median: np.ndarray) -> Band:
    return Band(es, median, 0.8 * median, 1.1 * median)


def test_a_curve_is_uniformly_better_where_it_is_nowhere_below() -> None:
    es = np.linspace(0.1, 1.0, 10)
    one, two = _band(es, 2 + es), _band(es, 3 - es)
    best = np.maximum(2 + es, 3 - es)
    above = uniformly_better(_band(es, best), {"one": one, "two": two})
    assert (above.above, above.consistent, above.smallest) == (True, True, 1.0)
    within = uniformly_better(_band(es, 0.95 * best), {"one": one, "two": two})
    assert (within.above, within.consistent, within.smallest) == (False, True, pytest.approx(0.95))
    assert not uniformly_better(one, {"two": two}).consistent
    with pytest.raises(InputError, match="one grid"):
        uniformly_better(one, {"two": _band(es[:5], es[:5])})
