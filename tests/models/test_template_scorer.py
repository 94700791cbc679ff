"""The scorer that all templates share, combinations of templates and of scores, and Tag N' Train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.stats import spearmanr

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import CrossFit, Sample, auc, load_scorer, make_scorer
from resonaut.models.classifiers import Classifier, TrainedClassifier
from resonaut.models.templates import BackgroundTemplate, MassModel, TemplateScorer, make_template, register_template
from resonaut.stats import Window

WINDOW = Window(3300.0, 3700.0, 3000.0, 4000.0)
RANGE = (2800.0, 5000.0)
NAMES = ("x", "y")
FAST = {"members": 1, "max_iter": 80}


def data_events(events: int, seed: int, signal: int = 0, shift: float = 0.0) -> Sample:
    """A falling spectrum; x drifts with the mass, y does not; signal sits at x = 2.5, y = 0.9 and 3.5 TeV."""
    rng = np.random.default_rng(seed)
    falling = RANGE[0] - 450.0 * np.log1p(-rng.random(events) * -np.expm1((RANGE[0] - RANGE[1]) / 450.0))
    mass = np.concatenate([falling, rng.normal(3500.0, 80.0, signal)])
    label = np.arange(events + signal) >= events
    x = rng.normal(np.where(label, 2.5, (mass - 3500.0) / 700.0 - shift), np.where(label, 0.3, 1.0))
    y = np.where(label, rng.normal(0.9, 0.05, len(mass)), rng.uniform(0.0, 1.0, len(mass)))
    return Sample(np.column_stack([x, y]), NAMES, mass, label=label)


def simulated_events(events: int, seed: int) -> Sample:
    return data_events(events, seed, shift=0.4)


def inside(sample: Sample) -> Sample:
    return sample.take(WINDOW.in_signal_region(sample.mass))


# The scorer: who saw what.


class Seen(TrainedClassifier):
    """Answers 0.9 for rows that it was trained on, 0.1 for others."""

    kind = "test-memory"

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    @property
    def inputs(self) -> int:
        return self.rows.shape[1]

    def _probability(self, matrix: np.ndarray) -> np.ndarray:
        known = {row.tobytes() for row in self.rows}
        return np.array([0.9 if row.tobytes() in known else 0.1 for row in matrix])

    def tensors(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows}

    def _facts(self) -> dict[str, Any]:
        return {}

    @classmethod
    def restore(cls, tensors: dict[str, np.ndarray], facts: Mapping[str, Any], device: str | None = None) -> Seen:
        del facts, device
        return cls(tensors["rows"])


class Memory(Classifier):
    """Remembers all that it may see, template and data alike."""

    name = "test-memory"
    trained: ClassVar[type[TrainedClassifier]] = Seen

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def _train(self, events: Any, seeds: Sequence[int]) -> list[TrainedClassifier]:
        return [Seen(events.matrix[events.rows(number)]) for number in range(len(seeds))]


@register_template("test-markers")
class Markers(BackgroundTemplate):
    """Each background event has a value of its own, which no data event has."""

    learns_from_data = False

    def __init__(self, features: Sequence[str] = NAMES, *, seed: int = 0) -> None:
        self.features, self.seed = tuple(features), seed

    def fit(self, sample: Sample, window: Window) -> Markers:
        self.window_, self.mass_ = window, MassModel.fit(sample, window, RANGE)
        return self

    def background(self, seed: int) -> Sample:
        markers = np.arange(500.0) + 1e6
        mass = self.mass_model.draw(500, seed)
        return Sample(np.stack([markers, -markers], axis=1), NAMES, mass, np.full(500, self.yield_()[0] / 500))


class MarkersScorer(TemplateScorer):
    """Not registered: nothing is saved."""

    name = "test-markers"
    template_class = Markers


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier for these tests alone, and therefore not registered."""
    import resonaut.models.templates.scorer as scorer_module

    made = scorer_module.make_classifier
    monkeypatch.setattr(
        scorer_module, "make_classifier", lambda name, **o: Memory() if name == "test-memory" else made(name, **o)
    )


@pytest.mark.usefixtures("memory")
def test_no_classifier_saw_the_events_that_it_scores_template_or_data() -> None:
    sample = data_events(3000, 40)
    fold = np.random.default_rng(41).integers(0, 5, len(sample))
    scorers = MarkersScorer(NAMES, classifier="test-memory").fit_folds(sample, WINDOW, fold, range(5))
    held = np.concatenate([scorer.held_out_.mass for scorer in scorers])
    assert len(held) == 500
    for number, scorer in enumerate(scorers):
        assert scorer.held_out_.scores.max() < 0.5
        assert scorer.held_out_.weight.sum() == pytest.approx(scorer.template_.yield_()[0])
        own = inside(sample.take(fold == number))
        assert scorer.score(own).max() < 0.5
        assert scorer.score(inside(sample.take(fold != number))).min() > 0.5
        seen = [row for row in scorer.trained_.rows[:, 0] if row >= 1e6]
        assert len(seen) == len(set(seen)) == 400


@pytest.mark.usefixtures("memory")
def test_a_template_of_data_is_made_without_the_events_of_its_fold() -> None:
    """Sidebands: the data that the fold scores are neither in the template nor among the signal region's data."""
    sample = data_events(3000, 42)
    fold = np.random.default_rng(43).integers(0, 5, len(sample))
    options = {"template": {"mass_range": RANGE}, "classifier": "test-memory"}
    for number, scorer in enumerate(
        make_scorer("cwola", features=NAMES, **options).fit_folds(sample, WINDOW, fold, range(5))
    ):
        assert scorer.score(sample.take(fold == number)).max() < 0.5
        used = sample.take((fold != number) & (sample.mass > WINDOW.sb_low) & (sample.mass < WINDOW.sb_high))
        assert np.mean(scorer.score(used) > 0.5) > 0.85  # all but the template's own held-out part


def with_other_events(sample: Sample, rows: np.ndarray) -> Sample:
    """The same masses, with nonsense for features and labels in some rows."""
    features = sample.features.copy()
    features[rows] = 7.0
    label = np.where(rows, 1 - sample.truth(), sample.truth())
    return Sample(features, NAMES, sample.mass, label=label, simulation=sample.simulation)


@pytest.mark.parametrize("name", ["cathode", "salad", "cwola", "sa-cwola"])
def test_an_events_features_and_label_cannot_reach_its_own_score(name: str) -> None:
    """At any mass: the sidebands that a fold's spectrum is fitted in have not made its template."""
    sample = data_events(6000, 44, signal=60).with_simulation(simulated_events(6000, 45))
    template: dict[str, Any] = {"mass_range": RANGE}
    if name == "salad":
        template["classifier"], template["classifier_options"] = "trees", FAST
    if name == "cathode":
        template["flow"] = {"layers": 2, "hidden": 16, "epochs": 2, "batch_size": 512}
    options = {"features": NAMES, "template": template, "classifier_options": FAST, "folds": 3, "seed": 1}
    fitted = CrossFit(name, **options).fit(sample, WINDOW)
    fold = fitted.fold_of(sample.mass)
    changed = CrossFit(name, **options).fit(with_other_events(sample, fold == 1), WINDOW)
    new = data_events(1000, 46)
    np.testing.assert_array_equal(changed.scorers[1].score(new), fitted.scorers[1].score(new))
    assert np.any(changed.scorers[0].score(new) != fitted.scorers[0].score(new))


def test_one_template_for_all_folds_is_the_same_where_nothing_is_learnt_but_the_yield() -> None:
    sample = data_events(6000, 49).with_simulation(data_events(6000, 50))
    apart, shared = (
        CrossFit(
            "idealised-template",
            features=NAMES,
            template={"mass_range": RANGE},
            classifier_options=FAST,
            per_fold=per_fold,
        ).fit_score(sample, WINDOW)
        for per_fold in (True, False)
    )
    np.testing.assert_array_equal(apart.scores, shared.scores)


def test_sa_cwola_cancels_however_much_of_the_signal_region_is_there() -> None:
    """Simulation like the data, half of the signal region's data missing: the score knows nothing of the mass."""
    sample = data_events(40_000, 51)
    kept = ~WINDOW.in_signal_region(sample.mass) | (np.arange(len(sample)) % 2 == 0)
    data = sample.take(kept).with_simulation(data_events(40_000, 52))
    options = {"template": {"mass_range": RANGE}, "classifier_options": {"members": 2, "max_iter": 80}}
    scorer = make_scorer("sa-cwola", features=NAMES, seed=1, **options).fit(data, WINDOW)
    fresh = data_events(30_000, 53)
    used = fresh.take((fresh.mass > WINDOW.sb_low) & (fresh.mass < WINDOW.sb_high))
    assert float(auc(WINDOW.in_signal_region(used.mass), scorer.score(used))) == pytest.approx(0.5, abs=0.03)


def test_saved_scorers_score_alike_and_keep_the_held_out_template(tmp_path: Path) -> None:
    sample = data_events(6000, 47).with_simulation(simulated_events(6000, 48))
    template = {"mass_range": RANGE, "classifier": "trees", "classifier_options": FAST}
    fitted = CrossFit("salad", features=NAMES, template=template, classifier_options=FAST, folds=2).fit(sample, WINDOW)
    fitted.save(tmp_path / "salad")
    again: Any = load_scorer(tmp_path / "salad")
    new = data_events(1000, 49)
    np.testing.assert_array_equal(again.score(new), fitted.score(new))
    for old, restored in zip(fitted.scorers, again.scorers, strict=True):
        assert restored.template_.facts() == old.template_.facts()
        assert restored.held_out_.error == old.held_out_.error
        for part in ("scores", "weight", "mass"):
            np.testing.assert_array_equal(getattr(restored.held_out_, part), getattr(old.held_out_, part))


def test_wrong_options_are_told_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match="unknown option of template 'salad' 'mass_rang': did you mean 'mass_range'"):
        make_scorer("salad", template={"mass_rang": [2800, 5000]})
    with pytest.raises(ConfigError, match="unknown classifier 'tree': did you mean 'trees'"):
        make_scorer("salad", template={"classifier": "tree"})
    with pytest.raises(ConfigError, match="cannot set seed"):
        make_scorer("salad", template={"seed": 3})


# The idealised detector, and the background estimate from held-out events.


@pytest.fixture(scope="module")
def idealised() -> CrossFit:
    sample = data_events(40_000, 50, signal=400).with_simulation(data_events(80_000, 51, signal=50))
    options = {"template": {"mass_range": RANGE}, "classifier_options": {"members": 2, "max_iter": 80}}
    return CrossFit("idealised-template", features=NAMES, folds=3, seed=2, **options).fit(sample, WINDOW)


def test_held_out_template_events_give_the_background_efficiency_of_a_cut(idealised: CrossFit) -> None:
    fresh = inside(data_events(400_000, 52))
    signal = inside(data_events(10, 53, signal=3000))
    for scorer in idealised.scorers:
        scores, held = scorer.score(fresh), scorer.held_out_
        for efficiency in (0.1, 0.01):
            threshold = np.quantile(scores, 1 - efficiency)
            found, error = held.fraction_above(threshold)
            assert error == pytest.approx(np.sqrt(efficiency / len(held.scores)), rel=0.4)
            assert abs(found - efficiency) < 4 * np.hypot(error, np.sqrt(efficiency / len(fresh)))
        assert (
            np.mean(scorer.score(signal.take(signal.label == 1)) > threshold) > 0.3
        )  # and the cut at 1 % means something


def test_true_background_is_the_events_beside_the_data_without_their_signal(idealised: CrossFit) -> None:
    template = idealised.scorers[0].template_
    events = template.background(0)
    beside = inside(data_events(80_000, 51, signal=50))
    np.testing.assert_array_equal(events.features, beside.features[beside.label == 0])
    assert events.weight.sum() == pytest.approx(template.yield_()[0])
    assert make_scorer("idealised-template").uses_labels
    with pytest.raises(InputError, match="none of the events beside the data are background"):
        make_template("truth", features=NAMES, mass_range=RANGE).fit(
            data_events(3000, 54).with_simulation(beside.take(beside.label == 1)), WINDOW
        )


# Combinations.


def test_a_mixture_has_equal_parts_and_the_yield() -> None:
    sample = data_events(6000, 55).with_simulation(simulated_events(6000, 56))
    members = [
        {"name": "salad", "options": {"classifier": "trees", "classifier_options": FAST}},
        {"name": "truth"},
    ]
    mix = make_template("mix", features=NAMES, members=members, mass_range=RANGE).fit(sample, WINDOW)
    events, simulated = mix.background(0), inside(simulated_events(6000, 56))
    count = len(simulated)
    assert len(events) == 2 * count
    np.testing.assert_array_equal(events.features, np.concatenate([simulated.features] * 2))
    assert events.weight[:count].sum() == pytest.approx(0.5 * mix.yield_()[0])
    assert events.weight[count:].sum() == pytest.approx(0.5 * mix.yield_()[0])
    assert mix.uses_simulation
    assert not mix.made_of_events
    assert make_template("mix", features=NAMES, members=["salad", "sa-cwola"]).made_of_events
    assert [facts["yield"] for facts in mix.facts()["members"]] == [mix.yield_()[0]] * 2


def test_a_mixture_takes_companions_along() -> None:
    """One of two members stands for half of its companions and for half of the data, the other for data alone: 1 to 3."""
    sample = data_events(6000, 57).with_simulation(simulated_events(6000, 58))
    mix = make_template("mix", features=NAMES, members=["sa-cwola", "sidebands"], mass_range=RANGE).fit(sample, WINDOW)
    alone = make_template("sa-cwola", features=NAMES, mass_range=RANGE).fit(sample, WINDOW)
    assert alone.companions(0).weight.sum() == pytest.approx(1.0)
    assert mix.companions(0).weight.sum() == pytest.approx(1 / 3)
    assert (
        make_template("mix", features=NAMES, members=["sidebands", "truth"]).fit(sample, WINDOW).companions(0) is None
    )


def test_mixtures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two templates, got 1"):
        make_template("mix", members=["salad"])
    with pytest.raises(ConfigError, match="coordinates of its own"):
        make_template("mix", members=["salad", "lacathode"])
    with pytest.raises(ConfigError, match="cannot set features"):
        make_template("mix", members=["salad", {"name": "sidebands", "options": {"features": ["x"]}}])
    with pytest.raises(ConfigError, match=r"unknown key .*'option': did you mean 'options'"):
        make_template("mix", members=["salad", {"name": "sidebands", "option": {}}])


COMBINED = [
    {"name": "cwola", "options": {"features": NAMES, "template": {"mass_range": RANGE}, "classifier_options": FAST}},
    {"name": "sa-cwola", "options": {"features": NAMES, "template": {"mass_range": RANGE}, "classifier_options": FAST}},
]


def test_a_score_combination_is_the_mean_of_its_members_fitted_alone(tmp_path: Path) -> None:
    sample = data_events(6000, 59, signal=100).with_simulation(simulated_events(6000, 60))
    fitted = CrossFit("score-combination", members=COMBINED, folds=2, seed=3).fit(sample, WINDOW)
    new, fold = data_events(1000, 61), fitted.fold_of(sample.mass)
    for number, combination in enumerate(fitted.scorers):
        alone = []
        for place, member in enumerate(COMBINED):
            seeds = [scorer.members_[place].options["seed"] for scorer in fitted.scorers]
            scorers = make_scorer(member["name"], **member["options"]).fit_folds(sample, WINDOW, fold, seeds)
            alone.append(scorers[number].score(new))
        np.testing.assert_array_equal(combination.score(new), np.mean(alone, axis=0))
        assert np.any(alone[0] != alone[1])
    fitted.save(tmp_path / "both")
    np.testing.assert_array_equal(load_scorer(tmp_path / "both").score(new), fitted.score(new))


def test_scores_of_different_kinds_meet_on_the_scale_of_their_tails(tmp_path: Path) -> None:
    sample, new = data_events(6000, 62, signal=100), data_events(1000, 63)
    trees = {"name": "cwola-trees", "options": {"features": NAMES, "members": 1}}  # log-odds
    with pytest.raises(ModelError, match="'cwola-trees' are no probabilities"):
        make_scorer("score-combination", members=[COMBINED[0], trees]).fit(sample, WINDOW)
    combination = make_scorer("score-combination", members=[COMBINED[0], trees], scale="tail", seed=4).fit(
        sample, WINDOW
    )
    region = inside(sample)
    expected = []
    for member in combination.members_:
        known = np.sort(member.score(region))
        above = len(known) - 0.5 * (
            np.searchsorted(known, member.score(new)) + np.searchsorted(known, member.score(new), side="right")
        )
        expected.append(-np.log(np.clip(above, 0.5, None) / len(known)))
    mean = np.mean(expected, axis=0)
    assert np.quantile(abs(combination.score(new) - mean), 0.9) < 0.05
    combination.save(tmp_path / "tails")
    np.testing.assert_array_equal(load_scorer(tmp_path / "tails").score(new), combination.score(new))


def test_score_combinations_that_make_no_sense_are_refused() -> None:
    for members, message in (
        (["cwola"], "at least two members"),
        (["cwola", "supervised"], "trained on truth"),
        (["cwola", "cross-fit"], "cross-fit the combination instead"),
        (["cwola", {"name": "sa-cwola", "options": {"seed": 1}}], "cannot set the seed"),
        (["cwola", {"options": {}}], "needs a name"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_scorer("score-combination", members=members)
    with pytest.raises(ConfigError, match="unknown scale 'tails': did you mean 'tail'"):
        make_scorer("score-combination", scale="tails")
    chosen = make_scorer("score-combination", members=["cwola-trees", "cwola"], features=["m_l", "tau21_l", "n_h"])
    assert [member.features for member in chosen._make(0)] == [("n_h", "m_l", "tau21_l"), ("m_l", "tau21_l")]
    assert make_scorer("ddt", wrapped="salad", features=["x", "y"]).features == ("x", "y")
    assert make_scorer("ddt", wrapped="salad").uses_simulation
    assert make_scorer("ddt", reference="simulation").uses_simulation
    assert not make_scorer("ddt").uses_simulation
    assert make_scorer("score-combination", members=["cwola", "salad"]).uses_simulation
    assert not make_scorer("score-combination", members=["cwola", "cathode"]).uses_simulation


# Tag N' Train.


def two_jets(events: int, seed: int, signal: int) -> Sample:
    """Two jets that know nothing of each other, except that a signal's are both odd; three features each."""
    rng = np.random.default_rng(seed)
    label = np.arange(events + signal) >= events
    mass = np.where(label, rng.normal(3500.0, 80.0, len(label)), rng.uniform(2800.0, 5000.0, len(label)))
    columns = []
    for _ in range(2):
        jet = rng.normal(size=(len(label), 3)) @ np.array([[1.0, 0.5, 0.2], [0.0, 1.0, 0.4], [0.0, 0.0, 0.3]])
        columns.append(np.where(label[:, None], rng.normal([1.1, -0.9, 0.5], 0.6, (len(label), 3)), jet))
    names = tuple(f"{name}_{jet}" for jet in ("h", "l") for name in ("a", "b", "c"))
    return Sample(np.concatenate(columns, axis=1), names, mass, label=label)


def test_tag_n_train_is_better_than_its_tags(tmp_path: Path) -> None:
    sample, fresh = two_jets(20_000, 70, 200), inside(two_jets(20_000, 71, 1500))
    small = {"members": 2, "hidden": 16, "latent": 1, "events": 5000, "epochs": 6, "learning_rate": 3e-3}
    scorer = make_scorer(
        "tag-n-train",
        features=sample.names,
        autoencoder=small,
        classifier_options={"members": 2, "max_iter": 60},
        seed=1,
    ).fit(sample, WINDOW)
    tags = []
    for side in scorer.sides:
        tag = make_scorer("autoencoder", features=side, **small).fit(inside(sample), None)
        tags.append(auc(fresh.truth(), tag.score(fresh)))
    assert 0.55 < max(tags) < 0.97
    assert auc(fresh.truth(), scorer.score(fresh)) > max(tags) + 0.02
    scorer.save(tmp_path / "tnt")
    np.testing.assert_array_equal(load_scorer(tmp_path / "tnt").score(fresh), scorer.score(fresh))


@pytest.mark.parametrize("rounds", [1, 2])
def test_tags_do_not_come_back(rounds: int) -> None:
    """Background alone, jets that know nothing of each other: the score must not learn the autoencoder's own tag."""
    sample, fresh = two_jets(12_000, 72, 0), inside(two_jets(12_000, 73, 0))
    small = {"members": 1, "hidden": 16, "latent": 1, "events": 5000, "epochs": 4, "learning_rate": 3e-3}
    scorer = make_scorer(
        "tag-n-train", features=sample.names, autoencoder=small, classifier_options={"members": 2, "max_iter": 60},
        rounds=rounds, seed=2,
    ).fit(sample, WINDOW)  # fmt: skip
    odd = make_scorer("autoencoder", features=scorer.sides[0], **small).fit(inside(sample), None).score(fresh)
    assert abs(spearmanr(odd, scorer.score(fresh)).statistic) < 0.3


def test_tag_n_train_needs_the_same_features_of_two_jets() -> None:
    for features, jets, message in (
        (("m_h", "m_l", "dr_jj"), ("_h", "_l"), "the same features of both jets"),
        (("m_h", "tau21_l"), ("_h", "_l"), "the same features of both jets"),
        (("m_h", "m_l"), ("_h",), "two different suffixes"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_scorer("tag-n-train", features=features, jets=jets)
    with pytest.raises(ConfigError, match="together at most 1"):
        make_scorer("tag-n-train", signal_rich=0.7)
    with pytest.raises(ConfigError, match="unknown option of the autoencoder 'member'"):
        make_scorer("tag-n-train", autoencoder={"member": 2})
    with pytest.raises(InputError, match="has no events"):
        make_scorer("tag-n-train", features=("a_h", "a_l")).fit(
            Sample(np.ones((3, 2)), ("a_h", "a_l"), np.full(3, 2000.0)), WINDOW
        )
