"""Folds alike in mass, balanced regions, and cuts that are fractions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import ConfigError, InputError
from resonaut.models import Sample, assign_folds, region_weights, select, threshold
from resonaut.stats import Window

WINDOW = Window(3400.0, 3600.0, 3200.0, 3800.0)


@settings(deadline=None, max_examples=50)
@given(events=st.integers(10, 400), folds=st.integers(2, 7), seed=st.integers(0, 99))
def test_folds_share_out_every_mass_range(events: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mass = rng.exponential(500.0, events) + 2800.0
    fold = assign_folds(mass, folds, seed)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    low, high = np.sort(rng.choice(mass, 2))
    inside = np.bincount(fold[(mass >= low) & (mass < high)], minlength=folds)
    assert np.ptp(inside) <= 2


def test_folds_are_random_and_reproducible() -> None:
    mass = np.linspace(2800, 5200, 5000)
    first, again, other = (assign_folds(mass, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    agreement = np.mean(first == other)
    assert abs(agreement - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5000)  # two independent assignments agree in 1 of 5 events


def test_folds_need_two_folds_and_enough_events() -> None:
    with pytest.raises(ConfigError, match="at least 2 folds, got 1"):
        assign_folds(np.arange(10.0), 1, 0)
    with pytest.raises(InputError, match="3 events cannot be shared out in 5 folds"):
        assign_folds(np.arange(3.0), 5, 0)


def test_region_weights_balance_the_regions() -> None:
    rng = np.random.default_rng(0)
    mass = 2800.0 + rng.exponential(600.0, 20_000)
    sample = Sample(np.zeros((20_000, 1)), ("x",), mass, rng.uniform(0.5, 2.0, 20_000))
    target, weight = region_weights(sample, WINDOW)
    low, high = WINDOW.in_lower_sideband(mass), WINDOW.in_upper_sideband(mass)
    inside = low | high | target
    assert weight[low].sum() == pytest.approx(weight[high].sum())
    assert weight[target].sum() == pytest.approx(2 * weight[low].sum())
    assert weight[inside].mean() == pytest.approx(1.0)
    assert not weight[~inside].any()
    ratio = weight[low] / sample.weight[low]
    np.testing.assert_allclose(ratio, ratio[0])  # event weights keep their proportions


@pytest.mark.parametrize(
    ("gap", "region"), [((3200, 3400), "lower"), ((3400, 3600), "signal"), ((3600, 3800), "upper")]
)
def test_an_empty_region_is_named(gap: tuple[int, int], region: str) -> None:
    mass = np.linspace(3000.0, 4000.0, 500)
    mass = mass[(mass < gap[0]) | (mass >= gap[1])]
    sample = Sample(np.zeros((len(mass), 1)), ("x",), mass)
    with pytest.raises(InputError, match=f"{region}.* of window 3400-3600 GeV has no events"):
        region_weights(sample, WINDOW)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.1, 5.0)), min_size=2, max_size=60), st.floats(0.01, 1.0))
def test_threshold_keeps_the_most_that_the_fraction_allows(events: list[tuple[int, float]], fraction: float) -> None:
    scores, weight = np.array(events).T
    cut = threshold(scores, fraction, weight)
    total = weight.sum()
    passed = weight[scores >= cut].sum()
    lower = scores[scores < cut]
    if passed > fraction * total * (1 + 1e-9):
        assert cut == scores.max()  # even the best tie is too much: at least it passes
    elif len(lower):
        assert weight[scores >= lower.max()].sum() > fraction * total


def test_weighted_threshold_is_that_of_repeated_events() -> None:
    rng = np.random.default_rng(3)
    scores, counts = rng.normal(size=500), rng.integers(1, 5, 500)
    repeated = np.repeat(scores, counts)
    for fraction in (0.5, 0.1, 0.01):
        assert threshold(scores, fraction, counts) == threshold(repeated, fraction)


def test_select_cuts_each_fold_on_its_own_scale() -> None:
    rng = np.random.default_rng(1)
    fold = rng.integers(0, 5, 50_000)
    scores = rng.normal(size=50_000) * 10.0**fold  # a common cut would take the last fold only
    selected = select(scores, fold, (0.1, 0.01))
    assert not np.any(selected[0.01] & ~selected[0.1])
    for number in range(5):
        own = fold == number
        assert selected[0.01][own].mean() == pytest.approx(0.01, abs=1 / own.sum())


def test_select_sets_the_fraction_on_the_reference_and_cuts_everything() -> None:
    scores = np.arange(200.0)
    reference = scores < 100
    selected = select(scores, None, [0.1], reference=reference)[0.1]
    assert selected[reference].sum() == 10
    assert selected[~reference].all()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ConfigError, match="fraction of the events"):
        threshold(np.arange(10.0), fraction)


def test_cut_on_nothing_or_nan() -> None:
    with pytest.raises(InputError, match="cannot set a cut on 0 events"):
        threshold(np.zeros(0), 0.1)
    with pytest.raises(InputError, match="1 NaN scores"):
        threshold(np.array([1.0, np.nan]), 0.1)
