"""Designed decorrelation against a known conditional distribution: as tight at every mass, in order, blind to the signal region."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import chi2, norm

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import DDT, BaseScorer, CrossFit, Sample, load_scorer, make_scorer, register, select
from resonaut.models.ddt import EfficiencyMap
from resonaut.stats import Window

Array = npt.NDArray[np.float64]
WINDOW = Window(3300.0, 3700.0, 3000.0, 4100.0)


@register("column-of-the-tests")
class Column(BaseScorer):
    """The first feature is the score; remembers which events it was shown."""

    def __init__(self, features: tuple[str, ...] = ("s",), *, seed: int = 0) -> None:
        self.features, self.seed = tuple(features), seed
        self.shown_: Array | None = None

    @property
    def fitted(self) -> bool:
        return self.shown_ is not None

    def fit(self, sample: Sample, window: Window | None) -> Self:
        self.shown_, self.window_ = sample.mass, window
        return self

    def score(self, sample: Sample) -> Array:
        return sample.require(self.features)[:, 0]

    def learnt_tensors(self) -> dict[str, npt.NDArray[Any]]:
        assert self.shown_ is not None
        return {"shown": self.shown_}

    def restore(self, tensors: dict[str, npt.NDArray[Any]], facts: dict[str, Any]) -> None:
        del facts
        self.shown_ = tensors["shown"]


def centre(mass: Array) -> Array:
    return (mass - 3000.0) / 800.0 + 0.3 * np.sin(mass / 900.0)


def width(mass: Array) -> Array:
    return 0.6 + 0.2 * (mass - 3000.0) / 1000.0


def background(seed: int, events: int = 60_000) -> Sample:
    """A falling spectrum whose score rises and widens with the mass: normal, with known mean and width."""
    rng = np.random.default_rng(seed)
    mass = 2800.0 + rng.exponential(700.0, 2 * events)
    mass = mass[mass < 5200.0][:events]
    return Sample(rng.normal(centre(mass), width(mass))[:, None], ("s",), mass)


def flatness(selected: npt.NDArray[np.bool_], mass: Array, bins: int = 15) -> float:
    """Chi2 probability that the share of selected events is the same in bins of equal population."""
    edges = np.quantile(mass, np.linspace(0, 1, bins + 1))
    edges[-1] += 1.0
    total, passed = np.histogram(mass, edges)[0], np.histogram(mass[selected], edges)[0]
    share = selected.mean()
    return float(chi2.sf(((passed - share * total) ** 2 / (total * share * (1 - share))).sum(), bins - 1))


def test_the_map_is_the_survival_function() -> None:
    events = background(1, 120_000)
    outside = events.take(~WINDOW.in_signal_region(events.mass))
    learnt = EfficiencyMap.fit(outside.features[:, 0], outside.mass, outside.weight, degree=3, min_events=100.0)
    for mass in (2900.0, 3200.0, 3400.0, 3500.0, 3600.0, 4000.0, 4500.0):  # inside the signal region too
        for survival in (0.6, 0.3, 0.1, 0.03, 0.01, 0.003):
            score = centre(np.array([mass])) + width(np.array([mass])) * norm.isf(survival)
            got = learnt.log_survival(score, np.array([mass]))[0]
            near = 120_000 * 0.15 * survival  # events that know: those of a sixth of the range above the score
            assert got == pytest.approx(-np.log(survival), abs=0.03 + 4 / np.sqrt(near))


def test_a_cut_is_as_tight_at_every_mass() -> None:
    sample = background(2)
    plain = CrossFit("column-of-the-tests", folds=3, seed=1).fit_score(sample, WINDOW)
    flat = CrossFit("ddt", wrapped="column-of-the-tests", folds=3, seed=1).fit_score(sample, WINDOW)
    for fraction in (0.5, 0.1, 0.01):
        assert flatness(plain.select((fraction,))[fraction], sample.mass) < 1e-30
        assert flatness(flat.select((fraction,))[fraction], sample.mass) > 1e-3
    new = background(3)  # events that taught nothing
    selected = select(flat.scorer.scorers[0].score(new), None, (0.3, 0.03))
    assert flatness(selected[0.03], new.mass) > 1e-3
    assert flatness(selected[0.3], new.mass) > 1e-4  # 18,000 events resolve what the polynomials leave
    assert np.mean(flat.scores > -np.log(0.02)) == pytest.approx(0.02, abs=0.002)  # the score says how tight


def test_order_at_fixed_mass_is_kept() -> None:
    sample = background(4, 20_000)
    scorer = make_scorer("ddt", wrapped="column-of-the-tests", seed=1).fit(sample, WINDOW)
    values = np.linspace(-30.0, 30.0, 2001)  # far beyond all events on both sides
    for mass in (100.0, 2800.0, 3500.0, 5000.0, 13_000.0):
        scores = scorer.score(Sample(values[:, None], ("s",), np.full(len(values), mass)))
        assert np.isfinite(scores).all()
        assert np.all(np.diff(scores) > 0)


def with_signal(sample: Sample, events: int, height: float) -> Sample:
    rng = np.random.default_rng(9)
    mass = np.concatenate([sample.mass, rng.normal(3500.0, 60.0, events)])
    score = np.concatenate([sample.features[:, 0], rng.normal(height, 0.2, events)])
    return Sample(score[:, None], ("s",), mass, label=np.arange(len(mass)) >= len(sample))


def test_a_resonance_survives() -> None:
    """1000 signal events among some 12,000 in the signal region, at a score that 1 % of the background there has."""
    sample = with_signal(background(5), 1000, centre(np.array([3500.0]))[0] + 2.4 * width(np.array([3500.0]))[0])
    inside = WINDOW.in_signal_region(sample.mass)
    result = CrossFit("ddt", wrapped="column-of-the-tests", folds=3, seed=2).fit_score(sample, WINDOW)
    selected = result.scores > -np.log(0.02)
    assert selected[sample.truth() == 1].mean() > 0.75
    expected = 0.02 * np.count_nonzero(inside & (sample.truth() == 0))
    found = np.count_nonzero(selected & inside)
    assert found - expected > 20 * np.sqrt(expected)
    untouched = np.count_nonzero(selected & inside & (sample.truth() == 0))
    assert untouched == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_the_signal_region_teaches_nothing() -> None:
    sample = background(6, 20_000)
    inside = WINDOW.in_signal_region(sample.mass)
    other = Sample(np.where(inside[:, None], 50.0, sample.features), ("s",), sample.mass)
    for reference in ("outside", "sidebands"):
        maps = []
        for each in (sample, other):
            scorer = DDT("column-of-the-tests", reference=reference, seed=3).fit(each, WINDOW)
            assert scorer.map_ is not None
            maps.append(scorer.map_.tensors())
        for name, array in maps[0].items():
            np.testing.assert_array_equal(array, maps[1][name])


def test_sidebands_are_those_of_the_window() -> None:
    sample = background(7, 40_000)
    far = (sample.mass < WINDOW.sb_low) | (sample.mass >= WINDOW.sb_high)
    other = Sample(np.where(far[:, None], -5.0, sample.features), ("s",), sample.mass)
    scores = [
        DDT("column-of-the-tests", reference="sidebands", seed=3).fit(each, WINDOW).score(sample)
        for each in (sample, other)
    ]
    np.testing.assert_array_equal(*scores)


def test_the_map_learns_from_events_that_the_scorer_did_not_see() -> None:
    sample = background(8, 12_000)
    scorer = DDT("column-of-the-tests", parts=4, seed=5).fit(sample, WINDOW)
    assert isinstance(scorer.inner_, Column)
    assert scorer.inner_.shown_ is not None
    unseen = ~np.isin(sample.mass, scorer.inner_.shown_)
    assert unseen.mean() == pytest.approx(0.25, abs=0.001)
    changed = Sample(np.where(unseen[:, None], sample.features, 0.0), ("s",), sample.mass)
    again = DDT("column-of-the-tests", parts=4, seed=5).fit(changed, WINDOW)
    np.testing.assert_array_equal(again.score(sample), scorer.score(sample))
    fold = np.arange(12_000) % 3
    for number, each in enumerate(scorer.fit_folds(sample, WINDOW, fold, [1, 2, 3])):
        assert isinstance(each.inner_, Column)
        np.testing.assert_array_equal(each.inner_.shown_, sample.mass[fold != number])
        own = Sample(np.where((fold == number)[:, None], sample.features, 1.0 - sample.features), ("s",), sample.mass)
        same = scorer.fit_folds(own, WINDOW, fold, [1, 2, 3])[number]
        np.testing.assert_array_equal(same.score(sample), each.score(sample))


def test_simulation_as_reference() -> None:
    data = with_signal(background(10, 20_000), 500, 3.0)
    scorer = DDT("column-of-the-tests", reference="simulation", seed=1)
    with pytest.raises(InputError, match="'ddt' learns from simulated background"):
        scorer.fit(data, WINDOW)
    fitted = scorer.fit(data.with_simulation(background(11, 40_000)), WINDOW)
    new = background(12)
    assert flatness(fitted.score(new) > -np.log(0.05), new.mass) > 1e-3


def test_weights_count() -> None:
    """Weights that make the scores higher at low masses: the map knows, so that weighted background is flat."""
    sample = background(13, 80_000)
    tilt = np.where(sample.mass < 3300.0, np.exp(0.5 * sample.features[:, 0]), 1.0)
    weighted = Sample(sample.features, ("s",), sample.mass, tilt)
    unweighted = EfficiencyMap.fit(sample.features[:, 0], sample.mass, np.ones(len(sample)), degree=3, min_events=100)
    learnt = EfficiencyMap.fit(weighted.features[:, 0], weighted.mass, tilt, degree=3, min_events=100)
    low = sample.mass < 3200.0
    for each, expected in ((learnt, 0.1), (unweighted, None)):
        passed = each.log_survival(sample.features[:, 0], sample.mass) > -np.log(0.1)
        share = tilt[low & passed].sum() / tilt[low].sum()
        assert share > 0.12 if expected is None else share == pytest.approx(expected, abs=0.015)
    scaled = EfficiencyMap.fit(weighted.features[:, 0], weighted.mass, 1e3 * tilt, degree=3, min_events=100)
    np.testing.assert_allclose(scaled.coefficients, learnt.coefficients, rtol=1e-6, atol=1e-9)


def test_equal_scores_stay_together() -> None:
    sample = background(14, 20_000)
    steps = Sample(np.round(sample.features * 2) / 2, ("s",), sample.mass)
    scorer = DDT("column-of-the-tests", seed=1).fit(steps, WINDOW)
    at_one_mass = scorer.score(
        Sample(np.unique(steps.features)[:, None], ("s",), np.full(len(np.unique(steps.features)), 3500.0))
    )
    assert np.all(np.diff(at_one_mass) > 0)
    constant = Sample(np.zeros((20_000, 1)), ("s",), sample.mass)
    with pytest.raises(InputError, match="1 different scores"):
        DDT("column-of-the-tests").fit(constant, WINDOW)


@pytest.mark.parametrize(
    ("scorer", "options"),
    [
        ("cwola-trees", {"features": ["s", "t"], "members": 1, "max_iter": 10}),
        (
            "cwola-nn",
            {
                "features": ["s", "t"],
                "rounds": 2,
                "initialisations": 1,
                "epochs": 2,
                "batch_size": 512,
                "device": "cpu",
            },
        ),
    ],
)
def test_real_scorers_cross_fitted_saved_and_loaded(scorer: str, options: dict[str, Any], tmp_path: Path) -> None:
    base = background(15, 12_000)
    other = np.random.default_rng(0).normal(size=len(base))
    sample = Sample(np.column_stack([base.features[:, 0], other]), ("s", "t"), base.mass)
    result = CrossFit("ddt", wrapped=scorer, wrapped_options=options, folds=2, seed=4).fit_score(sample, WINDOW)
    wrapped = CrossFit(scorer, **options, folds=2, seed=4).fit_score(sample, WINDOW)
    for flat, plain in zip(result.scorer.scorers, wrapped.scorer.scorers, strict=True):
        assert isinstance(flat, DDT)
        assert flat.inner_ is not None
        np.testing.assert_array_equal(flat.inner_.score(sample), plain.score(sample))  # trained as without the map
    result.scorer.save(tmp_path / "all")
    again = load_scorer(tmp_path / "all")
    np.testing.assert_array_equal(again.score(sample), result.scorer.score(sample))
    one = result.scorer.scorers[0]
    one.save(tmp_path / "one")
    one.save(tmp_path / "one")  # replaces
    np.testing.assert_array_equal(load_scorer(tmp_path / "one").score(sample), one.score(sample))
    (tmp_path / "one" / "scorer" / "card.json").unlink()
    with pytest.raises(ModelError, match=r"has no card\.json"):
        load_scorer(tmp_path / "one")


def test_seeds_reproduce() -> None:
    sample = background(16, 12_000)
    scores = [DDT("column-of-the-tests", seed=seed).fit(sample, WINDOW).score(sample) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="reads truth labels"):
        DDT("supervised")
    with pytest.raises(ConfigError, match="'reference' of 'ddt'"):
        DDT("cwola-trees", reference="sideband")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'members'"):
        DDT("cwola-trees", {"member": 1})
    with pytest.raises(ConfigError, match="parts >= 2"):
        DDT("cwola-trees", parts=1)
    with pytest.raises(ModelError, match="'ddt' is not fitted"):
        DDT("cwola-trees").score(background(1, 10))
    with pytest.raises(InputError, match="too few for a threshold"):
        DDT("column-of-the-tests").fit(background(1, 200), WINDOW)
