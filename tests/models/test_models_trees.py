"""Boosted trees: the flat forest against scikit-learn, then the physics of CWoLa and of the references."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import CWoLaTrees, Idealised, Sample, Supervised, auc
from resonaut.models.forest import Forest
from resonaut.models.trees import bin_codes, bin_edges
from resonaut.stats import Window

WINDOW = Window(3400.0, 3600.0, 3200.0, 3800.0)


def tree_sample(seed: int, signal: float, events: int = 12_000) -> Sample:
    """Flat mass; x and y are normal for background, narrow at (2, 2) for signal, which peaks at 3500."""
    rng = np.random.default_rng(seed)
    label = rng.random(events) < signal
    mass = np.where(label, rng.normal(3500.0, 40.0, events), rng.uniform(3100.0, 3900.0, events))
    x, y = (np.where(label, rng.normal(2.0, 0.3, events), rng.normal(0.0, 1.0, events)) for _ in range(2))
    return Sample(np.column_stack([x, y]), ("x", "y"), mass, label=label)


@pytest.mark.parametrize("binned", [False, True], ids=["raw", "binned"])
def test_forest_equals_scikit_learn(binned: bool) -> None:
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=4000), rng.integers(0, 9, 4000), rng.exponential(size=4000)])
    target = rng.random(4000) < 1 / (1 + np.exp(-features[:, 0] * features[:, 1] / 4))
    edges = bin_edges(features)
    seen = bin_codes(features, edges) if binned else features
    boosters = [
        HistGradientBoostingClassifier(max_iter=30, random_state=seed, max_features=0.7).fit(seen, target)
        for seed in range(3)
    ]
    expected = np.mean([booster.decision_function(seen) for booster in boosters], axis=0)
    forest = Forest.from_boosters(boosters, edges if binned else None)
    np.testing.assert_allclose(forest.evaluate(features), expected, rtol=0, atol=1e-12)
    again = Forest.from_tensors(forest.tensors())
    np.testing.assert_array_equal(again.evaluate(features), forest.evaluate(features))


def test_bin_codes_order_as_the_values() -> None:
    rng = np.random.default_rng(2)
    features = np.column_stack([rng.normal(size=3000), rng.integers(0, 4, 3000)])
    edges = bin_edges(features)
    codes = bin_codes(features, edges)
    assert codes[:, 0].max() <= 254
    assert len(np.unique(codes[:, 1])) == 4
    for column in range(2):
        for k in (0, len(edges[column]) // 2):
            np.testing.assert_array_equal(features[:, column] <= edges[column][k], codes[:, column] <= k)
    assert np.bincount(codes[:, 0].astype(int)).max() <= 3000 / 255 + 2  # quantile bins hold equal shares


def test_forest_refuses_another_number_of_columns() -> None:
    fitted = CWoLaTrees(("x", "y"), members=1).fit(tree_sample(0, 0.1), WINDOW)
    assert fitted.forest_ is not None
    with pytest.raises(InputError, match=r"matrix of 2 feature columns, got shape \(3, 5\)"):
        fitted.forest_.evaluate(np.zeros((3, 5)))


def test_cwola_finds_a_resonance_without_labels() -> None:
    training, test = tree_sample(1, 0.02), tree_sample(2, 0.1)
    scorer = CWoLaTrees(("x", "y"), members=4).fit(training, WINDOW)
    found = auc(test.truth(), scorer.score(test))
    best = auc(test.truth(), -np.sum((test.features - 2.0) ** 2, axis=1))  # near the optimal test, with the truth known
    assert best > 0.98
    assert found > 0.9


def test_no_signal_teaches_nothing() -> None:
    values = []
    for seed in range(8):
        scorer = CWoLaTrees(("x", "y"), members=2, seed=seed).fit(tree_sample(10 + seed, 0.0), WINDOW)
        test = tree_sample(50 + seed, 0.0)
        inside = test.take(WINDOW.in_signal_region(test.mass) | WINDOW.in_sidebands(test.mass))
        values.append(auc(WINDOW.in_signal_region(inside.mass), scorer.score(inside)))
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < 4 * max(spread, 0.002)
    assert max(abs(np.array(values) - 0.5)) < 0.03  # one test sample of 9000 events knows its AUC to 0.006


def test_a_linear_drift_with_the_mass_is_not_learnt() -> None:
    rng = np.random.default_rng(4)
    mass = rng.uniform(3200.0, 3800.0, 40_000)
    drifting = Sample((rng.normal(size=40_000) + (mass - 3500.0) / 300.0)[:, None], ("x",), mass)
    score = CWoLaTrees(("x",), members=3).fit(drifting, WINDOW).score(drifting)
    low, high = WINDOW.in_lower_sideband(mass), WINDOW.in_upper_sideband(mass)
    assert auc(np.repeat([0, 1], [low.sum(), high.sum()]), np.concatenate([score[low], score[high]])) < 0.6
    plain = auc(
        np.repeat([0, 1], [low.sum(), high.sum()]),
        np.concatenate([drifting.features[low, 0], drifting.features[high, 0]]),
    )
    assert plain > 0.8  # although the feature itself tells the sidebands apart


def test_jet_masses_are_read_relative_to_the_resonant_mass() -> None:
    sample = tree_sample(3, 0.05)
    jets = Sample(sample.features * [100.0, 1.0], ("m_h", "y"), sample.mass)
    scorer = CWoLaTrees(("m_h", "y"), members=1).fit(jets, WINDOW)
    assert scorer.scaled_by_mass == ("m_h",)
    doubled = Sample(jets.features * [2.0, 1.0], jets.names, jets.mass * 2)
    np.testing.assert_array_equal(scorer.score(doubled), scorer.score(jets))
    assert CWoLaTrees(("m_h", "y"), scaled_by_mass=()).scaled_by_mass == ()


def test_seeds_reproduce_and_differ() -> None:
    sample = tree_sample(5, 0.05, 4000)
    scores = [CWoLaTrees(("x", "y"), members=2, seed=seed).fit(sample, WINDOW).score(sample) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_events_of_weight_zero_might_as_well_be_absent() -> None:
    sample = tree_sample(6, 0.05, 4000)
    silenced = Sample(sample.features, sample.names, sample.mass, 1.0 - sample.truth())
    absent = sample.take(sample.truth() == 0)
    scores = [CWoLaTrees(("x", "y"), members=2).fit(each, WINDOW).score(sample) for each in (silenced, absent)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4, atol=1e-6)


def test_weights_enter_the_score() -> None:
    """Doubling the weight of x > 0 in the signal region moves the log-odds there by ln 2, the regions' balance aside."""
    sample = tree_sample(30, 0.0, 40_000)
    high = sample.features[:, 0] > 0
    weight = np.where(high & WINDOW.in_signal_region(sample.mass), 2.0, 1.0)
    weighted = Sample(sample.features, sample.names, sample.mass, weight)
    score = CWoLaTrees(("x", "y"), members=4).fit(weighted, WINDOW).score(sample)
    assert score[high].mean() - score[~high].mean() == pytest.approx(np.log(2), abs=0.08)


def test_references_rank_as_theory_says() -> None:
    training, test = tree_sample(8, 0.03), tree_sample(9, 0.1)
    supervised = Supervised(("x", "y"), members=4).fit(training, WINDOW)
    idealised = Idealised(("x", "y"), members=4).fit(training, WINDOW)
    optimal = auc(test.truth(), -np.sum((test.features - 2.0) ** 2 / 0.09 - test.features**2, axis=1))
    values = [auc(test.truth(), scorer.score(test)) for scorer in (supervised, idealised)]
    assert values[0] == pytest.approx(optimal, abs=0.01)  # the likelihood ratio is the best possible
    assert 0.9 < values[1] <= values[0] + 0.005


def test_idealised_takes_data_and_template_as_given() -> None:
    data, other, test = tree_sample(20, 0.05), tree_sample(21, 0.0), tree_sample(22, 0.1)
    unlabelled = Sample(data.features, data.names, data.mass)
    scorer = Idealised(("y", "x"), members=4).fit_against(unlabelled, other)
    assert auc(test.truth(), scorer.score(test)) > 0.95


@pytest.mark.parametrize("reference", [Supervised, Idealised])
def test_references_need_labels(reference: type[Supervised]) -> None:
    sample = tree_sample(0, 0.1, 200)
    with pytest.raises(InputError, match="needs truth labels"):
        reference(("x", "y")).fit(Sample(sample.features, sample.names, sample.mass), WINDOW)


def test_supervised_needs_both_classes() -> None:
    with pytest.raises(InputError, match="no signal events to train on"):
        Supervised(("x", "y")).fit(tree_sample(0, 0.0, 500), WINDOW)


def test_mistakes_are_named() -> None:
    with pytest.raises(ModelError, match="'cwola-trees' is not fitted"):
        CWoLaTrees(("x",)).score(tree_sample(0, 0.0, 100))
    with pytest.raises(InputError, match="give fit\\(sample, window\\) a Window"):
        CWoLaTrees(("x",)).fit(tree_sample(0, 0.0, 100), None)
    with pytest.raises(ConfigError, match="'members' of 'cwola-trees' must be above 0, got 0"):
        CWoLaTrees(("x",), members=0)
    with pytest.raises(ConfigError, match="scaled_by_mass 'z'"):
        CWoLaTrees(("x",), scaled_by_mass=("z",))
    with pytest.raises(ConfigError, match="none twice"):
        CWoLaTrees(("x", "x"))
    with pytest.raises(ConfigError, match="validation_fraction"):
        CWoLaTrees(("x",), validation_fraction=1.0)
