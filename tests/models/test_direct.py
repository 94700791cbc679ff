"""The direct background estimate: against toys of known background, injected signals and templates that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import gamma, norm, poisson

from resonaut.errors import InputError
from resonaut.models import Sample, select
from resonaut.models.direct import DirectEstimate, direct_estimate, interpolated_efficiency
from resonaut.models.templates import HeldOut, MassModel
from resonaut.stats import Window

WINDOW = Window(3300.0, 3700.0, 3000.0, 4000.0)
LOW, HIGH, FALL = 2800.0, 5200.0, 450.0
FOLDS = 3


def masses(rng: np.random.Generator, events: int) -> np.ndarray:
    """An exponential spectrum, cut at both ends."""
    ends = np.exp(-np.array([LOW, HIGH]) / FALL)
    return -FALL * np.log(rng.uniform(ends[1], ends[0], events))


def feature(rng: np.random.Generator, mass: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """One feature that drifts with the mass, which a template that is right reproduces."""
    return rng.normal(0.8 * np.log(mass / 3500.0) + shift, 1.0)


def scored(x: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scorers of different folds are different functions of the same feature."""
    return np.choose(fold, [x, 5.0 * x + 100.0, np.arctan(x)])


def background_mass(rng: np.random.Generator, events: int) -> np.ndarray:
    ends = np.exp(-np.array([WINDOW.low, WINDOW.high]) / FALL)
    return -FALL * np.log(rng.uniform(ends[1], ends[0], events))


def analytic_template(rng: np.random.Generator, events: int, shift: float = 0.0) -> list[HeldOut]:
    held = []
    for number in range(FOLDS):
        mass = background_mass(rng, events)
        x = feature(rng, mass, shift)
        held.append(HeldOut(scored(x, np.full(events, number)), np.full(events, 0.3), mass, 0.0))
    return held


def toy(
    seed: int, *, events: int = 20_000, signal: int = 0, shift: float = 0.0, template: int = 4000
) -> dict[float, DirectEstimate]:
    rng = np.random.default_rng(seed)
    count = rng.poisson(events)
    mass = masses(rng, count)
    x = feature(rng, mass)
    if signal:
        mass = np.concatenate([mass, rng.uniform(3400.0, 3600.0, signal)])
        x = np.concatenate([x, rng.normal(4.5, 0.3, signal)])
    fold = rng.integers(0, FOLDS, len(mass))
    model = MassModel.fit(Sample(x[:, None], ("x",), mass), WINDOW, (LOW, HIGH), function="dijet3")
    held = analytic_template(rng, template, shift)
    given = (scored(x, fold), fold, mass, WINDOW)
    return {cut: direct_estimate(*given, cut, held, (model.total, model.error)) for cut in (0.1, 0.01)}


@pytest.fixture(scope="module")
def toys() -> list[dict[float, DirectEstimate]]:
    return [toy(seed) for seed in range(250)]


@pytest.mark.parametrize("cut", [0.1, 0.01])
def test_background_only_toys_close(toys: list[dict[float, DirectEstimate]], cut: float) -> None:
    found = [each[cut] for each in toys]
    pulls = np.array([(e.observed - e.expected) / np.hypot(e.expected**0.5, e.expected_error) for e in found])
    assert abs(pulls.mean()) < 4 / len(pulls) ** 0.5
    assert 0.8 < pulls.std(ddof=1) < 1.2
    # Against the truth: the expectation itself has the spread that it claims, the closure's zeros aside.
    assert np.mean([e.closure_error == 0 for e in found]) > 0.4
    assert np.median([e.closure_error / e.expected for e in found]) < 0.1


@pytest.mark.parametrize("cut", [0.1, 0.01])
def test_the_closure_has_the_precision_that_it_claims(toys: list[dict[float, DirectEstimate]], cut: float) -> None:
    pulls = np.array([(t[cut].expected - t[cut].closure) / t[cut].closure_precision for t in toys])
    assert abs(pulls.mean()) < 4 / len(pulls) ** 0.5
    assert 0.8 < pulls.std(ddof=1) < 1.2


def test_p_values_of_background_are_uniform(toys: list[dict[float, DirectEstimate]]) -> None:
    p = np.array([each[0.1].local_p for each in toys])
    for level in (0.05, 0.16, 0.5):
        allowed = 4 * np.sqrt(level * (1 - level) / len(p))
        assert abs(np.mean(p < level) - level) < allowed


def test_an_injected_signal_is_the_excess() -> None:
    signal = 60
    excess = [(e := toy(seed, signal=signal)[0.01]).observed - e.expected for seed in range(1000, 1030)]
    error = np.std(excess, ddof=1) / len(excess) ** 0.5
    # The cut keeps 1 % of all: signal that enters pushes as much background out, in and outside of the signal region.
    assert abs(np.mean(excess) - signal) < 4 * error
    assert toy(1000, signal=signal)[0.01].local_significance > 5
    assert toy(1000)[0.01].local_significance < 4


def test_a_wrong_template_is_found_by_the_closure(toys: list[dict[float, DirectEstimate]]) -> None:
    wrong = [toy(seed, shift=-0.3)[0.1] for seed in range(20)]
    bias = np.array([e.observed - e.expected for e in wrong])
    assert np.mean(bias) > 100  # without the closure a discovery
    blind = [norm.isf(poisson.sf(e.observed - 1, e.expected)) for e in wrong]
    assert np.median(blind) > 5
    assert np.median([e.closure_error for e in wrong]) == pytest.approx(np.median(bias), rel=0.15)
    assert max(e.local_significance for e in wrong) < 2
    right = np.median([each[0.1].closure_error for each in toys[:20]])
    assert np.median([e.closure_error for e in wrong]) > 5 * max(right, 1.0)


def test_the_closure_follows_a_mass_that_the_classifier_learnt() -> None:
    """Sidebands as a template of features that peak at a mass: the efficiency bulges in the signal region."""
    rng = np.random.default_rng(4)
    mass = masses(rng, 100_000)
    log_odds = -2.0 - 30.0 * np.log(mass / 3500.0) ** 2
    truth = 1 / (1 + np.exp(-log_odds))
    passing = rng.random(len(mass)) < truth
    inside = WINDOW.in_signal_region(mass)
    value, error = interpolated_efficiency(mass, passing, WINDOW)
    assert abs(value - truth[inside].mean()) < 4 * error
    assert error < 0.05 * value
    sidebands = WINDOW.in_sidebands(mass)
    assert passing[sidebands].mean() < 0.85 * value


def brute_force_tail(observed: float, expected: float, error: float) -> float:
    """Poisson tail, averaged over a gamma distribution of the background by sampling its quantiles."""
    shape, scale = (expected / error) ** 2, error**2 / expected
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    return float(poisson.sf(observed - 1, gamma.ppf(quantiles, shape + 1.0, scale=scale)).mean())


def test_the_p_value_is_the_marginalised_poisson_tail() -> None:
    """Z_Bi is the tail for the posterior of the off count with a flat prior: gamma of shape n_off + 1."""
    estimate = toy(7, signal=25)[0.01]
    p = brute_force_tail(estimate.observed, estimate.expected, estimate.expected_error)
    assert estimate.local_p == pytest.approx(p, rel=1e-2)
    assert estimate.local_significance == pytest.approx(norm.isf(p), abs=0.01)


def test_thresholds_are_those_of_select() -> None:
    rng = np.random.default_rng(8)
    mass, fold = masses(rng, 5000), rng.integers(0, FOLDS, 5000)
    scores = scored(feature(rng, mass), fold)
    estimate = direct_estimate(scores, fold, mass, WINDOW, 0.1, analytic_template(rng, 500), (1000.0, 10.0))
    assert estimate.observed == np.count_nonzero(select(scores, fold, [0.1])[0.1] & WINDOW.in_signal_region(mass))


def simple(change: Callable[[HeldOut], HeldOut] = lambda held: held) -> DirectEstimate:
    rng = np.random.default_rng(9)
    mass, fold = masses(rng, 6000), rng.integers(0, FOLDS, 6000)
    held = [change(each) for each in analytic_template(rng, 1000)]
    return direct_estimate(scored(feature(rng, mass), fold), fold, mass, WINDOW, 0.1, held, (1500.0, 30.0))


def test_a_template_that_is_drawn_twice_is_no_better() -> None:
    def doubled(held: HeldOut) -> HeldOut:
        return HeldOut(*(np.tile(getattr(held, name), 2) for name in ("scores", "weight", "mass")), held.error)

    once, twice = simple(), simple(doubled)
    assert twice.expected == pytest.approx(once.expected)
    assert twice.template_error == pytest.approx(once.template_error)  # the same events, known by their masses


def test_the_template_error_is_binomial_and_ignores_the_scale_of_weights() -> None:
    estimate = simple()
    efficiency = estimate.expected / 1500.0
    assert estimate.template_error == pytest.approx(1500 * np.sqrt(efficiency * (1 - efficiency) / 3000), rel=0.03)
    assert estimate.yield_error == pytest.approx(30 * efficiency)
    scaled = simple(lambda held: replace(held, weight=7 * held.weight))
    assert scaled.expected == pytest.approx(estimate.expected)
    assert scaled.template_error == pytest.approx(estimate.template_error)


def test_no_template_event_above_the_cut_is_no_certainty() -> None:
    estimate = simple(lambda held: replace(held, scores=np.full_like(held.scores, -1e9)))
    assert estimate.expected == 0
    assert estimate.template_error == pytest.approx(1500.0 / 3000, rel=1e-2)
    assert 0 < estimate.local_p < 1


def test_it_goes_through_json() -> None:
    estimate = simple()
    assert DirectEstimate.from_dict(estimate.to_dict()) == estimate
    assert estimate.to_dict()["expected_error"] == estimate.expected_error


def test_what_does_not_belong_together_is_refused() -> None:
    rng = np.random.default_rng(1)
    mass, fold = masses(rng, 1000), np.arange(1000) % 4
    held = analytic_template(rng, 100)
    with pytest.raises(InputError, match="in folds 0-3 but 3 folds have a held-out template"):
        direct_estimate(mass, fold, mass, WINDOW, 0.1, held, (100.0, 1.0))
    with pytest.raises(InputError, match="1000 scores, 999 folds"):
        direct_estimate(mass, fold[1:], mass, WINDOW, 0.1, held, (100.0, 1.0))
    with pytest.raises(InputError, match="both sides need events"):
        direct_estimate(mass, fold % 3, np.full(1000, 3500.0), WINDOW, 0.1, held, (100.0, 1.0))
    empty = [replace(each, weight=0 * each.weight) for each in held]
    with pytest.raises(InputError, match="draw a larger template"):
        direct_estimate(mass, fold % 3, mass, WINDOW, 0.1, empty, (100.0, 1.0))
    above = mass[mass > 3300.0]
    with pytest.raises(InputError, match="do not reach beyond both ends"):
        direct_estimate(above, fold[: len(above)] % 3, above, WINDOW, 0.1, held, (100.0, 1.0))
